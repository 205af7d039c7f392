"""Receivers that start happily, and could do nothing as they are set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django_signal_kit.exceptions import Misconfigured, join
from django_signal_kit.receiver import Receiver
from django_signal_kit.wiring import catalog

# By these a receiver hears without a method that is named after a signal.
_LISTENING = ("get_methods", "links_changed")


def check_idle(
    receiver: Receiver,
    base: type[Receiver],
    options: Sequence[str],
    hooks: Sequence[str] = (),
    *,
    is_set: bool | None = None,
) -> None:
    """Raise Misconfigured if ``options``, of the ready-made class ``base``, give ``receiver``
    nothing to do, and its own class neither overrides one of ``hooks`` nor receives a signal by a
    method of its own.

    ``is_set``: whether the options give it something to do; by default if one is not empty.
    """
    if is_set is None:
        is_set = any(getattr(receiver, option) for option in options)
    if is_set or overrides(receiver, base, (*hooks, *catalog.get_paths(), *_LISTENING)):
        return
    values = [f"{option}={getattr(receiver, option)!r}" for option in options]
    remedies = [f"Set the option {join(map(repr, options), 'or')}"]
    if hooks:
        remedies.append(f"override {join((f'{hook}()' for hook in hooks), 'or')}")
    raise Misconfigured(
        "E046",
        f"{receiver.name} can do nothing with {join(values)}.",
        f"{', or '.join(remedies)}.",
    )


def overrides(receiver: Receiver, base: type[Receiver], names: Iterable[str]) -> bool:
    """Has the class of ``receiver`` a method of its own in the place of one of ``base``, or of
    one that ``base`` does not have?"""
    cls = type(receiver)
    return cls is not base and any(
        callable(own := getattr(cls, name, None)) and own is not getattr(base, name, None)
        for name in names
    )
