"""Triggers on their way into a database, and out of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

from django.db import connections, transaction

from django_signal_kit.audit.capture import standing
from django_signal_kit.audit.capture.mysql.modes import in_plain_mode
from django_signal_kit.audit.capture.pieces import Installed, Piece
from django_signal_kit.audit.capture.wanted import Difference, compare

#: Told of each step: "install" or "drop", the name, and the table.
Tell = Callable[[str, str, str], None]


def install(using: str, tell: Tell | None = None) -> Difference:
    """Make the database ``using`` have what is wanted and nothing else of ours; returns what had
    to be done. Each table is heard at any time, where the database can: in one transaction, or in
    one for each table."""
    with standing.suspended(using):
        found = compare(using, makes_kinds=True)
        if found:
            gone = [each for each in found.changed if not each.replaces]
            _run(using, [*found.left, *gone], [*found.missing, *found.changed], tell)
    return found


def step_aside(using: str, pieces: Sequence[Installed], tell: Tell | None = None) -> None:
    """Let the columns of the tables of these change: they are dropped, and their stand-ins hear
    in their place where the database can have such; elsewhere nobody does."""
    out = [each for each in pieces if each.hears and not each.is_whole]
    taking = [
        Piece(each.name, each.table, each.take_over, each.drop)
        for each in pieces
        if each.take_over
    ]
    _run(using, out, taking, tell)


def drop(using: str, pieces: Iterable[Installed], tell: Tell | None = None) -> None:
    """Take these away: writes of their tables are recorded by nobody from now on."""
    _run(using, list(pieces), [], tell)


def _run(
    using: str,
    out: Sequence[Piece | Installed],
    into: Sequence[Piece],
    tell: Tell | None,
) -> None:
    with standing.suspended(using), _prepare(using):
        for gone, made in part(using, out, into):
            with transaction.atomic(using=using), connections[using].cursor() as cursor:
                # What was made last may use what was made first.
                for piece in reversed(gone):
                    cursor.execute(piece.drop)
                    _tell("drop", piece, tell)
                for each in made:
                    cursor.execute(each.create)
                    _tell("install", each, tell)


def _prepare(using: str) -> AbstractContextManager[None]:
    connection = connections[using]
    return in_plain_mode(connection) if connection.vendor == "mysql" else nullcontext()


def part(
    using: str, out: Sequence[Piece | Installed], into: Sequence[Piece]
) -> Iterator[tuple[Sequence[Piece | Installed], Sequence[Piece]]]:
    """What is dropped and made in one transaction each."""
    if connections[using].vendor != "postgresql":
        if out or into:
            yield out, into
        return
    # What triggers call goes once no trigger is left: of a table that has been renamed those that
    # call are known by its new name.
    wanted = {piece.name for piece in into}
    called = [
        piece
        for piece in out
        if isinstance(piece, Installed) and not piece.hears and piece.name not in wanted
    ]
    out = [piece for piece in out if piece not in called]
    # Who locks a table while he has locked another is sooner or later waited for by a writer for
    # whom he waits.
    for table in dict.fromkeys(piece.table for piece in (*out, *into)):
        yield (
            [piece for piece in out if piece.table == table],
            [piece for piece in into if piece.table == table],
        )
    if called:
        yield called, []


def _tell(verb: str, piece: Piece | Installed, tell: Tell | None) -> None:
    if tell is not None:
        tell(verb, piece.name, piece.table)
