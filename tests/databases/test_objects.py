"""Views, triggers and functions are there after ``migrate``, as the settings say."""

from __future__ import annotations

from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from django.core.management.sql import emit_pre_migrate_signal
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_signal_kit.receivers import MigrationActions
from tests.apps.testapp.models import Tag
from tests.databases.migrating import (
    CLERKS,
    FUNCTION,
    ON_TOP,
    PLAN,
    TRIGGER,
    VENDOR,
    VIEW,
    get_memory_names,
    get_sql,
    migrated,
    read,
)

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("no_objects_left"),
]


def test_a_view_is_made_replaced_and_dropped_as_the_settings_say(wire: Any) -> None:
    Tag.objects.create(name="a")
    Tag.objects.create(name="b")
    wire((MigrationActions, {"sql": [VIEW]}))
    migrated()
    assert read("SELECT name FROM tag_names") == ["a"]
    changed = {**VIEW, "create": VIEW["create"].replace("%a%", "%b%")}
    wire((MigrationActions, {"sql": [changed]}))
    migrated()
    assert read("SELECT name FROM tag_names") == ["b"]
    wire((MigrationActions, {"sql": []}))
    migrated()
    assert "tag_names" not in get_views()
    assert get_memory_names() == []


def get_views() -> list[str]:
    with connection.cursor() as cursor:
        return connection.introspection.table_names(cursor, include_views=True)


def test_what_has_not_changed_is_left_alone(wire: Any) -> None:
    wire((MigrationActions, {"sql": [VIEW, ON_TOP]}))
    migrated()
    with CaptureQueriesContext(connection) as queries:
        migrated()
    assert not [sql for sql in get_sql(queries) if sql.startswith(("CREATE", "DROP", "DELETE"))]
    assert len([sql for sql in get_sql(queries) if "signal_kit_sql_object" in sql]) == 1


def test_what_stands_on_a_view_is_made_anew_with_it(wire: Any) -> None:
    Tag.objects.create(name="b")
    wire((MigrationActions, {"sql": [VIEW, ON_TOP]}))
    migrated()
    assert read("SELECT n FROM tag_count") == [0]
    changed = {**VIEW, "create": VIEW["create"].replace("%a%", "%b%")}
    wire((MigrationActions, {"sql": [changed, ON_TOP]}))
    migrated()
    assert read("SELECT n FROM tag_count") == [1]
    assert get_memory_names() == ["tag_names", "tag_count"]
    wire((MigrationActions, {"sql": [changed]}))
    migrated()
    assert get_memory_names() == ["tag_names"]


def test_sql_that_replaces_by_itself_drops_nothing(wire: Any) -> None:
    if VENDOR == "sqlite":
        pytest.skip("SQLite has no CREATE OR REPLACE")
    replaces = {**VIEW, "create": VIEW["create"].replace("CREATE", "CREATE OR REPLACE")}
    wire((MigrationActions, {"sql": [replaces, ON_TOP]}))
    migrated()
    changed = {**replaces, "create": replaces["create"].replace("%a%", "%b%")}
    wire((MigrationActions, {"sql": [changed, ON_TOP]}))
    with CaptureQueriesContext(connection) as queries:
        migrated()
    assert not [sql for sql in get_sql(queries) if sql.startswith("DROP")]
    Tag.objects.create(name="b")
    assert read("SELECT n FROM tag_count") == [1]


def test_triggers_and_functions_are_made_for_their_vendor_alone(wire: Any) -> None:
    wire((MigrationActions, {"sql": [FUNCTION, TRIGGER]}))
    migrated()
    expected = ["tag_upper_f", "tag_upper"] if VENDOR == "postgresql" else ["tag_upper"]
    assert get_memory_names() == expected
    tag = Tag.objects.create(name="tea")
    tag.refresh_from_db()
    assert tag.name == "TEA"


def test_after_a_plan_all_of_it_is_made_anew(wire: Any) -> None:
    wire((MigrationActions, {"sql": [FUNCTION, TRIGGER, VIEW]}))
    migrated()
    with connection.cursor() as cursor:
        # As SQLite does when it makes a table anew.
        drop = TRIGGER["drop"]
        cursor.execute(drop[VENDOR])  # type: ignore[index]
    migrated()
    tag = Tag.objects.create(name="tea")
    tag.refresh_from_db()
    assert tag.name == "tea"
    migrated(plan=PLAN)
    tag = Tag.objects.create(name="tea")
    tag.refresh_from_db()
    assert tag.name == "TEA"


def test_what_stands_in_the_way_of_migrations_goes_before_them_if_asked_for(wire: Any) -> None:
    options = {"sql": [VIEW, ON_TOP]}
    wire((MigrationActions, options))
    migrated()
    emit_pre_migrate_signal(0, False, "default", plan=PLAN, apps=apps)
    assert "tag_names" in get_views()
    wire((MigrationActions, {**options, "sql_drop_first": True}))
    emit_pre_migrate_signal(0, False, "default", plan=[], apps=apps)
    assert "tag_names" in get_views()
    emit_pre_migrate_signal(0, False, "default", plan=PLAN, apps=apps)
    assert {"tag_names", "tag_count"}.isdisjoint(get_views())
    migrated(plan=PLAN)
    assert {"tag_names", "tag_count"} < set(get_views())


def test_broken_sql_is_named_and_leaves_nothing_half_made(wire: Any) -> None:
    wire((MigrationActions, {"sql": [VIEW]}))
    migrated()
    changed = {**VIEW, "create": VIEW["create"].replace("%a%", "%b%")}
    broken = {**ON_TOP, "create": "CREATE VIEW tag_count AS SELECT nonsense FROM FROM"}
    wire((MigrationActions, {"sql": [changed, broken]}))
    with pytest.raises(CommandError) as error:
        migrated()
    text = "Making the SQL object 'tag_count' failed on the database 'default': "
    assert str(error.value).startswith(text)
    assert "FROM" in str(error.value)
    Tag.objects.create(name="a")
    Tag.objects.create(name="b")
    names = read("SELECT name FROM tag_names")
    assert names == (["a"] if connection.features.can_rollback_ddl else ["b"])
    # What is remembered is what is there, so that the next run goes on from here.
    wire((MigrationActions, {"sql": [changed, ON_TOP]}))
    migrated()
    assert read("SELECT n FROM tag_count") == [1]
    assert read("SELECT name FROM tag_names") == ["b"]


def test_what_the_kit_did_not_make_is_neither_dropped_nor_replaced(wire: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE VIEW tag_names AS SELECT 'mine' AS name")
    wire((MigrationActions, {"sql": [VIEW]}))
    with pytest.raises(CommandError, match="Making the SQL object 'tag_names' failed"):
        migrated()
    wire((MigrationActions, {"sql": []}))
    migrated()
    assert read("SELECT name FROM tag_names") == ["mine"]


def test_two_of_them_keep_to_their_own(wire: Any) -> None:
    path = "django_signal_kit.receivers.MigrationActions"
    first = {"RECEIVER": path, "NAME": "First", "OPTIONS": {"sql": [VIEW]}}
    second = {"RECEIVER": path, "NAME": "Second", "OPTIONS": {"sql": [ON_TOP]}}
    wire(first, second)
    migrated()
    wire(first, {**second, "OPTIONS": {"sql": []}})
    migrated()
    assert get_memory_names() == ["tag_names"]


def test_a_flush_leaves_sql_objects_and_brings_rows_back(wire: Any) -> None:
    row = {"model": "testapp.Tag", "lookup": {"name": "a"}}
    wire((MigrationActions, {"ensure": [row], "sql": [VIEW], "groups": CLERKS}))
    migrated()
    call_command("flush", interactive=False, verbosity=0)
    assert read("SELECT name FROM tag_names") == ["a"]
    assert Group.objects.get().permissions.count() == 2
