"""The models that others lead to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.apps import apps
from django.db.models import Model
from django.db.models.fields.related import resolve_relation
from django.db.models.utils import make_model_tuple


def get_named(model: type[Model]) -> list[tuple[str, str]]:
    """The models that the relations of ``model`` name by text, as keys of the app registry."""
    fields: list[Any] = [
        *model._meta.local_fields,
        *model._meta.local_many_to_many,
        *model._meta.private_fields,
    ]
    relations = [field.remote_field for field in fields if getattr(field, "remote_field", None)]
    named = [relation.model for relation in relations]
    named += [getattr(relation, "through", None) for relation in relations]
    return [
        make_model_tuple(resolve_relation(model, name)) for name in named if isinstance(name, str)
    ]


def get_family(models: Iterable[type[Model]]) -> list[type[Model]]:
    """``models``, what inherits from them, and what all of these point to."""
    models = tuple(models)
    family = [*models, *(model for model in apps.get_models() if issubclass(model, models))]
    family += [
        field.related_model
        for model in family
        for field in model._meta.get_fields()
        if isinstance(field.related_model, type)
    ]
    return list(dict.fromkeys(family))
