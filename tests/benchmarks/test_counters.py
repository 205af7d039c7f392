"""What it costs to count the calls of receivers."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from django_signal_kit.sight import counting
from django_signal_kit.wiring.dispatch import make_function
from tests.apps.testapp.models import Tag
from tests.benchmarks.interleave import compare, show
from tests.benchmarks.test_dispatch import ARGUMENTS, Counting, Model


def call(function: Any, arguments: dict[str, Any]) -> None:
    """As a signal does."""
    function(**arguments)


def test_counting_beside_not_counting() -> None:
    for signal_name in (*ARGUMENTS, "user_logged_in"):
        functions = {}
        for counts in (False, True):
            receiver = Counting()
            if counts:
                counting.start()
            try:
                method = getattr(receiver, signal_name, receiver.receive)
                functions[counts] = make_function(receiver, signal_name, method)
            finally:
                counting.stop()
        arguments = ARGUMENTS.get(signal_name, {}) | {"instance": Model()}
        arguments |= {"signal": None, "sender": Model}
        result = compare(
            {
                "not counted": partial(call, functions[False], arguments),
                "counted": partial(call, functions[True], arguments),
            },
            number=2000,
        )
        show(f"{signal_name}: a call of a receiver", result)
    counting.forget()


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
