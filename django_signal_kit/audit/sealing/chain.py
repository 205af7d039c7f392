"""The chain of seals: how one is added, and whether all are as they were."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence

from django.db import IntegrityError, transaction
from django.db.models import Model, QuerySet

from django_signal_kit.audit.models import AuditSeal
from django_signal_kit.audit.sealing.digest import DIGEST_SIZE, to_microseconds
from django_signal_kit.audit.sealing.evidence import pack, unpack
from django_signal_kit.audit.sealing.scanning import get_all, read
from django_signal_kit.audit.sealing.tampering import TamperedError

_VERSION = 1


def get_seals(model: type[Model], using: str) -> QuerySet[AuditSeal, AuditSeal]:
    """The seals of the log ``model`` in the database ``using``."""
    return get_all(AuditSeal, using).filter(log=_get_label(model))


def get_last(model: type[Model], using: str) -> AuditSeal | None:
    """The newest seal, of whatever kind."""
    seals = get_seals(model, using).order_by("-pk")
    if transaction.get_connection(using).in_atomic_block:
        # MariaDB shows a transaction what was there when it began, but to one who locks.
        seals = seals.select_for_update()
    return seals.first()


def append(
    model: type[Model],
    using: str,
    previous: AuditSeal | None,
    items: Sequence[tuple[int, bytes]],
    *,
    columns: Sequence[str] = (),
    durable: bool = False,
) -> AuditSeal | None:
    """Add a seal of entries after ``previous``, or of what is pruned if it has no ``columns``.
    Returns None if somebody else has added one there."""
    seal = AuditSeal(
        log=_get_label(model),
        kind=AuditSeal.Kind.ENTRIES if columns else AuditSeal.Kind.PRUNED,
        first_id=items[0][0],
        last_id=items[-1][0],
        count=len(items),
        columns=",".join(columns),
        evidence=pack(items),
        previous="" if previous is None else previous.digest,
    )
    seal.digest = get_digest(seal)
    try:
        with transaction.atomic(using=using, durable=durable):
            seal.save(using=using, force_insert=True)
    except IntegrityError:
        if get_last(model, using) == previous:
            raise
        return None
    return seal


def get_digest(seal: AuditSeal) -> str:
    """SHA-256 over all that a seal says, and so over the digest of the one before."""
    says = [
        _VERSION,
        seal.log,
        seal.kind,
        to_microseconds(seal.at),
        seal.first_id,
        seal.last_id,
        seal.count,
        seal.columns,
        seal.previous,
    ]
    # The line of JSON has no line break in it.
    head = json.dumps(says, separators=(",", ":")).encode("ascii")
    return hashlib.sha256(head + b"\n" + bytes(seal.evidence)).hexdigest()


def get_items(seal: AuditSeal) -> list[tuple[int, bytes]]:
    """The ids that a seal speaks of, and the digests of their entries; no digests of what was
    pruned. Raises TamperedError if the seal contradicts itself."""
    size = DIGEST_SIZE if seal.kind == AuditSeal.Kind.ENTRIES else 0
    try:
        items = list(unpack(bytes(seal.evidence), seal.first_id, size))
    except ValueError as error:
        raise TamperedError("altered", "seal", seal.pk) from error
    if not items or (len(items), items[-1][0]) != (seal.count, seal.last_id):
        raise TamperedError("altered", "seal", seal.pk)
    return items


def read_seals(model: type[Model], using: str) -> Iterator[tuple[int, AuditSeal | None]]:
    """The id of each seal, and the seal; None if it cannot be read."""
    columns = [field.attname for field in AuditSeal._meta.concrete_fields]
    for key, values in read(get_seals(model, using), columns):
        known = values and dict(zip(columns, values, strict=True))
        yield key, AuditSeal(**known) if known else None


def walk(model: type[Model], using: str) -> Iterator[AuditSeal]:
    """The seals, in order. Raises TamperedError for the first that is not as it was."""
    last: AuditSeal | None = None
    before = ""
    for key, seal in read_seals(model, using):
        if seal is None or get_digest(seal) != seal.digest:
            raise TamperedError("altered", "seal", key)
        if seal.previous != ("" if last is None else last.digest):
            raise _explain(seal, last, before)
        before = seal.previous
        last = seal
        yield seal


def _explain(seal: AuditSeal, last: AuditSeal | None, before: str) -> TamperedError:
    if last is None:
        return TamperedError("removed", "seal", None, f"the chain begins with seal {seal.pk}")
    if seal.previous == before:
        return TamperedError("inserted", "seal", last.pk, f"seal {seal.pk} follows the one before")
    return TamperedError(
        "removed",
        "seal",
        None,
        f"seal {seal.pk} does not follow seal {last.pk}, or seal {last.pk} was written anew",
    )


def _get_label(model: type[Model]) -> str:
    return model._meta.concrete_model._meta.label  # type: ignore[union-attr]
