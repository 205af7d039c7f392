"""Values as reading them back from the database would give them.

"12.50" assigned to a decimal field is ``Decimal("12.50")``. What only the database knows
(expressions, defaults of the database, generated fields) is said to be unknown, never guessed.
"""

from __future__ import annotations

import datetime
import json
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from enum import Enum
from functools import cache, partial
from inspect import getattr_static
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import BinaryField, DecimalField, Field, FileField, JSONField, Model
from django.db.models.fields import NOT_PROVIDED
from django.db.models.query_utils import DeferredAttribute

#: Class of field -> the class whose very instances are what reading them back gives.
_PLAIN: dict[type, type] = {
    models.AutoField: int,
    models.BigAutoField: int,
    models.BigIntegerField: int,
    models.BooleanField: bool,
    models.CharField: str,
    models.DateField: datetime.date,
    models.DurationField: datetime.timedelta,
    models.EmailField: str,
    models.IntegerField: int,
    models.PositiveBigIntegerField: int,
    models.PositiveIntegerField: int,
    models.PositiveSmallIntegerField: int,
    models.SlugField: str,
    models.SmallAutoField: int,
    models.SmallIntegerField: int,
    models.TextField: str,
    models.TimeField: datetime.time,
    models.URLField: str,
    models.UUIDField: uuid.UUID,
}
_SCALARS = (str, int, bool, float, type(None))
_NOTHING = type("Nothing", (), {})


class Column:
    """A concrete field, and what is known of its values beforehand."""

    __slots__ = ("attname", "canonical", "field", "is_mutable", "is_replaced", "plain")

    def __init__(self, field: Field[Any, Any], model: type[Model]) -> None:
        self.field = field
        self.attname = field.attname
        target = field
        while target.remote_field is not None:
            target = target.target_field  # type: ignore[attr-defined]
        #: Values of this very class are canonical as they are.
        self.plain = _PLAIN.get(type(target), _NOTHING)
        #: ``canonical(value)`` of this field.
        self.canonical = _get_canonical(field)
        #: May a value be changed in place?
        self.is_mutable = self.plain is _NOTHING and not isinstance(
            target, BinaryField | DecimalField | FileField | models.DateTimeField
        )
        #: Has another app put an attribute in the place of Django's? Then that says what is
        #: written, not what the instance keeps. A field of its own kind knows its attribute.
        self.is_replaced = type(field).contribute_to_class.__module__.startswith(
            "django."
        ) and not isinstance(
            getattr_static(model, self.attname, None), DeferredAttribute | field.descriptor_class
        )
        if self.is_replaced:
            self.plain = _NOTHING


@cache
def get_columns(model: type[Model]) -> Mapping[str, Column]:
    """The columns of a model by attname."""
    return {field.attname: Column(field, model) for field in model._meta.concrete_fields}


@cache
def _get_key_columns(model: type[Model]) -> tuple[Column, ...]:
    columns = get_columns(model)
    return tuple(columns[field.attname] for field in model._meta.pk_fields)


def canonical_key(model: type[Model], pk: Any) -> Any:
    """The key as the database gives it back: 5 for "5", one UUID for all its spellings.

    What is no key of the model, or what only the database knows, is left as it is.
    """
    columns = _get_key_columns(model)
    if len(columns) == 1:
        column = columns[0]
        return pk if pk.__class__ is column.plain else canonical_value(column, pk)
    if not isinstance(pk, tuple | list) or len(pk) != len(columns):
        return pk
    return tuple(canonical_value(column, value) for column, value in zip(columns, pk, strict=True))


def canonical_value(column: Column, value: Any) -> Any:
    """``value`` as the database gives it back, where that can be said; else as it is."""
    if value is None or value.__class__ is column.plain:
        return value
    try:
        value = column.canonical(value)
    except ValueError:
        field: Any = column.field
        with suppress(Exception):
            value = field.to_python(field.get_prep_value(value))
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        return value.astimezone(datetime.UTC)
    return value


def canonical(field: Field[Any, Any], value: Any) -> Any:
    """``value`` as reading it back would give it. Raises ValueError if only the database knows."""
    if value is NOT_PROVIDED or field.generated or hasattr(value, "resolve_expression"):
        raise ValueError("only the database knows")
    if value is None:
        return None
    if isinstance(field, FileField):
        return str(value.name or "") if hasattr(value, "name") else str(value)
    if isinstance(field, JSONField):
        # A copy: the instance's own value may be changed in place later.
        return json.loads(json.dumps(value, cls=field.encoder), cls=field.decoder)
    if hasattr(field, "from_db_value"):
        raise ValueError("the field converts what it reads")
    if isinstance(field, BinaryField):
        return bytes(value)
    return _convert(field, value)


def _get_canonical(field: Field[Any, Any]) -> Callable[[Any], Any]:
    """:func:`canonical` for one field; quicker for what three kinds of field usually hold."""
    general = partial(canonical, field)
    if type(field) is models.DateTimeField:
        return lambda value: (
            value
            if value.__class__ is datetime.datetime and value.tzinfo and settings.USE_TZ
            else general(value)
        )
    if type(field) is DecimalField:
        return lambda value: _exact(field, value) if value.__class__ is Decimal else general(value)
    if type(field) is JSONField and field.encoder is None and field.decoder is None:
        return partial(_copy_json, general)
    return general


def _copy_json(general: Callable[[Any], Any], value: Any) -> Any:
    """A copy of what is plain JSON already; what is not goes through its text."""
    cls = value.__class__
    if cls in _SCALARS:
        return value
    if cls is list:
        return [
            item if item.__class__ in _SCALARS else _copy_json(general, item) for item in value
        ]
    if cls is dict and all(key.__class__ is str for key in value):
        return {
            key: item if item.__class__ in _SCALARS else _copy_json(general, item)
            for key, item in value.items()
        }
    return general(value)


def _convert(field: Field[Any, Any], value: Any) -> Any:
    try:
        value = field.to_python(field.get_prep_value(value))
    except Exception as error:
        raise ValueError("the field does not understand the value") from error
    if isinstance(field, DecimalField) and isinstance(value, Decimal):
        return _exact(field, value)
    if isinstance(value, float) and value != value:
        raise ValueError("not every database keeps a NaN")
    # A member of TextChoices equals its value, but is of another type.
    return value.value if isinstance(value, Enum) else value


def _exact(field: DecimalField[Any, Any], value: Decimal) -> Decimal:
    if field.decimal_places is None:
        return value
    try:
        rounded = value.quantize(Decimal(1).scaleb(-field.decimal_places))
    except InvalidOperation:
        # Infinite, or with more digits than Python reckons with: SQLite stores what it is given.
        return value
    if rounded != value:
        # Databases round in ways of their own.
        raise ValueError("more digits than the column keeps")
    return rounded
