"""A line on a terminal, and nothing anywhere else."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.core.management.base import OutputWrapper
from django.core.management.color import make_style

from django_signal_kit.management import progress
from django_signal_kit.management.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def show(stream: io.StringIO, quiet: bool = False) -> str:
    wrapper = OutputWrapper(stream)
    wrapper.style_func = make_style("ERROR").ERROR
    with Progress(wrapper, quiet=quiet) as line:
        line.show(0.5, "12 entries")
        line.show(2, "9")
    return stream.getvalue()


@pytest.fixture(autouse=True)
def _no_interval(monkeypatch: Any) -> None:
    monkeypatch.setattr(progress, "_INTERVAL", 0)


def test_a_terminal_shows_one_line_that_goes_in_the_end() -> None:
    first, second, gone, end = show(Terminal()).split("\r")[1:]
    assert first == f"[{'#' * 15}{'.' * 15}]  50%  12 entries"
    assert second == f"[{'#' * 30}] 100%  9".ljust(len(first))
    assert gone == " " * len(gone)
    assert len(gone) >= len(second.rstrip())
    assert end == ""


def test_the_line_is_not_drawn_more_often_than_one_can_read(monkeypatch: Any) -> None:
    monkeypatch.setattr(progress, "_INTERVAL", 3600)
    assert show(Terminal()).count("%") == 1


def test_a_file_or_a_pipe_gets_nothing() -> None:
    assert show(io.StringIO()) == ""


def test_whoever_wants_quiet_gets_nothing() -> None:
    assert show(Terminal(), quiet=True) == ""
