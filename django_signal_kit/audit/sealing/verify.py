"""Compares the log with its seals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Model

from django_signal_kit.audit.models import AuditSeal
from django_signal_kit.audit.sealing.chain import get_items, get_seals, walk
from django_signal_kit.audit.sealing.digest import get_columns, get_digest
from django_signal_kit.audit.sealing.scanning import get_all, read
from django_signal_kit.audit.sealing.tampering import TamperedError

_Range = tuple[int | None, int]


@dataclass
class Report:
    """How much of the log is sealed, pruned (of what was sealed) and not yet sealed, in entries;
    ``digest`` is that of the last seal."""

    sealed: int = 0
    pruned: int = 0
    unsealed: int = 0
    seals: int = 0
    digest: str = ""


class AnchorMissingError(Exception):
    """The chain does not have a seal that somebody has kept the digest of."""

    def __init__(self, anchor: str) -> None:
        self.anchor = anchor
        super().__init__(
            f"No seal has the digest {anchor}: the last seals were removed, or the chain was "
            f"written anew."
        )


class ColumnGoneError(LookupError):
    """A column that was sealed is no longer there."""


def verify(
    model: type[Model],
    using: str,
    *,
    anchors: Iterable[str] = (),
    advance: Callable[[int], None] = lambda count: None,
) -> Report:
    """Compare all that is sealed with the log ``model`` in the database ``using``.

    Raises TamperedError for the first seal, or else the first entry, that is not as it was
    sealed, AnchorMissingError if no seal has one of ``anchors``, and ColumnGoneError if the model
    lacks a column that was sealed. ``advance`` is called with the number of entries compared.
    """
    # The seals first: an entry can only be judged by evidence that holds.
    digests_wanted = dict.fromkeys(anchors)
    for seal in walk(model, using):
        get_items(seal)
        digests_wanted.pop(seal.digest, None)
    for anchor in digests_wanted:
        raise AnchorMissingError(anchor)
    report = Report()
    after: int | None = None
    for seal in walk(model, using):
        if seal.kind == AuditSeal.Kind.ENTRIES:
            present = _check_range(model, using, seal, after)
            report.sealed += present
            report.pruned += seal.count - present
            after = seal.last_id
            advance(seal.count)
        report.seals += 1
        report.digest = seal.digest
    rest = get_all(model, using)
    report.unsealed = (rest if after is None else rest.filter(pk__gt=after)).count()
    return report


def _check_range(model: type[Model], using: str, seal: AuditSeal, after: int | None) -> int:
    """How many entries of ``seal`` are there; raises TamperedError if any is not as it was."""
    _check_columns(model, seal)
    columns = seal.columns.split(",")
    recorded = dict(get_items(seal))
    while True:
        pruned = _get_pruned(model, using, after, seal.last_id)
        rows = read(get_all(model, using), columns, after, seal.last_id)
        present = {id: _digest(columns, values) for id, values in rows}
        finding = _compare(recorded, present, pruned)
        if finding is None:
            return len(present)
        # Somebody may have pruned since we asked what was.
        if _get_pruned(model, using, after, seal.last_id) == pruned:
            raise finding


def _compare(
    recorded: Mapping[int, bytes], present: Mapping[int, bytes | None], pruned: set[int]
) -> TamperedError | None:
    for id in sorted(recorded.keys() | present.keys()):
        if id in present and (id not in recorded or id in pruned):
            hint = "it had been pruned" if id in pruned else ""
            return TamperedError("inserted", "entry", id, hint)
        if id in present and present[id] != recorded[id]:
            return TamperedError("altered", "entry", id)
        if id not in present and id not in pruned:
            return TamperedError("removed", "entry", id)
    return None


def _get_pruned(model: type[Model], using: str, after: int | None, last: int) -> set[int]:
    """The ids of a range that were pruned by command."""
    seals = get_seals(model, using).filter(kind=AuditSeal.Kind.PRUNED, first_id__lte=last)
    if after is not None:
        seals = seals.filter(last_id__gt=after)
    return {
        id
        for seal in seals
        for id, _ in get_items(seal)
        if id <= last and (after is None or id > after)
    }


def _check_columns(model: type[Model], seal: AuditSeal) -> None:
    gone = sorted(set(seal.columns.split(",")) - set(get_columns(model)))
    if gone:
        raise ColumnGoneError(
            f"Seal {seal.pk} covers the column {gone[0]!r}, which {model._meta.label} no longer "
            f"has, so its entries cannot be compared. Give the column back under this name."
        )


def _digest(columns: list[str], values: tuple[Any, ...] | None) -> bytes | None:
    """None for what nobody can have sealed."""
    try:
        return None if values is None else get_digest(columns, values)
    except (TypeError, RecursionError):
        return None
