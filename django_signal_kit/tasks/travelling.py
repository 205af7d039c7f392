"""Collected items as JSON, in parts of a size that a broker takes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from django_signal_kit.exceptions import NotJSONError
from django_signal_kit.tasks.options import TaskReceiver

#: Bytes of JSON in one task, where it can be helped.
MOST_BYTES = 256 * 1024
#: Room for what is not items.
_REST = 4 * 1024

#: Of a number that str() takes, whose limit is 4,300 digits.
_MOST_BITS = 14_000
_SCALARS = (str, int, type(None))


def check_item(receiver: TaskReceiver, item: Any) -> None:
    """Raise NotJSONError if what ``receiver`` makes of ``item`` is not JSON."""
    _serialize(receiver, item)


def find_stranger(data: Any, path: str = "") -> tuple[str, str] | None:
    """(where in ``data`` what is not JSON is, and what it is), or None."""
    if isinstance(data, int) and data.bit_length() > _MOST_BITS:
        return path, "a number of more digits than Python writes"
    if isinstance(data, _SCALARS) or (isinstance(data, float) and math.isfinite(data)):
        return None
    parts: Iterable[tuple[str, Any]]
    if isinstance(data, list | tuple):
        parts = ((f"{path}[{place}]", part) for place, part in enumerate(data))
    elif isinstance(data, Mapping):
        for key in data:
            if not isinstance(key, str):
                return path, f"a dict with the key {key!r}, of type {type(key).__name__}"
        parts = ((f"{path}[{key!r}]", part) for key, part in data.items())
    else:
        return path, f"{data!r}, of type {type(data).__name__}"
    return next(filter(None, (find_stranger(part, where) for where, part in parts)), None)


def _explain(receiver: TaskReceiver, item: Any, path: str, what: str) -> str:
    where = f"item{path}" if path else "which"
    return (
        f"{receiver.name} collects {_show(item)} for a task, and {where} is {what}: no queue can "
        f"keep it. Collect keys, not instances: None, True, False, numbers, strings, and lists "
        f"and dicts of these, dicts with strings as keys; or override serialize() and "
        f"deserialize()."
    )


def _show(item: Any) -> str:
    try:
        return repr(item)
    except (RecursionError, ValueError):
        return f"an object of type {type(item).__name__}"


def pack(receiver: TaskReceiver, items: Iterable[Any]) -> Iterator[list[Any]]:
    """The items as JSON has them, in parts of at most 256 KB; what is larger alone stays alone.

    Raises NotJSONError for what is no JSON any more since it was collected.
    """
    data = [_serialize(receiver, item) for item in items]
    # All at once takes half as long.
    text = json.dumps(data)
    if len(text) <= MOST_BYTES - _REST:
        yield json.loads(text)
        return
    part: list[Any] = []
    room = 0
    for text in map(json.dumps, data):
        # With the comma and the blank behind it.
        room -= len(text) + 2
        if room < 0 and part:
            yield part
            part = []
        if not part:
            room = MOST_BYTES - _REST - len(text)
        part.append(json.loads(text))
    yield part


def _serialize(receiver: TaskReceiver, item: Any) -> Any:
    data = receiver.serialize(item)
    try:
        found = find_stranger(data)
    except RecursionError:
        found = "", "nested too deep, or holds itself"
    if found is not None:
        raise NotJSONError(_explain(receiver, item, *found))
    return data


def match(items: list[Any], failed: Iterable[Any]) -> list[int]:
    """The places in ``items`` of those that have failed; all, if one of them is none of these."""
    left = dict(enumerate(items))
    found = []
    for wrong in failed:
        places = chain(
            (place for place, item in left.items() if item is wrong),
            (place for place, item in left.items() if item == wrong),
        )
        place = next(places, None)
        if place is None:
            return list(range(len(items)))
        del left[place]
        found.append(place)
    return sorted(found)
