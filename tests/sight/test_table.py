"""showreceivers is a table that keeps to the terminal, with rich and without it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import django_signal_kit
from django_signal_kit.sight.table import fit, render, wrap
from tests.projects import KIT, SHOP, Project

RECEIVERS = """
from django.db.models.signals import post_save
from django.dispatch import receiver
from django_signal_kit import ModelReceiver, register

@register(models=["shop.Product"])
class Shelf(ModelReceiver):
    def post_save(self, instance, **kwargs): ...
    def flush(self, items): ...

@receiver(post_save)
def tell_each_of_the_neighbours_in_the_street(**kwargs): ...

class Odd:
    def __repr__(self):
        return "[bold]an odd one[/bold]"

ODD = Odd()
post_save.connect(tell_each_of_the_neighbours_in_the_street, sender=ODD, weak=False)
"""
NO_RICH = {"rich.py": "raise ImportError('there is none here')\n"}
FRAMES = "─│╭╮╰╯"
ESCAPE = re.compile(r"\x1b\[[\d;]*m")


@pytest.fixture(params=["rich", "plain"])
def project(request: Any, tmp_path: Path) -> Project:
    if request.param == "rich":
        pytest.importorskip("rich")
    return make_project(tmp_path, with_rich=request.param == "rich")


def make_project(folder: Path, *, with_rich: bool) -> Project:
    files = {**SHOP, "shop/signals.py": RECEIVERS, **({} if with_rich else NO_RICH)}
    return Project(folder, files, ["shop", KIT])


def show(
    project: Project, columns: int, *arguments: str, encoding: str = "utf-8", **environment: str
) -> str:
    """What a terminal of so many columns gets."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    root = Path(django_signal_kit.__file__).parents[1]
    left_out = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "DJANGO_COLORS")
    inherited = {name: value for name, value in os.environ.items() if name not in left_out}
    process = subprocess.Popen(
        [sys.executable, "-m", "django", "showreceivers", *arguments],
        cwd=project.directory,
        env={
            **inherited,
            "TERM": "xterm-256color",
            "DJANGO_SETTINGS_MODULE": "project_settings",
            "PYTHONPATH": os.pathsep.join([str(project.directory), str(root)]),
            "PYTHONIOENCODING": encoding,
            **environment,
        },
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.PIPE,
    )
    os.close(theirs)
    assert process.stderr is not None
    with os.fdopen(ours, "rb", buffering=0) as terminal, process.stderr as errors:
        told = b"".join(iter(lambda: read(terminal), b""))
        assert process.wait(timeout=120) == 0, errors.read().decode()
    return told.decode(encoding)


def read(terminal: Any) -> bytes:
    try:
        return bytes(terminal.read(65536))
    except OSError:
        # Linux says so when the last who writes has gone.
        return b""


def get_signs(text: str) -> Counter[str]:
    return Counter(re.sub(rf"[\s{FRAMES}]", "", ESCAPE.sub("", text)))


@pytest.mark.parametrize("columns", [60, 80, 120, 200])
def test_it_keeps_to_the_width_and_leaves_nothing_out(project: Project, columns: int) -> None:
    told = show(project, columns)
    lines = [ESCAPE.sub("", line) for line in told.splitlines()]
    assert max(map(len, lines)) <= columns
    assert get_signs(told) == get_signs(pipe(project))
    assert any(
        "shop.signals.tell_each_of_the_neighbours_in_the_street" in line for line in lines
    ) is (columns > 100)


def pipe(project: Project, code: str = "import os; os.environ.pop('COLUMNS', None)\n") -> str:
    code += (
        "from django.core.management import execute_from_command_line as run\n"
        "run(['manage.py', 'showreceivers'])"
    )
    return project.run(code)


def test_a_pipe_gets_plain_lines(project: Project) -> None:
    told = pipe(project)
    assert not ESCAPE.search(told)
    assert not {*told} & {*FRAMES}
    assert "  Shelf  after commit  shop.Product                  shop.signals.Shelf" in told
    line = next(line for line in told.splitlines() if "[bold]an odd one[/bold]" in line)
    assert line.endswith("tell_each_of_the_neighbours_in_the_street")


def test_whoever_pipes_it_may_say_how_wide_it_is_to_be(project: Project) -> None:
    code = "import os; os.environ['COLUMNS'] = '70'\n"
    told = pipe(project, code)
    assert not {*told} & {*FRAMES}
    assert max(map(len, told.splitlines())) <= 70
    assert get_signs(told) == get_signs(pipe(project))


@pytest.mark.parametrize("how", ["NO_COLOR", "--no-color"])
def test_there_are_no_colours_where_none_are_wanted(project: Project, how: str) -> None:
    assert "\x1b[" in show(project, 100)
    if how == "--no-color":
        told = show(project, 100, "--no-color")
    else:
        told = show(project, 100, NO_COLOR="1")
    assert "\x1b" not in told
    assert "Shelf" in told


def test_an_empty_no_color_means_nothing(project: Project) -> None:
    assert "\x1b[" in show(project, 100, NO_COLOR="")


def test_rich_draws_frames_and_plain_text_has_none(tmp_path: Path) -> None:
    pytest.importorskip("rich")
    rich = show(make_project(tmp_path / "rich", with_rich=True), 150)
    plain = show(make_project(tmp_path / "plain", with_rich=False), 150)
    assert "╭─ post_save ─" in ESCAPE.sub("", rich)
    assert not {*plain} & {*FRAMES}
    assert get_signs(rich) == get_signs(plain)
    assert "[bold]an odd one[/bold]" in rich


def test_a_terminal_that_knows_letters_alone_gets_a_table_as_well(project: Project) -> None:
    told = show(project, 100, encoding="ascii")
    assert "shop.signals.Shelf" in told


ROWS = st.lists(
    st.tuples(*[st.text("ab._ ", min_size=1, max_size=40).map(str.strip)] * 3), min_size=1
)


@given(ROWS, st.integers(10, 90))
def test_columns_give_way_and_keep_all_signs(rows: list[tuple[str, ...]], width: int) -> None:
    header = ("A", "B", "C")
    widths = fit(header, {"x": rows}, width)
    assert sum(widths) + 4 <= max(width, 3 * 8 + 4)
    text = render(header, {"heading": rows}, width)
    assert max(map(len, text.splitlines())) <= max(width, 3 * 8 + 6)
    signs = Counter("".join(["ABC", "heading", *(cell for row in rows for cell in row)]))
    del signs[" "]
    assert Counter(re.sub(r"\s", "", text)) == signs


@given(st.text("ab._ ", max_size=60).map(str.strip), st.integers(1, 60))
def test_a_cell_is_broken_into_lines_of_its_width(text: str, width: int) -> None:
    lines = wrap(text, width)
    assert max(map(len, lines)) <= width
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    if len(text) <= width:
        assert lines == [text]
