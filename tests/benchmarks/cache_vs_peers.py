"""What a cached row costs, and after what it is old, side by side with other packages.

    python -m tests.benchmarks.cache_vs_peers [--rounds 21] [--number 100]

On an SQLite file in WAL mode and a Redis of its own on loopback, all in one process and in turn.
Packages that are not installed are left out. "by hand" is what people write: get_or_set(), and
receivers of post_save and post_delete that delete the key.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import django
from django.apps import AppConfig
from django.conf import settings

PEERS = {"cacheops": "django-cacheops", "cachalot": "django-cachalot"}
INSTALLED = [name for name in PEERS if find_spec(name)]
WAYS = ["by hand", "kit", *INSTALLED]
ROWS = 1000
CARD = "<article>card</article>" * 20


class BenchConfig(AppConfig):
    """The app of the models below."""

    name = "tests.benchmarks"
    label = "bench"
    default_auto_field = "django.db.models.BigAutoField"
    #: Way -> its model; and one that has a child with a table of its own.
    made: dict[str, Any] = {}
    parents: dict[str, Any] = {}

    def import_models(self) -> None:
        self.models = self.apps.all_models[self.label]
        self.models_module = self.module
        self.make_models()

    def make_models(self) -> None:
        from django.db import models

        for way in WAYS:
            name = way.title().replace(" ", "")
            title = {"title": models.CharField(max_length=50)}
            self.parents[way] = make_model(f"{name}Parent", models.Model, **title)
            for made, base in ((name, models.Model), (f"{name}Child", self.parents[way])):
                stock, text = models.IntegerField(default=0), models.TextField(default="text" * 50)
                model = make_model(made, base, stock=stock, text=text)
                self.made.setdefault(way, model)


def make_model(name: str, base: type, **fields: Any) -> Any:
    meta = type("Meta", (), {"app_label": "bench"})
    return type(name, (base,), {"__module__": BenchConfig.name, "Meta": meta, **fields})


def get_child(way: str) -> Any:
    name = way.title().replace(" ", "")
    return BenchConfig.made[way]._meta.apps.get_model("bench", f"{name}Child")


def set_up(folder: str, port: int) -> None:
    settings.configure(
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": str(Path(folder) / "db.sqlite3"),
                "OPTIONS": {"init_command": "PRAGMA journal_mode=WAL"},
            }
        },
        CACHES={
            "default": {
                "BACKEND": "django.core.cache.backends.redis.RedisCache",
                "LOCATION": f"redis://127.0.0.1:{port}/0",
            }
        },
        CACHEOPS_REDIS=f"redis://127.0.0.1:{port}/1",
        CACHEOPS={
            f"bench.cacheops{name}": {"ops": "all", "timeout": 600}
            for name in ("", "parent", "child")
        },
        CACHALOT_TIMEOUT=600,
        CACHALOT_ONLY_CACHABLE_TABLES=[f"bench_cachalot{n}" for n in ("", "parent", "child")],
        INSTALLED_APPS=[
            "django.contrib.contenttypes",
            "django.contrib.auth",
            *INSTALLED,
            f"{__name__}.BenchConfig",
            "django_signal_kit",
        ],
        SIGNAL_KIT={
            "RECEIVERS": [
                {
                    "RECEIVER": "django_signal_kit.receivers.CacheInvalidation",
                    "OPTIONS": {
                        "models": ["bench.Kit", "bench.KitParent", "bench.KitChild"],
                        "tags": ["row:{pk}"],
                    },
                }
            ]
        },
        USE_TZ=True,
    )
    django.setup()
    from django.core.cache import cache
    from django.core.management import call_command
    from django.db.models.signals import post_delete, post_save

    call_command("migrate", run_syncdb=True, verbosity=0)

    def drop(sender: Any, instance: Any, **kwargs: Any) -> None:
        cache.delete(get_key(sender, instance.pk))

    for model in (
        BenchConfig.made["by hand"],
        BenchConfig.parents["by hand"],
        get_child("by hand"),
    ):
        post_save.connect(drop, sender=model, weak=False)
        post_delete.connect(drop, sender=model, weak=False)


def get_key(model: Any, pk: Any) -> str:
    return f"{model._meta.label_lower}:{pk}"


def read(way: str, model: Any, pk: Any) -> Any:
    """The row, by its cache."""
    from django.core.cache import cache

    from django_signal_kit.cache import tagged

    if way in PEERS:
        return model.objects.get(pk=pk)

    def make() -> Any:
        return model.objects.get(pk=pk)

    if way == "kit":
        return tagged().get_or_set(get_key(model, pk), make, tags=[f"row:{pk}"], timeout=600)
    return cache.get_or_set(get_key(model, pk), make, 600)


def read_cards(way: str, model: Any, pks: list[int]) -> dict[int, str]:
    """A page of fragments, each made of one row; as the package's documentation has it."""
    from django.core.cache import cache

    from django_signal_kit.cache import tagged

    if way == "cacheops":
        from cacheops import cached_as

        return {
            pk: cached_as(model.objects.filter(pk=pk), timeout=600, extra="card")(lambda: CARD)()
            for pk in pks
        }
    if way == "kit":
        names = {f"card:{pk}": pk for pk in pks}
        found = tagged().get_many({n: [f"row:{pk}"] for n, pk in names.items()}, timeout=600)
        if found.missing:
            tagged().set_many(dict.fromkeys(found.missing, CARD), found)
        return {pk: found.get(name, CARD) for name, pk in names.items()}
    stamp = ""
    if way == "cachalot":
        from cachalot.api import get_last_invalidation

        stamp = str(get_last_invalidation(model._meta.label))
    names = {f"{way.replace(' ', '')}:card:{pk}:{stamp}": pk for pk in pks}
    known = cache.get_many(names)
    if len(known) < len(names):
        cache.set_many(dict.fromkeys(names.keys() - known.keys(), CARD), 600)
    return {pk: known.get(name, CARD) for name, pk in names.items()}


# What it costs


class Count:
    """Round trips to Redis and queries of one call."""

    def __init__(self) -> None:
        from redis.connection import AbstractConnection

        self.sent = 0
        send = AbstractConnection.send_packed_command

        def note(connection: Any, *args: Any, **kwargs: Any) -> Any:
            self.sent += 1
            return send(connection, *args, **kwargs)

        AbstractConnection.send_packed_command = note

    def __call__(self, function: Callable[[], object]) -> tuple[int, int]:
        from django.db import connection
        from django.test.utils import CaptureQueriesContext

        function()
        self.sent = 0
        with CaptureQueriesContext(connection) as queries:
            function()
        return self.sent, len(queries)


def measure(rounds: int, number: int) -> list[str]:
    """The lines of the table. Raises AssertionError if something was not done."""
    from django.db import transaction

    from django_signal_kit import batch
    from tests.benchmarks.interleave import compare

    count = Count()
    rows = {way: fill(model) for way, model in BenchConfig.made.items()}

    def hit(way: str) -> Callable[[], object]:
        model, pk = BenchConfig.made[way], rows[way][0].pk
        return lambda: read(way, model, pk)

    def save(way: str) -> Callable[[], object]:
        row = rows[way][1]

        def act() -> None:
            row.stock += 1
            row.save()

        return act

    def save_all(way: str) -> Callable[[], object]:
        def act() -> None:
            with batch() if way == "kit" else transaction.atomic():
                for row in rows[way]:
                    row.stock += 1
                    row.save()

        return act

    def page(way: str) -> Callable[[], object]:
        model, pks = BenchConfig.made[way], [row.pk for row in rows[way][:40]]
        return lambda: read_cards(way, model, pks)

    lines = ["| | " + " | ".join(WAYS) + " |", "|---" * (1 + len(WAYS)) + "|"]
    for title, make, calls in (
        ("a hit", hit, number),
        ("a save", save, number),
        (f"{ROWS:,} saves in one transaction", save_all, 1),
        ("a page of 40 fragments", page, max(1, number // 10)),
    ):
        acts = {way: make(way) for way in WAYS}
        for way in WAYS:
            for row in rows[way][:40]:
                read(way, BenchConfig.made[way], row.pk)
        counts = {way: count(act) for way, act in acts.items()}
        result = compare(acts, rounds=rounds, number=calls)
        times = {way: f"{result.ratio(way):.2f}" for way in WAYS}
        times["by hand"] = f"{result.medians['by hand'] / 1000:.2f} ms"
        cells = [f"{times[way]} ({counts[way][0]:,}, {counts[way][1]:,})" for way in WAYS]
        lines.append(f"| {title} | {' | '.join(cells)} |")
        if make is hit or make is page:
            assert all(queries == 0 for _, queries in counts.values()), counts
        if make is page:
            assert all(
                act() == {row.pk: CARD for row in rows[way][:40]} for way, act in acts.items()
            )
        for way in WAYS:
            for row in rows[way][:2]:
                assert read(way, BenchConfig.made[way], row.pk).stock == row.stock, (title, way)
    return lines


def fill(model: Any) -> list[Any]:
    return [model.objects.create() for _ in range(ROWS)]


# After what it is old


def in_thread(function: Callable[[], object]) -> None:
    from django.db import connections

    def run() -> None:
        try:
            function()
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


def write_while_read(way: str, model: Any, row: Any) -> None:
    """Somebody reads the row, another changes it, and then the first stores what he read."""
    from django.db import connection

    def write() -> None:
        row.stock = 7
        row.save()

    def interrupt(execute: Any, sql: str, *args: Any) -> Any:
        result = execute(sql, *args)
        if sql.startswith("SELECT") and not is_done:
            is_done.append(True)
            in_thread(write)
        return result

    is_done: list[bool] = []
    # What is cached goes first.
    row.stock = 1
    row.save()
    with connection.execute_wrapper(interrupt):
        read(way, model, row.pk)
    assert is_done


def save(way: str, model: Any, row: Any) -> None:
    row.stock = 7
    row.save()


def update(way: str, model: Any, row: Any) -> None:
    model.objects.filter(pk=row.pk).update(stock=7)


def bulk_update(way: str, model: Any, row: Any) -> None:
    row.stock = 7
    model.objects.bulk_update([row], ["stock"])


def roll_back(way: str, model: Any, row: Any) -> None:
    """Who reads what he wrote, and rolls back: 7 is what was there before."""
    from django.db import transaction

    row.stock = 7
    row.save()
    with transaction.atomic():
        row.stock = 8
        row.save()
        read(way, model, row.pk)
        transaction.set_rollback(True)


def write_sql(way: str, model: Any, row: Any) -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {model._meta.db_table} SET stock = 7 WHERE id = %s", [row.pk])


WRITES: dict[str, Callable[[str, Any, Any], None]] = {
    "`save()`": save,
    "a slow reader stores late": write_while_read,
    "`update()`": update,
    "`bulk_update()`": bulk_update,
    "read in a transaction that is rolled back": roll_back,
    "raw SQL": write_sql,
}


def tell_stale() -> list[str]:
    """For each way to write: is what is read after it old?"""
    lines = ["| | " + " | ".join(WAYS) + " |", "|---" * (1 + len(WAYS)) + "|"]
    for title, write in WRITES.items():
        cells = []
        for way in WAYS:
            model = BenchConfig.made[way]
            row = model.objects.create()
            assert read(way, model, row.pk).stock == 0
            write(way, model, row)
            cells.append("right" if read(way, model, row.pk).stock == 7 else "**old**")
        lines.append(f"| {title} | {' | '.join(cells)} |")
    for title, is_child_read in (
        ("a parent, by its child", False),
        ("a child, by its parent", True),
    ):
        cells = []
        for way in WAYS:
            parent, child = BenchConfig.parents[way], get_child(way)
            row = child.objects.create(title="old")
            model, written = (child, parent) if is_child_read else (parent, child)
            assert read(way, model, row.pk).title == "old"
            row = written._base_manager.get(pk=row.pk)
            row.title = "new"
            row.save()
            cells.append("right" if read(way, model, row.pk).title == "new" else "**old**")
        lines.append(f"| multi-table inheritance: {title} | {' | '.join(cells)} |")
    return lines


def main(arguments: list[str] | None = None) -> dict[str, list[str]]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--number", type=int, default=100)
    options = parser.parse_args(arguments)
    from tests.cache.redis_server import RedisServer

    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder), durable=False)
        try:
            set_up(folder, server.port)
            stale, costs = tell_stale(), measure(options.rounds, options.number)
        finally:
            server.kill()
    names = [f"{PEERS[name]} {version(PEERS[name])}" for name in INSTALLED]
    print(f"Django {django.__version__}, {', '.join(names) or 'no peers'}")
    print("\nTimes of those by hand (round trips to Redis, queries):\n")
    print("\n".join(costs))
    print("\nWhat is read after it:\n")
    print("\n".join(stale))
    return {"costs": costs, "stale": stale}


if __name__ == "__main__":
    main()
