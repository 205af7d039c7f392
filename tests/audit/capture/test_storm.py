"""Eight others go on writing while one deployment after the other migrates."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from django.db import connection

from tests.audit.capture import storm
from tests.audit.capture.deployed import MIGRATE, Shop
from tests.audit.capture.shops import FIRST
from tests.audit.capture.shops import shop as shop

pytestmark = pytest.mark.django_db(transaction=True)

PATIENCE = 120  # seconds
PRICE = 'models.DecimalField(max_digits=8, decimal_places=2, default="1.50")'
FINER = 'models.DecimalField(max_digits=9, decimal_places=3, default="1.50")'
STOCK = "models.IntegerField(db_default=0)"
NAMED = "    def __str__(self):\n        return self.name\n"


class Step(NamedTuple):
    """A migration, and what it replaces in the models."""

    operation: str
    old: str = ""
    new: str = ""


STEPS = {
    "add a field": Step(
        f'AddField("product", "stock", {STOCK})',
        "    tags =",
        f"    stock = {STOCK}\n    tags =",
    ),
    "write rows": Step("RunPython(fill)"),
    "add an index": Step('AddIndex("product", models.Index(fields=["name"], name="names"))'),
    "add a constraint": Step(
        'AddConstraint("product", models.UniqueConstraint(fields=["id", "name"], name="once"))'
    ),
    "alter a field": Step(f'AlterField("product", "price", {FINER})', PRICE, FINER),
    "rename a field": Step('RenameField("product", "price", "cost")', "price", "cost"),
    "rename a model": Step('RenameModel("Product", "Item")', "class Product", "class Item"),
    "rename a table": Step(
        'AlterModelTable("tag", "labels")',
        f"{NAMED}\nclass Item",
        f"    class Meta:\n        db_table = 'labels'\n{NAMED}\nclass Item",
    ),
    "remove a field": Step('RemoveField("item", "cost")', f"    cost = {FINER}\n"),
}
FILL = """
def fill(apps, editor):
    apps.get_model("shop", "Product").objects.update(price=3)

"""
#: During these nothing goes unheard; during the others what is written to the tables they change.
HEARD = {
    "postgresql": tuple(STEPS),
    "mysql": ("add a field", "write rows", "add an index", "add a constraint"),
    "sqlite": ("write rows", "add an index"),
}[connection.vendor]
#: Here Django itself locks two tables, one after the other.
DEADLOCKS = {"rename a model"} if connection.vendor == "postgresql" else set()

_TELL = """
import json
from django.apps import apps
for entry in AuditEntry.objects.select_related("content_type").order_by("pk"):
    kind = entry.content_type.model
    print(json.dumps([entry.action, kind, entry.object_pk, entry.changes]))
for model in apps.get_app_config("shop").get_models(include_auto_created=True):
    fields = [field.attname for field in model._meta.concrete_fields]
    for row in model.objects.values(*fields):
        print(json.dumps(["row", model._meta.model_name, "", row], default=str))
"""


class Storm:
    """Writers, and when somebody migrated meanwhile."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.windows: dict[str, tuple[float, float]] = {}
        #: By writer: when it counted on, what failed, and when it was in a deadlock.
        self.told: list[tuple[list[tuple[float, float]], list[str], list[float]]] = []

    def get_steps(self, start: float, end: float) -> list[str]:
        return [name for name, (a, b) in self.windows.items() if a <= end and start <= b]


@contextmanager
def writers(shop: Shop) -> Iterator[Storm]:
    """They write for the length of the block."""
    started: list[Any] = []
    found = Storm(shop.number * 10_000)
    code = f"from tests.audit.capture import storm\nstorm.main({found.start})"
    project = shop.project
    # As long as all the migrations together.
    project.patience = 900
    thread = threading.Thread(target=lambda: started.append(project.start(code)))
    ready, stop = shop.directory / "ready", shop.directory / "stop"
    thread.start()
    try:
        deadline = time.monotonic() + PATIENCE
        while not ready.exists():
            assert thread.is_alive(), started
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield found
    finally:
        stop.touch()
        thread.join()
        ready.unlink(missing_ok=True)
        stop.unlink()
    assert started[0].returncode == 0, started[0].stderr
    found.told = json.loads(started[0].stdout)


def write_while_migrating(shop: Shop, models: str, steps: Iterable[str]) -> tuple[str, Storm]:
    """The models that there are then, and what has happened."""
    with writers(shop) as found:
        for name in steps:
            step = STEPS[name]
            assert step.old in models
            models = models.replace(step.old, step.new) if step.old else models
            shop.change(models, f"migrations.{step.operation}", FILL)
            start = time.monotonic()
            migrate(shop, may_deadlock=name in DEADLOCKS)
            found.windows[name] = start, time.monotonic()
    return models, found


def migrate(shop: Shop, *, may_deadlock: bool) -> None:
    result = shop.start(MIGRATE)
    while may_deadlock and "deadlock detected" in result.stderr:
        result = shop.start(MIGRATE)
    assert result.returncode == 0, result.stderr


def assert_unharmed(found: Storm) -> None:
    """No write has failed, and none had to begin anew."""
    assert [failed for _, failed, _ in found.told if failed] == []
    if connection.vendor == "postgresql":
        deadlocks = [at for _, _, deadlocks in found.told for at in deadlocks]
        assert all(set(found.get_steps(at, at)) & DEADLOCKS for at in deadlocks)


def read(shop: Shop) -> tuple[list[Any], list[Any]]:
    """The entries, and the rows."""
    told = [json.loads(line) for line in shop.say(_TELL).splitlines()]
    return [each for each in told if each[0] != "row"], [each for each in told if each[0] == "row"]


def list_unheard(entries: list[Any], found: Storm) -> list[list[str]]:
    """The steps during which writers counted on, and no entry tells of it."""
    unheard = []
    for number, (counted, _, _) in enumerate(found.told, start=1):
        key = str(storm.get_first(number, found.start))
        heard = {
            changes["name"][1]
            for action, _, pk, changes in entries
            if action == "update" and pk == key and "name" in changes
        }
        unheard += [
            found.get_steps(start, end)
            for count, (start, end) in enumerate(counted, start=1)
            if str(count) not in heard
        ]
    return unheard


def replay(entries: list[Any], rows: list[Any]) -> None:
    """What the entries tell, one after the other, is what the database holds."""
    known: dict[tuple[str, str], dict[str, Any]] = {}
    links: set[tuple[str, int]] = set()
    for action, kind, key, changes in entries:
        if action == "m2m_add":
            links |= {(key, target) for target in changes["tags"]["added"]}
        elif action == "m2m_remove":
            links -= {(key, target) for target in changes["tags"]["removed"]}
        else:
            _follow(known, action, (kind, key), changes)
    held: dict[tuple[str, str], str] = {}
    held_links = set()
    for _, kind, _, row in rows:
        if "tag_id" in row:
            owner = row.get("product_id", row.get("item_id"))
            held_links.add((str(owner), row["tag_id"]))
        else:
            held[kind, str(row["id"])] = row["name"]
    assert {key: row["name"] for key, row in known.items()} == held
    assert links == held_links


def _follow(known: Any, action: str, key: tuple[str, str], changes: dict[str, Any]) -> None:
    assert (key in known) == (action != "create"), (action, key)
    row = known.setdefault(key, {})
    for name, (old, new) in changes.items():
        # A migration gives all rows a stock, and nobody writes that.
        if name != "stock":
            name, (old, new) = _normalise(name, old, new)
            assert row.get(name) == old, (action, key, changes)
            row[name] = new
    if action == "delete":
        del known[key]


def _normalise(name: str, *values: Any) -> tuple[str, Any]:
    if name not in ("price", "cost"):
        return name, values
    return "price", tuple(value and Decimal(value) for value in values)


def test_nothing_goes_unheard_and_nothing_fails_but_where_it_is_said(shop: Shop) -> None:
    if connection.vendor == "sqlite":
        shop.settings = 'DATABASES["default"]["OPTIONS"] = {"timeout": 60}\n'
    shop.migrate("Tag.objects.create(name='one')", "Tag.objects.create(name='two')")
    models, found = write_while_migrating(shop, FIRST, HEARD)
    assert_unharmed(found)
    entries, rows = read(shop)
    assert list_unheard(entries, found) == []
    replay(entries, rows)

    others = [name for name in STEPS if name not in HEARD]
    if others:
        _, found = write_while_migrating(shop, models, others)
        assert_unharmed(found)
        unheard = list_unheard(read(shop)[0], found)
        # All of it while somebody migrated.
        assert all(unheard)
