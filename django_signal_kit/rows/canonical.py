"""Values as reading them back from the database would give them.

"12.50" assigned to a decimal field is ``Decimal("12.50")``. What only the database knows
(expressions, defaults of the database, generated fields) is said to be unknown, never guessed.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import DecimalField, Field, JSONField
from django.db.models.fields import NOT_PROVIDED

from django_signal_kit.rows import telling
from django_signal_kit.rows.fields import (
    converts,
    get_target,
    is_djangos,
    is_like_djangos,
    keeps_null,
    overrides,
    to_column,
    writes_what_it_leaves,
)

_SCALARS = (str, int, bool, float, type(None))
# What a field may override, so that its column holds something else than Django's would.
_COLUMN = ("db_type", "get_db_prep_value", "get_db_prep_save")
_JSON = ("from_db_value", "get_prep_value", "get_db_prep_value", "get_db_prep_save", "to_python")


def canonical(field: Field[Any, Any], value: Any) -> Any:
    """``value`` as reading it back would give it. Raises ValueError if only the database knows."""
    return get_canonical(field, get_target(field))(value)


def get_canonical(field: Field[Any, Any], target: Field[Any, Any]) -> Callable[[Any], Any]:
    """:func:`canonical` for one field; quicker for what three kinds of field usually hold."""
    stays = stays_as_it_is(field, target)
    convert = _get_converter(target) if stays else _refuse
    general = partial(_canonical, field, convert, stays and keeps_null(target))
    if type(field) is models.DateTimeField:
        return lambda value: (
            value
            if value.__class__ is datetime.datetime and value.tzinfo and settings.USE_TZ
            else general(value)
        )
    if type(field) is DecimalField:
        step = _get_step(field)
        return lambda value: _exact(step, value) if value.__class__ is Decimal else general(value)
    if _is_plain_json(field):
        return partial(_copy_json, general)
    return general


def get_convert(field: Field[Any, Any], target: Field[Any, Any]) -> Callable[[Any], Any]:
    """:func:`canonical` for what the database has just given."""
    convert = partial(_canonical, field, _get_converter(target), keeps_null(target))
    return partial(_copy_json, convert) if _is_plain_json(target) else convert


def _is_plain_json(field: Any) -> bool:
    return type(field) is JSONField and field.encoder is None and field.decoder is None


def _get_converter(field: Field[Any, Any]) -> Callable[[Any], Any]:
    """What makes of a value that is not None the one that is read back."""
    if isinstance(field, JSONField):
        return _refuse if overrides(field, *_JSON) else partial(_convert_json, field)
    if is_djangos(field):
        return partial(_convert, field)
    if type(field).__module__.startswith("django.contrib.postgres."):
        return _get_postgres_converter(field)
    if converts(field) or not is_like_djangos(field) or overrides(field, *_COLUMN):
        return _refuse
    return partial(_convert, field)


def stays_as_it_is(field: Field[Any, Any], target: Field[Any, Any]) -> bool:
    """Is what the instance holds after a save what was saved, but for the target's own ways?"""
    return writes_what_it_leaves(field) and (
        field is target or not overrides(field, *_COLUMN, *_JSON)
    )


def _canonical(
    field: Field[Any, Any], convert: Callable[[Any], Any], keeps_null: bool, value: Any
) -> Any:
    try:
        if value is NOT_PROVIDED or field.generated or hasattr(value, "resolve_expression"):
            return _refuse()
        return None if value is None and keeps_null else convert(value)
    except ValueError:
        raise
    except Exception as error:
        raise ValueError("the field does not understand the value") from error


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
    value = telling.simplify(to_column(field, field.get_prep_value(value)))
    if isinstance(field, DecimalField) and isinstance(value, Decimal):
        return _exact(_get_step(field), value)
    if isinstance(value, float) and value != value:
        raise ValueError("not every database keeps a NaN")
    return value


def _convert_json(field: JSONField[Any, Any], value: Any) -> Any:
    # A copy: the instance's own value may be changed in place later.
    return json.loads(json.dumps(value, cls=field.encoder), cls=field.decoder)


def _get_postgres_converter(field: Any) -> Callable[[Any], Any]:
    """For what ``django.contrib.postgres`` has, which cannot be imported everywhere."""
    name = field.__class__.__name__
    if name == "HStoreField":
        return partial(_convert_hstore, field)
    if not hasattr(field, "base_field") or converts(field):
        return _refuse
    item = get_canonical(field.base_field, get_target(field.base_field))
    if hasattr(field, "range_type"):
        return partial(_convert_range, field, item)
    return partial(_convert_array, item)


def _convert_hstore(field: Any, value: Any) -> Any:
    return field.get_prep_value(telling.simplify(value)) if isinstance(value, dict) else _refuse()


def _convert_array(get_item: Callable[[Any], Any], value: Any) -> Any:
    if not isinstance(value, list | tuple) or [] in (items := [get_item(item) for item in value]):
        # PostgreSQL knows no empty array in an array.
        _refuse()
    return items


def _convert_range(field: Any, get_end: Callable[[Any], Any], value: Any) -> Any:
    value = field.get_prep_value(value)
    ends = value.lower, value.upper
    # Of other bounds PostgreSQL may make these.
    if value._bounds != "[)" or None in ends or [*map(get_end, ends)] != [*ends]:
        _refuse()
    return value if ends[0] < ends[1] else _refuse()


def _refuse(value: Any = None) -> Any:
    raise ValueError("only the database knows")


def _get_step(field: DecimalField[Any, Any]) -> Decimal | None:
    places = field.decimal_places
    return None if places is None else Decimal(1).scaleb(-places)


def _exact(step: Decimal | None, value: Decimal) -> Decimal:
    if step is None:
        return value
    try:
        rounded = value.quantize(step)
    except InvalidOperation:
        # Infinite, or with more digits than Python reckons with: SQLite stores what it is given.
        return value
    if rounded != value:
        # Databases round in ways of their own.
        raise ValueError("more digits than the column keeps")
    return rounded
