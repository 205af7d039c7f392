"""What processes have counted, told to each other by the default cache.

Each process has a slot of its own there, and writes into it all that it has counted. Whoever reads
adds the slots up. The slot of a process that has ended is taken over by the next that begins, with
what is in it, so that nothing vanishes when a worker is replaced.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Mapping
from typing import Any

from django.core.cache import DEFAULT_CACHE_ALIAS, caches
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache

from django_signal_kit.sight.records import pack, unpack

#: Slots, which are so many processes at once.
SLOTS = 100
#: Seconds without a word after which a process is taken for ended.
LIFE = 60.0
#: Seconds for which the cache keeps what nobody has taken over.
KEPT = 24 * 3600

#: Another version of the kit may write something else.
_KEY = "signal_kit:counters:2"


class NoSlotError(Exception):
    """More processes count than there are slots."""


class Slot:
    """That of this process."""

    def __init__(self) -> None:
        self.id = uuid.uuid4().hex
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self.began = time.time()
        #: What has been taken over of processes that have ended.
        self.inherited: list[dict[str, Any]] = []
        self._number: int | None = None

    def hold(self) -> bool:
        """Have a slot. False if another process has taken over what this one has told, because it
        was silent for too long: it has to begin with a new one. Raises what the cache raises, and
        NoSlotError."""
        cache = caches[DEFAULT_CACHE_ALIAS]
        if self._number is not None:
            if cache.get(_get_owner_key(self._number)) in (None, self.id):
                return True
            if cache.get(_get_heir_key(self.id)) is not None:
                return False
            # The cache has forgotten it, and another process has found the place free.
        self._number = self._find(cache)
        return True

    def write(self, record: Mapping[str, Any], *, is_last: bool = False) -> None:
        """Write what this process tells into the slot that it holds. What ``is_last`` may be taken
        over at once."""
        cache = caches[DEFAULT_CACHE_ALIAS]
        for each in self.inherited:
            cache.set(_get_heir_key(each["id"]), self.id, KEPT)
        cache.set(_get_owner_key(self._number), self.id, KEPT)
        cache.set(_get_key(self._number), pack(self.sign(record, is_last=is_last)), KEPT)

    def sign(self, record: Mapping[str, Any], *, is_last: bool = False) -> dict[str, Any]:
        """``record`` with what says whose it is."""
        return {
            **record,
            "id": self.id,
            "name": self.name,
            "began": self.began,
            "seen": time.time(),
            "ended": is_last,
        }

    def _find(self, cache: Any) -> int:
        found = _read(cache)
        for number, record in found.items():
            # Of several that begin at once, one is the heir.
            if not is_alive(record) and cache.add(_get_heir_key(record["id"]), self.id, KEPT):
                cache.set(_get_owner_key(number), self.id, KEPT)
                self.inherited.append(record)
                return number
        for number in range(SLOTS):
            key = _get_owner_key(number)
            # Of several that begin at once a cache of files may let each add the key.
            if number not in found and cache.add(key, self.id, KEPT) and cache.get(key) == self.id:
                return number
        raise NoSlotError(f"All {SLOTS} slots are taken by processes that count.")


def read_others(own: Slot) -> list[dict[str, Any]]:
    """What the other processes have written. Raises what the cache raises."""
    found = _read(caches[DEFAULT_CACHE_ALIAS]).values()
    known = {own.id, *(record["id"] for record in own.inherited)}
    return [record for record in found if record["id"] not in known]


def is_shared() -> bool:
    """Do other processes see the default cache?"""
    return not isinstance(caches[DEFAULT_CACHE_ALIAS], LocMemCache | DummyCache)


def is_alive(record: Mapping[str, Any]) -> bool:
    # A clock may have been put back since.
    return not record["ended"] and abs(time.time() - record["seen"]) < LIFE


def _get_key(number: int | None) -> str:
    return f"{_KEY}:{number}"


def _get_owner_key(number: int | None) -> str:
    return f"{_KEY}:{number}:owner"


def _get_heir_key(id: str) -> str:
    return f"{_KEY}:heir:{id}"


def _read(cache: Any) -> dict[int, dict[str, Any]]:
    """Number of a slot -> what is in it."""
    keys = {_get_key(number): number for number in range(SLOTS)}
    return {keys[key]: unpack(packed) for key, packed in cache.get_many(keys).items()}
