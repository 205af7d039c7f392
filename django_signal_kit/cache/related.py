"""Rows at the other end of relations: what shows a row is wrong with it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db.models import ForeignKey, Model, QuerySet

from django_signal_kit.exceptions import did_you_mean
from django_signal_kit.rows.database import Row


class NoRelationError(ValueError):
    """A path that leads nowhere; says why, and what might have been meant."""

    def __init__(self, sentence: str, guess: str) -> None:
        super().__init__(sentence)
        self.guess = guess


def get_end(model: type[Model], path: str) -> type[Model]:
    """The model at the end of ``path``, such as ``"category__parent"``, which may go forwards and
    backwards, and over many-to-many relations. Raises NoRelationError."""
    for name in path.split("__"):
        try:
            field: Any = model._meta.get_field(name)
        except FieldDoesNotExist:
            field = None
        if field is None or not field.is_relation or field.related_model is None:
            known = [f.name for f in model._meta.get_fields() if f.is_relation and f.related_model]
            raise NoRelationError(
                f"{path!r}, and {model._meta.label} has no relation {name!r}",
                did_you_mean(name, known),
            )
        model = field.related_model
    return model


def get_own_key(model: type[Model], path: str) -> Any:
    """The foreign key of ``model`` that ``path`` is, so that the row itself says where it leads;
    None if others have to be asked."""
    if "__" in path:
        return None
    field = model._meta.get_field(path)
    is_plain = isinstance(field, ForeignKey) and field.target_field.primary_key
    return field if is_plain else None


def list_ends(
    model: type[Model], paths: Iterable[str], rows: Collection[Row], pk: Any, using: str
) -> Iterator[tuple[type[Model], Any]]:
    """The models and keys of the rows at the ends of ``paths``: as ``rows``, the row as it was and
    is, say themselves, and else as the database says of the row ``pk``, with one query a path."""
    for path in paths:
        end, field = get_end(model, path), get_own_key(model, path)
        if field is not None:
            keys: Iterable[Any] = {row[field.attname] for row in rows if field.attname in row}
        else:
            found: QuerySet[Any] = QuerySet(model, using=using).filter(pk=pk)
            keys = found.order_by().values_list(f"{path}__pk", flat=True).distinct()
        yield from ((end, key) for key in keys if key is not None)
