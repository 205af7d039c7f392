"""The page of one receiver."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from django_signal_kit.options import get_options
from django_signal_kit.receiver import ModelReceiver, Receiver
from django_signal_kit.sight.figures import Counters, Tasks
from django_signal_kit.sight.mutes import Mute
from django_signal_kit.sight.pages.picture import draw
from django_signal_kit.sight.pages.rows import make_rows
from django_signal_kit.sight.pages.wired import Wired
from django_signal_kit.sight.story import get_changed_options, get_summary
from django_signal_kit.wiring.registry import registry

#: Options of ready-made receivers that name fields, templates of keys and the like.
_PLAIN = (
    *("fields", "exclude_fields", "field", "by_field", "created_field", "created_by_field"),
    *("keys", "tags", "fragments", "related", "touch", "relation", "attributes", "groups"),
    *("level", "logger", "per", "signal", "usernames", "caches", "cache", "contract", "capture"),
    "object_text",
)
_ROLE = re.compile(r":\w+:`~?([^`]+)`")


def find_receiver(wired: Wired) -> Receiver | None:
    """The receiver of the kit; None of a plain function."""
    return next((each for each in registry.receivers if each.name == wired.name), None)


def get_detail(
    wired: Wired,
    receiver: Receiver | None,
    counters: Counters,
    tasks: Mapping[str, Tasks],
    mutes: list[Mute],
    get_url: Callable[[str], str],
) -> dict[str, Any]:
    """What the template of the page is given."""
    (row,) = make_rows([wired], counters, tasks, mutes, get_url)
    picture = draw([wired])
    return {
        "row": row,
        "summary": "" if receiver is None else _read(get_summary(type(receiver))),
        "options": [] if receiver is None else list(_list_options(receiver)),
        "picture": picture,
        "senders": [(node, "") for node in picture.senders] if picture else [],
        "receivers": [(node, "") for node in picture.receivers] if picture else [],
        "hears": _join_senders(wired),
        "errors": [(each, "") for each in counters.errors if each.receiver == wired.name],
    }


def _list_options(receiver: Receiver) -> list[tuple[str, str | None]]:
    """The options that are not the defaults, each with its value; None where that may be an
    address or a key, which a page does not show."""
    plain = {*get_options(ModelReceiver), *_PLAIN} - {"task_options"}
    return [
        (name, repr(value) if name in plain or isinstance(value, bool | int | float) else None)
        for name, value in get_changed_options(receiver).items()
    ]


def _read(summary: str) -> str:
    """Without what Sphinx makes of it."""
    return _ROLE.sub(lambda found: found[1].rpartition(".")[2], summary).replace("``", "")


def _join_senders(wired: Wired) -> list[tuple[str, list[str]]]:
    """Signals that have the same senders, together."""
    signals: dict[tuple[str, ...], list[str]] = {}
    for signal, senders in wired.hears.items():
        signals.setdefault(tuple(senders), []).append(signal)
    return [(", ".join(names), list(senders)) for senders, names in signals.items()]
