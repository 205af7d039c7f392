"""What receivers count themselves: files taken away, mails sent."""

from __future__ import annotations

import os
import threading
from collections import Counter

# What is collected as garbage meanwhile may call a receiver.
_lock = threading.RLock()
_numbers: dict[str, Counter[str]] = {}


def add(receiver: str, name: str, number: int = 1) -> None:
    """Count for the receiver of this name, from any thread."""
    with _lock:
        _numbers.setdefault(receiver, Counter())[name] += number


def read(receiver: str) -> dict[str, int]:
    """Name -> what the receiver of this name has counted since the process began."""
    with _lock:
        return dict(_numbers.get(receiver, ()))


def forget() -> None:
    """Nothing has been counted yet. In a process that has been forked, where what the parent has
    counted is the parent's, and a thread that held the lock may not be there any more."""
    global _lock
    _lock = threading.RLock()
    _numbers.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget)
