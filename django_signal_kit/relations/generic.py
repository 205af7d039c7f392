"""Generic foreign keys, and the content types by which they name a model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.apps import apps
from django.db.models import Model, QuerySet


def list_generic(model: type[Model]) -> list[Any]:
    """The generic foreign keys that ``model`` itself declares."""
    return [field for field in model._meta.private_fields if hasattr(field, "fk_field")]


def leave_out_generic(model: type[Model], rows: list[Any], using: str) -> list[Any]:
    """Those of ``rows`` to which no generic foreign key points. A query for each that there is."""
    for holder in apps.get_models():
        if not rows or holder._meta.proxy:
            continue
        for generic in list_generic(holder):
            conditions = {
                f"{generic.ct_field}__in": get_content_types(model, using),
                f"{generic.fk_field}__in": get_values(holder, generic, [row.pk for row in rows]),
            }
            held: QuerySet[Any] = QuerySet(holder, using=using).filter(**conditions)
            known = {str(key) for key in held.values_list(generic.fk_field, flat=True)}
            rows = [row for row in rows if str(row.pk) not in known]
    return rows


def get_values(model: type[Model], generic: Any, pks: Iterable[Any]) -> list[Any]:
    """What the column of a generic foreign key holds for the objects of these keys."""
    column: Any = model._meta.get_field(generic.fk_field)
    values: list[Any] = []
    for pk in pks:
        try:
            values.append(column.get_prep_value(pk))
        except (TypeError, ValueError):
            # A key that it cannot hold.
            continue
    return values


def get_content_type(model: type[Model], using: str, *, concrete: bool) -> Any:
    types: Any = apps.get_model("contenttypes", "ContentType")._default_manager
    return types.db_manager(using).get_for_model(model, for_concrete_model=concrete)


def get_content_types(model: type[Model], using: str) -> list[Any]:
    """The keys of the content types of ``model``, its proxies, and its parents."""
    types: Any = apps.get_model("contenttypes", "ContentType")._default_manager
    alike = [
        other
        for other in apps.get_models()
        if issubclass(model._meta.concrete_model, other)  # type: ignore[arg-type]
        or other._meta.concrete_model is model._meta.concrete_model
    ]
    found = types.db_manager(using).get_for_models(*alike, for_concrete_models=False)
    return [kind.pk for kind in found.values()]
