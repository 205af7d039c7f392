"""Versions of tags: a value is as good as the versions that its tags had before it was made.

A version is a number that was never used before. Whoever wants to read a tag that has none makes
one; whoever touches the tag takes its version away. So a value that was made before a tag was
touched, and is stored long after it, has a version that no tag has any more, and is never served;
and a version that the cache itself drops makes values unknown, never old. What touches tags leaves
nothing in the cache, and what reads them leaves keys that expire.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Iterable
from functools import lru_cache

#: The tag of all that is tagged in a cache: touched if nobody can say what else has to be.
EVERYTHING = ""

_PREFIX = "signal_kit:tag:"
#: A version is kept for twice the time of the value that needs it, so that it need not be made
#: anew, and others' values with it, for each value that lives a little longer.
_ROOM = 2
_LEAST = 3600
#: A version is a number, which Redis need not unpickle: when it ends, and as many random bits.
_BITS = 64
#: What memcached takes, less what the cache puts in front of each key.
_MAX_LENGTH = 180


def get_safe_key(name: str) -> str:
    """``name``, or a digest of it if a cache would refuse it: memcached takes neither spaces nor
    more than 250 bytes."""
    if len(name) <= _MAX_LENGTH and name.isascii() and name.isprintable() and " " not in name:
        return name
    digest = hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=20).hexdigest()
    return f"signal_kit:{digest}"


@lru_cache(maxsize=10_000)
def get_version_key(tag: str) -> str:
    """The cache key under which the version of ``tag`` is."""
    return get_safe_key(_PREFIX + tag)


def get_version_keys(tags: Iterable[str]) -> list[str]:
    """Of ``tags``, each once, and of the tag of everything."""
    return sorted({get_version_key(tag) for tag in (EVERYTHING, *tags)})


def make_versions(keys: Iterable[str], timeout: float | None) -> tuple[dict[str, int], int | None]:
    """New versions for ``keys``, good for values that live ``timeout`` seconds, and the seconds
    that they themselves are to be kept: None is for ever."""
    kept = None if timeout is None else max(_LEAST, int(timeout * _ROOM))
    end = 0 if kept is None else int(time.time()) + kept
    return {key: end << _BITS | secrets.randbits(_BITS) for key in keys}, kept


def lasts(version: int, timeout: float | None) -> bool:
    """Is ``version`` there as long as a value that lives ``timeout`` seconds from now on?"""
    end = version >> _BITS
    return not end or (timeout is not None and time.time() + timeout <= end)
