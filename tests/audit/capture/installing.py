"""Triggers for what the settings say, in the default database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django_signal_kit.audit.capture import installing
from django_signal_kit.audit.capture.wanted import list_installed


def install() -> None:
    """What ``migrate`` does at its end."""
    installing.install("default")


@contextmanager
def installed() -> Iterator[None]:
    """The triggers that the settings want, for the length of the block."""
    install()
    try:
        yield
    finally:
        installing.drop("default", list_installed("default"))
