"""Entries as a page shows them: their changes with names, by key and with marks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.contrib.admin import AdminSite
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timezone import is_aware, localtime

from django_signal_kit.audit.models import AbstractAuditEntry
from django_signal_kit.audit.pages import logins
from django_signal_kit.audit.pages.diff import Row, get_rows
from django_signal_kit.audit.pages.jsondiff import expand
from django_signal_kit.audit.pages.kinds import get_model, set_kinds
from django_signal_kit.audit.pages.labels import Labels
from django_signal_kit.audit.pages.marking import mark
from django_signal_kit.audit.pages.summary import Item


@dataclass(frozen=True)
class Shown:
    """An entry and the rows of its changes."""

    entry: AbstractAuditEntry
    rows: list[Row]

    @property
    def tells_changes(self) -> bool:
        """A login changes nothing, and says so by its action."""
        return bool(self.rows) or self.entry.action not in logins.ACTIONS

    @property
    def facts(self) -> list[Item]:
        """What a line says in the place of changes."""
        return [] if self.tells_changes else logins.get_items(self.entry)

    @property
    def has_values(self) -> bool:
        return any(row.kind != "members" for row in self.rows)

    @property
    def shows_old(self) -> bool:
        return self.entry.action != "create"

    @property
    def shows_new(self) -> bool:
        return self.entry.action != "delete"


def present(
    entries: Iterable[Any],
    request: HttpRequest,
    site: AdminSite,
    log: QuerySet[Any] | None = None,
) -> list[Shown]:
    """``entries`` for the user of ``request``, with one query for each model that their foreign
    keys name, and one of the ``log`` that he may see for those of its rows that are gone."""
    entries = list(entries)
    set_kinds(entries)
    labels = Labels(request, site, log)
    found = [(entry, get_rows(entry.changes, get_model(entry))) for entry in entries]
    for entry, rows in found:
        labels.want(rows, entry.using)
    return [
        Shown(
            entry,
            [mark(part) for row in rows for part in expand(labels.put(row, entry.using))],
        )
        for entry, rows in found
    ]


def show_time(entry: AbstractAuditEntry) -> SafeString:
    at = localtime(entry.at) if is_aware(entry.at) else entry.at
    return format_html(
        '<time datetime="{}"><span>{}</span> <span>{}</span></time>',
        at.isoformat(),
        f"{at:%Y-%m-%d}",
        f"{at:%H:%M:%S}",
    )


def show_badge(entry: AbstractAuditEntry) -> SafeString:
    # An action that is not of the kit may hold anything; a class may not.
    known = entry.action if entry.action in entry.Action.values else "other"
    return format_html(
        '<span class="signal-kit-badge signal-kit-{}">{}</span>',
        known,
        entry.get_action_display(),
    )
