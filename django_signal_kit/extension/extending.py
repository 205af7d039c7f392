"""Adds fields, managers and attributes to model classes, and knows what it has added to which."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import django
from django.apps import apps
from django.conf import settings
from django.db.models import Field, Manager, Model

from django_signal_kit.exceptions import Misconfigured

_OWN_MARK = "signal_kit_own"

# Where installers put the packages of others.
_INSTALLED = {"site-packages", "dist-packages"}
_DJANGO = Path(django.__file__).parent

#: (model, name) -> the extension that added it. What was added to a class stays.
_added: dict[tuple[type[Model], str], str] = {}

#: What of it was added after the start, and can be taken back.
_late: list[tuple[type[Model], str]] = []


def matches(model: type[Model], spec: str | type) -> bool:
    """Is ``model``, which may not be in the registry of apps yet, meant by ``spec``?"""
    if isinstance(spec, type):
        return issubclass(model, spec)
    if spec == "__all__":
        return True
    label, _, name = spec.rpartition(".")
    if name == "*":
        return model._meta.app_label == label
    return any(
        f"{base.__module__}.{base.__qualname__}" == spec or is_named(base, spec)
        for base in model.__mro__
    )


def is_named(cls: type, spec: str | type) -> bool:
    """Does ``spec`` name this very model, rather than a pattern or a base of it?"""
    if isinstance(spec, type):
        return cls is spec
    meta = getattr(cls, "_meta", None)
    if meta is None or meta.abstract:
        return False
    label, _, name = spec.rpartition(".")
    return (meta.app_label, meta.model_name) == (label, name.lower())


def can_be_extended(model: type[Model]) -> bool:
    """Is it a class that code works with? Historical models, those that Django makes by itself,
    the kit's own, and those that another stands in for are none."""
    meta = model._meta
    return not (
        meta.apps is not apps
        or meta.abstract
        or meta.auto_created
        or meta.swapped
        or hasattr(model, _OWN_MARK)
    )


def is_own(model: type[Model]) -> bool:
    """Do the migrations of its app belong to the project? So they do unless the app is an
    installed package or Django's, and ``MIGRATION_MODULES`` names no module for it."""
    label = model._meta.app_label
    if settings.MIGRATION_MODULES.get(label):
        return True
    path = Path(apps.get_app_config(label).path)
    return not path.is_relative_to(_DJANGO) and not _INSTALLED.intersection(path.parts)


def add_fields(model: type[Model], fields: Mapping[str, Field[Any, Any]], owner: str) -> None:
    """Add copies of ``fields``, after the model's own. Leaves out what is there already."""
    if model._meta.proxy or not is_own(model):
        return
    for name, field in fields.items():
        if get_obstacle(model, name, field) is None:
            added = copy.deepcopy(field)
            # Fields are in the order of their making: a row is loaded by it.
            added.creation_counter = Field.creation_counter
            Field.creation_counter += 1
            _add(model, name, added, owner)


def add_managers(model: type[Model], managers: Mapping[str, Manager[Any]], owner: str) -> None:
    """Add copies of ``managers``, after the model's own, so that its default manager stays."""
    for name, manager in managers.items():
        if get_obstacle(model, name, manager) is None:
            added: Any = copy.copy(manager)
            added._set_creation_counter()
            _add(model, name, added, owner)


def add_attributes(
    model: type[Model], attributes: Mapping[str, Any], owner: str, is_late: bool = False
) -> None:
    """Set attributes on the class: functions become methods."""
    for name, value in attributes.items():
        if get_obstacle(model, name, value) is None:
            _add(model, name, value, owner)
            if hasattr(type(value), "__set_name__"):
                value.__set_name__(model, name)
            if is_late:
                _late.append((model, name))


def _add(model: type[Model], name: str, value: Any, owner: str) -> None:
    model.add_to_class(name, value)
    _added[model, name] = owner


def get_obstacle(model: type[Model], name: str, value: Any) -> str | None:
    """Why ``name`` cannot be added to ``model``."""
    if not str(name).isidentifier():
        return "it is no name"
    if isinstance(value, Field) and value.primary_key:
        return "the model has a primary key"
    if is_taken(model, name) and (model, name) not in _late:
        return "the model has something of this name"
    return None


def is_taken(model: type[Model], name: str) -> bool:
    """Has the model something of this name? What each object has, such as ``__str__``, does not
    count unless the model has one of its own."""
    present = getattr(model, name, None)
    is_common = name.startswith("__") and present is getattr(Model, name, None)
    return hasattr(model, name) and not is_common


def was_added(model: type[Model], name: str, owner: str) -> bool:
    """Did ``owner`` add it to the model, or to one that the model inherits from?"""
    return any(_added.get((base, name)) == owner for base in model.__mro__)


def take_back() -> None:
    """Remove what was added after the start."""
    while _late:
        model, name = _late.pop()
        delattr(model, name)
        del _added[model, name]


def check(
    receiver: str,
    owner: str,
    model: type[Model],
    is_named: bool,
    fields: Mapping[str, Field[Any, Any]],
    managers: Mapping[str, Manager[Any]],
    attributes: Mapping[str, Any],
) -> None:
    """Raise Misconfigured if anything of this is not there, and will not be."""
    if is_named and fields and not is_own(model):
        raise Misconfigured(
            "E039",
            f"{receiver} adds the field {next(iter(fields))!r} to {model._meta.label}, whose app "
            f"is an installed package: its migrations are not yours.",
            "Add methods and properties alone, keep the values in a model of your own with a "
            "one-to-one field, or name a module of yours for the app in MIGRATION_MODULES.",
        )
    has_fields = is_own(model) and not model._meta.proxy
    early = {**(fields if has_fields else {}), **managers}
    for name, value in {**early, **attributes}.items():
        if was_added(model, name, owner):
            continue
        if reason := get_obstacle(model, name, value):
            raise Misconfigured(
                "E041",
                f"{receiver} cannot add {name!r} to {model._meta.label}: {reason}.",
                "Choose another name, or leave the model out.",
            )
        if name in early:
            raise Misconfigured(
                "E040",
                f"{receiver} comes too late to add {name!r} to {model._meta.label}.",
                "Fields and managers are added while models are made: write the class into the "
                "extensions.py of an app, and start anew.",
            )
