"""Which relations are many-to-many fields of Django, and not fields that only look like one.

A manager of tags may stand among the many-to-many fields of a model without what they have: the
two foreign keys of its links, a manager of Django's, its ``m2m_changed``.
"""

from __future__ import annotations

from typing import Any

from django.db.models import ManyToManyField, Model
from django.db.models.fields.reverse_related import ManyToManyRel


def is_many_to_many(relation: Any) -> bool:
    """Is ``relation`` a many-to-many field of Django, or the other side of one?"""
    field = relation.field if isinstance(relation, ManyToManyRel) else relation
    return isinstance(field, ManyToManyField)


def get_many_to_many(model: type[Model]) -> list[ManyToManyField[Any, Any]]:
    """The many-to-many fields that ``model`` declares or inherits."""
    return [field for field in model._meta.many_to_many if is_many_to_many(field)]


def get_reverse_many_to_many(model: type[Model]) -> list[ManyToManyRel]:
    """The many-to-many fields of other models that lead to ``model``, from this side."""
    return [
        relation
        for relation in model._meta.related_objects
        if isinstance(relation, ManyToManyRel) and is_many_to_many(relation)
    ]
