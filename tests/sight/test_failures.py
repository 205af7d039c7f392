"""What is told of an exception."""

from __future__ import annotations

from django_signal_kit.sight.failures import Failures, describe


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_an_error_that_cannot_be_told_is_noted_all_the_same() -> None:
    failures = Failures()
    for _ in range(2):
        failures.note("Index", "post_save", UnspeakableError())
    (found,) = failures.read().values()
    assert found["count"] == 2
    assert found["exception"] == f"{__name__}.UnspeakableError"
    assert found["message"] == "(what it says cannot be told)"
    assert "UnspeakableError" in found["traceback"]


def test_an_endless_message_is_cut() -> None:
    told = describe(ValueError("password=a9c1e4 " + "x" * 1_000_000))
    assert len(told["message"]) <= 500
    assert len(told["traceback"]) <= 8000
    assert "a9c1e4" not in told["message"] + told["traceback"]
