"""What is known of a field beforehand: how much of what it does is Django's own.

Django's own fields keep what they are given, and Python can compare it. A field of somebody else
may do anything: store another value than it was given, read it as an object of its own, guard the
attribute.
"""

from __future__ import annotations

import inspect
from collections.abc import Container
from typing import Any

from django.db import connection
from django.db.models import Field, GenericIPAddressField, Model

_DJANGO = "django.db.models."
# What a ``pre_save()`` may ask for that returns no other value than the attribute's.
_HARMLESS = {"super", "pre_save", "get_prep_value", "getattr", "attname", "value_from_object"}


def is_named(field: Field[Any, Any], names: Container[str]) -> bool:
    """Is it one of ``names``, which may be attnames as well?"""
    return field.name in names or field.attname in names


def may_change(field: Field[Any, Any], names: Container[str]) -> bool:
    """May a write of the fields ``names`` change it? What the database computes follows others."""
    return is_named(field, names) or field.generated


def get_target(field: Field[Any, Any]) -> Field[Any, Any]:
    """The field itself; of a foreign key, the field that it points to in the end."""
    while field.remote_field is not None:
        field = field.target_field  # type: ignore[attr-defined]
    return field


def get_output(field: Field[Any, Any]) -> Field[Any, Any]:
    """What says which values a column has: of one that the database computes, what comes out."""
    target: Any = get_target(field)
    return target.output_field if target.generated else target  # type: ignore[no-any-return]


def is_djangos(field: Field[Any, Any]) -> bool:
    """Is its class one of ``django.db.models``, and no subclass of one?"""
    return type(field).__module__.startswith(_DJANGO)


def is_like_djangos(field: Field[Any, Any]) -> bool:
    """Is it a subclass of one of Django's that has a column?"""
    return _get_base(field) is not Field


def overrides(field: Field[Any, Any], *names: str) -> bool:
    """Is one of these methods another than that of a class of Django's?"""
    # One that is set on the field itself is not Django's either, whoever wrote it.
    return any(
        name in vars(field)
        or not _get_module(getattr(type(field), name, None)).startswith(_DJANGO)
        for name in names
        if hasattr(field, name)
    )


def converts(field: Field[Any, Any]) -> bool:
    """Does it make another value of what the driver reads?"""
    return overrides(field, "get_db_converters", "select_format", "from_db_value")


def to_column(field: Field[Any, Any], value: Any) -> Any:
    """``value`` as a column of the kind of ``field`` holds it: what the nearest class of Django
    makes of it."""
    found = _get_base(field).to_python(field, value)
    if isinstance(field, GenericIPAddressField):
        # Backends write NULL for an empty one.
        return found or None
    return bytes(found) if isinstance(found, bytearray | memoryview) else found


def writes_what_it_leaves(field: Field[Any, Any]) -> bool:
    """Does the instance hold after ``pre_save()`` what it has returned? Django's own see to that,
    and so does one that sets the attribute."""
    for cls in type(field).__mro__:
        method = vars(cls).get("pre_save")
        if method is None:
            continue
        if _get_module(method).startswith(_DJANGO):
            return True
        code = getattr(inspect.unwrap(method), "__code__", None)
        names = set() if code is None else {*code.co_names}
        sets = not {"setattr", "__dict__"}.isdisjoint(names)
        return sets or ("pre_save" in names and names <= _HARMLESS)
    return True


def keeps_null(field: Field[Any, Any]) -> bool:
    """Is None stored as NULL, and NULL read as None?"""
    if is_djangos(field):
        return True
    try:
        if field.get_db_prep_save(None, connection) is not None:
            return False
        convert: Any = getattr(field, "from_db_value", None)
        return convert is None or convert(None, field.cached_col, connection) is None
    except Exception:
        return False


def is_in_own_table(field: Field[Any, Any], instance: Model) -> bool:
    """Is the column in the table of the instance's model, and not of a multi-table parent?"""
    return field in instance._meta.concrete_model._meta.local_concrete_fields  # type: ignore[union-attr]


def has_own_attribute(field: Field[Any, Any]) -> bool:
    """Is the attribute of its model something else than the descriptors of Django?"""
    model: type[Model] | None = getattr(field, "model", None)
    attribute = inspect.getattr_static(model, field.attname, None)
    return attribute is not None and not type(attribute).__module__.startswith(_DJANGO)


def assign(instance: Model, attname: str, value: Any) -> None:
    """Set a column's attribute, guarded or not."""
    try:
        setattr(instance, attname, value)
    except Exception:
        # What the attribute takes from anybody else is not asked of what the database holds.
        instance.__dict__[attname] = value


def _get_base(field: Field[Any, Any]) -> Any:
    return next(cls for cls in type(field).__mro__ if cls.__module__.startswith(_DJANGO))


def _get_module(method: Any) -> str:
    return getattr(method, "__module__", None) or ""
