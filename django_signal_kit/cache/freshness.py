"""When a value is to be made anew while it is served still, by one reader alone.

The tags of a value are above all this: one of which a tag has been touched is served no more.
"""

from __future__ import annotations

import math
import random
import time
from typing import TypeAlias

#: Beside a value: until when it is fresh, in seconds since 1970, and the seconds it took to make.
Made: TypeAlias = tuple[float, float]


def check_times(stale: float, early: float) -> None:
    """Raise TypeError or ValueError unless both are numbers that are not below 0."""
    if stale == early == 0:
        return
    for name, value in (("stale", stale), ("early", early)):
        if not isinstance(value, (int, float)):
            raise TypeError(f"{name}={value!r} is no number. Write {name}=60, or 0 for none.")
        if not 0 <= value < math.inf:
            raise ValueError(f"{name}={value!r} is below 0 or endless. Write {name}=0 for none.")


def is_over(made: Made, stale: float) -> bool:
    """Is a value too old even for one who takes it ``stale`` seconds after its time?"""
    return time.time() >= made[0] + stale


def is_due(made: Made, early: float) -> bool:
    """Is the value to be made anew: because its time is over, or before that by lot?

    With ``early`` = 1 a value is made anew before its time by about as many seconds as it took to
    make, and each reader draws for himself, so that many do not draw it at once: the longer it
    takes and the nearer its end, the likelier. See A. Vattani, F. Chierichetti and K. Lowenstein,
    "Optimal Probabilistic Cache Stampede Prevention", VLDB 2015.
    """
    ends, cost = made
    ahead = -cost * early * math.log(1.0 - random.random()) if early else 0.0
    return time.time() + ahead >= ends
