"""Which words of two texts differ."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from difflib import SequenceMatcher

from django_signal_kit.audit.pages.diff import Row, Value

Parts = tuple[tuple[str, bool], ...]

# In a short text, or in one that was written anew, marks say nothing.
_WORTH_MARKING = 24
_ALIKE = 0.5
# Comparing is quadratic in the number of words.
_MOST_WORDS = 250
_WORD = re.compile(r"\s+|\S+\s*")
_BREAK = re.compile(r"(\s*\n\s*|\s+\Z)")


def mark(row: Row) -> Row:
    """``row`` with ``parts`` in its old and new value if they are long texts and much alike."""
    old, new = row.old, row.new
    if old is None or new is None or not {old.kind, new.kind} <= {"text", "json"}:
        return row
    if min(len(old.text), len(new.text)) < _WORTH_MARKING or old.label or new.label:
        return row
    marked = _compare(old, new)
    return row if marked is None else replace(row, old=marked[0], new=marked[1])


def _compare(old: Value, new: Value) -> tuple[Value, Value] | None:
    words = _WORD.findall(old.text), _WORD.findall(new.text)
    # Whatever follows it: the last word is still the same when a sentence is added.
    a, b = ([word.rstrip() for word in side] for side in words)
    shorter = min(len(a), len(b))
    start = next((at for at in range(shorter) if a[at] != b[at]), shorter)
    rest = shorter - start
    end = next((at for at in range(rest) if a[-1 - at] != b[-1 - at]), rest)
    blocks = [(0, 0, start), *_match(a, b, start, end), (len(a) - end, len(b) - end, end)]
    alike = sum(len(word) for at, _, size in blocks for word in words[0][at : at + size])
    if alike < _ALIKE * min(len(old.text), len(new.text)):
        return None
    return (
        replace(old, parts=_get_parts(words[0], [(at, size) for at, _, size in blocks])),
        replace(new, parts=_get_parts(words[1], [(at, size) for _, at, size in blocks])),
    )


def _match(
    a: Sequence[str], b: Sequence[str], start: int, end: int
) -> Iterator[tuple[int, int, int]]:
    """Runs of words between ``start`` and ``end`` that both have: where in a, where in b, size."""
    x, y = a[start : len(a) - end], b[start : len(b) - end]
    if max(len(x), len(y)) <= _MOST_WORDS:
        for block in SequenceMatcher(None, x, y, autojunk=False).get_matching_blocks():
            yield block.a + start, block.b + start, block.size


def _get_parts(words: Sequence[str], blocks: list[tuple[int, int]]) -> Parts:
    parts: list[tuple[str, bool]] = []
    done = 0
    for at, size in blocks:
        # A mark under the indentation of a line is only noise.
        pieces = _BREAK.split("".join(words[done:at]))
        parts += [(piece, bool(piece.strip())) for piece in pieces]
        parts.append(("".join(words[at : at + size]), False))
        done = at + size
    return tuple(part for part in parts if part[0])
