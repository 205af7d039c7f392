"""Functions of receivers, and their connections to Django's signals."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from django.dispatch import Signal

from django_signal_kit.conf import conf
from django_signal_kit.receiver import ModelReceiver, Receiver
from django_signal_kit.wiring import catalog, measuring
from django_signal_kit.wiring.dispatch import make_function
from django_signal_kit.writes import rowwise


@dataclass(frozen=True)
class Connection:
    """A function of the kit that is connected to a signal."""

    receiver: Receiver
    signal_name: str
    signal: Signal
    function: Callable[..., Any]
    sender: Any
    uid: str


def make_functions(receiver: Receiver) -> dict[str, Callable[..., Any]]:
    """Name of each signal that a receiver hears as it is set -> what to connect to it."""
    methods = receiver.get_methods(catalog.get_paths())
    functions = {name: make_function(receiver, name, method) for name, method in methods.items()}
    if not isinstance(receiver, ModelReceiver):
        return functions
    if receiver.bulk and conf.BULK_SIGNALS:
        is_watched = bool(measuring.wrappers) or receiver.on_error == "log"
        return functions | rowwise.make_functions(receiver, functions, is_watched=is_watched)
    return {name: made for name, made in functions.items() if name not in catalog.BULK_SIGNALS}


def connect_all(connections: Iterable[Connection]) -> None:
    """Connect each of them, knowing that none is connected yet.

    ``Signal.connect()`` compares with all that are there, which for all models of a project takes
    the square of their number.
    """
    groups: dict[Signal, list[Connection]] = {}
    for connection in connections:
        signal, sender = connection.signal, connection.sender
        if sender is None:
            signal.connect(connection.function, weak=False, dispatch_uid=connection.uid)
        else:
            groups.setdefault(signal, []).append(connection)
    for signal, group in groups.items():
        alone: Any = Signal()
        if hasattr(signal, "_flag_dead_receivers"):
            # Whose sender is gone is said to the signal itself.
            alone._flag_dead_receivers = signal._flag_dead_receivers
        items = []
        for connection in group:
            alone.connect(
                connection.function,
                sender=connection.sender,
                weak=False,
                dispatch_uid=connection.uid,
            )
            items.append(alone.receivers.pop())
        with signal.lock:
            signal.receivers.extend(items)
            signal.sender_receivers_cache.clear()
