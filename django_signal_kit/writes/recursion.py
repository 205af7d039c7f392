"""A receiver that saves, while it receives a save, the instance that is being saved."""

from __future__ import annotations

import sys
from collections import Counter
from typing import Any

from django_signal_kit.receiver import Receiver
from django_signal_kit.units.unit import UnitOfWork

_MAX_SAVES = 10


def check_recursion(unit: UnitOfWork) -> None:
    """Raise RecursionError, which names the receiver, if an instance is saved by its own save
    again and again. Called only when saves are nested suspiciously deep."""
    instance = unit.instance
    saves = 0
    outer: UnitOfWork | None = unit
    while outer is not None:
        saves += outer.instance is instance
        outer = outer.parent
    if saves > _MAX_SAVES:
        raise RecursionError(
            f"{_find_culprit()} saves the {instance._meta.label} that it has just been told of, "
            f"which tells it again, without end. Change the instance in pre_save, or write with "
            f"QuerySet.update(), or leave when there is nothing left to change."
        )


def _find_culprit() -> str:
    """The receiver's method that is on the call stack most often."""
    found: Counter[str] = Counter()
    frame: Any = sys._getframe()
    while frame is not None:
        receiver = frame.f_locals.get("self")
        if isinstance(receiver, Receiver):
            found[f"{receiver.name}.{frame.f_code.co_name}()"] += 1
        frame = frame.f_back
    return found.most_common(1)[0][0] if found else "A receiver"
