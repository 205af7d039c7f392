"""How the tasks of a receiver go."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from django_signal_kit.conf import TASK_KEYS, check_task_keys, conf
from django_signal_kit.units.pile import Flusher

#: No failed task waits longer for its next attempt, however many there were.
LONGEST = timedelta(hours=6)


class TaskReceiver(Flusher, Protocol):
    """What tasks know of a receiver."""

    @property
    def flush_on(self) -> str: ...

    @property
    def task_options(self) -> Mapping[str, Any]: ...

    def serialize(self, item: Any) -> Any: ...

    def deserialize(self, data: Any) -> Any: ...


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """The keys of ``SIGNAL_KIT["TASKS"]`` as values."""

    backend: str
    queue: str
    priority: int
    #: How often a task is run until it is given up.
    attempts: int
    #: Seconds until the second attempt; each later one waits twice as long.
    backoff: float
    #: Whether a row of the outbox stands for a task until it is enqueued; None: if needed.
    outbox: bool | None

    def get_delay(self, attempt: int) -> timedelta:
        """How long to wait when this attempt, counted from 1, has failed: half as long as it could
        be at least, so that what failed together does not come back together."""
        longest = LONGEST.total_seconds()
        # Not 2**1000: that is no float.
        seconds = min(longest, self.backoff * 2 ** min(attempt - 1, 30))
        return timedelta(seconds=seconds * random.uniform(0.5, 1))


def read_options(receiver: TaskReceiver | None = None) -> TaskOptions:
    """Those of a receiver, or those that the settings say. Raises Misconfigured."""
    values = {key: known.default for key, known in TASK_KEYS.items()} | dict(conf.TASKS)
    if receiver is not None:
        check_task_keys(f"The option 'task_options' of {receiver.name}", receiver.task_options)
        values |= receiver.task_options
    return TaskOptions(**{key.lower(): value for key, value in values.items()})
