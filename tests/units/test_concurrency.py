"""What happens at the same time stays apart: threads, and views of one event loop."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.contrib.auth.models import User
from django.core.exceptions import SynchronousOnlyOperation
from django.core.handlers.asgi import ASGIHandler
from django.db import OperationalError, connection, connections, transaction
from django.http import HttpResponse
from django.test import AsyncClient
from django.urls import path

from django_signal_kit import ModelReceiver, batch, get_context
from django_signal_kit.units.journal import get_journal
from django_signal_kit.units.unit import get_unit
from tests.apps.testapp.models import Club, Tag
from tests.conftest import run_async
from tests.factories import TagFactory, UserFactory

pytestmark = pytest.mark.django_db(transaction=True)

# Threads

THREADS = 8
OPERATIONS = 30
SHARED = 2


class Ledger(ModelReceiver):
    """Flushes into the same transaction: Club, which nobody covers, has the row of each change."""

    models = ["testapp.Tag"]
    flush_on = "before_commit"
    bulk = "all"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        #: The thread that flushed, and of each item the thread that collected it and its unit.
        self.flushes: list[tuple[int, set[int], set[Any]]] = []

    def _collect(self, what: str, instance: Any) -> None:
        unit = get_unit()
        assert unit is not None
        change = f"{what} {instance.pk} {instance.name}"
        self.collect((change, threading.get_ident(), unit.id))

    def post_save(self, instance: Any, created: bool, **kwargs: Any) -> None:
        self._collect("create" if created else "update", instance)

    def post_delete(self, instance: Any, **kwargs: Any) -> None:
        self._collect("delete", instance)

    def flush(self, items: list[Any]) -> None:
        threads, units = {item[1] for item in items}, {item[2] for item in items}
        self.flushes.append((threading.get_ident(), threads, units))
        self.write([item[0] for item in items])

    def write(self, changes: list[str]) -> None:
        Club.objects.bulk_create(Club(name=change) for change in changes)


class Messenger(Ledger):
    """Flushes after the commit."""

    flush_on = "after_commit"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.told: list[str] = []

    def write(self, changes: list[str]) -> None:
        self.told += changes


class UndoError(Exception):
    """Rolls back, on purpose."""


class Writer:
    """Writes at random, and keeps in plain Python what of it has been committed."""

    def __init__(self, number: int, shared: list[int]) -> None:
        self.number = number
        self.shared = shared
        self.random = random.Random(number)
        self.count = 0
        self.rows: dict[int, str] = {}
        self.changes: list[str] = []

    def run(self, barrier: threading.Barrier) -> Writer:
        try:
            barrier.wait()
            for _ in range(OPERATIONS):
                operation = self.random.choice([self.write, self.write, *self.compounds])
                self.retry(operation)
            journal = get_journal(connections["default"])
            assert (journal.unit, journal.before.items, journal.after.items) == (None, [], [])
            assert not connection.in_atomic_block
        finally:
            connection.close()
        return self

    def retry(self, operation: Callable[[], None]) -> None:
        """Until neither a deadlock nor SQLite's lock comes in between."""
        for _ in range(50):
            try:
                with self.attempt():
                    operation()
                return
            except OperationalError:
                continue
        raise AssertionError("No attempt succeeded.")

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """What fails has not happened."""
        rows, changes = dict(self.rows), list(self.changes)
        try:
            yield
        except Exception:
            self.rows, self.changes = rows, changes
            raise

    def note(self, what: str, pk: int, name: str) -> None:
        self.changes.append(f"{what} {pk} {name}")
        if what == "delete":
            del self.rows[pk]
        elif pk not in self.shared:
            self.rows[pk] = name

    def make_name(self) -> str:
        self.count += 1
        return f"{self.number}-{self.count}"

    def choose(self) -> list[int]:
        return self.random.sample(sorted(self.rows), min(len(self.rows), 3))

    def load(self, pk: int) -> Tag:
        # Without reading, so that nothing but what is tested takes a lock.
        return Tag.from_db("default", ["id", "name"], [pk, self.rows.get(pk, "")])

    # One write

    def write(self) -> None:
        self.random.choice(
            [
                self.create,
                self.save,
                self.bulk_create,
                self.bulk_update,
                self.update,
                self.delete,
                self.save_shared,
                self.update_shared,
            ]
        )()

    def create(self) -> None:
        tag = Tag.objects.create(name=self.make_name())
        self.note("create", tag.pk, tag.name)

    def save(self) -> None:
        for pk in self.choose()[:1]:
            self._save(pk)

    def save_shared(self) -> None:
        self._save(self.random.choice(self.shared))

    def _save(self, pk: int) -> None:
        tag = self.load(pk)
        tag.name = self.make_name()
        tag.save(update_fields=self.random.choice([None, ["name"]]))
        self.note("update", pk, tag.name)

    def bulk_create(self) -> None:
        for tag in Tag.objects.bulk_create([Tag(name=self.make_name()) for _ in range(3)]):
            self.note("create", tag.pk, tag.name)

    def bulk_update(self) -> None:
        tags = [self.load(pk) for pk in self.choose()]
        for tag in tags:
            tag.name = self.make_name()
        Tag.objects.bulk_update(tags, ["name"], batch_size=2)
        for tag in tags:
            self.note("update", tag.pk, tag.name)

    def update(self) -> None:
        self._update(self.choose())

    def update_shared(self) -> None:
        self._update(self.shared)

    def _update(self, keys: list[int]) -> None:
        name = self.make_name()
        assert Tag.objects.filter(pk__in=keys).update(name=name) == len(keys)
        for pk in keys:
            self.note("update", pk, name)

    def delete(self) -> None:
        keys = self.choose()[:2]
        Tag.objects.filter(pk__in=keys).delete()
        for pk in keys:
            self.note("delete", pk, self.rows[pk])

    # Several

    @property
    def compounds(self) -> list[Callable[[], None]]:
        return [self.in_transaction, self.in_batch, self.in_batch_with_savepoint, self.in_vain]

    def in_transaction(self) -> None:
        with transaction.atomic():
            self.write()
            self.undone(transaction.atomic)
            self.write()

    def in_batch(self) -> None:
        with batch():
            self.write()
            with batch():
                self.write()

    def in_batch_with_savepoint(self) -> None:
        with batch():
            self.undone(transaction.atomic)
            with transaction.atomic():
                self.write()

    def in_vain(self) -> None:
        self.undone(self.random.choice([transaction.atomic, batch]))

    def undone(self, block: Callable[[], Any]) -> None:
        try:
            with self.attempt(), block():
                self.write()
                self.write()
                raise UndoError
        except UndoError:
            pass


def test_threads_flush_what_they_have_committed_and_nothing_of_each_other(wire: Any) -> None:
    shared = [tag.pk for tag in TagFactory.create_batch(SHARED)]
    ledger, messenger = wire(Ledger, Messenger)
    barrier = threading.Barrier(THREADS, timeout=60)
    with ThreadPoolExecutor(THREADS) as pool:
        futures = [pool.submit(Writer(number, shared).run, barrier) for number in range(THREADS)]
        writers = [future.result() for future in futures]

    committed = Counter(change for writer in writers for change in writer.changes)
    assert Counter(Club.objects.values_list("name", flat=True)) == committed
    assert Counter(messenger.told) == committed

    rows = {pk: name for writer in writers for pk, name in writer.rows.items()}
    stored = dict(Tag.objects.values_list("pk", "name"))
    for pk in shared:
        assert f"update {pk} {stored.pop(pk)}" in committed
    assert stored == rows

    for flush_of_whom, threads, _ in ledger.flushes + messenger.flushes:
        assert threads == {flush_of_whom}
    units = [unit for _, _, units in ledger.flushes for unit in units]
    assert len(units) == len(set(units)) == len(ledger.flushes)


# Views

REQUESTS = 6


class Told(ModelReceiver):
    """Collects who did it in which request."""

    models = ["testapp.Tag"]
    flush_on = "before_commit"
    bulk = "all"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.flushed: list[list[tuple[str, str, str]]] = []

    def _collect(self, instance: Any) -> None:
        context = get_context()
        self.collect((instance.name, str(context["actor"]), context["request_id"]))

    def post_save(self, instance: Any, **kwargs: Any) -> None:
        self._collect(instance)

    def flush(self, items: list[Any]) -> None:
        self.flushed.append(items)


class ToldLater(Told):
    flush_on = "after_commit"


class ToldAsync(Told):
    async def post_save(self, instance: Any, **kwargs: Any) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        self._collect(instance)

    async def flush(self, items: list[Any]) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        self.flushed.append(items)


class Meeting:
    """All views come here before one of them goes on."""

    barrier: asyncio.Barrier


def get_users() -> dict[str, User]:
    return {user.username: user for user in User.objects.all()}


async def writing_view(request: Any, n: int) -> HttpResponse:
    request.user = (await sync_to_async(get_users)())[f"user{n}"]
    await Meeting.barrier.wait()
    tag = Tag(name=f"{n}-a")
    await tag.asave()
    await Meeting.barrier.wait()
    made = await Tag.objects.abulk_create([Tag(name=f"{n}-b"), Tag(name=f"{n}-c")])
    await Meeting.barrier.wait()
    keys = [tag.pk, *(tag.pk for tag in made)]
    await Tag.objects.filter(pk__in=keys).aupdate(name=f"{n}-d")
    return HttpResponse()


async def batching_view(request: Any, n: int) -> HttpResponse:
    request.user = (await sync_to_async(get_users)())[f"user{n}"]

    def write() -> None:
        with batch():
            tag = Tag.objects.create(name=f"{n}-a")
            Tag.objects.bulk_create([Tag(name=f"{n}-b")])
            Tag.objects.filter(pk=tag.pk).update(name=f"{n}-c")

    await Meeting.barrier.wait()
    with pytest.raises(SynchronousOnlyOperation):
        with batch():
            pass
    await sync_to_async(write)()
    return HttpResponse()


urlpatterns = [path("write/<int:n>/", writing_view), path("batch/<int:n>/", batching_view)]


async def ask_client(url: str, n: int) -> int:
    """All views of such clients share one thread, and so one connection."""
    response = await AsyncClient().get(f"/{url}/{n}/", headers={"X-Request-ID": f"request-{n}"})
    return response.status_code


async def ask_server(url: str, n: int) -> int:
    """Under a real ASGI server each request has a thread, and a connection, of its own."""
    scope = {
        "type": "http",
        "method": "GET",
        "path": f"/{url}/{n}/",
        "query_string": b"",
        "headers": [(b"x-request-id", f"request-{n}".encode())],
    }
    communicator = ApplicationCommunicator(ASGIHandler(), scope)
    await communicator.send_input({"type": "http.request", "body": b""})
    start = await communicator.receive_output(30)
    await communicator.receive_output(30)
    await communicator.wait(30)
    return int(start["status"])


def request_all(ask: Any, url: str) -> None:
    async def main() -> list[int]:
        Meeting.barrier = asyncio.Barrier(REQUESTS)
        return await asyncio.gather(*(ask(url, n) for n in range(REQUESTS)))

    assert run_async(main()) == [200] * REQUESTS


@pytest.fixture
def views(settings: Any) -> None:
    settings.ROOT_URLCONF = __name__
    for n in range(REQUESTS):
        UserFactory(username=f"user{n}")


def say(n: int, *letters: str) -> list[tuple[str, str, str]]:
    return [(f"{n}-{letter}", f"user{n}", f"request-{n}") for letter in letters]


@pytest.mark.parametrize("ask", [ask_client, ask_server])
@pytest.mark.parametrize("cls", [Told, ToldLater, ToldAsync])
def test_views_that_run_at_once_keep_their_units_and_their_context(
    wire: Any, views: None, ask: Any, cls: Any
) -> None:
    receiver = wire(cls)
    request_all(ask, "write")
    assert sorted(receiver.flushed) == sorted(
        unit for n in range(REQUESTS) for unit in (say(n, "a"), say(n, "b", "c"), say(n, *"ddd"))
    )
    assert Tag.objects.count() == 3 * REQUESTS


@pytest.mark.parametrize("ask", [ask_client, ask_server])
@pytest.mark.parametrize("cls", [Told, ToldLater, ToldAsync])
def test_a_batch_in_an_async_view_is_one_unit_through_sync_to_async(
    wire: Any, views: None, ask: Any, cls: Any
) -> None:
    receiver = wire(cls)
    request_all(ask, "batch")
    assert sorted(receiver.flushed) == [say(n, *"abc") for n in range(REQUESTS)]
