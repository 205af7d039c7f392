"""The journal of the connection whose unit of work is open here."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django_signal_kit.units.journal import Journal

open_journal: ContextVar[Journal | None] = ContextVar("signal_kit_journal", default=None)
