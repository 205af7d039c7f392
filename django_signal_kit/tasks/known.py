"""The wired receivers by name, as a task names the one that flushes it."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from django_signal_kit.exceptions import did_you_mean
from django_signal_kit.tasks.options import TaskOptions, TaskReceiver, read_options

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


def find_options(name: str) -> TaskOptions:
    """How the tasks of the receiver of that name go; if none is wired, as the settings say."""
    return read_options(_receivers.get(name))


def find_receiver(name: str) -> object:
    """The receiver of that name; if none is wired, something that stands for it in a message."""
    return _receivers.get(name) or Unknown(name)


def restore_items(name: str, data: list[Any]) -> list[Any]:
    """The items as ``flush()`` would get them, where they can be restored."""
    receiver = _receivers.get(name)
    with suppress(Exception):
        return data if receiver is None else [receiver.deserialize(each) for each in data]
    return data


class Unknown:
    """A receiver that is wired elsewhere."""

    def __init__(self, name: str) -> None:
        self.name = name
