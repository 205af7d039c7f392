"""What counts the calls of receivers, or measures them, stands round their methods."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from django_signal_kit.receiver import Receiver

Function: TypeAlias = Callable[..., Any]
#: Is given a receiver, the name of a signal, or "collect" or "flush", and the method, which may be
#: async; returns what is called in its place.
Wrapper: TypeAlias = Callable[[Receiver, str, Function], Function]

#: What counts calls, or measures them. Without any the methods themselves are called. Those that
#: come later have to be there before the receivers are connected.
wrappers: list[Wrapper] = []


def wrap(receiver: Receiver, name: str, method: Function) -> Function:
    for wrapper in wrappers:
        method = wrapper(receiver, name, method)
    return method


def wrap_own(receiver: Receiver) -> None:
    """What the receiver itself, or whoever flushes it, calls of it."""
    for name in vars(receiver).pop("_wrapped", ()):
        delattr(receiver, name)
    methods = {name: getattr(receiver, name) for name in ("collect", "flush")}
    wrapped = {name: wrap(receiver, name, method) for name, method in methods.items()}
    changed = {name: made for name, made in wrapped.items() if made is not methods[name]}
    if changed:
        vars(receiver).update(changed, _wrapped=[*changed])


def get_packed(method: Function) -> Callable[[dict[str, Any]], Any] | None:
    """The same with its arguments as one dict, if it is of a wrapper that takes them so: to pack
    them once more costs more than what it does. What wraps it in turn has but copied that."""
    function, packed = getattr(method, "packed", (None, None))
    return packed if function is method else None
