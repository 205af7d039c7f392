"""Triggers and functions as they are installed in a database."""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple, Self

#: Stands in the body of a piece, where its database keeps comments.
MARK = "/* signal_kit */"
_MARK = re.compile(r"/\* signal_kit ([0-9a-f]{12}) \*/")
#: Every name begins so: what else is in the database is none of ours.
PREFIX = "signal_kit_"
# PostgreSQL's limit is 63 bytes, and a trigger there has one more than its function; MariaDB's is
# 64 characters.
_LONGEST = 62


class Piece(NamedTuple):
    """A trigger or a function: ``create`` and ``drop`` are single statements.

    ``create`` has the :data:`MARK` in its body, in whose place :meth:`marked` puts the checksum by
    which an installed piece is told from one of other settings.
    """

    #: Of the piece; unique among all of a database. See :func:`make_name`.
    name: str
    #: The table whose writes run it.
    table: str
    create: str
    drop: str
    #: Does ``create`` take the place of one of the same name and table that is there?
    replaces: bool = False

    def marked(self) -> Self:
        """With the checksum of what it does in its body."""
        return self._replace(create=self.create.replace(MARK, f"/* signal_kit {self.checksum} */"))

    @property
    def checksum(self) -> str:
        """Of what it does, marked or not."""
        create = _MARK.sub(MARK, self.create)
        return hashlib.sha256(create.encode()).hexdigest()[:12]


class Installed(NamedTuple):
    """A piece of ours that a database has: ``checksum`` is "" if its body has none."""

    name: str
    table: str
    checksum: str
    drop: str
    #: Does it write entries, and not only help another that does?
    hears: bool = True
    #: Does it hear all that the others of its table do?
    is_whole: bool = False
    #: The statement by which it takes the place of the others of its table; "" if it cannot.
    take_over: str = ""


def read_checksum(body: str) -> str:
    """What :meth:`Piece.marked` has put into a body; "" if somebody has taken it out."""
    found = _MARK.search(body)
    return found[1] if found else ""


def make_name(receiver: str, table: str, event: str) -> str:
    """The name of what ``receiver`` installs for ``table`` and ``event`` ("tags_delete").

    Short enough for each database, in plain ASCII, and another one for each of the three.
    """
    digest = hashlib.sha256("\0".join((receiver, table, event)).encode()).hexdigest()[:8]
    words = re.sub(r"\W+", "_", f"{table}_{event}", flags=re.ASCII).strip("_").lower()
    return f"{PREFIX}{words[: _LONGEST - len(PREFIX) - 9]}_{digest}"
