"""What a task takes along of where it was collected, and has again in the worker."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any


def pack_context() -> dict[str, Any]:
    """What is to be known in the worker, as JSON. Called where the task is made: at the end of the
    unit of work, or after the commit."""
    return {}


@contextmanager
def restored(context: Mapping[str, Any]) -> Iterator[None]:
    """Inside the block, which flushes in the worker, what :func:`pack_context` has packed is
    known again."""
    yield
