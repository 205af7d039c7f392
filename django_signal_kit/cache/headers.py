"""Tags as they stand in a header, of a response and of what purges it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from django_signal_kit.cache.versions import EVERYTHING
from django_signal_kit.conf import TagHeader

#: That of each response that has tags: purged if all that is tagged is touched.
ALL = "signal_kit"

# No separator, no space, nothing that a regular expression or a quoted string takes for its own
# but the dot; and no more than any edge takes.
_SAFE = re.compile(r"[A-Za-z0-9_:./=@~-]{1,100}")


def encode_tag(tag: str) -> str:
    """``tag`` as headers have it: itself, or a digest of it if it has other characters than
    letters, digits and ``_:./=@~-``, or more than 100. Two tags that are encoded alike fall
    together, which makes a page anew and never leaves one old."""
    if tag == EVERYTHING:
        return ALL
    if _SAFE.fullmatch(tag):
        return tag
    digest = hashlib.blake2b(tag.encode(errors="surrogatepass"), digest_size=16).hexdigest()
    return f"{ALL}.{digest}"


def join_tags(tags: Iterable[str], header: TagHeader) -> str | None:
    """The value of ``header`` for ``tags`` and for the tag of all; None if it would be longer than
    an edge takes."""
    encoded = list(dict.fromkeys([ALL, *map(encode_tag, tags)]))
    value = header.separator.join(encoded)
    if len(value) > header.max_bytes or (header.max_tags and len(encoded) > header.max_tags):
        return None
    return value
