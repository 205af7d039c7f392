"""Who listens to whom, as a drawing for a page: without a style of its own, and never so large
that nobody can read it.

Senders that are heard by the same receivers are drawn as one, and receivers that hear the same if
there are many. What is still too much is left out, and how much that is, is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from django_signal_kit.sight.pages.wired import KINDS, OTHER, Wired, get_kind
from django_signal_kit.wiring.sender_names import ANY

T = TypeVar("T")

#: The most rows of a column.
MOST = 40

# The units of the drawing.
_ROW = 26
_GAP = 180
_MARGIN = 12
_LETTER = 6.8
_LONGEST = 44
_ALL = "all senders"
#: How far apart lines between the same two are.
_APART = 4


@dataclass(frozen=True)
class Line:
    """The lines of one kind that lead to a receiver, as one shape."""

    kind: str
    path: str


@dataclass(frozen=True)
class Node:
    """A sender, or several; a receiver, or several, with the lines that lead to it."""

    names: Sequence[str]
    x: int
    y: int
    lines: Sequence[Line] = ()
    #: From whom, by which signals: what the lines say.
    title: str = ""

    @property
    def first(self) -> str:
        return self.names[0]

    @property
    def label(self) -> str:
        more = len(self.names) - 1
        note = f" and {more} more" if more else ""
        room = _LONGEST - len(note)
        return _shorten(_ALL if self.first == ANY else self.first, room) + note


@dataclass(frozen=True)
class Picture:
    senders: Sequence[Node]
    receivers: Sequence[Node]
    width: int
    height: int
    #: The kinds of lines that there are.
    kinds: Sequence[str]
    #: How many senders and receivers are not drawn.
    left_out: int


def _shorten(text: str, room: int) -> str:
    """Its end, from a part of a dotted path on if that leaves enough of it."""
    if len(text) <= room:
        return text
    end = text[1 - room :]
    whole = end.partition(".")[2]
    return f"…{whole if 2 * len(whole) > room else end}"


def draw(found: Sequence[Wired]) -> Picture | None:
    """None if there is nothing to draw."""
    # Sender -> receiver -> the signals.
    heard: dict[str, dict[str, list[str]]] = {}
    for wired in found:
        for signal, senders in wired.hears.items():
            for sender in dict.fromkeys(senders):
                heard.setdefault(sender, {}).setdefault(wired.key, []).append(signal)
    if not heard:
        return None
    left = _join({sender: _freeze(by) for sender, by in heard.items()})
    right: list[list[str]] = [[wired.key] for wired in found]
    if len(right) > MOST:
        right = _join({wired.key: _freeze(wired.hears) for wired in found})
    left_out = sum(map(len, left[MOST:])) + sum(map(len, right[MOST:]))
    left = left[:MOST]
    order = {names[0]: number for number, names in enumerate(left)}
    right = sorted(right[:MOST], key=lambda names: _get_middle(names[0], heard, order))
    return _place(left, right, heard, left_out)


def _place(
    left: Sequence[Sequence[str]],
    right: Sequence[Sequence[str]],
    heard: Mapping[str, Mapping[str, Sequence[str]]],
    left_out: int,
) -> Picture:
    height = _ROW * max(len(left), len(right)) + _MARGIN
    start = int(_MARGIN + _LETTER * max(len(Node(n, 0, 0).label) for n in left))
    end = start + _GAP
    width = int(end + _MARGIN + _LETTER * max(len(Node(n, 0, 0).label) for n in right)) + 8
    senders = [Node(n, start, y) for n, y in zip(left, _spread(len(left), height), strict=True)]
    receivers, kinds = [], dict.fromkeys((*KINDS, OTHER), False)
    for names, y in zip(right, _spread(len(right), height), strict=True):
        paths, told = dict[str, str](), []
        for sender in senders:
            signals = heard[sender.first].get(names[0], ())
            of_kinds = list(dict.fromkeys(map(get_kind, signals)))
            for number, kind in enumerate(of_kinds):
                shift = round(_APART * (number - (len(of_kinds) - 1) / 2))
                curve = _curve(start + 8, sender.y + shift, end - 8, y + shift)
                paths[kind] = paths.get(kind, "") + curve
            if signals:
                told.append(f"{', '.join(sender.names[:5])}: {', '.join(signals)}")
        title = "\n".join([", ".join(names[:5]), *told])
        lines = [Line(kind, path) for kind, path in paths.items()]
        receivers.append(Node(names, end, y, lines, title))
        kinds.update(dict.fromkeys(paths, True))
    drawn = [kind for kind, is_drawn in kinds.items() if is_drawn]
    return Picture(senders, receivers, width, height, drawn, left_out)


def _join(of: Mapping[str, T]) -> list[list[str]]:
    """Those of whom the same is said, together."""
    groups: dict[T, list[str]] = {}
    for name, said in of.items():
        groups.setdefault(said, []).append(name)
    return list(groups.values())


def _freeze(found: Mapping[str, Iterable[str]]) -> frozenset[tuple[str, frozenset[str]]]:
    return frozenset((name, frozenset(others)) for name, others in found.items())


def _get_middle(
    receiver: str, heard: Mapping[str, Mapping[str, Sequence[str]]], order: Mapping[str, int]
) -> float:
    """Where its senders are, on the average: few lines cross then."""
    at = [number for sender, number in order.items() if receiver in heard[sender]]
    return sum(at) / len(at) if at else len(order)


def _spread(count: int, height: int) -> list[int]:
    return [round((number + 0.5) * height / count) for number in range(count)]


def _curve(x1: int, y1: int, x2: int, y2: int) -> str:
    middle = (x1 + x2) // 2
    return f"M{x1} {y1}C{middle} {y1} {middle} {y2} {x2} {y2}"
