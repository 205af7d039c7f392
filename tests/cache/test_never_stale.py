"""Once a write has returned, no look-up that begins later gives what was there before it.

Writers and readers run at once, in threads, with pauses where they hurt most. Each row has a
number that only grows. A reader notes what has been committed before it asks, and gets no less.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.db import OperationalError, connections, transaction
from django.db.models import F

from django_signal_kit import batch
from django_signal_kit.cache import cached, recovery, tagged
from django_signal_kit.receivers import CacheInvalidation
from tests.apps.testapp.models import Product
from tests.cache.redis_server import RedisServer
from tests.factories import ProductFactory

pytestmark = pytest.mark.django_db(transaction=True)

READS = int(os.environ.get("SIGNAL_KIT_CACHE_READS", "3000"))
WRITES = 40
WRITERS = 3
READERS = 4
ROWS = 4

LOCMEM = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "stale"}


class Ledger:
    """What has been committed, and what readers got that was older."""

    def __init__(self, pks: list[int], *, is_tagged: bool = True) -> None:
        self.pks = pks
        self.is_tagged = is_tagged
        self.lock = threading.Lock()
        self.committed = dict.fromkeys(pks, 0)
        self.reads = 0
        self.writes = 0
        self.stale: list[tuple[int, int, int]] = []
        self.errors: list[BaseException] = []
        self.is_over = threading.Event()

    def commit(self, numbers: dict[int, int]) -> None:
        with self.lock:
            self.writes += 1
            for pk, number in numbers.items():
                self.committed[pk] = max(self.committed[pk], number)

    def read(self, pk: int, look: Callable[[int], int]) -> None:
        with self.lock:
            least = self.committed[pk]
        number = look(pk)
        with self.lock:
            self.reads += 1
            if number < least:
                self.stale.append((pk, number, least))


def pause(most: float) -> None:
    time.sleep(random.random() * most)


def write(ledger: Ledger) -> None:
    """One transaction, or write in autocommit, of one row or two."""
    pks = random.sample(ledger.pks, random.choice((1, 2)))
    how = random.choice(("save", "update", "savepoint", "batch", "rollback", "autocommit"))
    numbers: dict[int, int] = {}
    if how == "autocommit":
        product = Product.objects.get(pk=pks[0])
        same = Product.objects.filter(pk=product.pk, stock=product.stock)
        if same.update(stock=F("stock") + 1):
            ledger.commit({product.pk: product.stock + 1})
        return
    with batch() if how == "batch" else transaction.atomic():
        for pk in sorted(pks):
            if how == "savepoint":
                with transaction.atomic():
                    Product.objects.filter(pk=pk).update(stock=F("stock") + 100)
                    transaction.set_rollback(True)
            Product.objects.filter(pk=pk).update(stock=F("stock") + 1)
            product = Product.objects.get(pk=pk)
            if how != "update":
                product.save()
            numbers[pk] = product.stock
            if ledger.is_tagged:
                assert look_up(pk) == product.stock, "the writer reads what he wrote"
        pause(0.002)
        transaction.set_rollback(how == "rollback")
    if how != "rollback":
        ledger.commit(numbers)


def read_slowly(pk: int) -> int:
    stock = Product.objects.values_list("stock", flat=True).get(pk=pk)
    pause(0.004)
    return stock


def look_up(pk: int) -> int:
    return tagged().get_or_set(
        f"stock:{pk}", lambda: read_slowly(pk), tags=[f"product:{pk}"], timeout=60
    )


def look_up_many(pk: int) -> int:
    found = tagged().get_many({f"stock:{pk}": [f"product:{pk}"]}, timeout=60)
    if found:
        return int(found[f"stock:{pk}"])
    number = read_slowly(pk)
    tagged().set_many({f"stock:{pk}": number}, found)
    return number


@cached(tags=[], key="collected:{pk}", timeout=60, collect=True)
def look_up_collected(pk: int) -> int:
    return read_slowly(pk)


def look_up_late(pk: int) -> int:
    """The time of a value is always over: it is served while one makes it anew."""
    return tagged().get_or_set(
        f"stock:{pk}",
        lambda: read_slowly(pk),
        tags=[f"product:{pk}"],
        timeout=0,
        stale=60,
    )


def look_up_early(pk: int) -> int:
    """Values are made anew long before their time."""
    return tagged().get_or_set(
        f"stock:{pk}",
        lambda: read_slowly(pk),
        tags=[f"product:{pk}"],
        timeout=60,
        early=5000,
    )


def look_up_plainly(pk: int) -> int:
    """As people do by hand: any slow reader can store what he read before a commit after it."""
    return int(cache.get_or_set(f"plain:{pk}", lambda: read_slowly(pk), 60))


def run(
    ledger: Ledger, look: Callable[[int], int], reads: int, seconds: float = max(120, READS / 20)
) -> None:
    """Let all run until there have been so many reads, and some writes, or for so long."""
    end = time.monotonic() + seconds

    def repeat(act: Callable[[], None]) -> None:
        try:
            while not ledger.is_over.is_set():
                try:
                    act()
                except OperationalError:
                    # Two writers in each other's way.
                    connections.close_all()
        except BaseException as error:
            ledger.errors.append(error)
            ledger.is_over.set()
        finally:
            connections.close_all()
            recovery.disconnect(cache)

    acts = [lambda: write(ledger)] * WRITERS
    acts += [lambda: ledger.read(random.choice(ledger.pks), look)] * READERS
    threads = [threading.Thread(target=repeat, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    while time.monotonic() < end and not ledger.is_over.wait(0.01):
        if ledger.reads >= reads and ledger.writes >= WRITES:
            break
    ledger.is_over.set()
    for thread in threads:
        thread.join()
    if ledger.errors:
        raise ledger.errors[0]


@pytest.fixture
def ledger(wire: Any) -> Ledger:
    wire(
        (
            CacheInvalidation,
            {
                "models": ["testapp.Product"],
                "tags": ["product:{pk}"],
                "keys": ["plain:{pk}"],
            },
        )
    )
    return Ledger([ProductFactory(stock=0).pk for _ in range(ROWS)])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    yield server
    recovery.disconnect(cache)
    server.kill()


@pytest.fixture(params=["locmem", "redis"])
def backend(request: Any, settings: Any) -> None:
    if request.param == "locmem":
        settings.CACHES = {"default": LOCMEM}
    else:
        server = request.getfixturevalue("server")
        settings.CACHES = {"default": redis_at(server)}


def redis_at(server: RedisServer) -> dict[str, Any]:
    return {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": f"redis://127.0.0.1:{server.port}",
    }


@pytest.mark.parametrize(
    "look", [look_up, look_up_many, look_up_collected, look_up_late, look_up_early]
)
def test_nobody_reads_what_a_committed_write_has_changed(
    backend: None, ledger: Ledger, look: Any
) -> None:
    run(ledger, look, READS)
    assert ledger.stale == []
    assert ledger.reads >= READS
    assert ledger.writes >= WRITES


def test_who_deletes_keys_alone_is_caught(settings: Any, wire: Any) -> None:
    """The test above would see it: without versions, slow readers store what is old."""
    settings.CACHES = {"default": LOCMEM}
    wire((CacheInvalidation, {"models": ["testapp.Product"], "keys": ["plain:{pk}"]}))
    ledger = Ledger([ProductFactory(stock=0).pk for _ in range(ROWS)], is_tagged=False)

    def look(pk: int) -> int:
        number = look_up_plainly(pk)
        if ledger.stale:
            ledger.is_over.set()
        return number

    run(ledger, look, 10**9, seconds=60)
    assert ledger.stale


def test_a_cache_that_comes_back_with_all_it_held_serves_nothing_old(
    settings: Any, server: RedisServer, ledger: Ledger
) -> None:
    settings.CACHES = {"default": redis_at(server)}
    cache.set("plain:1", "kept")
    for pk in ledger.pks:
        look_up(pk)
        cache.set(f"plain:{pk}", "old")
    server.kill()
    for pk in ledger.pks:
        product = Product.objects.get(pk=pk)
        product.stock = 7
        product.save()
        assert look_up(pk) == 7, "what is down is as good as empty"
    server.start()
    assert cache.get("plain:1") in ("kept", None)
    end = time.monotonic() + 20
    while recovery.is_owed("default"):
        assert [look_up(pk) for pk in ledger.pks] == [7] * ROWS
        assert time.monotonic() < end
    assert [look_up(pk) for pk in ledger.pks] == [7] * ROWS
    assert [cache.get(f"plain:{pk}") for pk in ledger.pks] == [None] * ROWS


def test_a_cache_that_is_killed_while_all_run_serves_nothing_old(
    settings: Any, server: RedisServer, ledger: Ledger
) -> None:
    settings.CACHES = {"default": redis_at(server)}

    def disturb() -> None:
        while not ledger.is_over.wait(0.3):
            server.kill()
            time.sleep(0.2)
            server.start()

    disturber = threading.Thread(target=disturb)
    disturber.start()
    run(ledger, look_up, READS // 3)
    disturber.join()
    assert ledger.stale == []
    assert ledger.writes >= WRITES
