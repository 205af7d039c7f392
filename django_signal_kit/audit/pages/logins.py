"""Entries of LoginLog, which tell of no values."""

from __future__ import annotations

from typing import Any

from django_signal_kit.audit.pages.diff import get_value
from django_signal_kit.audit.pages.facts import CONTEXT_LABELS
from django_signal_kit.audit.pages.summary import Item, shorten

ACTIONS = frozenset(("login", "logout", "login_failed"))


def get_items(entry: Any) -> list[Item]:
    """What a line says of a login in the place of changes: the name that was typed, and from
    where."""
    context = entry.context if isinstance(entry.context, dict) else {}
    return [
        Item(str(CONTEXT_LABELS[name]), new=shorten(get_value(context[name])))
        for name in ("username", "ip")
        if context.get(name)
    ]
