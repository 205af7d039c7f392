"""The queries of receivers are counted, each for the receiver that sent it."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import Group
from django.db import DatabaseError, connection, connections, transaction
from django.db.models.signals import post_save

from django_signal_kit import ModelReceiver, muted, trace
from django_signal_kit.receivers import AuditLog
from django_signal_kit.sight import counting, queries
from django_signal_kit.sight.stopwatches import CHUNK
from tests.apps.testapp.models import Category, Tag
from tests.conftest import run_async
from tests.sight.anew import _begin_anew  # noqa: F401 a fixture
from tests.threads import in_threads

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


class Asks(ModelReceiver):
    """N + 1: two queries a row, and one a flush for each item, on another database too."""

    models = ["testapp.Tag"]

    def post_save(self, instance: Any, **kwargs: Any) -> None:
        Tag.objects.count()
        list(Category.objects.using("other").all())
        self.collect(instance.pk, key=instance.pk)

    def flush(self, items: list[Any]) -> None:
        for pk in items:
            Tag.objects.filter(pk=pk).exists()


class Sets(ModelReceiver):
    """Writes what others hear."""

    models = ["testapp.Category"]

    def post_save(self, instance: Any, **kwargs: Any) -> None:
        Tag.objects.create(name=instance.name)
        Tag.objects.count()


class Quiet(ModelReceiver):
    models = ["testapp.Tag", "testapp.Category"]

    def post_save(self, **kwargs: Any) -> None: ...


class Waits(ModelReceiver):
    """Async, and sets off what is not."""

    models = ["testapp.Category"]

    async def post_save(self, instance: Any, **kwargs: Any) -> None:
        await Tag.objects.acount()
        await Tag.objects.acreate(name=instance.name)
        await asyncio.sleep(0)
        await Tag.objects.acount()

    async def flush(self, items: list[Any]) -> None: ...


class Begins(ModelReceiver):
    """Sets off what is async, and asks after it."""

    models = ["auth.Group"]

    def post_save(self, **kwargs: Any) -> None:
        Tag.objects.count()
        async_to_sync(create)("of a group")
        Tag.objects.count()


class Wrong(ModelReceiver):
    models = ["testapp.Tag"]

    def post_save(self, **kwargs: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT nothing FROM nowhere")


async def create(name: str) -> None:
    await Category.objects.acreate(name=name)


class Counts(ModelReceiver):
    models = ["testapp.Tag"]
    number = 1

    async def post_save(self, **kwargs: Any) -> None:
        for _ in range(self.number):
            await asyncio.sleep(0)
            await sync_to_async(ask, thread_sensitive=False)()


def ask() -> None:
    Tag.objects.count()
    connections.close_all()
    # MariaDB is told something by each connection that is opened again.
    del connections["default"]


def read(name: str) -> tuple[int, int]:
    found = counting.get_counters().receivers[name]
    return found.queries, found.flush_queries


def test_calls_and_flushes_are_told_apart_on_all_databases(wire: Any) -> None:
    wire(Asks, Quiet, COUNTERS=True)
    with transaction.atomic():
        for name in "abc":
            Tag.objects.create(name=name)
    assert read("Asks") == (6, 3)
    assert read("Quiet") == (0, 0)


def test_what_a_receiver_sets_off_is_not_its_own(wire: Any) -> None:
    wire(Sets, Asks, Quiet, COUNTERS=True)
    Category.objects.create(name="tea")
    # The INSERT of the tag, in a transaction of the kit's, and the count.
    with trace() as found:
        Category.objects.create(name="oil")
    (span,) = found.find("Sets")
    assert read("Sets") == (2 * span.queries, 0)
    assert 2 <= span.queries < 8
    assert read("Asks") == (4, 2)


@pytest.mark.parametrize("is_async", [False, True])
def test_whose_a_query_is_is_said_as_by_a_trace(wire: Any, is_async: bool) -> None:
    """Async in what is not, in what is."""
    entry = (AuditLog, {"models": ["testapp.*", "auth.Group"]})
    wire(entry, Begins, Sets, Waits, Asks, Quiet, COUNTERS=True)
    with trace() as found:
        if is_async:
            run_async(Group.objects.acreate(name="staff"))
        else:
            Group.objects.create(name="staff")
    told = {}
    for name in ("AuditLog", "Begins", "Sets", "Waits", "Asks", "Quiet"):
        spans = list(found.find(name))
        told[name] = tuple(
            sum(span.queries for span in spans if span.key.kind == kind)
            for kind in ("receiver", "flush")
        )
    assert {name: read(name) for name in told} == told
    assert told["Waits"][0] >= 3
    assert told["Asks"] == (4, 2)
    assert told["Quiet"] == (0, 0)


def test_async_receivers_that_run_side_by_side_are_told_apart(wire: Any) -> None:
    path = f"{__name__}.Counts"
    wire(
        *[
            {"RECEIVER": path, "NAME": f"Counts{number}", "OPTIONS": {"number": number}}
            for number in (1, 4, 9)
        ],
        COUNTERS=True,
    )

    async def send() -> None:
        sent = [post_save.asend(sender=Tag, instance=Tag(), created=True) for _ in range(5)]
        await asyncio.gather(*sent)

    run_async(send())
    found = {f"Counts{number}": read(f"Counts{number}")[0] for number in (1, 4, 9)}
    assert found == {"Counts1": 5, "Counts4": 20, "Counts9": 45}


def test_those_of_a_busy_receiver_are_counted_exactly(wire: Any) -> None:
    wire(Sets, Asks, Quiet, COUNTERS=True)
    functions = [r[1] for r in post_save.receivers if hasattr(r[1], "signal_kit_receiver")]
    (function,) = [f for f in functions if f.signal_kit_receiver.name == "Asks"]
    with transaction.atomic(), transaction.atomic(using="other"):
        for _ in range(3 * CHUNK):
            function(signal=post_save, sender=Tag, instance=Tag(pk=1), created=True)
    assert read("Asks") == (6 * CHUNK, 1)


def test_a_query_that_fails_has_been_sent(wire: Any) -> None:
    wire(Wrong, COUNTERS=True)
    with pytest.raises(DatabaseError):
        Tag.objects.create(name="tea")
    Tag.objects.count()
    assert read("Wrong") == (1, 0)
    assert counting.get_counters().receivers["Wrong"].errors == 1


def test_threads_have_their_own(wire: Any) -> None:
    wire(Asks, COUNTERS=True)
    (function,) = [r[1] for r in post_save.receivers if hasattr(r[1], "signal_kit_receiver")]
    begin = threading.Barrier(3)

    def call() -> None:
        begin.wait()
        for _ in range(20):
            function(signal=post_save, sender=Tag, instance=Tag(pk=1), created=True)
            # Of nobody.
            Tag.objects.count()

    def ask() -> None:
        begin.wait()
        for _ in range(60):
            Tag.objects.count()

    in_threads(call, call, ask)
    assert read("Asks")[0] == 80


def test_outside_of_receivers_and_while_muted_nothing_is_counted(wire: Any) -> None:
    wire(Asks, Sets, COUNTERS=True)
    Tag.objects.count()
    with muted(Asks):
        Tag.objects.create(name="tea")
        assert read("Asks") == (0, 0)
        Category.objects.create(name="tea")
    assert read("Asks") == (0, 0)
    assert read("Sets")[0] >= 2


def test_without_the_setting_no_statement_is_looked_at(wire: Any) -> None:
    wire(Asks, COUNTERS=True)
    assert connection.execute_wrappers.count(queries.count_query) == 1
    wire(Quiet, COUNTERS=True)
    connection.close()
    connection.ensure_connection()
    assert connection.execute_wrappers.count(queries.count_query) == 1
    with connection.execute_wrapper(lambda execute, *args: execute(*args)):
        Tag.objects.count()
    assert connection.execute_wrappers.count(queries.count_query) == 1
    wire(Asks)
    assert queries.count_query not in connection.execute_wrappers
    connection.close()
    connection.ensure_connection()
    assert queries.count_query not in connection.execute_wrappers


def test_what_is_raised_where_an_async_receiver_waits_gets_through() -> None:
    async def receive() -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            return "done"
        return "slept"

    async def main() -> list[Any]:
        asked: list[int] = []
        following = queries.follow(receive(), lambda: asked.append(1) or 0)
        task = asyncio.create_task(wait_for(following))
        await asyncio.sleep(0)
        assert queries.get_waiting() is None
        task.cancel()
        failing = queries.follow(asyncio.wait_for(receive(), 0.01), lambda: 0)
        return [await task, await failing]

    async def wait_for(awaitable: Any) -> Any:
        return await awaitable

    assert asyncio.run(main()) == ["done", "done"]
