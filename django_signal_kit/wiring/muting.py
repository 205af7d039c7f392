"""``muted()`` and ``only()``: receivers that are not called for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from inspect import getattr_static
from typing import Any, TypeVar
from unittest import TestCase

from django_signal_kit.current import Muting
from django_signal_kit.exceptions import did_you_mean
from django_signal_kit.receiver import Receiver
from django_signal_kit.wiring.registry import registry

T = TypeVar("T")

#: The class methods of a factory of factory-boy in which rows are made, and saved once more.
_MAKING = ("_generate", "_create", "_after_postgeneration")


class Muted(Muting):
    """Some receivers are not called inside of a block, a decorated function or a class.

    Of a ``unittest.TestCase`` all of it is muted: ``setUpClass()``, ``setUpTestData()`` and each
    test with its ``setUp()`` and ``tearDown()``; of another class its methods whose names begin
    with ``test``; of a factory of factory-boy what makes its rows.
    """

    def copy(self) -> Muted:
        return Muted(self.get_names)

    def __call__(self, thing: T) -> T:
        if not isinstance(thing, type):
            return super().__call__(thing)  # type: ignore[type-var]
        if issubclass(thing, TestCase):
            thing.run = super().__call__(thing.run)  # type: ignore[method-assign]
            self._wrap_class_method(thing, "setUpClass")
        elif hasattr(thing, "_generate") and hasattr(thing, "_create"):
            for name in _MAKING:
                if hasattr(thing, name):
                    self._wrap_class_method(thing, name)
        else:
            self._wrap_tests(thing)
        return thing

    def _wrap_class_method(self, cls: type, name: str) -> None:
        method = getattr(cls, name).__func__

        @wraps(method)
        def muted(*args: Any, **kwargs: Any) -> Any:
            with self.copy():
                return method(*args, **kwargs)

        setattr(cls, name, classmethod(muted))

    def _wrap_tests(self, cls: type) -> None:
        tests: dict[str, Any] = {
            name: _get_own(cls, name)
            for name in dir(cls)
            if name.startswith("test") and callable(getattr(cls, name))
        }
        if not tests:
            raise TypeError(
                f"{cls.__module__}.{cls.__qualname__} is neither a test class nor a factory: "
                f"muted() and only() decorate these, and functions."
            )
        for name, test in tests.items():
            if isinstance(test, staticmethod | classmethod):
                kind: Callable[..., Any] = type(test)
                setattr(cls, name, kind(super().__call__(test.__func__)))
            else:
                setattr(cls, name, super().__call__(test))


def _get_own(cls: type, name: str) -> Any:
    """As it was defined, where that is a static method or a class method."""
    found = getattr_static(cls, name)
    return found if isinstance(found, staticmethod | classmethod) else getattr(cls, name)


def get_names(receivers: Iterable[str | type[Receiver]]) -> frozenset[str]:
    """The names of the connected receivers meant by names or classes (their subclasses too).

    Raises LookupError for one that is not connected, TypeError for what is neither.
    """
    names: set[str] = set()
    known = [receiver.name for receiver in registry.receivers]
    for given in receivers:
        if isinstance(given, str):
            if given not in known:
                raise LookupError(
                    f"No receiver is named {given!r}. {did_you_mean(given, known)}".rstrip()
                )
            names.add(given)
        elif isinstance(given, type) and issubclass(given, Receiver):
            found = {known.name for known in registry.receivers if isinstance(known, given)}
            if not found:
                raise LookupError(f"No receiver of the class {given.__qualname__} is connected.")
            names |= found
        else:
            raise TypeError(
                f"{given!r} is neither the name nor the class of a receiver of the kit. A plain "
                f"function cannot be muted: Django calls it, not the kit."
            )
    return frozenset(names)


def muted(*receivers: str | type[Receiver]) -> Muted:
    """Inside ``with muted("AuditLog", WelcomeEmail):`` these receivers are not called.

    By name or class, in this thread and this async task only; nests, and never touches
    ``signal.receivers``. What they collected before is still flushed. Decorates functions, test
    classes and factories: see :class:`Muted`. Raises LookupError for an unknown name and TypeError
    for a plain function.
    """
    get_names(receivers)
    return Muted(lambda: get_names(receivers))


def only(*receivers: str | type[Receiver]) -> Muted:
    """Inside ``with only("AuditLog"):`` the kit's other receivers are not called."""
    get_names(receivers)
    return Muted(
        lambda: frozenset(receiver.name for receiver in registry.receivers) - get_names(receivers)
    )
