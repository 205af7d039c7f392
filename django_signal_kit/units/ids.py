"""Ids of units of work."""

from __future__ import annotations

import os
import time
import uuid
from random import Random

# Nobody has to guess them: they have to differ. Not the random numbers of the project, which its
# tests may start anew; nor those of the process that has forked this one.
_random = Random()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_random.seed)


def make_id() -> uuid.UUID:
    """A UUID of version 7: milliseconds since 1970, 1/4096ths of one, then random bits.

    The fraction keeps units of one millisecond in order (RFC 9562, section 6.2, method 3).
    """
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    fraction = (rest << 12) // 1_000_000
    bits = _random.getrandbits(62)
    return uuid.UUID(int=milliseconds << 80 | 7 << 76 | fraction << 64 | 0b10 << 62 | bits)
