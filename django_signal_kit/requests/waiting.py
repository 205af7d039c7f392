"""What is told when the request in which it happened has been answered."""

from __future__ import annotations

import atexit
import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections

#: Those in which something waits.
_filled: set[Waiting] = set()


class Waiting:
    """Items that wait for the end of a request, of whichever comes first; or for that of the
    process, if there is none. Threads may share it.

    ``send`` is called with the items, never with none.
    """

    def __init__(self, send: Callable[[list[Any]], None]) -> None:
        self._send = send
        self._items: deque[tuple[int, Any]] = deque()

    def __bool__(self) -> bool:
        return bool(self._items)

    def add(self, item: Any) -> None:
        self._items.append((os.getpid(), item))
        _filled.add(self)

    def send(self) -> None:
        """Send what waits."""
        _filled.discard(self)
        items = list(self._take())
        if items:
            with _borrowed_connections():
                self._send(items)

    def _take(self) -> Iterator[Any]:
        while True:
            try:
                pid, item = self._items.popleft()
            except IndexError:
                return
            # What a forked process has inherited is told by its parent.
            if pid == os.getpid():
                yield item


@contextmanager
def _borrowed_connections() -> Iterator[None]:
    """Django has closed its connections at the end of the request, or keeps them: it is done by
    its rules for those that are opened later, too."""
    opened = [found for found in connections.all(initialized_only=True) if found.connection]
    try:
        yield
    finally:
        for found in connections.all(initialized_only=True):
            if found not in opened:
                found.close_if_unusable_or_obsolete()


@atexit.register
def _send_all() -> None:
    for waiting in list(_filled):
        waiting.send()
