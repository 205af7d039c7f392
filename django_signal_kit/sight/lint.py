"""What is wired in a way that bites later, the kit's receivers and others'."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.apps import apps

from django_signal_kit import receivers
from django_signal_kit.exceptions import join
from django_signal_kit.wiring import catalog
from django_signal_kit.wiring.listing import get_function, get_path, get_receiver, get_signals
from django_signal_kit.wiring.registry import registry
from django_signal_kit.wiring.sender_names import ANY, get_senders

_DELETING = ("pre_delete", "post_delete", "m2m_changed")
_OF_ROWS = frozenset((*catalog.MODEL_SIGNALS, "m2m_changed"))


def find_flaws() -> Iterator[str]:
    """One sentence each, signal by signal in the order in which Django calls."""
    connected = [(name, list(signal.receivers)) for name, signal in get_signals()]
    senders = get_senders(item for _, items in connected for item in items)
    for name, items in connected:
        called = [(senders[item[0][1]], item, get_function(item)) for item in items]
        yield from _find_doubles(name, called)
        for sender, item, function in called:
            if function is None:
                yield (
                    f"{name}: a receiver of {_tell(sender)} is gone. Django holds functions "
                    f"weakly: connect one that is defined within another with weak=False."
                )
            else:
                yield from _find_flaws_of(name, sender, item, function)
    yield from _find_logs()


def _find_flaws_of(
    name: str, sender: str, item: Any, function: Callable[..., Any]
) -> Iterator[str]:
    path = get_path(function)
    is_of_kit = get_receiver(function) is not None
    if sender == ANY and name in _DELETING and not is_of_kit:
        slow = "keeps Django from deleting rows of any model without loading them"
        what = "hears each relation of the project" if name == "m2m_changed" else slow
        yield f"{name}: {path} is connected to all senders, which {what}. Name the sender."
    if name in _OF_ROWS and iscoroutinefunction(function):
        yield (
            f"{name}: {path} is async: each synchronous write starts an event loop for it. Make "
            f"it synchronous, or collect and flush after the commit."
        )
    is_weak = item[1] is not function
    if is_weak and "<locals>" in path:
        yield (
            f"{name}: {path} is defined within a function and held weakly: it is gone as soon as "
            f"nobody else holds it. Connect it with weak=False."
        )


def _find_doubles(name: str, called: list[tuple[str, Any, Any]]) -> Iterator[str]:
    """One function that is connected twice to what one sender sends."""
    plain = [
        (sender, function)
        for sender, _, function in called
        if function is not None and get_receiver(function) is None
    ]
    of_all = {id(function) for sender, function in plain if sender == ANY}
    counts = Counter((sender, _identify(function)) for sender, function in plain)
    paths = {_identify(function): get_path(function) for _, function in plain}
    for (sender, same), count in counts.items():
        if count > 1:
            yield (
                f"{name}: {paths[same]} is connected {count} times to {_tell(sender)}, and is "
                f"called as often. Give it a dispatch_uid, and connect it where modules are "
                f"imported once."
            )
    for sender, function in plain:
        if sender != ANY and id(function) in of_all:
            yield (
                f"{name}: {get_path(function)} is connected to all senders, and to "
                f"{_tell(sender)} once more: it is called twice."
            )


def _identify(function: Any) -> Any:
    """The same for a function that has been made twice, as by a module under two names."""
    code = getattr(function, "__code__", None)
    if not isinstance(code, CodeType):
        return id(function)
    return code.co_filename, code.co_firstlineno, id(getattr(function, "__self__", None))


def _find_logs() -> Iterator[str]:
    """Models whose changes several logs record."""
    if not apps.is_installed("django_signal_kit.audit"):
        return
    logs: dict[str, list[str]] = {}
    for receiver in registry.receivers:
        if isinstance(receiver, receivers.AuditLog):
            for model in registry.get_models(receiver):
                logs.setdefault(model._meta.label, []).append(receiver.name)
    for label, names in logs.items():
        if len(names) > 1:
            yield f"{label} is covered by {join(names)}: each of them records its changes."


def _tell(sender: str) -> str:
    return "all senders" if sender == ANY else sender
