"""Who listens to whom, as a picture: Mermaid, DOT or SVG."""

from __future__ import annotations

from collections.abc import Iterable

from django.utils.html import escape

from django_signal_kit.wiring.listing import Listing

#: (sender, receiver) -> the signals, in order.
Arrows = dict[tuple[str, str], list[str]]

_ROW = 26
_GAP = 290
#: Columns of a letter, roughly.
_LETTER = 7.4

#: What Mermaid takes as it is, beside letters and digits.
_PLAIN = frozenset(" ._,-()")

_STYLE = """
svg { font: 12px system-ui, sans-serif; background: #fff }
text { fill: #1b1f24 } path { stroke: #8a94a0; fill: none; stroke-width: 1.2 }
.kit { font-weight: 600 } .more { fill: #5b6570; font-size: 10px }
g:hover > path { stroke: #c2410c; stroke-width: 2.4 }
@media (prefers-color-scheme: dark) {
  svg { background: #0d1117 } text { fill: #e6edf3 } path { stroke: #6b7480 }
  .more { fill: #9aa4af } g:hover > path { stroke: #fb923c }
}
"""


def get_arrows(listings: Iterable[Listing]) -> Arrows:
    found: Arrows = {}
    for listing in listings:
        signals = found.setdefault((listing.sender, listing.name or listing.receiver), [])
        if listing.signal not in signals:
            signals.append(listing.signal)
    return found


def draw_mermaid(arrows: Arrows) -> str:
    """A flowchart: paste it into Markdown, between three backticks and ``mermaid``."""
    names = _name(arrows)
    lines = ["flowchart LR"]
    lines += [f'  {id_}["{_encode(text)}"]' for (_, text), id_ in names.items()]
    lines += [
        f'  {names["sender", sender]} -->|"{_encode(", ".join(signals))}"| {names["receiver", to]}'
        for (sender, to), signals in arrows.items()
    ]
    return "\n".join(lines)


def draw_dot(arrows: Arrows) -> str:
    """For the programs of Graphviz."""
    names = _name(arrows)
    lines = ["digraph signals {", "  rankdir=LR;", "  node [shape=box];"]
    lines += [f"  {id_} [label={_quote(text)}];" for (_, text), id_ in names.items()]
    lines += [
        f"  {names['sender', sender]} -> {names['receiver', to]}"
        f" [label={_quote(', '.join(signals))}];"
        for (sender, to), signals in arrows.items()
    ]
    return "\n".join([*lines, "}"])


def draw_svg(arrows: Arrows) -> str:
    """Senders on the left, receivers on the right; needs nothing else."""
    senders = list(dict.fromkeys(sender for sender, _ in arrows))
    receivers = list(dict.fromkeys(receiver for _, receiver in arrows))
    height = _ROW * (1 + max(len(senders), len(receivers), 1))
    start = int(16 + _LETTER * max(map(len, senders), default=0))
    end = start + _GAP
    width = int(end + 16 + _LETTER * max(map(len, receivers), default=0))
    left = {sender: _ROW * (number + 1) for number, sender in enumerate(senders)}
    right = {receiver: _ROW * (number + 1) for number, receiver in enumerate(receivers)}
    shapes = [
        _draw_arrow((start, left[s]), (end, right[r]), f"{s} → {r}: {', '.join(names)}")
        for (s, r), names in arrows.items()
    ]
    shapes += [
        f'<text x="{start - 8}" y="{y + 4}" text-anchor="end">{escape(text)}</text>'
        for text, y in left.items()
    ]
    shapes += [
        f'<text class="kit" x="{end + 8}" y="{y + 4}">{escape(text)}</text>'
        for text, y in right.items()
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" aria-label="Who listens to whom">\n'
        f"<style>{_STYLE}</style>\n" + "\n".join(shapes) + "\n</svg>"
    )


def _draw_arrow(begin: tuple[int, int], end: tuple[int, int], title: str) -> str:
    (x1, y1), (x2, y2) = begin, end
    middle = (x1 + x2) // 2
    return (
        f"<g><title>{escape(title)}</title>"
        f'<path d="M{x1} {y1} C{middle} {y1} {middle} {y2} {x2} {y2}"/></g>'
    )


def _name(arrows: Arrows) -> dict[tuple[str, str], str]:
    """(``"sender"`` or ``"receiver"``, its text) -> an identifier."""
    names: dict[tuple[str, str], str] = {}
    for sender, receiver in arrows:
        for key in (("sender", sender), ("receiver", receiver)):
            names.setdefault(key, f"{key[0][0]}{len(names)}")
    return names


def _encode(text: str) -> str:
    """For Mermaid, which would take ``<lambda>`` for HTML, and leave it out."""
    return "".join(char if char.isalnum() or char in _PLAIN else f"#{ord(char)};" for char in text)


def _quote(text: str) -> str:
    """For DOT."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
