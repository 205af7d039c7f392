"""The stamps of one model: which columns they are, and what fits into them."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

from django.core.exceptions import FieldDoesNotExist, ObjectDoesNotExist
from django.db import router
from django.db.models import DateField, DateTimeField, Field, Model
from django.utils import timezone


class Stamps:
    """The columns of a model in which a receiver says when, and by whom, a row was changed."""

    __slots__ = ("by", "changed", "created", "created_by", "fields", "model", "names")

    def __init__(
        self, model: type[Model], changed: str, by: str, created: str, created_by: str
    ) -> None:
        self.model = model
        self.changed: Any = model._meta.get_field(changed)
        # A row that is only touched may lack the others.
        self.by: Any = _find_field(model, by)
        self.created: Any = _find_field(model, created)
        self.created_by: Any = _find_field(model, created_by)
        found: list[Any] = [self.changed, self.by, self.created, self.created_by]
        self.fields: list[Field[Any, Any]] = [field for field in found if field is not None]
        self.names = [field.name for field in self.fields]


def find_date_field(model: type[Model], names: str | Sequence[str]) -> str | None:
    """The first of the ``names`` that is a date or datetime field of ``model``."""
    for name in [names] if isinstance(names, str) else names:
        if isinstance(_find_field(model, name), DateField):
            return name
    return None


def lacks_date_field(model: type[Model], names: str | Sequence[str]) -> str | None:
    """What ``model`` lacks, as the end of a sentence, if none of ``names`` is a date field."""
    if find_date_field(model, names) is not None:
        return None
    names = [names] if isinstance(names, str) else list(names)
    if len(names) == 1 and _find_field(model, names[0]) is None:
        return f"no field {names[0]!r}"
    *others, last = map(repr, names)
    said = f"{', '.join(others)} or {last}" if others else last
    return f"no date or datetime field {said}"


def lacks_foreign_key(model: type[Model], name: str) -> str | None:
    field = _find_field(model, name)
    if field is None:
        return f"no field {name!r}"
    is_key = field.concrete and (field.many_to_one or field.one_to_one)
    return None if is_key else f"no foreign key {name!r}"


def _find_field(model: type[Model], name: str) -> Any:
    try:
        return model._meta.get_field(name) if name else None
    except FieldDoesNotExist:
        return None


def fit(field: Field[Any, Any], moment: datetime.datetime) -> Any:
    """``moment`` as ``field`` keeps it; a date is that of the current time zone."""
    if isinstance(field, DateTimeField):
        return moment
    return timezone.localdate(moment) if timezone.is_aware(moment) else moment.date()


def can_point(field: Any, instance: Model, editor: Any) -> bool:
    """Can ``instance`` name ``editor`` by this foreign key? Not if it is a row of another model
    (an API key, an employee where users are wanted) or of another database, or not stored, or
    deleted since a task was sent for it."""
    return (
        # A lazy object is of the class of what it stands for.
        isinstance(editor, field.remote_field.model._meta.concrete_model)
        and getattr(editor, field.target_field.attname) is not None
        and _is_there(editor)
        and router.allow_relation(editor, instance)
    )


def _is_there(editor: Any) -> bool:
    """Can the row be fetched that a lazy object stands for?"""
    try:
        return editor._state is not None
    except ObjectDoesNotExist:
        return False
