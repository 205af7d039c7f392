"""A trace as a tree for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from django_signal_kit.sight.spans import Span

#: The least that a label is given, however narrow the terminal.
_LEAST = 30


def render(root: Span, width: int) -> str:
    """Lines of at most ``width`` columns where that can be: a tree, milliseconds, queries."""
    rows = list(list_lines(root))
    longest = max(len(branch) + len(label) for branch, label, _ in rows)
    room = max(_LEAST, min(longest, width - 24))
    lines = [f"{'':{room}}  {'ms':>9}  {'queries':>7}"]
    for branch, label, span in rows:
        queries = str(span.all_queries) if span.all_queries else ""
        text = _cut_label(branch + label, span.key.place, room)
        lines.append(f"{text:{room}}  {span.seconds * 1000:9.2f}  {queries:>7}")
        stem = branch.replace("├─ ", "│  ").replace("└─ ", "   ")
        lines += [f"{stem}   ! {_cut(text, width - len(stem) - 5)}" for text in span.errors]
    return "\n".join(line.rstrip() for line in lines)


def list_lines(root: Span) -> Iterator[tuple[str, str, Span]]:
    """The branches of the tree that lead to each span, what to call it, and the span."""
    for branch, span in [("", root), *_list(root, "")]:
        yield branch, tell(span), span


def _list(span: Span, stem: str) -> Iterator[tuple[str, Span]]:
    children = span.children
    for number, child in enumerate(children, start=1):
        is_last = number == len(children)
        yield stem + ("└─ " if is_last else "├─ "), child
        yield from _list(child, stem + ("   " if is_last else "│  "))


def tell(span: Span) -> str:
    """A span in one line: ``"post_save shop.Product 3 (shop/views.py:42)"``."""
    kind, name, about, place = span.key
    parts = ["flush", name] if kind == "flush" else [name]
    if kind == "signal":
        # The dotted path of a class is told by its end; the label of a model has one dot.
        parts += [about.rpartition(".")[2] if about.count(".") > 1 else about] * bool(about)
        parts += [span.object] * bool(span.object and span.count == 1)
    if kind != "trace" and span.count > 1:
        parts.append(f"x{span.count}")
    if place:
        parts.append(f"({place})")
    notes = [about] if about and kind != "signal" else []
    if span.collected:
        verb = "" if kind == "flush" else "collected "
        notes.append(f"{verb}{span.collected} item{'s' * (span.collected != 1)}")
    if span.failed:
        notes.append("failed" if span.failed == 1 else f"failed x{span.failed}")
    # A key of a row may be a text of several lines.
    text = " ".join(" ".join(parts).split())
    return f"{text}: {', '.join(notes)}" if notes else text


def _cut_label(text: str, place: str, width: int) -> str:
    """Of at most ``width`` columns. The line of the code stays, if there is room for its file."""
    if len(text) <= width or not place:
        return _cut(text, width)
    before, _, after = text.rpartition(f" ({place})")
    end = f" ({'…/' * ('/' in place)}{place.rpartition('/')[2]}){after}"
    if len(before) + len(end) <= width:
        return before + end
    left = width - len(end) - 1
    return f"{before[:left]}…{end}" if 2 * left >= width else _cut(text, width)


def _cut(text: str, width: int) -> str:
    """On one line, of at most ``width`` columns."""
    text = " ".join(text.split()) if "\n" in text else text
    return text if len(text) <= width else f"{text[: width - 1]}…"
