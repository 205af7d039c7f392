"""Options of a receiver: every public attribute, declared on its class, that is not callable."""

from __future__ import annotations

import sys
import types
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache, cached_property
from inspect import get_annotations, isroutine
from typing import Any, Literal, Union, get_args, get_origin

from django_signal_kit.exceptions import Misconfigured, did_you_mean, is_of_kit, tell_class

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
                f"{tell_class(cls)} has no option {name!r}.",
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
    if hint is None or _matches(value, hint):
        return
    where = f"The option {name!r} of {tell_class(cls)}"
    if isroutine(value):
        getter = f"get_{name}"
        remedy = f"Override {getter}() in its place." if hasattr(cls, getter) else "Rename it."
        raise Misconfigured("E007", f"{where} is a method.", remedy)
    for part in get_args(hint) if _is_union(hint) else (hint,):
        if isinstance(value, _PLURALS) and _is_list(part):
            wrong = next(item for item in value if not _match_items([item], part))
            raise Misconfigured(
                "E007",
                f"{where} has the item {wrong!r}, of type {type(wrong).__name__}.",
                f"Each item has to be {describe(get_args(part)[0])}.",
            )
    raise Misconfigured(
        "E007",
        f"{where} is {value!r}, of type {type(value).__name__}.",
        f"It has to be {describe(hint)}.{_say_list(value, hint) or _say_known(cls, name)}",
    )


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, types.UnionType)


def _is_list(hint: Any) -> bool:
    origin = get_origin(hint) or hint
    return isinstance(origin, type) and not issubclass(origin, Mapping) and _is_plural(origin)


def _say_list(value: object, hint: Any) -> str:
    """`` Write ["shop.*"].``, where a list of ``value`` would be right."""
    if not isinstance(value, str | type) or not _matches([value], hint):
        return ""
    return f" Write [{say_value(value)}]."


def _say_known(cls: type, name: str) -> str:
    """What the class itself says of what to write."""
    written = getattr(cls, "_examples", {}).get(name, "")
    return f" Write {written}." if written else ""


def say_value(value: str | type) -> str:
    """As one writes it: a text in double quotes, a class by its name."""
    return f'"{value}"' if isinstance(value, str) else value.__qualname__


def _get_hint(cls: type, name: str) -> Any:
    """The type that an option is annotated with, or None if it is not, or cannot be evaluated
    (its names may be imported under TYPE_CHECKING only)."""
    for base in cls.__mro__[:-1]:
        # Most options are those of the kit's own classes, in each receiver anew.
        find = _find_hint_of_kit if is_of_kit(base) else _find_hint
        hint = find(base, name)
        if hint is not _ABSENT:
            return hint
    return None


def _find_hint(base: type, name: str) -> Any:
    try:
        hint = get_annotations(base).get(name)
    except NameError:
        return _ABSENT
    if not isinstance(hint, str):
        return _ABSENT if hint is None else hint
    module = sys.modules.get(base.__module__)
    try:
        return eval(hint, dict(vars(module)) if module else {})
    except Exception:
        return None


_find_hint_of_kit = cache(_find_hint)


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
    if _is_union(hint):
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


def describe(hint: Any) -> str:
    """What a value of this type is, in words: ``"a list, each item a string"``."""
    origin, args = get_origin(hint) or hint, get_args(hint)
    if hint is Any or hint is object:
        return "anything"
    if origin is Literal:
        return " or ".join(map(repr, args))
    if _is_union(hint):
        return " or ".join(dict.fromkeys(describe(part) for part in args))
    if hint is None or hint is type(None):
        return "None"
    if origin is type:
        return "a class"
    if isinstance(origin, type):
        if issubclass(origin, Mapping):
            return "a dict"
        if _is_plural(origin):
            items = describe(args[0]) if args else "anything"
            return "a list" if items == "anything" else f"a list, each item {items}"
    names = {str: "a string", bool: "True or False", int: "a whole number", float: "a number"}
    return names.get(hint, f"a {getattr(hint, '__name__', hint)}")
