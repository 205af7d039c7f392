"""Finds who calls Django's own methods past the hooks, because he took them before the hooks came.

What a function calls cannot be known for certain: its closure, its defaults, the globals that it
names, and what it says to wrap are looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from types import CellType, FunctionType, MethodType
from typing import Any

from django.apps import apps
from django.db.models import Model, QuerySet
from django.db.models.fields import related_descriptors

#: What Django has, if nobody has wrapped it before this module was imported.
_DJANGO_SAVE_BASE = Model.save_base
_DJANGO_BULK = {name: getattr(QuerySet, name) for name in ("bulk_create", "bulk_update", "update")}

_LIMIT = 500
# Nothing else is touched: to look at a lazy object would make it.
_KINDS = (FunctionType, MethodType, classmethod, staticmethod, partial)


def mark(hook: Any) -> Any:
    """Say that it is a hook of the kit. What wraps it is none, though it gets its attributes."""
    hook.signal_kit_hook = hook
    return hook


def leads_to(function: Any, wanted: Any) -> bool:
    """Is it ``wanted``, or something that calls ``wanted`` without calling a hook of the kit?"""
    seen: dict[int, Any] = {}
    waiting = [function]
    while waiting and len(seen) < _LIMIT:
        found = waiting.pop()
        if found is wanted:
            return True
        if type(found) not in _KINDS or id(found) in seen:
            continue
        seen[id(found)] = found
        if getattr(found, "signal_kit_hook", None) is not found:
            waiting += _get_parts(found)
    return False


def list_past(
    saved: Iterable[type[Model]], bulk: Iterable[type[Model]], linked: Iterable[type[Model]]
) -> Iterator[tuple[str, str]]:
    """What goes past the hooks, and the method of Django that it calls: of models whose saves,
    whose bulk writes, and of through models whose links are to be heard."""
    for model in dict.fromkeys(saved):
        for cls in model.__mro__[: model.__mro__.index(Model)]:
            if leads_to(vars(cls).get("save_base"), _DJANGO_SAVE_BASE):
                yield f"{model._meta.label}.save()", "Model.save_base"
                break
    for model in dict.fromkeys(bulk):
        for name, original in _DJANGO_BULK.items():
            for manager in model._meta.managers:
                classes: Iterable[type] = getattr(manager, "_queryset_class", QuerySet).__mro__
                owners = [cls for cls in classes if cls is not QuerySet]
                if any(leads_to(vars(cls).get(name), original) for cls in owners):
                    yield f"{model._meta.label}.{manager.name}.{name}()", f"QuerySet.{name}"
    throughs = {*linked}
    for model in apps.get_models():
        for name, descriptor in list(vars(model).items()):
            is_link = isinstance(descriptor, related_descriptors.ManyToManyDescriptor)
            if not is_link or descriptor.through not in throughs:
                continue
            if not hasattr(descriptor.related_manager_cls, "signal_kit_hook"):
                yield f"{model._meta.label}.{name}", "create_forward_many_to_many_manager"


def _get_parts(function: Any) -> Iterator[Any]:
    if isinstance(function, partial):
        yield from (function.func, *function.args, *function.keywords.values())
        return
    yield getattr(function, "__wrapped__", None)
    if not isinstance(function, FunctionType):
        yield function.__func__
        return
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()
    yield from (_get_content(cell) for cell in function.__closure__ or ())
    yield from (function.__globals__.get(name) for name in function.__code__.co_names)


def _get_content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        # Nothing has been put into it yet.
        return None
