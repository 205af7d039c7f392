"""The thread that tells other processes, every few seconds, what this one has counted."""

from __future__ import annotations

import atexit
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from itertools import count

from django.core.cache import caches
from django.db import connections

from django_signal_kit.units.loggers import get_logger

#: Seconds between two looks whether there is something to tell.
PAUSE = 5.0
#: Each so many times a process says that it is alive, if there is nothing else to tell.
EVERY = 3
#: So many seconds the end of a process waits for a cache that does not answer.
PATIENCE = 5.0

logger = get_logger("django_signal_kit.sight")


class Publisher:
    """Begins with the first call that is counted: what has nothing to tell needs no thread, and
    what is forked before has none to lose."""

    def __init__(self, publish: Callable[[bool, bool], None]) -> None:
        """``publish`` is called with whether it is due even if there is nothing new, and whether
        it is the last time."""
        self._publish = publish
        self.begin_anew()

    def begin_anew(self) -> None:
        """There is no thread, or not any more, as the process has been forked."""
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        self._failed = False

    def wake(self) -> None:
        with self._lock:
            if self._thread is not None:
                return
            thread = threading.Thread(target=self._run, name="signal-kit-counters", daemon=True)
            self._stopped.clear()
            try:
                thread.start()
            except RuntimeError:
                # The interpreter is about to end: the last word is said by finish().
                return
            self._thread = thread
        atexit.unregister(self.finish)
        atexit.register(self.finish)

    def stop(self) -> bool:
        """End the thread, and wait for that. False if the cache keeps it."""
        with self._lock:
            thread, self._thread = self._thread, None
        self._stopped.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(PATIENCE)
            return not thread.is_alive()
        return True

    def finish(self) -> None:
        """The process ends."""
        if self.stop():
            self.publish(is_last=True)

    def publish(self, *, is_due: bool = False, is_last: bool = False) -> None:
        """Never raises: a cache that is down is told of once, until it answers again."""
        try:
            self._publish(is_due, is_last)
            self._failed = False
        except Exception as error:
            level = logging.DEBUG if self._failed else logging.WARNING
            self._failed = True
            with suppress(Exception):
                name = type(error).__name__
                logger.log(
                    level,
                    "What receivers did is not told to other processes: %s",
                    name,
                    extra={"error": name},
                )
        finally:
            with suppress(Exception):
                caches.close_all()
                # A cache may be a table.
                connections.close_all()

    def _run(self) -> None:
        stopped = self._stopped
        for number in count(1):
            if stopped.wait(PAUSE):
                return
            self.publish(is_due=number % EVERY == 0)
