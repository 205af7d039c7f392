"""What one entry tells of a row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from django_signal_kit.audit.kin import Kin, Relation


class Told(NamedTuple):
    """What one entry tells of the row."""

    pk: Any
    action: str
    #: By the names that fields have today.
    changes: Mapping[str, Any]
    #: By names that no field has any more.
    gone: Mapping[str, Any]
    #: ``{"reason", "certain", "precedes", …}``.
    context: Mapping[str, Any]
    relation: Relation
    #: Is it about all rows of a statement?
    is_statement: bool

    @property
    def is_certain(self) -> bool:
        return self.context.get("certain") is not False

    @property
    def is_own(self) -> bool:
        return self.relation == "own" and not self.is_statement

    @property
    def is_whole(self) -> bool:
        """Does it tell of the row with all of its fields?"""
        return self.relation in ("own", "child") and not self.is_statement


def tell(kin: Kin, pk: Any, action: str, key: str, kind: Any, changes: Any, context: Any) -> Told:
    """An entry, given as its columns, as what it tells of the row that ``kin`` is of."""
    told, gone = kin.split(kind, key, changes)
    context = context if isinstance(context, dict) else {}
    return Told(pk, action, told, gone, context, kin.get_relation(kind), not key)
