"""The queue, and a worker that empties it: a process of its own, as ``manage.py db_worker`` is."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

from django.conf import settings
from django_tasks_db.models import DBTaskResult


def count_tasks() -> int:
    """All that were ever asked for."""
    return DBTaskResult.objects.count()


def count_waiting() -> int:
    """Those that are not done yet."""
    return DBTaskResult.objects.count() - DBTaskResult.objects.finished().count()


def empty_queue() -> Iterator[int]:
    """Start a worker that ends when nothing is left to do; give how many tasks wait, until it has
    ended. Raises CalledProcessError if the worker fails."""
    command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "db_worker"]
    options = ("--batch", "--no-reload", "--no-startup-delay", "--verbosity=0")
    with subprocess.Popen([*command, *options]) as worker:
        while worker.poll() is None:
            yield count_waiting()
            time.sleep(0.05)
    if worker.returncode:
        raise subprocess.CalledProcessError(worker.returncode, [*command, *options])
