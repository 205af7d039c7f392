"""A trace as a flame graph: an SVG file that needs nothing else, light and dark."""

from __future__ import annotations

from collections.abc import Iterator

from django.utils.html import escape

from django_signal_kit.sight.spans import Span
from django_signal_kit.sight.text import tell

WIDTH = 1200
ROW = 20
#: Columns of a letter, roughly: a label that does not fit is cut.
_LETTER = 6.6
#: A box is so wide at least, that it can be pointed at, as long as there is room for it.
_LEAST = 3.0
#: What is narrower is not drawn.
_SEEN = 0.5

_STYLE = """
svg { font: 11px ui-monospace, SFMono-Regular, Menlo, monospace; background: #fff }
rect { stroke: #fff; stroke-width: 1 }
text { fill: #1b1f24; pointer-events: none }
.trace { fill: #d0d7de } .signal { fill: #9ecbff } .receiver { fill: #ffd58a }
.flush { fill: #a8e6b0 } .failed { fill: #ff9d94 }
@media (prefers-color-scheme: dark) {
  svg { background: #0d1117 } rect { stroke: #0d1117 } text { fill: #e6edf3 }
  .trace { fill: #30363d } .signal { fill: #1f4f86 } .receiver { fill: #75510f }
  .flush { fill: #1d5b2b } .failed { fill: #8e2a22 }
}
"""


def draw(root: Span) -> str:
    """Each span as a box as wide as its share of the time; what set it off stands above it."""
    boxes = list(_place(root, 0.0, float(WIDTH), 0))
    height = ROW * (1 + max(row for _, _, _, row in boxes))
    shapes = "\n".join(_draw_box(*box) for box in boxes)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}" role="img" aria-label="What ran, and how long">\n'
        f"<style>{_STYLE}</style>\n{shapes}\n</svg>\n"
    )


def _place(
    span: Span, x: float, width: float, row: int
) -> Iterator[tuple[Span, float, float, int]]:
    yield span, x, width, row
    scale = width / (span.seconds or 1e-9)
    shares = [max(child.seconds * scale, _LEAST) for child in span.children]
    # Async receivers run side by side: together they may take longer than what waits for them.
    shrink = min(1.0, width / sum(shares)) if shares else 1.0
    for child, share in zip(span.children, shares, strict=True):
        if share * shrink >= _SEEN:
            yield from _place(child, x, share * shrink, row + 1)
        x += share * shrink


def _draw_box(span: Span, x: float, width: float, row: int) -> str:
    label = tell(span)
    queries = span.all_queries
    told = f"{queries} {'query' if queries == 1 else 'queries'}"
    title = f"{label}\n{span.seconds * 1000:.2f} ms, {told}"
    title = "\n".join([title, *span.errors])
    room = int((width - 6) / _LETTER)
    shown = label if len(label) <= room else f"{label[: room - 1]}…"
    text = f'<text x="{x + 3:.1f}" y="{row * ROW + 14}">{escape(shown)}</text>' * (room >= 3)
    kind = "failed" if span.failed else span.key.kind
    return (
        f'<g><title>{escape(title)}</title><rect class="{kind}" x="{x:.1f}" y="{row * ROW}" '
        f'width="{width:.1f}" height="{ROW}" rx="2"/>{text}</g>'
    )
