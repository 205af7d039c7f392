"""A write of a covered model that no receiver hears is named, with its line."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.core.management import call_command
from django.db import connection, connections, transaction
from django.db.models import F
from django.db.models.options import Options
from django.test import override_settings

from django_signal_kit import ModelReceiver, batch, trace
from django_signal_kit.receivers import AuditLog, LastModified
from django_signal_kit.requests import querycount
from django_signal_kit.sight import queries, targets, watching
from django_signal_kit.test import assert_all_writes_heard
from tests.apps.testapp.models import Gallery, Product, Tag

pytestmark = pytest.mark.django_db(transaction=True)

LOG = {"models": ["testapp.*"]}


def here() -> int:
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


def execute(sql: str, *params: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)


@pytest.fixture(autouse=True)
def _forget() -> None:
    watching._told.clear()


def insert_raw(name: str) -> None:
    execute("INSERT INTO testapp_tag (name) VALUES (%s)", name)


def update_raw(name: str) -> None:
    execute("UPDATE testapp_tag SET name = %s", name)


def delete_raw(name: str) -> None:
    execute(" DELETE FROM testapp_tag WHERE name = %s", name)


def delete_raw_by_django(name: str) -> None:
    rows = Tag.objects.filter(name=name)
    rows._raw_delete(rows.db)


@pytest.mark.parametrize(
    ("write", "verb"),
    [
        (insert_raw, "INSERT"),
        (update_raw, "UPDATE"),
        (delete_raw, "DELETE"),
        (delete_raw_by_django, "DELETE"),
    ],
)
def test_what_goes_past_all_receivers_is_named(wire: Any, write: Any, verb: str) -> None:
    wire((AuditLog, LOG))
    with watching.gathering() as found:
        write("tea")
    (unheard,) = found
    assert (unheard.verb, unheard.model, unheard.using) == (verb, Tag, "default")
    assert unheard.place.startswith("tests/sight/test_watching.py:")
    assert f"writes testapp.Tag on 'default' by {verb}, and no receiver hears it (AuditLog" in str(
        unheard
    )


@pytest.mark.parametrize(
    "sql",
    [
        "/* by the importer */ UPDATE {} SET name = 'oil'",
        "-- name: rename\nUPDATE {} SET name = 'oil'",
        "\r\n  UPDATE\n  -- all of them\n  {} SET name = 'oil'",
        "UPDATE/* all */{} SET name = 'oil'",
        f"/* {'x' * 500} */ UPDATE {{}} SET name = 'oil'",
    ],
)
def test_comments_do_not_hide_a_write(wire: Any, sql: str) -> None:
    wire((AuditLog, LOG))
    with watching.gathering() as found:
        execute(sql.format("testapp_tag"))
    assert [(unheard.verb, unheard.model) for unheard in found] == [("UPDATE", Tag)]


@pytest.mark.parametrize(
    ("sql", "target"),
    [
        ("UPDATE SHOP_TAG SET a = 1", ("UPDATE", "shop_tag")),
        ('UPDATE "Shop"."Tag" SET a = 1', ("UPDATE", 'shop"."tag')),
        ('DELETE FROM "our tags-2"', ("DELETE", "our tags-2")),
        ("INSERT INTO `a b`.`tags` VALUES (1)", ("INSERT", 'a b"."tags')),
        ("UPDATE OR IGNORE [shop_tag] SET a = 1", ("UPDATE", "shop_tag")),
        ("INSERT HIGH_PRIORITY INTO shop_tag VALUES (1)", ("INSERT", "shop_tag")),
        ("DELETE QUICK FROM shop_tag", ("DELETE", "shop_tag")),
        ("UPDATE only_tag SET a = 1", ("UPDATE", "only_tag")),
        ("/* UPDATE shop_tag */ SELECT 1", None),
        ("-- UPDATE shop_tag", None),
        (" " * 100_000, None),
        ("/*" * 50_000, None),
        ("", None),
    ],
)
def test_the_table_that_a_statement_writes(sql: str, target: Any) -> None:
    assert targets.find_target(sql) == target


@pytest.mark.parametrize("name", ["Our tags-2", 'main"."shop_tag'])
def test_a_table_of_an_odd_name(name: str) -> None:
    class Odd:
        _meta: Any = Options(None)

    Odd._meta.db_table = name
    (table,) = watching._by_table([Odd])  # type: ignore[list-item]
    assert targets.find_target(f'UPDATE "{name}" SET a = 1') == ("UPDATE", table)


def test_a_table_of_the_same_name_in_another_schema_is_another(wire: Any) -> None:
    wire((AuditLog, LOG))
    home, make, drop = SCHEMAS[connection.vendor]
    home = home or str(connection.settings_dict["NAME"])
    names = (home, "signal_kit_elsewhere", "testapp_tag")
    home, other, table = map(connection.ops.quote_name, names)
    at_home, elsewhere = f"{home}.{table}", f"{other}.{table}"
    execute(make)
    try:
        execute(f"CREATE TABLE {elsewhere} (name varchar(10))")
        with watching.gathering() as found:
            execute(f"INSERT INTO {elsewhere} (name) VALUES (%s)", "oil")
            execute(f"UPDATE {elsewhere} SET name = %s", "tea")
        assert found == []
        with watching.gathering() as found:
            execute(f"INSERT INTO {at_home} (name) VALUES (%s)", "oil")
            execute(f"DELETE FROM {at_home} WHERE name = %s", "oil")
        assert [(unheard.verb, unheard.model) for unheard in found] == [
            ("INSERT", Tag),
            ("DELETE", Tag),
        ]
    finally:
        execute(drop)


#: The schema of the models (of MySQL it is the database), how another is made, and how it goes.
SCHEMAS = {
    "sqlite": ("main", "ATTACH ':memory:' AS signal_kit_elsewhere", "DETACH signal_kit_elsewhere"),
    "postgresql": (
        "public",
        "CREATE SCHEMA signal_kit_elsewhere",
        "DROP SCHEMA signal_kit_elsewhere CASCADE",
    ),
    "mysql": ("", "CREATE DATABASE signal_kit_elsewhere", "DROP DATABASE signal_kit_elsewhere"),
}


@pytest.mark.parametrize("write", [insert_raw, delete_raw_by_django])
def test_a_trace_hides_nothing(wire: Any, write: Any) -> None:
    wire((AuditLog, LOG))
    with watching.gathering() as found, trace():
        Tag.objects.create(name="oil")
        write("tea")
    (unheard,) = found
    assert unheard.place.startswith("tests/sight/test_watching.py:")


def test_the_line_is_that_of_the_project(wire: Any) -> None:
    wire((AuditLog, LOG))
    with watching.gathering() as found:
        Tag.objects.all()._raw_delete("default")
        line = here() - 1
    assert found[0].place == f"tests/sight/test_watching.py:{line}"


def test_every_write_that_is_heard_is_silent(wire: Any) -> None:
    wire((AuditLog, LOG), (LastModified, {"models": ["testapp.*"]}))
    with assert_all_writes_heard():
        tag = Tag.objects.create(name="tea")
        tag.save()
        tag.save(force_update=True, update_fields=["name"])
        Tag.objects.get_or_create(name="oil")
        Tag.objects.update_or_create(name="oil", defaults={"name": "salt"})
        Tag.objects.bulk_create([Tag(name="a"), Tag(name="b")])
        Tag.objects.bulk_update(Tag.objects.all(), ["name"])
        Tag.objects.update(name=F("name"))
        product = Product.objects.create(name="tea")
        product.tags.add(tag)
        product.tags.set([])
        product.tags.add(tag)
        product.tags.clear()
        with transaction.atomic(), batch():
            Tag.objects.create(name="in a block")
        Gallery.objects.create()
        asyncio.run(_save_in_a_coroutine())
        tag.delete()
        Tag.objects.all().delete()
        Product.objects.filter(name="none").delete()
        product.delete()


async def _save_in_a_coroutine() -> None:
    try:
        await Tag.objects.acreate(name="later")
    finally:
        await sync_to_async(connections.close_all)()


class Careless(ModelReceiver):
    models = ["testapp.Tag"]

    def post_save(self, instance: Any, **kwargs: Any) -> None:
        if instance.name == "now":
            execute("UPDATE testapp_tag SET name = 'done' WHERE id = %s", instance.pk)
        self.collect(instance.pk)

    def flush(self, items: list[Any]) -> None:
        if not Tag.objects.filter(name="done").exists():
            execute("UPDATE testapp_tag SET name = 'done' WHERE id = %s", items[0])


@pytest.mark.parametrize("when", ["now", "later"])
def test_what_a_receiver_does_by_raw_sql_is_no_part_of_what_it_hears(wire: Any, when: str) -> None:
    wire(Careless)
    with watching.gathering() as found:
        Tag.objects.create(name=when)
    assert [unheard.verb for unheard in found] == ["UPDATE"]


def test_raw_sql_in_a_batch_is_named(wire: Any) -> None:
    wire((AuditLog, LOG))
    with watching.gathering() as found, batch():
        Tag.objects.create(name="tea")
        update_raw("oil")
    assert len(found) == 1


class HearsNoBulk(AuditLog):
    models = ["testapp.Tag"]
    bulk = False


class HearsUpdates(ModelReceiver):
    models = ["testapp.Tag"]

    def post_queryset_update(self, **kwargs: Any) -> None: ...


class HearsSaves(ModelReceiver):
    models = ["testapp.Tag"]

    def post_save(self, **kwargs: Any) -> None: ...


@pytest.mark.parametrize("receiver", [HearsNoBulk, HearsUpdates, HearsSaves])
def test_what_a_receiver_has_chosen_not_to_hear_is_left_alone(wire: Any, receiver: Any) -> None:
    wire(receiver)
    with assert_all_writes_heard():
        Tag.objects.create(name="tea")
        Tag.objects.bulk_create([Tag(name="a")])
        Tag.objects.update(name="b")
        if receiver is not HearsNoBulk:
            Tag.objects.all().delete()


def test_models_that_nobody_covers_are_left_alone(wire: Any) -> None:
    wire(HearsSaves)
    with assert_all_writes_heard():
        Product.objects.all()._raw_delete("default")
        execute("UPDATE testapp_product SET name = 'x'")


def test_reading_and_locking_are_no_writes(wire: Any) -> None:
    wire((AuditLog, LOG))
    with assert_all_writes_heard():
        with transaction.atomic():
            list(Tag.objects.select_for_update())
        execute("SELECT 'DELETE FROM testapp_tag' FROM testapp_tag")
        execute("WITH t AS (SELECT 1 AS n) SELECT n FROM t")


def test_flushing_the_database_and_migrating_are_left_alone(wire: Any) -> None:
    wire((AuditLog, {"models": ["__all__"]}))
    with assert_all_writes_heard():
        call_command("migrate", verbosity=0)


def test_a_test_says_which_writes_were_not_heard(wire: Any) -> None:
    wire((AuditLog, LOG))
    with pytest.raises(AssertionError) as caught, assert_all_writes_heard():
        for _ in range(3):
            update_raw("oil")
        delete_raw("oil")
    told = str(caught.value).splitlines()
    assert len(told) == 2
    assert "by UPDATE" in told[0]
    assert "by DELETE" in told[1]


def test_an_error_of_the_block_itself_is_what_gets_out(wire: Any) -> None:
    wire((AuditLog, LOG))
    with pytest.raises(KeyError), assert_all_writes_heard():
        update_raw("oil")
        raise KeyError


def test_a_statement_that_fails_is_not_told(wire: Any) -> None:
    wire((AuditLog, LOG))
    with assert_all_writes_heard(), pytest.raises(Exception, match="no_such"):
        execute("UPDATE testapp_tag SET no_such = 1")


def test_what_sync_to_async_runs_is_seen(wire: Any) -> None:
    wire((AuditLog, LOG))

    async def work() -> None:
        await sync_to_async(update_raw)("oil")
        await sync_to_async(connections.close_all)()

    with watching.gathering() as found:
        asyncio.run(work())
    assert len(found) == 1


@pytest.fixture
def watched(wire: Any, caplog: Any) -> Any:
    wire((AuditLog, LOG), WATCH=True)
    return lambda: [r for r in caplog.records if r.name == "django_signal_kit.unheard"]


def test_with_the_setting_each_place_is_logged_once(watched: Any) -> None:
    for _ in range(3):
        update_raw("oil")
    delete_raw("oil")
    records = watched()
    assert [record.levelno for record in records] == [logging.WARNING] * 2
    assert records[0].model == "testapp.Tag"
    assert records[0].place.startswith("tests/sight/test_watching.py")


def test_each_new_connection_is_watched(watched: Any) -> None:
    def work() -> None:
        update_raw("oil")
        connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(watched()) == 1


@pytest.mark.parametrize("other", [queries.count_query, querycount.count_query])
def test_what_else_looks_at_statements_hides_nothing(watched: Any, other: Any) -> None:
    """Those of the kit are no writers, whichever of them is in front."""
    connection.execute_wrappers.insert(0, other)
    try:
        update_raw("oil")
        Tag.objects.create(name="tea")
    finally:
        connection.execute_wrappers.remove(other)
    assert len(watched()) == 1


def test_it_goes_with_debug_and_away_with_it(wire: Any) -> None:
    with override_settings(DEBUG=True):
        wire((AuditLog, LOG))
        assert watching.look in connection.execute_wrappers
    wire((AuditLog, LOG), WATCH=False)
    assert watching.look not in connection.execute_wrappers


def test_a_wrapper_of_somebody_elses_ends_as_it_began(wire: Any) -> None:
    wire((AuditLog, LOG), WATCH=False)
    connection.close()

    def other(execute: Any, *args: Any) -> Any:
        return execute(*args)

    with watching.gathering() as found, connection.execute_wrapper(other):
        # The connection is opened, and watched, within the block of the other one.
        update_raw("oil")
    assert len(found) == 1
    assert other not in connection.execute_wrappers
    assert watching.look not in connection.execute_wrappers


def test_an_async_test_is_decorated_like_others(wire: Any) -> None:
    wire((AuditLog, LOG), WATCH=False)

    @assert_all_writes_heard()
    async def check(write: Any) -> str:
        await sync_to_async(write)("oil")
        return "done"

    assert async_to_sync(check)(lambda name: Tag.objects.create(name=name)) == "done"
    with pytest.raises(AssertionError, match="by UPDATE, and no receiver hears it"):
        async_to_sync(check)(update_raw)
    assert watching.look not in connection.execute_wrappers


def test_a_block_in_a_coroutine_sees_the_thread_that_waits_for_it(wire: Any) -> None:
    wire((AuditLog, LOG), WATCH=False)
    connection.ensure_connection()

    async def check() -> None:
        with pytest.raises(AssertionError, match="by UPDATE"), assert_all_writes_heard():
            await sync_to_async(update_raw)("oil")

    async_to_sync(check)()
    assert watching.look not in connection.execute_wrappers


def test_what_would_not_be_called_is_not_decorated() -> None:
    class Tests: ...

    def generate() -> Any:
        yield

    async def generate_async() -> Any:
        yield

    for thing in (Tests, generate, generate_async):
        with pytest.raises(TypeError, match="Decorate the tests of a class one by one"):
            assert_all_writes_heard()(thing)
