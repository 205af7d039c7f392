"""The page of all receivers: filters, figures, a picture, a table and the last errors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from django.core.paginator import Paginator
from django.utils.translation import gettext_lazy as _

from django_signal_kit.sight.figures import Counters, Tasks
from django_signal_kit.sight.mutes import Mute
from django_signal_kit.sight.pages.filters import ORDERS, SHOWN, Filters
from django_signal_kit.sight.pages.picture import Node, Picture, draw
from django_signal_kit.sight.pages.rows import Row, make_rows, narrow, select
from django_signal_kit.sight.pages.wired import NO_APP, Wired, get_apps

PER_PAGE = 50
_MOST_ERRORS = 10


def get_overview(
    found: list[Wired],
    filters: Filters,
    counters: Counters,
    tasks: Mapping[str, Tasks],
    mutes: list[Mute],
    get_url: Callable[[str], str],
) -> dict[str, Any]:
    """What the template of the page is given. ``get_url`` makes the address of a receiver."""
    by_app = get_apps(sender for wired in found for sender in wired.senders)
    narrowed = found
    if filters.model or filters.app:
        senders = [filters.model] if filters.model else by_app.get(filters.app, [])
        narrowed = narrow(found, senders)
    rows = select(make_rows(narrowed, counters, tasks, mutes, get_url), filters)
    picture = draw([row.wired for row in rows])
    if picture is not None and picture.left_out and not filters.app:
        # Of a whole project nobody could follow the lines.
        picture = None
    page = Paginator(rows, PER_PAGE).get_page(filters.p)
    names = {row.wired.key for row in rows}
    errors = [failure for failure in counters.errors if failure.receiver in names]
    return {
        "filters": filters,
        "is_narrowed": filters != Filters(o=filters.o, p=filters.p),
        "apps": list(_list_apps(found, by_app, filters)),
        "models": by_app.get(filters.app, []) if filters.app != NO_APP else [],
        "shown": SHOWN.items(),
        "orders": [(key, label, filters.get_url(o=key)) for key, label in ORDERS.items()],
        "picture": picture,
        "senders": _link_senders(picture, by_app, filters),
        "receivers": [(node, get_url(node.first)) for node in picture.receivers]
        if picture
        else [],
        "page": page,
        "pages": [(number, filters.get_url(p=number)) for number in page.paginator.page_range],
        "sums": _add_up(rows),
        "errors": [(each, get_url(each.receiver)) for each in errors[:_MOST_ERRORS]],
    }


def _list_apps(
    found: Iterable[Wired], by_app: Mapping[str, list[str]], filters: Filters
) -> Iterator[dict[str, Any]]:
    """The apps that have senders: how many these are, and how many receivers they have."""
    app_of = {sender: label for label, senders in by_app.items() for sender in senders}
    counts: Counter[str] = Counter()
    for wired in found:
        if not wired.is_inner:
            counts.update({app_of[sender] for sender in wired.senders})
    for label, senders in by_app.items():
        if counts[label] or label == filters.app:
            yield {
                "label": label,
                "name": _("no model") if label == NO_APP else label,
                "url": filters.get_url(app=label, model=""),
                "senders": len(senders),
                "receivers": counts[label],
            }


def _link_senders(
    picture: Picture | None, by_app: Mapping[str, list[str]], filters: Filters
) -> list[tuple[Node, str]]:
    """Senders of the picture, each with the address that narrows the page to it, if there is."""
    labels = {
        sender: label for label, senders in by_app.items() if label != NO_APP for sender in senders
    }
    return [
        (node, filters.get_url(app=labels[node.first], model=node.first))
        if len(node.names) == 1 and node.first in labels
        else (node, "")
        for node in (picture.senders if picture else ())
    ]


def _add_up(rows: Iterable[Row]) -> dict[str, Any]:
    counted = [row for row in rows if row.figures is not None]
    own: Counter[Any] = Counter()
    for row in counted:
        own.update(dict(row.own))
    return {
        "receivers": len(counted),
        "idle": sum(row.is_idle for row in counted),
        "calls": sum(row.counted.calls.count for row in counted),
        "errors": sum(row.errors for row in counted),
        "queries": sum(row.queries for row in counted),
        "flushed": sum(row.counted.flushed for row in counted),
        "waiting": sum(row.tasks.waiting for row in counted if row.tasks),
        "failed": sum(row.tasks.failed for row in counted if row.tasks),
        "own": sorted(own.items(), key=lambda item: str(item[0])),
    }
