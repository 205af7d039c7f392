"""The columns of a model, and their values as reading them back would give them."""

from __future__ import annotations

import datetime
import marshal
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cache, partial
from operator import eq
from typing import Any

from django.db import models
from django.db.models import BinaryField, DecimalField, Field, FileField, Model
from django.db.models.fields import NOT_PROVIDED

from django_signal_kit.rows import telling
from django_signal_kit.rows.canonical import get_canonical, get_convert, stays_as_it_is
from django_signal_kit.rows.fields import get_target, has_own_attribute, is_djangos
from django_signal_kit.rows.values import UNKNOWN, encode_sorted

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
_NOTHING = type("Nothing", (), {})


class Column:
    """A concrete field, and what is known of its values beforehand."""

    __slots__ = (
        "attname",
        "canonical",
        "convert",
        "field",
        "has_encoder",
        "has_own_attribute",
        "is_mutable",
        "is_odd",
        "is_same",
        "plain",
        "target",
    )

    def __init__(self, field: Field[Any, Any]) -> None:
        self.field = field
        self.attname = field.attname
        self.target = target = get_target(field)
        #: Does the attribute perhaps give another value than it keeps? Then it has to be asked.
        self.has_own_attribute = has_own_attribute(field)
        is_plain = not self.has_own_attribute and stays_as_it_is(field, target)
        #: Values of this very class are canonical as they are.
        self.plain = _PLAIN.get(type(target), _NOTHING) if is_plain else _NOTHING
        #: ``canonical(value)`` of this field.
        self.canonical = get_canonical(field, target)
        #: The same for what the database has just given.
        self.convert = get_convert(field, target)
        is_own = is_djangos(target)
        #: May a value be changed in place?
        self.is_mutable = type(target) not in _PLAIN and not (
            is_own
            and isinstance(target, BinaryField | DecimalField | FileField | models.DateTimeField)
        )
        #: Are there values of which only the field knows what they are?
        self.is_odd = not is_own or getattr(target, "decoder", None) is not None
        self.has_encoder = getattr(target, "encoder", None) is not None
        #: ``is_same(before, after)``: does the column hold the same for two canonical values?
        self.is_same: Callable[[Any, Any], bool] = eq
        if self.is_odd:
            self.is_same = partial(telling.is_same, target)
        elif self.is_mutable:
            self.is_same = _is_same

    def get(self, instance: Model) -> Any:
        """What ``instance`` holds and ``save()`` writes; ``NOT_PROVIDED`` if it was not loaded."""
        value = instance.__dict__.get(self.attname, NOT_PROVIDED)
        if self.has_own_attribute and value is not NOT_PROVIDED:
            return self._ask(instance)
        return value

    def _ask(self, instance: Model) -> Any:
        try:
            return getattr(instance, self.attname)
        except Exception:
            return NOT_PROVIDED

    def detach(self, instance: Model) -> Any:
        """What ``instance`` has just been given by the database, apart from the instance."""
        try:
            value = instance.__dict__[self.attname]
        except KeyError:
            # Kept somewhere else.
            value = self._ask(instance)
            if value is NOT_PROVIDED:
                return UNKNOWN
        return self.keep(value)

    def keep(self, value: Any) -> Any:
        """What the database has just given, apart from whatever else holds it."""
        if self.is_mutable or isinstance(self.target, FileField):
            try:
                return self.convert(value)
            except ValueError:
                return telling.detach(value)
        return bytes(value) if isinstance(value, memoryview) else value

    def tell(self, value: Any) -> Any:
        """``value`` in types that ``to_json()`` knows."""
        if self.is_odd or self.has_encoder:
            return telling.tell(self.target, value)
        return value


@cache
def get_columns(model: type[Model]) -> Mapping[str, Column]:
    """The columns of a model by attname."""
    return {field.attname: Column(field) for field in model._meta.concrete_fields}


def get_unknown(columns: Iterable[Column]) -> dict[str, Any]:
    """A row of which nobody knows anything."""
    return {column.attname: UNKNOWN for column in columns}


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


def _is_same(before: Any, after: Any) -> bool:
    if before.__class__ is dict or before.__class__ is list:
        return bool(before == after) and _are_same_types(before, after)
    return bool(before == after) or bool(before != before and after != after)


def _are_same_types(one: Any, other: Any) -> bool:
    """Are two equal documents the same JSON? 1 equals True, and is another."""
    with suppress(ValueError):
        # Several times quicker than JSON, but it minds the order of keys. Later versions tell what
        # is one object from what is two.
        if marshal.dumps(one, 2) == marshal.dumps(other, 2):
            return True
    return encode_sorted(one) == encode_sorted(other)
