"""Slips of the pen, generated: the same ones in each run."""

from __future__ import annotations

from collections.abc import Iterator


def get_typos(word: str) -> Iterator[str]:
    """One of each kind: a letter too few, too many, wrong, two that changed places, and capitals
    in the place of underscores. Beginnings are right more often than middles."""
    letters = [place for place in range(len(word)) if word[place].isalpha()]
    place = letters[len(letters) // 2]
    yield word[:place] + word[place + 1 :]
    yield word[:place] + word[place] + word[place:]
    yield word[:place] + ("q" if word[place] != "q" else "z") + word[place + 1 :]
    pairs = [at for at in range(1, len(word) - 1) if word[at] != word[at + 1]]
    at = pairs[len(pairs) // 2]
    yield word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    head, *tail = word.split("_")
    if tail:
        yield head + "".join(part.capitalize() for part in tail)
