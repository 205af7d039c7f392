"""Which word was meant: names of methods are compared more strictly than those of settings, as
names of one's own may stand beside them."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def find_near(name: str, known: Iterable[str]) -> str | None:
    """The word that differs from ``name`` by one slip of the pen, by capitals and underscores, or
    by little of its length. Words of three letters resemble too many."""
    words = sorted({word for word in known if len(word) > 3})
    folded = _fold(name)
    near = [word for word in words if _fold(word) == folded or is_slip(name, word)]
    found = get_close_matches(name, near or words, n=1, cutoff=0 if near else 0.85)
    return found[0] if found else None


def is_slip(one: str, other: str) -> bool:
    """Do they differ by one letter that is missing, too much, wrong, or changed places with its
    neighbour?"""
    if one == other or abs(len(one) - len(other)) > 1:
        return False
    start = 0
    while one[start : start + 1] == other[start : start + 1] != "":
        start += 1
    one, other = one[start:], other[start:]
    while one and other and one[-1] == other[-1]:
        one, other = one[:-1], other[:-1]
    return max(len(one), len(other)) == 1 or (len(one) == 2 and one == other[::-1])


def _fold(name: str) -> str:
    return name.replace("_", "").casefold()
