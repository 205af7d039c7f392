"""The wired receivers by name, as a task names the one that flushes it."""

from __future__ import annotations

from collections.abc import Iterable

from django_signal_kit.exceptions import did_you_mean
from django_signal_kit.tasks.options import TaskReceiver

_receivers: dict[str, TaskReceiver] = {}


def settle(receivers: Iterable[TaskReceiver]) -> None:
    """These are wired now, and no others."""
    found = {receiver.name: receiver for receiver in receivers}
    _receivers.clear()
    _receivers.update(found)


def get_receiver(name: str) -> TaskReceiver:
    """Raises LookupError if no wired receiver has that name, as in a worker of another version."""
    try:
        return _receivers[name]
    except KeyError:
        guess = did_you_mean(name, _receivers) or "No receiver is wired."
        raise LookupError(
            f"No receiver is named {name!r} here, so its task cannot be flushed. {guess}"
        ) from None
