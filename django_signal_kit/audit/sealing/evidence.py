"""What a seal remembers of its entries: their ids and digests, packed.

An entry is how far its id is from the one before (a varint: mostly one byte) and 16 bytes of its
digest. So the entry that was tampered with can be named, and the others can still be proven when
some of a range have been pruned, which one digest of the whole range could not do. A Merkle tree
would name it as well, but has to store its leaves for that all the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def pack(items: Iterable[tuple[int, bytes]]) -> bytes:
    """``(id, digest)`` pairs in ascending order of their ids; the first id is kept elsewhere."""
    packed = bytearray()
    before = None
    for id, digest in items:
        packed += _to_varint(0 if before is None else id - before)
        packed += digest
        before = id
    return bytes(packed)


def unpack(packed: bytes, first_id: int, size: int) -> Iterator[tuple[int, bytes]]:
    """What ``pack()`` was given, with digests of ``size`` bytes. Raises ValueError if that is
    not what it is."""
    id, at = first_id, 0
    while at < len(packed):
        step, at = _read_varint(packed, at)
        digest = packed[at : at + size]
        if len(digest) < size:
            raise ValueError("The evidence ends in the middle of a digest.")
        id, at = id + step, at + size
        yield id, digest


def _to_varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; the eighth says that there are more."""
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def _read_varint(packed: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    for end in range(at, len(packed)):
        number |= (packed[end] & 0x7F) << shift
        shift += 7
        if packed[end] < 0x80:
            return number, end + 1
    raise ValueError("The evidence ends in the middle of a number.")
