"""What it costs to count the calls of receivers, and their queries."""

from __future__ import annotations

from functools import partial
from time import process_time_ns
from typing import Any

import pytest
from django.apps import apps
from django.db import connection
from django.db.backends.utils import CursorWrapper

from django_signal_kit.sight import counting, queries
from django_signal_kit.wiring.dispatch import make_function
from tests.apps.testapp.models import Tag
from tests.benchmarks.interleave import compare, show
from tests.benchmarks.test_dispatch import ARGUMENTS, Counting, Model

#: Signals whose arguments are not named one by one.
OTHERS: dict[str, dict[str, Any]] = {
    "class_prepared": {"sender": apps.get_model("testapp.Tag")},
    "post_bulk_create": {"objs": [], "using": "default", "batch": None},
    "request_started": {"environ": {}},
    "request_finished": {},
    "user_logged_in": {"request": None, "user": None},
}


class Hearing(Counting):
    def receive(self, sender: Any, **kwargs: Any) -> None: ...

    class_prepared = request_started = request_finished = post_bulk_create = receive


def call(function: Any, arguments: dict[str, Any]) -> None:
    """As a signal does."""
    function(**arguments)


@pytest.mark.parametrize("signal_name", [*ARGUMENTS, *OTHERS])
def test_counting_beside_not_counting(signal_name: str) -> None:
    functions = {}
    for counts in (False, True):
        receiver = Hearing()
        if counts:
            counting.start()
        try:
            method = getattr(receiver, signal_name, receiver.receive)
            functions[counts] = make_function(receiver, signal_name, method)
        finally:
            counting.stop()
    arguments = {"signal": None, "sender": Model} | OTHERS.get(signal_name, {})
    if signal_name in ARGUMENTS:
        arguments |= ARGUMENTS[signal_name] | {"instance": Model()}
    result = compare(
        {
            "not counted": partial(call, functions[False], arguments),
            "counted": partial(call, functions[True], arguments),
        },
        rounds=41,
        number=300,
        clock=process_time_ns,
    )
    show(f"{signal_name}: a call of a receiver", result)
    counting.forget()


class Cursor:
    """Stands for that of a database."""

    def execute(self, sql: str, params: Any = None) -> None: ...


class Wrapping:
    def __enter__(self) -> None:
        connection.execute_wrappers.insert(0, queries.count_query)

    def __exit__(self, *args: object) -> None:
        connection.execute_wrappers.remove(queries.count_query)


def test_a_query_that_is_counted() -> None:
    ask = partial(CursorWrapper(Cursor(), connection).execute, "SELECT 1", ())  # type: ignore[arg-type]
    before = list(connection.execute_wrappers)
    connection.execute_wrappers.clear()
    result = compare(
        {"not counted": ask, "counted": (Wrapping(), ask)},
        rounds=41,
        number=300,
        clock=process_time_ns,
    )
    connection.execute_wrappers[:] = before
    show("a query", result)


class Collecting(Counting):
    def receive(self, sender: Any, instance: Any, **kwargs: Any) -> None:
        self.collect(None, key=1)

    post_save = receive

    def flush(self, items: list[Any]) -> None: ...


@pytest.mark.django_db(transaction=True)
def test_a_save_that_is_collected_and_flushed(wired: Any) -> None:
    entry = (Collecting, {"models": ["testapp.Tag"]})
    tag = Tag.objects.create(name="tea")
    result = compare(
        {
            "not counted": (wired(entry), tag.save),
            "counted": (wired(entry, COUNTERS=True), tag.save),
        },
        rounds=15,
    )
    show("a save whose receiver collects and flushes", result)
    counting.forget()
