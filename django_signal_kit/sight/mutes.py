"""Receivers that are muted in all processes, from a page of the admin and for a while.

What is muted stands in the default cache, one key a receiver, which falls out when its time is
over. A process looks there beside its work while receivers are called, and knows by that of a mute
within ``KNOWN_WITHIN`` seconds; where the setting ``ADMIN_MUTING`` is off nobody looks.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Set
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from time import monotonic
from typing import Any

from django.core.cache import cache
from django.core.exceptions import PermissionDenied
from django.db import connections
from django.utils import timezone

from django_signal_kit import current
from django_signal_kit.conf import conf
from django_signal_kit.receiver import Receiver
from django_signal_kit.units.loggers import get_logger
from django_signal_kit.wiring import dispatch
from django_signal_kit.wiring.registry import registry

#: Seconds between two looks into the cache.
EVERY = 5.0
#: What is older than these seconds is not relied upon: a call waits for the look.
KNOWN_WITHIN = 10.0
#: Seconds that a call waits at most, if the cache is slow.
_PATIENCE = 1.0

logger = get_logger("django_signal_kit.muting")

_looked_at = -math.inf
_looker: threading.Thread | None = None
_known: list[Mute] = []


@dataclass(frozen=True)
class Mute:
    """A receiver that is muted: which, by whom, why, since when, and when that ends by itself."""

    name: str
    by: str
    reason: str
    since: datetime
    until: datetime


def tell_immutable(receiver: Receiver) -> str:
    """Why ``receiver`` cannot be muted, as a sentence; empty if it can be."""
    if receiver._keeps_record:
        return (
            "It keeps a record of what people do. Who wants to be without it takes it out of the "
            "settings, where that can be reviewed."
        )
    heard = {c.signal_name for c in registry.connections if c.receiver is receiver}
    if heard <= {"class_prepared"}:
        return "It acts when models are made, which is over when a page is shown."
    return ""


def mute(name: str, *, by: str, reason: str, duration: timedelta) -> Mute:
    """No process calls the receiver ``name`` until it is unmuted, or ``duration`` is over.

    Raises PermissionDenied where ``SIGNAL_KIT["ADMIN_MUTING"]`` or the receiver does not allow it,
    and LookupError if there is none of that name.
    """
    _check(name)
    now = timezone.now()
    made = Mute(name, by, reason, now, now + duration)
    cache.set(_get_key(name), asdict(made), duration.total_seconds())
    look()
    logger.warning(
        "%s is muted until %s by %s: %s",
        *(name, made.until.isoformat(timespec="seconds"), by, reason),
        extra={"receiver": name, "actor": by, "reason": reason, "until": made.until},
    )
    return made


def unmute(name: str, *, by: str) -> None:
    """The receiver ``name`` is called again. Raises what :func:`mute` raises."""
    _check(name)
    cache.delete(_get_key(name))
    look()
    logger.warning("%s is not muted any more: %s", name, by, extra={"receiver": name, "actor": by})


def get_mutes() -> list[Mute]:
    """What is muted, as the cache says. Raises what the cache raises."""
    if not conf.ADMIN_MUTING:
        return []
    keys = {_get_key(name): name for name in _list_mutable(registry.receivers)}
    found: dict[str, Any] = cache.get_many(keys)
    mutes = [Mute(**found[key] | {"name": keys[key]}) for key in keys if key in found]
    return [each for each in mutes if each.until > timezone.now()]


def look() -> None:
    """Ask the cache now what is muted, and mute that in this process. If the cache does not
    answer, what is known holds on until its time is over."""
    global _looked_at, _known
    try:
        _known = get_mutes()
    except Exception as error:
        name = type(error).__name__
        logger.warning(
            "What is muted cannot be read from the cache: %s", name, extra={"error": name}
        )
        _known = [each for each in _known if each.until > timezone.now()]
    names = {each.name for each in _known}
    # Never empty in between: another thread may ask meanwhile.
    current.muted_everywhere.update(names)
    current.muted_everywhere.intersection_update(names)
    _looked_at = monotonic()


def start() -> None:
    """Receivers ask from now on what is muted everywhere."""
    stop()
    dispatch.get_muted = _get_muted


def stop() -> None:
    """They ask the context alone: the function is the one that it is without this module."""
    global _looked_at, _known
    dispatch.get_muted = current.get_muted
    current.muted_everywhere.clear()
    _known, _looked_at = [], -math.inf


def _get_muted() -> Set[str]:
    age = monotonic() - _looked_at
    if age > EVERY:
        _look_beside(is_urgent=age > KNOWN_WITHIN)
    return current.get_muted()


def _look_beside(*, is_urgent: bool) -> None:
    """Look in a thread of its own, with connections of its own: this one may be in a transaction
    or in an event loop."""
    global _looker, _looked_at
    looker = _looker
    if looker is None or not looker.is_alive():
        looker = threading.Thread(target=_look_once, name="signal_kit_mutes", daemon=True)
        try:
            looker.start()
        except RuntimeError:
            # The process is about to end.
            return
        _looker = looker
    if is_urgent:
        looker.join(_PATIENCE)
        if looker.is_alive():
            # The next calls do not wait again for a cache that hangs.
            _looked_at = monotonic() - EVERY


def _look_once() -> None:
    try:
        look()
    finally:
        connections.close_all()


def _check(name: str) -> None:
    if not conf.ADMIN_MUTING:
        raise PermissionDenied("SIGNAL_KIT['ADMIN_MUTING'] is False.")
    found = next((each for each in registry.receivers if each.name == name), None)
    if found is None:
        raise LookupError(f"No receiver is named {name!r}.")
    if refusal := tell_immutable(found):
        raise PermissionDenied(f"{name} cannot be muted. {refusal}")


def _list_mutable(receivers: Iterable[Receiver]) -> Iterable[str]:
    return [each.name for each in receivers if not each._keeps_record]


def _get_key(name: str) -> str:
    return f"signal_kit:muted:{sha256(name.encode()).hexdigest()[:32]}"
