"""What happens when a row is written: a tree, in the order in which it happens, and who acts in
it."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator
from functools import partial
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.db.models import Model

from django_signal_kit.exceptions import is_of_kit
from django_signal_kit.options import get_options
from django_signal_kit.receiver import Receiver
from django_signal_kit.sight.places import find_source
from django_signal_kit.wiring.listing import (
    TRIGGERS,
    get_acts,
    get_function,
    get_left,
    get_loaded_signal,
    get_own_senders,
    get_path,
    get_receiver,
)
from django_signal_kit.wiring.registry import registry

#: What a program does, and the signals of it in their order.
WRITES = {
    "a row is loaded or made": ("pre_init", "post_init"),
    "save()": ("pre_save", "post_save"),
    "delete()": ("pre_delete", "post_delete"),
    "links change": ("m2m_changed",),
    "bulk_create()": ("pre_bulk_create", "post_bulk_create"),
    "bulk_update()": ("pre_bulk_update", "post_bulk_update"),
    "QuerySet.update()": ("pre_queryset_update", "post_queryset_update"),
}
_CHANGE = "rows change in the database, whoever writes"
#: What a docstring has for Sphinx, and a literal.
_ROLE = re.compile(r"(?::[\w:]+:`|``)(?P<target>[^`]*)`{1,2}")
_WHEN: dict[Any, str] = {
    "before_commit": "then, before the commit",
    "after_commit": "after the commit",
    "task": "in a task",
}


def tell_story(model: type[Model], width: int) -> Iterator[str]:
    """Lines of text, of at most ``width`` columns where that can be."""
    yield model._meta.label
    chapters = [(write, list(_list_signals(model, names))) for write, names in WRITES.items()]
    branches = [(write, _branch(signals)) for write, signals in chapters if signals]
    capturing = _list_capturing(model)
    if capturing:
        branches.append((_CHANGE, [(TRIGGERS, [(each.name, []) for each in capturing])]))
    yield from _draw(branches, "")
    functions = [f for _, signals in chapters for _, found in signals for f in found]
    owners = [f if (found := get_receiver(f)) is None else found for f in functions]
    for thing in _without_doubles([*owners, *capturing]):
        yield ""
        yield from _introduce(thing, width)


def _list_signals(model: type[Model], names: tuple[str, ...]) -> Iterator[tuple[str, list[Any]]]:
    for name in names:
        senders = {id(None), *map(id, get_own_senders(model, name))}
        signal = get_loaded_signal(name)
        items = [] if signal is None else [i for i in signal.receivers if i[0][1] in senders]
        functions = [function for item in items if (function := get_function(item)) is not None]
        # A through model that the row has two relations to is one sender each.
        if functions:
            yield name, sorted(_without_doubles(functions), key=iscoroutinefunction)


def _list_capturing(model: type[Model]) -> list[Receiver]:
    """Those whose work triggers do there."""
    senders = set(get_own_senders(model))
    return [each for each in registry.receivers if not senders.isdisjoint(get_left(each))]


def _without_doubles(things: list[Any]) -> list[Any]:
    """Told apart by where they lie: some objects have no hash, and a method is made anew each time
    that it is asked for."""

    def find(thing: Any) -> tuple[int, int]:
        return id(getattr(thing, "__self__", thing)), id(getattr(thing, "__func__", thing))

    return list({find(thing): thing for thing in things}.values())


def _branch(signals: list[tuple[str, list[Any]]]) -> list[tuple[str, list[Any]]]:
    """Text and branches: each signal with its receivers, then what they do later."""
    branches: list[tuple[str, list[Any]]] = []
    later: dict[str, dict[str, None]] = {}
    for name, functions in signals:
        branches.append((name, [(_tell(f), []) for f in functions]))
        for function in functions:
            receiver = get_receiver(function)
            acts = None if receiver is None else get_acts(receiver)
            if receiver is not None and acts in _WHEN:
                later.setdefault(str(acts), {})[receiver.name] = None
    for acts, when in _WHEN.items():
        if acts in later:
            branches.append((f"{when}: {', '.join(later[acts])}", []))
    return branches


def _draw(branches: list[tuple[str, list[Any]]], stem: str) -> Iterator[str]:
    for number, (text, inner) in enumerate(branches, start=1):
        is_last = number == len(branches)
        yield f"{stem}{'└' if is_last else '├'}─ {text}"
        yield from _draw(inner, stem + ("   " if is_last else "│  "))


def _tell(function: Any) -> str:
    receiver = get_receiver(function)
    name = get_path(function) if receiver is None else receiver.name
    return f"{name} (async)" if iscoroutinefunction(function) else name


def _introduce(thing: Any, width: int) -> Iterator[str]:
    """Its name, where it is if it is not the kit's, the first sentence of its docstring, and its
    options that are not the defaults."""
    if isinstance(thing, Receiver):
        path, options = get_path(type(thing)), get_changed_options(thing)
        yield thing.name if path.endswith(f".{thing.name}") else f"{thing.name} ({path})"
        doc = get_summary(type(thing))
    else:
        options = {}
        yield get_path(thing)
        thing = thing.func if isinstance(thing, partial) else thing
        doc = get_summary(thing)
        if place := find_source(thing):
            yield f"    {place}"
    for text in (doc, *(f"{name} = {value!r}" for name, value in options.items())):
        yield from textwrap.wrap(text, width, initial_indent="    ", subsequent_indent="      ")


def get_changed_options(receiver: Receiver) -> dict[str, Any]:
    """The options that are not as in the kit's own class, or as in its own if it is none."""
    base = next((cls for cls in type(receiver).__mro__ if is_of_kit(cls)), type(receiver))
    own, defaults = get_options(type(receiver)), get_options(base)
    values = {name: getattr(receiver, name) for name in own}
    return {
        name: value
        for name, value in values.items()
        if name not in defaults or value != defaults[name]
    }


def get_summary(thing: Any) -> str:
    """The first sentence of its own docstring, on one line."""
    doc = inspect.cleandoc(getattr(thing, "__doc__", None) or "")
    text = " ".join(doc.partition("\n\n")[0].split())
    first, stop, _ = text.partition(". ")
    return _ROLE.sub(_say_target, first + stop.strip())


def _say_target(role: re.Match[str]) -> str:
    """As Sphinx shows it: of what begins with a tilde the last part."""
    target = role["target"]
    return target.rpartition(".")[2] if target.startswith("~") else target
