"""Rows under headings, in columns that keep to a width: on a terminal by rich, if that is
installed, else as plain text. Both say the same."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

#: Heading -> the rows below it. Each row has a cell a column.
Sections = Mapping[str, Sequence[Sequence[str]]]

_GAP = "  "
_WORD = re.compile(r"[^ .]*[ .]*")
#: The least that a column is given, however narrow the terminal.
_LEAST = 8
#: What rich draws round the rows of a section: a line and a blank on both sides.
_FRAME = 4


def render(
    header: Sequence[str],
    sections: Sections,
    width: int | None,
    emphasise: Callable[[str], str] = str,
) -> str:
    """Plain text; ``width`` None: a line a row, however long. ``emphasise`` is for headings."""
    widths = fit(header, sections, None if width is None else width - len(_GAP))
    lines = list(_align(header, widths))
    for heading, rows in sections.items():
        lines.append(emphasise(heading))
        for row in rows:
            lines += _align(row, widths)
    return "\n".join(lines)


def _align(row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    columns = [wrap(cell, width) for cell, width in zip(row, widths, strict=True)]
    for cells in zip_longest(*columns, fillvalue=""):
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        yield (_GAP + _GAP.join(padded)).rstrip()


def render_by_rich(
    header: Sequence[str],
    sections: Sections,
    width: int,
    out: Any,
    *,
    has_colours: bool,
) -> str:
    """What rich writes to the terminal ``out``: a frame a section, and colours, if it has them.
    Raises ImportError without rich."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    console = Console(
        file=out, width=width, highlight=False, color_system="auto" if has_colours else None
    )
    widths = fit(header, sections, width - _FRAME)

    def make_grid(rows: Sequence[Sequence[str]], styles: Sequence[str]) -> Any:
        grid = Table.grid(padding=(0, len(_GAP), 0, 0), pad_edge=False)
        for number, style in zip(widths, styles, strict=True):
            grid.add_column(style=style, width=number)
        for row in rows:
            cells = zip(row, widths, strict=True)
            grid.add_row(*(Text("\n".join(wrap(cell, number))) for cell, number in cells))
        return grid

    with console.capture() as captured:
        console.print(Padding(make_grid([header], ["dim"] * len(header)), (0, _FRAME // 2)))
        for heading, rows in sections.items():
            grid = make_grid(rows, ["bold", "cyan", "", "green"])
            title = Text(heading, style="bold magenta")
            console.print(Panel(grid, title=title, title_align="left", border_style="dim"))
    return captured.get().rstrip("\n")


def fit(header: Sequence[str], sections: Sections, width: int | None) -> list[int]:
    """The widths of the columns. Those give way first that have the most room beside their longest
    word, then the widest."""
    rows = [header, *(row for found in sections.values() for row in found)]
    columns = list(zip(*rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    words = [max(len(word) for cell in column for word in split(cell)) for column in columns]
    room = None if width is None else width - len(_GAP) * (len(widths) - 1)
    while room is not None and sum(widths) > room and max(widths) > _LEAST:
        spare = [total - word for total, word in zip(widths, words, strict=True)]
        number = spare.index(max(spare)) if max(spare) > 0 else widths.index(max(widths))
        widths[number] -= 1
    return widths


def split(text: str) -> list[str]:
    """Words, and the parts of dotted paths, without the blanks between them."""
    return [word.rstrip() for word in _WORD.findall(text)]


def wrap(text: str, width: int) -> list[str]:
    """Lines of at most ``width`` columns, broken after words and after parts of a dotted path."""
    lines = [""]
    for word in _WORD.findall(text):
        # What is too long for any line is broken within.
        for part in re.findall(r"[^_]*_*", word) if len(word.rstrip()) > width else [word]:
            if lines[-1] and len((lines[-1] + part).rstrip()) > width:
                lines.append("")
            lines[-1] += part
            while len(lines[-1].rstrip()) > width:
                lines[-1:] = [lines[-1][:width], lines[-1][width:]]
    return [line.rstrip() for line in lines]
