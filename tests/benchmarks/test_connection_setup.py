"""What a statement costs where the session is told who is acting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from django_signal_kit import context
from django_signal_kit.databases.actor import ActorSession
from django_signal_kit.receivers import ConnectionSetup
from tests.benchmarks.interleave import compare, show

pytestmark = pytest.mark.django_db(transaction=True)

FOLLOWED = (ConnectionSetup, {"actor_variable": "app.actor"})


class Connected:
    """A connection that was opened under a wiring."""

    def __init__(self, wiring: Any) -> None:
        self.wiring = wiring

    def __enter__(self) -> None:
        connection.close()
        connection.execute_wrappers.clear()
        self.wiring.__enter__()
        connection.ensure_connection()

    def __exit__(self, *args: object) -> None:
        self.wiring.__exit__(*args)
        connection.close()
        connection.execute_wrappers.clear()


def ask() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)


def as_actor(*names: str) -> Callable[[], None]:
    def act() -> None:
        for name in names:
            with context(actor=name):
                ask()

    return act


def count_told(act: Callable[[], None]) -> int:
    """How often the session is told, when ``act`` is done for the second time."""
    told: list[str] = []
    (follow,) = connection.execute_wrappers
    assert isinstance(follow, ActorSession)
    inner = follow._set
    act()
    follow._set = lambda connection, value: (told.append(value), inner(connection, value))[1]
    act()
    return len(told)


def test_statements(wired: Any) -> None:
    one, two = as_actor("ann", "ann"), as_actor("ann", "bea")
    with Connected(wired(FOLLOWED)):
        assert (count_told(ask), count_told(one)) == (0, 0)
    with Connected(wired(FOLLOWED)):
        assert count_told(two) == 2
    result = compare(
        {
            "bare": (Connected(wired()), ask),
            "followed, nobody is acting": (Connected(wired(FOLLOWED)), ask),
        },
        rounds=21,
    )
    show("a statement", result)
    result = compare(
        {
            "bare": (Connected(wired()), one),
            "followed, the actor stays": (Connected(wired(FOLLOWED)), one),
            "followed, another actor each time": (Connected(wired(FOLLOWED)), two),
        },
        rounds=21,
    )
    show("two statements, each in a context() of its own", result)
