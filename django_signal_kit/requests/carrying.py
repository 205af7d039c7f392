"""An alert as JSON, on its way to a worker and there. It is text already, without secrets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django.core.checks import CheckMessage, Warning

from django_signal_kit.requests.gate import Pass
from django_signal_kit.rows.values import bounded, say, to_text
from django_signal_kit.tasks.places import has_worker


class TravelledAlert(dict[str, Any]):
    """An item of ``flush()`` in a worker."""


def pack_alert(item: Mapping[str, Any]) -> dict[str, Any]:
    """What JSON does not know in a payload of the project's own becomes text, as for a webhook."""
    rest = {name: value for name, value in item.items() if name != "pass"}
    try:
        packed = json.loads(json.dumps(rest, default=str, allow_nan=False))
    except (TypeError, ValueError):
        # It holds itself, or has keys that are no text.
        packed = bounded(rest, replace=say)
    packed = _to_storable(packed)
    if "pass" in item:
        packed["pass"] = [*item["pass"]]
    return packed  # type: ignore[no-any-return]


def unpack_alert(packed: Mapping[str, Any]) -> TravelledAlert:
    alert = TravelledAlert(packed)
    if "pass" in alert:
        alert["pass"] = Pass(*alert["pass"])
    return alert


def warn_of_tasks(receiver: Any) -> list[CheckMessage]:
    """Of windows that a worker cannot give back."""
    if receiver.cache or not has_worker(receiver):
        return []
    return [
        Warning(
            f"{receiver.name} tells of an error by tasks, and counts errors in the memory of each "
            f"process: if no worker can tell of one, those like it are silent until the window is "
            f"over.",
            hint="Set its option 'cache' to an alias of CACHES that all processes share.",
            id="signal_kit.W023",
        )
    ]


def _to_storable(value: Any) -> Any:
    if isinstance(value, dict):
        return {to_text(name): _to_storable(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_to_storable(part) for part in value]
    return to_text(value) if isinstance(value, str) else value
