"""A many-to-many relation, seen from one of its two sides."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db.models import ManyToManyField, Model
from django.db.models.fields.reverse_related import ManyToManyRel

from django_signal_kit.relations.pointers import Pointer
from django_signal_kit.rows.many_to_many import get_many_to_many, get_reverse_many_to_many


class Side:
    """The rows of ``model``, each with the links that it has in one many-to-many relation.

    ``near`` is the foreign key of a link to the row itself, ``far`` the one to what it is linked
    with.
    """

    def __init__(
        self, model: type[Model], relation: ManyToManyField[Any, Any] | ManyToManyRel
    ) -> None:
        self.model = model
        self.relation = relation
        self.forward = isinstance(relation, ManyToManyField)
        field: Any = relation if self.forward else relation.field  # type: ignore[union-attr]
        self.symmetrical: bool = field.remote_field.symmetrical
        self.through: type[Model] = field.remote_field.through
        names = (field.m2m_field_name(), field.m2m_reverse_field_name())
        near, far = names if self.forward else reversed(names)
        self.near: Any = self.through._meta.get_field(near)
        self.far: Any = self.through._meta.get_field(far)
        self.pointer = Pointer(self.near)
        #: The model of what the rows are linked with.
        self.other: type[Model] = self.far.remote_field.model

    @property
    def key(self) -> str:
        """The field of ``model`` that a link names: its key, but for a ``to_field``."""
        field = self.near.target_field
        return "pk" if field.primary_key else field.attname

    def is_instance_near(self, reverse: bool) -> bool:
        """Is the instance of an ``m2m_changed`` one of the rows of this side?"""
        return reverse != self.forward

    def get_keys(
        self, instance: Model, reverse: bool, pk_set: set[Any] | None, using: str
    ) -> set[Any]:
        """The rows of this side whose links a call changes. One query if ``pk_set`` is None and
        the call came from the other side."""
        keys: set[Any] = set()
        if self.is_instance_near(reverse):
            keys |= {self.near.get_foreign_related_value(instance)[0]}
            if not self.symmetrical:
                return keys
        if pk_set is not None:
            return keys | pk_set
        value = self.far.get_foreign_related_value(instance)[0]
        return keys | self.pointer.read(using, **{self.far.name: value})


def find_relation(
    model: type[Model], name: str
) -> ManyToManyField[Any, Any] | ManyToManyRel | None:
    """The many-to-many relation of ``model`` under which its rows have ``name``, from whichever
    side it is declared."""
    return next((found for other, found in list_relations(model) if other == name), None)


def list_relations(
    model: type[Model],
) -> Iterator[tuple[str, ManyToManyField[Any, Any] | ManyToManyRel]]:
    """The attributes of ``model`` that are many-to-many managers."""
    for field in get_many_to_many(model):
        yield field.name, field
    for rel in get_reverse_many_to_many(model):
        if name := rel.get_accessor_name():
            yield name, rel
