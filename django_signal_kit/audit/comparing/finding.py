"""What somebody did to a row, and nobody recorded."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

#: How much of a value is shown.
_LONGEST = 100


class Difference(NamedTuple):
    """What the log says of a field, and what the row has, as JSON without secrets. ``entry`` is
    the last one that tells of it."""

    field: str
    told: Any
    found: Any
    entry: Any


class LinkDifference(NamedTuple):
    """What a row is linked to, and the log says is not (``"added"``), or the reverse
    (``"removed"``). ``entry`` is the last one that tells of it; None if there is none."""

    field: str
    verb: Literal["added", "removed"]
    member: Any
    entry: Any


class Finding(NamedTuple):
    """A row that is not what the log says it is.

    ``"changed"``: it has ``differences``. ``"gone"``: the log tells of no deletion.
    ``"returned"``: it is there, and the log says that it was deleted. ``"unrecorded"``: no entry
    tells that it was created. ``entry`` is the last entry about it, ``at`` the time of that.
    """

    kind: Literal["changed", "gone", "returned", "unrecorded"]
    #: Of the model.
    label: str
    #: As entries have it.
    key: str
    entry: Any = None
    at: datetime.datetime | None = None
    differences: Sequence[Difference | LinkDifference] = ()

    def get_lines(self) -> Iterator[str]:
        """A line for each thing that differs."""
        row = f"{self.label} {self.key}"
        last = f"entry {self.entry}" if self.at is None else f"entry {self.entry} of {self.at}"
        if self.kind == "gone":
            yield f"{row}: is gone, and {last} is the last about it"
        elif self.kind == "returned":
            yield f"{row}: is there, and {last} or one before says that it was deleted"
        elif self.kind == "unrecorded":
            yield f"{row}: is there, and no entry tells that it was created"
        for difference in self.differences:
            yield f"{row}: {_describe(difference)} (last: {last})"


def _describe(difference: Difference | LinkDifference) -> str:
    field, entry = difference.field, difference.entry
    if isinstance(difference, Difference):
        found, told = _show(difference.found), _show(difference.told)
        return f"{field} is {found}, and entry {entry} has {told}"
    is_linked = "is" if difference.verb == "added" else "is not"
    said = "no entry tells of it"
    if entry is not None:
        said = f"entry {entry} has {'removed' if difference.verb == 'added' else 'added'} it"
    return f"{field}: {_show(difference.member)} {is_linked} linked, and {said}"


def _show(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
