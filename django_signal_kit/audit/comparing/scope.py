"""What is compared with what."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import router
from django.db.models import Model, QuerySet

from django_signal_kit.audit.audit_log import AuditLog, get_recorder
from django_signal_kit.audit.comparing.evidence import Evidence
from django_signal_kit.audit.comparing.following import Fields
from django_signal_kit.audit.comparing.moves import Moves
from django_signal_kit.audit.comparing.showing import Showing
from django_signal_kit.audit.databases import get_log_alias
from django_signal_kit.audit.entries import get_entry_model
from django_signal_kit.audit.kin import Family
from django_signal_kit.audit.upkeep.covered import get_linked_fields, get_rows


class Scope:
    """The rows of ``model`` in the database ``using``, and the log in the database ``log``."""

    def __init__(
        self,
        receiver: AuditLog,
        model: type[Model],
        *,
        using: str | None = None,
        log: str | None = None,
        is_complete: bool = False,
    ) -> None:
        """``is_complete``: all rows, fields and links have been recorded since the first row."""
        self.receiver = receiver
        self.model = model
        self.using = using or router.db_for_write(model)
        alias = log or get_log_alias(self.using)
        self.entries: QuerySet[Any, Any] = QuerySet(get_entry_model(), using=alias)
        self.entries = self.entries.filter(using=self.using)
        self.family = Family(model, alias)
        self.kind = self.family.kinds[self.family.model].pk
        self.to_key = self.family.to_key[self.family.model]
        self.fields = Fields(model)
        self.links = get_linked_fields(receiver, model)
        self.evidence = Evidence(self.entries, self.family, is_complete=is_complete)
        self.moves = Moves(self.entries, self.family)
        self.showing = Showing(model)
        #: Do a row and its entry commit apart?
        self.is_apart = alias != self.using

    def get_rows(self) -> QuerySet[Any]:
        """The rows that are told of as those of the model."""
        return get_rows(self.receiver, self.model, self.using)

    def to_members(self, field: Any, keys: Iterable[Any]) -> list[Any]:
        """Keys of the rows that a many-to-many field links to, as entries have them."""
        return get_recorder(self.receiver).to_members(field, keys)
