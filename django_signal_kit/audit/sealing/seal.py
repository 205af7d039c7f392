"""Seals the log: from then on nobody changes it unseen.

What is sealed cannot be altered, removed or inserted by somebody who does not also write all later
seals anew, and who does is found out by any later digest that was kept elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from django.db import connections
from django.db.models import Max, Model
from django.db.transaction import TransactionManagementError

from django_signal_kit.audit.models import AuditSeal
from django_signal_kit.audit.sealing.chain import append, get_last, get_seals
from django_signal_kit.audit.sealing.digest import get_columns, get_digest
from django_signal_kit.audit.sealing.scanning import get_all, read

#: The entries of a seal, if nothing else is said, and at most.
SIZE, MAX_SIZE = 1_000, 100_000
#: The ids that one seal notes as pruned.
_PRUNED = 10_000


def get_sealed_up_to(model: type[Model], using: str) -> int | None:
    """The id of the last entry that is sealed; None if none is."""
    sealed = get_seals(model, using).filter(kind=AuditSeal.Kind.ENTRIES)
    last: int | None = sealed.aggregate(last=Max("last_id"))["last"]
    return last


def seal_entries(
    model: type[Model], using: str, *, up_to: int, size: int = SIZE
) -> Iterator[AuditSeal]:
    """Seal the entries after those that are sealed, up to the id ``up_to``, ``size`` at a time.
    Yields each seal when it is committed.

    ``up_to`` comes from ``horizon.get_horizon()``: below it nothing may appear any more. Several
    may seal at once. Raises ValueError for an entry that cannot be read, TypeError for one that
    has no canonical form, RuntimeError in a transaction.
    """
    columns = get_columns(model)
    while True:
        # In this order: whoever seals in between makes our seal fail, and we look again.
        previous = get_last(model, using)
        after = get_sealed_up_to(model, using)
        entries = read(get_all(model, using), columns, after, up_to)
        items = [(id, _digest(id, columns, values)) for id, values in islice(entries, size)]
        if not items:
            return
        seal = append(model, using, previous, items, columns=columns, durable=True)
        if seal is not None:
            yield seal


def note_pruned(model: type[Model], ids: Iterable[int], using: str) -> list[AuditSeal]:
    """Note in the chain that the entries ``ids`` of the log are deleted on purpose.

    To be called in the transaction that deletes them, after the deletion; raises
    TransactionManagementError outside one. Writes nothing if nothing has ever been sealed, but
    else notes entries that are not sealed, too: somebody may be sealing them now. Returns the
    seals.
    """
    if not connections[using].in_atomic_block:
        raise TransactionManagementError(
            "note_pruned() belongs into the transaction that deletes the entries. "
            f"Open atomic(using={using!r}) around both."
        )
    seals = []
    rest = iter(sorted(set(ids)))
    previous = get_last(model, using)
    while previous is not None and (chunk := list(islice(rest, _PRUNED))):
        items = [(id, b"") for id in chunk]
        while (seal := append(model, using, previous, items)) is None:
            previous = get_last(model, using)
        seals.append(seal)
        previous = seal
    return seals


def _digest(id: int, columns: list[str], values: tuple[object, ...] | None) -> bytes:
    if values is None:
        raise ValueError(
            f"Entry {id} of the audit log cannot be read, so it cannot be sealed: a column holds "
            f"what is none of its values. Mend or delete it by SQL."
        )
    return get_digest(columns, values)
