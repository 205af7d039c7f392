"""The names of a project's receiver classes: a method that nobody would call is told at start-up.

Which names are hooks is derived: the public methods of the bases of a class. Nothing is asked of
the kit's own classes, so that a ready-made receiver costs nothing here.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from functools import partialmethod
from typing import Any, NamedTuple

from django_signal_kit.exceptions import Misconfigured, did_you_mean, is_of_kit, tell_class
from django_signal_kit.options import get_options
from django_signal_kit.receiver import Receiver
from django_signal_kit.wiring.near import find_near

#: A public method that begins so is meant to be called by the kit.
PREFIXES = ("get_", "should_", "pre_", "post_")

_NO_HELPER = "A helper of your own starts with an underscore"


class Own(NamedTuple):
    """A public attribute that a class of the project declares, and nobody overrides."""

    owner: type
    name: str
    value: Any
    #: The class whose method of this name is overridden: of the kit, or a receiver class of the
    #: project. None if there is none.
    base: type | None


def list_own(cls: type[Receiver]) -> Iterator[Own]:
    """What ``cls`` and its bases declare outside the kit."""
    mro = cls.__mro__[:-1]
    seen: set[str] = set()
    for place, owner in enumerate(mro):
        if is_of_kit(owner):
            seen |= vars(owner).keys()
            continue
        for name, value in vars(owner).items():
            if not name.startswith("_") and name not in seen:
                seen.add(name)
                yield Own(owner, name, value, _find_base(mro[place + 1 :], name))


def _find_base(bases: Iterable[type], name: str) -> type | None:
    found = [base for base in bases if is_method(vars(base).get(name))]
    of_kit = [base for base in found if is_of_kit(base)]
    return next((base for base in [*of_kit, *found] if issubclass(base, Receiver)), None)


def is_method(value: object) -> bool:
    """Is this value, of the namespace of a class, called as a method?"""
    return isinstance(value, classmethod | staticmethod | partialmethod) or (
        callable(value) and not isinstance(value, type)
    )


def is_generator(method: Any) -> bool:
    """Is nothing of it run when it is called?"""
    return inspect.isgeneratorfunction(method) or inspect.isasyncgenfunction(method)


def check_names(cls: type[Receiver], signal_names: Iterable[str]) -> None:
    """Raise Misconfigured for a method that nobody would call, or a hook that cannot be called."""
    signals = set(signal_names)
    for own in list_own(cls):
        if own.name in signals:
            continue
        if own.base is not None and not is_method(own.value):
            raise Misconfigured(
                "E045",
                f"{tell_class(own.owner)}.{own.name} has the name of a hook, and is no method.",
                f"Write def {own.name}{_get_signature(own)}, or choose another name.",
            )
        if own.base is None and is_method(own.value):
            _check_new_name(cls, own, signals)


def _check_new_name(cls: type[Receiver], own: Own, signals: set[str]) -> None:
    """``own`` is a method that overrides none of a receiver."""
    others = [base for base in cls.__mro__[:-1] if base is not own.owner]
    if any(own.name in vars(base) for base in others):
        return
    methods = {name for base in others for name, value in vars(base).items() if is_method(value)}
    known = {name for name in methods | signals if not name.startswith("_")}
    near = find_near(own.name, known)
    if near is not None:
        hint = f"Did you mean {near!r}? {_NO_HELPER}."
    elif own.owner is cls and own.name.startswith(PREFIXES):
        guess = did_you_mean(own.name, known, " ")
        hint = f"{guess} {_NO_HELPER}, or stands in a base class of your own.".strip()
    else:
        return
    raise Misconfigured(
        "E009",
        f"{tell_class(own.owner)}.{own.name}() has the name of no signal and of no hook, so it is "
        f"never called.",
        hint,
    )


def _get_signature(own: Own) -> str:
    parameters = inspect.signature(getattr(own.base, own.name)).parameters.values()
    return say_parameters(parameters)


def say_parameters(parameters: Iterable[inspect.Parameter]) -> str:
    """``"(self, instance, **kwargs)"``: as one writes them, without types."""
    plain = [each.replace(annotation=inspect.Parameter.empty) for each in parameters]
    return str(inspect.Signature(plain, __validate_parameters__=False))


def list_option_slips(cls: type[Receiver]) -> Iterator[tuple[str, str]]:
    """(path of an attribute, the option of which its name is a slip): it has become an option of
    its own, which nobody reads."""
    for own in list_own(cls):
        bases = [base for base in cls.__mro__ if not issubclass(base, own.owner)]
        known = {
            name for base in bases if issubclass(base, Receiver) for name in get_options(base)
        }
        if own.name in known or own.name not in get_options(own.owner):
            continue
        near = find_near(own.name, known)
        if near is not None:
            yield f"{tell_class(own.owner)}.{own.name}", near
