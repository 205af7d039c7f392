"""What a statement does, told from its beginning."""

from __future__ import annotations

import re
from typing import Any

#: How blocks begin that make triggers.
OWN_BLOCK = "DO $signal_kit"
#: What nearly all statements begin with.
_READING = frozenset(("SELECT", "SAVEPO", "RELEAS", "BEGIN", "SHOW", "SET"))
_WRITING = frozenset(("INSERT", "UPDATE", "DELETE"))
_BEFORE = re.compile(r"(?:\s+|--[^\n]*(?:\n|$)|/\*.*?\*/|[(;])*", re.DOTALL)
_WORD = re.compile(r"[A-Za-z]*")
_ENDS = re.compile(r"\b(?:COMMIT|END|ROLLBACK|ABORT|PREPARE)\b", re.IGNORECASE)
_WRITES = re.compile(r"\b(?:INSERT|UPDATE|DELETE|MERGE|CALL|EXECUTE)\b", re.IGNORECASE)
#: The body of a function, too.
_LITERAL = re.compile(r"\$(\w*)\$.*?\$\1\$|'[^']*'", re.DOTALL)
#: Characters of a statement in which nobody looks for something.
_LONG = 5000
#: What begins with these may have a statement that writes in it.
_AROUND = frozenset(("WITH", "EXPLAIN", "COPY"))
_VERBS = frozenset(("INSERT", "UPDATE", "DELETE", "MERGE", "CALL", "DO", "EXECUTE"))


def is_read(query: Any) -> bool:
    """Does ``query`` write nothing, as far as that can be seen? What is no text may write."""
    if query.__class__ is not str:
        return False
    beginning = query[:6]
    if beginning in _WRITING:
        return False
    if beginning in _READING and ";" not in query:
        return True
    return not _may_write(query)


def is_short(query: str, params: Any) -> bool:
    """Is it soon looked through, and has no array of values for many rows?"""
    return len(query) < _LONG and not any(value.__class__ is list for value in params or ())


def _may_write(query: str) -> bool:
    verb = _get_verb(query)
    if verb in _VERBS:
        return not query.startswith(OWN_BLOCK)
    if verb == "COPY" and re.search(r"\bFROM\s+(STDIN|PROGRAM|')", query, re.IGNORECASE):
        return True
    if verb not in _AROUND and ";" not in query:
        return False
    return _WRITES.search(_LITERAL.sub("", query) if verb == "CREATE" else query) is not None


def is_whole(query: str) -> bool:
    """Has nothing been done if any of it fails, where no transaction is open? One of several
    statements may be a COMMIT."""
    return ";" not in query or not _ENDS.search(query)


def is_block(query: str) -> bool:
    """Does it begin with a DO, which has other statements within?"""
    return _get_verb(query) == "DO"


def may_end_transaction(query: Any) -> bool:
    """May it end a transaction, or go back to a savepoint? So may the last of several."""
    return query.__class__ is str and (
        ";" in query or _get_verb(query) in ("ROLLBACK", "ABORT", "COMMIT", "END")
    )


def _get_verb(query: str) -> str:
    found = _BEFORE.match(query)
    start = found.end() if found else 0
    word = _WORD.match(query, start)
    return word[0].upper() if word else ""
