"""Compares rows with what the log says of them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from django_signal_kit.audit.comparing.finding import Finding
from django_signal_kit.audit.comparing.look import Look
from django_signal_kit.audit.comparing.scope import Scope

#: How often a row is looked at again that others write to meanwhile.
_LOOKS = 20
#: Seconds between a commit in one database and that of its entry in another.
_APART = 1.0


class Comparison:
    """Of the rows of a ``scope`` with its log.

    Nothing is locked. A row that seems to be another than the log says is looked at again: its
    entries, the row, its entries once more. If these are the same, nobody wrote in between who
    recorded it.
    """

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        #: Rows that have been compared; those of them of which no entry tells how they came,
        #: though nobody may have missed it; and those that others wrote to all the time.
        self.compared = self.unknown = self.restless = 0

    def compare(self, keys: Sequence[Any]) -> list[Finding]:
        """What is wrong with the rows of these keys, which may be gone."""
        if not keys:
            return []
        look = Look(self.scope, keys)
        self.compared += len(look.rows)
        self.unknown += len(look.unknown)
        suspects = list(look.findings)
        found: list[Finding] = []
        for _ in range(_LOOKS):
            if not suspects:
                break
            if self.scope.is_apart:
                time.sleep(_APART)
            look = Look(self.scope, suspects, is_last=True)
            moving = look.find_moving()
            found += [look.findings[key] for key in look.findings if key not in moving]
            suspects = [key for key in suspects if key in moving]
        self.restless += len(suspects)
        return self._tell_times(found)

    def _tell_times(self, findings: Iterable[Finding]) -> list[Finding]:
        findings = list(findings)
        ids = [finding.entry for finding in findings if finding.entry is not None]
        entries = self.scope.entries.filter(pk__in=ids)
        times = dict(entries.values_list("pk", "at")) if ids else {}
        return [finding._replace(at=times.get(finding.entry)) for finding in findings]
