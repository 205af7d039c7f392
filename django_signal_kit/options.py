"""Options of a receiver: every public attribute, declared on its class, that is not callable."""

from __future__ import annotations

import sys
import types
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from inspect import get_annotations, isroutine
from typing import Any, Literal, Union, get_args, get_origin

from django_signal_kit.exceptions import Misconfigured, did_you_mean

_ABSENT = object()
_CONTAINERS = (Sequence, Iterable, Collection)
_PLURALS = (list, tuple, set, frozenset)


def get_options(cls: type) -> dict[str, Any]:
    """The names of the options of a receiver class and their defaults, base classes first."""
    options: dict[str, Any] = {}
    for base in reversed(cls.__mro__[:-1]):
        for name, value in vars(base).items():
            if name in options or (not name.startswith("_") and not _is_behaviour(value)):
                options[name] = value
    return options


def _is_behaviour(value: object) -> bool:
    return callable(value) or isroutine(value) or isinstance(value, property | cached_property)


def check_options(cls: type, options: Mapping[str, Any]) -> None:
    """Raise Misconfigured for the first option that ``cls`` lacks or that has a wrong type."""
    known = get_options(cls)
    for name, value in options.items():
        if name not in known:
            raise Misconfigured(
                "E006",
                f"{cls.__qualname__} has no option {name!r}.",
                did_you_mean(name, known),
            )
        _check_type(cls, name, value, known[name])
    for name, value in known.items():
        if name not in options:
            _check_type(cls, name, value, _ABSENT)


def check_names(
    receiver: str, option: str, names: Iterable[Any], known: Iterable[str], lack: str
) -> None:
    """Raise Misconfigured for the first of the ``names`` in an option that is none of those that
    are known. ``lack`` ends the sentence: "and no model that it covers has such a field"."""
    known = set(known)
    for name in names:
        if name not in known:
            raise Misconfigured(
                "E012",
                f"The option {option!r} of {receiver} has {name!r}, {lack}.",
                did_you_mean(name, known),
            )


def _check_type(cls: type, name: str, value: object, default: object) -> None:
    hint = _get_hint(cls, name)
    if hint is None and default is not None and default is not _ABSENT:
        hint = type(default)
    if hint is not None and not _matches(value, hint):
        raise Misconfigured(
            "E007",
            f"The option {name!r} of {cls.__qualname__} is {value!r}, "
            f"of type {type(value).__name__}.",
            f"It has to be {_describe(hint)}.",
        )


def _get_hint(cls: type, name: str) -> Any:
    """The type that an option is annotated with, or None if it is not, or cannot be evaluated
    (its names may be imported under TYPE_CHECKING only)."""
    for base in cls.__mro__:
        try:
            hint = get_annotations(base).get(name)
        except NameError:
            continue
        if hint is None:
            continue
        if isinstance(hint, str):
            module = sys.modules.get(base.__module__)
            try:
                return eval(hint, dict(vars(module)) if module else {})
            except Exception:
                return None
        return hint
    return None


def _matches(value: object, hint: Any) -> bool:
    if hint is Any or hint is object:
        return True
    origin = get_origin(hint) or hint
    if origin is Literal:
        # 1 equals True, and is not meant by it.
        return any(
            value == choice and isinstance(value, bool) is isinstance(choice, bool)
            for choice in get_args(hint)
        )
    if origin in (Union, types.UnionType):
        return any(_matches(value, part) for part in get_args(hint))
    if hint is None or hint is type(None):
        return value is None
    if isinstance(origin, type):
        if issubclass(origin, Mapping):
            return isinstance(value, Mapping)
        if _is_plural(origin):
            # A string is a sequence too, but never what is meant by one.
            return isinstance(value, _PLURALS) and _match_items(value, hint)
        if isinstance(value, bool):
            return origin is bool
        return isinstance(value, (int, float) if origin is float else origin)
    return True


def _is_plural(origin: type) -> bool:
    return origin in _CONTAINERS or (
        issubclass(origin, Collection) and not issubclass(origin, str | bytes)
    )


def _match_items(values: Iterable[object], hint: Any) -> bool:
    item = get_args(hint)[0] if get_args(hint) else Any
    return all(_matches(value, item) for value in values)


def _describe(hint: Any) -> str:
    origin, args = get_origin(hint) or hint, get_args(hint)
    if hint is Any or hint is object:
        return "anything"
    if origin is Literal:
        return " or ".join(map(repr, args))
    if origin in (Union, types.UnionType):
        return " or ".join(_describe(part) for part in args)
    if hint is None or hint is type(None):
        return "None"
    if isinstance(origin, type):
        if issubclass(origin, Mapping):
            return "a dict"
        if _is_plural(origin):
            items = _describe(args[0]) if args else "anything"
            return "a list" if items == "anything" else f"a list, each item {items}"
    names = {str: "a string", bool: "True or False", int: "a whole number", float: "a number"}
    return names.get(hint, f"a {getattr(hint, '__name__', hint)}")
