"""A line of the table: a receiver, and what it has done."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from django_signal_kit.sight.figures import Counters, Figures, Tasks
from django_signal_kit.sight.mutes import Mute
from django_signal_kit.sight.pages.charts import Chart, draw_times, show_time
from django_signal_kit.sight.pages.filters import Filters
from django_signal_kit.sight.pages.wired import OTHER, Wired, get_kind
from django_signal_kit.wiring.sender_names import ANY

ACTS = {
    "at_once": _("at once"),
    "before_commit": _("before the commit"),
    "after_commit": _("after the commit"),
    "task": _("in a task"),
}
#: What receivers count themselves -> what that is called; of others the name says it.
_OWN = {
    "cache_hits": _("cache hits"),
    "cache_misses": _("cache misses"),
    "files_removed": _("files taken away"),
    "keys_dropped": _("cache keys dropped"),
    "mails_sent": _("mails sent"),
    "tags_touched": _("cache tags touched"),
}
_KINDS = {"save": _("saves"), "delete": _("deletions"), "links": _("links")}
_ALL = "all senders"
_NONE = Figures()
_MOST_SENDERS = 4
_PART = re.compile(r"[^._]*[._]+|[^._]+$")


@dataclass(frozen=True)
class Row:
    wired: Wired
    #: The address of its page.
    url: str
    #: None of what nobody counts: a plain function, or triggers.
    figures: Figures | None
    tasks: Tasks | None
    mute: Mute | None
    #: Its part of the time of all receivers, in percent.
    share: float = 0.0

    @property
    def title(self) -> SafeString:
        return breakable(self.wired.key)

    @property
    def acts(self) -> Any:
        return ACTS[self.wired.acts]

    @property
    def counted(self) -> Figures:
        return _NONE if self.figures is None else self.figures

    @property
    def errors(self) -> int:
        return self.counted.errors + self.counted.flush_errors

    @property
    def queries(self) -> int:
        return self.counted.queries + self.counted.flush_queries

    @property
    def queries_per_call(self) -> float:
        return self.counted.queries / (self.counted.calls.count or 1)

    @property
    def queries_per_flush(self) -> float:
        return self.counted.flush_queries / (self.counted.flushes.count or 1)

    @property
    def seconds(self) -> float:
        return self.counted.calls.seconds + self.counted.flushes.seconds

    @property
    def is_idle(self) -> bool:
        return self.figures is not None and not self.figures.has_run

    @property
    def time(self) -> str:
        return show_time(self.seconds)

    @property
    def mean(self) -> str:
        return show_time(self.counted.calls.mean)

    @property
    def p95(self) -> str:
        return show_time(self.counted.calls.p95)

    @property
    def flush_mean(self) -> str:
        return show_time(self.counted.flushes.mean)

    @property
    def flush_p95(self) -> str:
        return show_time(self.counted.flushes.p95)

    @property
    def chart(self) -> Chart | None:
        return draw_times(self.counted.calls)

    @property
    def flush_chart(self) -> Chart | None:
        return draw_times(self.counted.flushes)

    @property
    def own(self) -> list[tuple[Any, int]]:
        """What it counts beside: label and number."""
        return [
            (_OWN.get(name, name.replace("_", " ")), count)
            for name, count in self.counted.own.items()
        ]

    @property
    def hears(self) -> list[tuple[SafeString, SafeString, int]]:
        """What it hears, in short: kinds of signals, the first of their senders, and how many
        there are beside these."""
        of_kind: dict[str, dict[str, None]] = {}
        for signal, senders in self.wired.hears.items():
            kind = get_kind(signal)
            told = signal if kind == OTHER else str(_KINDS[kind])
            of_kind.setdefault(told, {}).update(dict.fromkeys(senders))
        of_senders: dict[tuple[str, ...], list[str]] = {}
        for told, heard in of_kind.items():
            of_senders.setdefault(tuple(heard), []).append(told)
        return [
            (
                breakable(", ".join(told)),
                breakable(", ".join(_ALL if n == ANY else n for n in names[:_MOST_SENDERS])),
                max(0, len(names) - _MOST_SENDERS),
            )
            for names, told in of_senders.items()
        ]


def breakable(text: str) -> SafeString:
    """A dotted path that may go on in another line after each of its parts."""
    return format_html_join("", "{}<wbr>", ((part,) for part in _PART.findall(text)))


def make_rows(
    found: Iterable[Wired],
    counters: Counters,
    tasks: Mapping[str, Tasks],
    mutes: Iterable[Mute],
    get_url: Callable[[str], str],
) -> list[Row]:
    muted = {mute.name: mute for mute in mutes}
    all_seconds = sum(f.calls.seconds + f.flushes.seconds for f in counters.receivers.values())
    rows = []
    for wired in found:
        name = wired.name
        is_counted = name is not None and wired.is_called
        figures = counters.receivers.get(wired.key, _NONE) if is_counted else None
        seconds = 0.0 if figures is None else figures.calls.seconds + figures.flushes.seconds
        rows.append(
            Row(
                wired,
                get_url(wired.key),
                figures,
                tasks.get(wired.key),
                muted.get(wired.key),
                round(100 * seconds / all_seconds, 1) if all_seconds else 0.0,
            )
        )
    return rows


def select(rows: Iterable[Row], filters: Filters) -> list[Row]:
    """Those that ``filters`` ask for, in the order that they ask for."""
    chosen = [row for row in rows if _is_shown(row, filters)]
    keys: dict[str, Any] = {
        "calls": lambda row: -row.counted.calls.count,
        "errors": lambda row: -row.errors,
        "queries": lambda row: -row.queries,
        "time": lambda row: -row.seconds,
    }
    return sorted(chosen, key=keys[filters.o]) if filters.o else chosen


def _is_shown(row: Row, filters: Filters) -> bool:
    wired, text = row.wired, filters.q.casefold()
    if text and text not in wired.key.casefold() and text not in wired.path.casefold():
        return False
    match filters.show:
        case "kit":
            return wired.name is not None
        case "functions":
            return wired.name is None
        case "inner":
            return wired.is_inner
        case "failing":
            return row.errors > 0
        case "idle":
            return row.is_idle
        case "muted":
            return row.mute is not None
    return not wired.is_inner


def narrow(found: Sequence[Wired], senders: Iterable[str]) -> list[Wired]:
    """What hears these senders, with these alone."""
    kept = list(senders)
    return [narrowed for wired in found if (narrowed := wired.narrow(kept)) is not None]
