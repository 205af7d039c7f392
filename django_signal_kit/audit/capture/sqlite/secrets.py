"""Secrets in JSON, found by the names of their keys.

Whatever :func:`django_signal_kit.rows.secrets.is_secret` calls a secret is found here, and some
more: SQL has no words. A value in which one is found is hidden whole.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from functools import cache

from django_signal_kit.audit.capture.sqlite import quoting
from django_signal_kit.rows.secrets import STEMS

# Secrets by themselves, and at the end of a longer word.
_WORDS = (
    *("auth", "authentication", "authorization", "jwt", "oauth", "pass", "passcode", "pwd"),
    *("sid", "signature"),
)
_ENDINGS = ("credential", "passphrase", "passwd", "secret", "token")
# No small letter comes after a word, but for the "s" of a plural.
_END = "[^a-rt-z]*"
_OTHERS = (
    *("*password*", "*Password*", "*PASSWORD*"),
    # Of something: by itself it is a name.
    *(f"_?*key{_END}", f"_?*Key{_END}", "_?*KEY*"),
    "*[cC][oO][oO][kK][iI][eE]*",
    "*[sS][eE][sS][sS]*[iI][dD]*",
    "*[sS][eE][sS][sS]*[dD][aA][tT][aA]*",
)
_NO_LETTERS = re.compile(r"[\W_]+")


def has_secret(extra: tuple[str, ...]) -> str:
    """A template: has the JSON ``{v}`` a key that may be a secret? ``extra``: parts of names."""
    patterns = quoting.text(json.dumps([*_list_patterns()], separators=(",", ":")))
    closer = f"SELECT 1 FROM json_each({patterns}) WHERE '_' || k || '_' GLOB value"
    wanted = [
        f"({_has_stem('l')}) AND EXISTS ({closer})",
        *(f"k GLOB {quoting.text(_spread(part))}" for part in extra),
    ]
    if extra:
        # Of which Python may make letters of the parts.
        wanted.append(f"k GLOB {quoting.text(f'*[{_get_folding()}]*')}")
    # A text ends for SQLite where it has a NUL. The LIMIT keeps it from reading a key twice.
    document = r"replace(replace({v}, '\\', '\u005c'), '\u0000', '\ufffd')"
    keys = f"SELECT key AS k, lower(key) AS l FROM json_tree({document}) LIMIT -1"
    found = f"EXISTS (SELECT 1 FROM ({keys}) WHERE {' OR '.join(wanted)})"
    if extra:
        return found
    # Most have no such letters anywhere, nor an escape that may be one of them.
    letters = f"SELECT 1 FROM (SELECT lower({{v}}) AS l LIMIT 1) WHERE {_has_stem('l')}"
    return f"(instr({{v}}, '\\u00') OR EXISTS ({letters})) AND {found}"


def _has_stem(value: str) -> str:
    return " OR ".join(f"instr({value}, '{stem}')" for stem in STEMS)


def _list_patterns() -> Iterator[str]:
    for word in _WORDS:
        yield from (f"*[^a-zA-Z]{word}{_END}", f"*{word.title()}{_END}", f"*{word.upper()}*")
    for word in _ENDINGS:
        yield from (f"*{word}{_END}", f"*{word.title()}{_END}", f"*{word.upper()}*")
    yield from _OTHERS


def _spread(part: str) -> str:
    """A pattern for names that have the letters of ``part``, whatever is between them."""
    letters = _NO_LETTERS.sub("", part).casefold()
    classes = (f"[{each}{each.upper()}]" if each.isascii() else "*" for each in letters)
    return "*".join(("", *classes, ""))


@cache
def _get_folding() -> str:
    """The characters outside of ASCII that casefold to some within it."""
    return "".join(
        each
        for each in map(chr, range(0x80, sys.maxunicode + 1))
        if any(folded.isascii() for folded in each.casefold())
    )
