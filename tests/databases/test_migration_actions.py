"""What has to be there after ``migrate`` is there, once, and never at the price of a crash."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.core.management.sql import emit_post_migrate_signal, emit_pre_migrate_signal
from django.db import connection
from django.db.migrations import Migration
from django.db.models.signals import post_migrate
from django.test.utils import CaptureQueriesContext

from django_signal_kit.databases import attempts
from django_signal_kit.databases.attempts import MigrationActionError, Run
from django_signal_kit.databases.objects import get_memory
from django_signal_kit.receivers import MigrationActions
from tests.apps.testapp.models import Product, Tag
from tests.projects import KIT, Project

pytestmark = pytest.mark.django_db(transaction=True)

VENDOR = connection.vendor
PLAN = [(Migration("0001_initial", "testapp"), False)]
CLERKS = {"Clerks": ["testapp.change_product", "testapp.view_tag"]}
VIEW = {
    "name": "tag_names",
    "create": "CREATE VIEW tag_names AS SELECT name FROM testapp_tag WHERE name LIKE '%a%'",
    "drop": "DROP VIEW IF EXISTS tag_names",
}
ON_TOP = {
    "name": "tag_count",
    "create": "CREATE VIEW tag_count AS SELECT COUNT(*) AS n FROM tag_names",
    "drop": "DROP VIEW IF EXISTS tag_count",
}
TRIGGER = {
    "name": "tag_upper",
    "create": {
        "sqlite": "CREATE TRIGGER tag_upper AFTER INSERT ON testapp_tag BEGIN "
        "UPDATE testapp_tag SET name = upper(name) WHERE id = NEW.id; END",
        "mysql": "CREATE OR REPLACE TRIGGER tag_upper BEFORE INSERT ON testapp_tag FOR EACH ROW "
        "SET NEW.name = upper(NEW.name)",
        "postgresql": "CREATE TRIGGER tag_upper BEFORE INSERT ON testapp_tag FOR EACH ROW "
        "EXECUTE FUNCTION tag_upper_f()",
    },
    "drop": {
        "sqlite": "DROP TRIGGER IF EXISTS tag_upper",
        "mysql": "DROP TRIGGER IF EXISTS tag_upper",
        "postgresql": "DROP TRIGGER IF EXISTS tag_upper ON testapp_tag",
    },
}
FUNCTION = {
    "name": "tag_upper_f",
    "create": {
        "postgresql": "CREATE FUNCTION tag_upper_f() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN NEW.name := upper(NEW.name); RETURN NEW; END $$"
    },
    "drop": {"postgresql": "DROP FUNCTION IF EXISTS tag_upper_f()"},
}


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    yield
    with connection.cursor() as cursor:
        tables = connection.introspection.table_names(cursor)
        for entry in (ON_TOP, VIEW, TRIGGER, FUNCTION):
            drop = entry["drop"]
            sql = drop if isinstance(drop, str) else drop.get(VENDOR)
            if sql:
                cursor.execute(sql)
    if get_memory()._meta.db_table in tables:
        with connection.schema_editor() as editor:
            editor.delete_model(get_memory())


def migrated(using: str = "default", **kwargs: Any) -> str:
    """What is said while Django tells every app that it has been migrated."""
    out = io.StringIO()
    emit_post_migrate_signal(1, False, using, stdout=out, **kwargs)
    return out.getvalue()


def read(sql: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return [row[0] for row in cursor.fetchall()]


def get_memory_names() -> list[str]:
    return list(get_memory().objects.order_by("pk").values_list("name", flat=True))


# Rows


def test_a_row_is_made_once_and_left_as_people_have_changed_it(wire: Any) -> None:
    row = {"model": "testapp.Product", "lookup": {"name": "Tea"}, "defaults": {"stock": 3}}
    wire((MigrationActions, {"ensure": [row]}))
    migrated()
    assert Product.objects.get().stock == 3
    Product.objects.update(stock=9)
    migrated()
    assert Product.objects.get().stock == 9


def test_a_row_that_is_to_be_kept_up_is_written_only_if_it_differs(wire: Any) -> None:
    defaults = {"stock": 3, "price": "4.50"}
    row = {"model": "testapp.Product", "lookup": {"name": "Tea"}, "defaults": defaults}
    wire((MigrationActions, {"ensure": [{**row, "update": True}]}))
    migrated()
    Product.objects.update(stock=9, slug="kept")
    migrated()
    assert Product.objects.values_list("stock", "slug").get() == (3, "kept")
    with CaptureQueriesContext(connection) as queries:
        migrated()
    assert not [sql for sql in get_sql(queries) if sql.startswith(("UPDATE", "INSERT"))]
    assert len([sql for sql in get_sql(queries) if "testapp_product" in sql]) == 1


def get_sql(queries: Any) -> list[str]:
    return [query["sql"] for query in queries]


def test_a_row_with_a_key_of_its_own_leaves_the_next_key_free(wire: Any) -> None:
    rows = [
        {"model": "testapp.Tag", "lookup": {"pk": pk}, "defaults": {"name": str(pk)}}
        for pk in (1, 2)
    ]
    wire((MigrationActions, {"ensure": rows}))
    migrated()
    assert Tag.objects.create(name="next").pk not in (1, 2)


def test_the_actions_are_done_once_a_run_not_once_an_app(wire: Any) -> None:
    wire(Counting)
    Counting._runs.clear()
    # Called after the kit for each app, so that the last app is still to come for it.
    post_migrate.connect(hear := lambda sender, **kwargs: Counting._runs.append(sender.label))
    try:
        migrated(plan=PLAN)
        emit_pre_migrate_signal(0, False, "default", plan=PLAN, apps=apps)
        emit_pre_migrate_signal(0, False, "default", plan=[], apps=apps)
    finally:
        post_migrate.disconnect(hear)
    *others, after, last, before = Counting._runs
    assert after == ("after", "default", True)
    assert before == ("before", "default", True)
    labels = [config.label for config in apps.get_app_configs() if config.models_module]
    assert [*others, last] == labels
    assert len(labels) > 3


class Counting(MigrationActions):
    _runs: Any = []

    def before_migrate(self, run: Run) -> None:
        super().before_migrate(run)
        self._runs.append(("before", run.using, run.has_plan))

    def after_migrate(self, run: Run) -> None:
        super().after_migrate(run)
        self._runs.append(("after", run.using, run.has_plan))


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_other_databases_are_acted_on_if_they_are_named(wire: Any) -> None:
    row = {"model": "testapp.Tag", "lookup": {"name": "a"}}
    wire((MigrationActions, {"ensure": [row]}))
    migrated("other")
    assert not Tag.objects.using("other").exists()
    wire((MigrationActions, {"ensure": [row], "databases": ["default", "other"]}))
    migrated("other")
    assert Tag.objects.using("other").count() == 1
    assert not Tag.objects.exists()


class NotHere:
    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return app_label not in ("testapp", "auth")


def test_what_the_router_does_not_allow_is_not_made(wire: Any, settings: Any) -> None:
    settings.DATABASE_ROUTERS = [f"{__name__}.NotHere"]
    check = {"name": "tags", "model": "testapp.Tag", "filter": {"pk__gt": 0}}
    row = {"model": "testapp.Tag", "lookup": {"name": "a"}}
    Tag.objects.create(name="b")
    wire(
        (
            MigrationActions,
            {
                "ensure": [row],
                "groups": CLERKS,
                "consistency": [check],
            },
        )
    )
    migrated()
    assert not Group.objects.exists()
    assert Tag.objects.count() == 1


class There:
    """Keeps the apps of the tests, and who may do what, in the other database."""

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return (db == "other") == (app_label in ("testapp", "auth"))


ROUTED = {
    "ensure": [{"model": "testapp.Tag", "lookup": {"name": "a"}}],
    "groups": {"Clerks": []},
    "consistency": [{"name": "tags", "model": "testapp.Tag", "filter": {"name": "bad"}}],
}


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_what_no_database_admits_is_told_with_the_remedy(wire: Any, settings: Any) -> None:
    settings.DATABASE_ROUTERS = [f"{__name__}.There"]
    wire((MigrationActions, ROUTED))
    told = migrated()
    for what in ("testapp.Tag {'name': 'a'}", "the group 'Clerks'", "the data check 'tags'"):
        assert f"Left out: {what}. No router allows" in told
    assert told.count("Add 'other' to its option 'databases'.") == 3
    assert "MigrationActions acts on ('default')" in told
    assert migrated("other") == ""
    assert not Tag.objects.exists()
    # A remedy that is followed is one.
    wire((MigrationActions, {**ROUTED, "databases": ["default", "other"]}))
    assert migrated() == ""
    assert migrated("other") == ""
    assert Tag.objects.using("other").get().name == "a"
    assert Group.objects.using("other").exists()


def test_what_no_router_allows_anywhere_is_told(wire: Any, settings: Any) -> None:
    settings.DATABASE_ROUTERS = [f"{__name__}.NotHere"]
    wire((MigrationActions, ROUTED))
    assert migrated().count("Let a router allow it, or take it out of the options.") == 3
    out = io.StringIO()
    emit_post_migrate_signal(0, False, "default", stdout=out)
    assert out.getvalue() == ""


class Everywhere(MigrationActions):
    """Acts on each database, whatever its option says."""

    def should_act(self, using: str) -> bool:
        return True


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_the_databases_are_those_that_the_hook_names(wire: Any, settings: Any) -> None:
    settings.DATABASE_ROUTERS = [f"{__name__}.There"]
    wire((Everywhere, ROUTED))
    assert migrated() == ""
    migrated("other")
    assert Tag.objects.using("other").exists()


def test_a_site_that_no_database_admits_is_told(tmp_path: Path) -> None:
    code = """
from django.core.management import call_command

class Router:
    def allow_migrate(self, db, app_label, **hints):
        return app_label != "sites"

from django.test.utils import override_settings
with override_settings(DATABASE_ROUTERS=[Router()]):
    call_command("migrate")
"""
    receiver = {
        "RECEIVER": "django_signal_kit.receivers.MigrationActions",
        "OPTIONS": {"sites": {1: "shop.example"}},
    }
    project = Project(tmp_path, {}, ["django.contrib.sites", KIT], RECEIVERS=[receiver])
    done = project.start(code)
    assert done.returncode == 0, done.stderr
    assert "Left out: the site 'shop.example'. No router allows sites.Site" in done.stdout


def test_what_fails_takes_back_all_rows_and_names_itself(wire: Any) -> None:
    Tag.objects.bulk_create([Tag(name="two"), Tag(name="two")])
    rows = [{"model": "testapp.Tag", "lookup": {"name": name}} for name in ("one", "two")]
    wire((MigrationActions, {"ensure": rows}))
    with pytest.raises(CommandError) as error:
        migrated()
    text = "Ensuring testapp.Tag {'name': 'two'} failed on the database 'default': get() returned"
    assert str(error.value).startswith(text)
    assert not Tag.objects.filter(name="one").exists()


# Groups and sites


def test_a_group_has_its_permissions_and_keeps_those_it_was_given(wire: Any) -> None:
    wire((MigrationActions, {"groups": CLERKS}))
    migrated()
    group = Group.objects.get()
    assert sorted(group.permissions.values_list("codename", flat=True)) == [
        "change_product",
        "view_tag",
    ]
    group.permissions.add(Permission.objects.get(codename="delete_tag"))
    with CaptureQueriesContext(connection) as queries:
        migrated()
    assert group.permissions.count() == 3
    assert len([sql for sql in get_sql(queries) if "auth_group" in sql]) == 2


def test_permissions_are_made_if_their_app_had_no_turn_yet(wire: Any) -> None:
    Permission.objects.all().delete()
    ContentType.objects.all().delete()
    ContentType.objects.clear_cache()
    receiver = wire((MigrationActions, {"groups": CLERKS}))
    receiver.after_migrate(Run("default", apps, has_plan=False))
    assert Group.objects.get().permissions.count() == 2


def test_a_permission_that_is_not_there_is_told_with_a_guess(wire: Any) -> None:
    wire((MigrationActions, {"groups": {"Clerks": ["testapp.chnage_product"]}}))
    with pytest.raises(MigrationActionError) as error:
        migrated()
    assert "Ensuring the group 'Clerks' failed on the database 'default'" in str(error.value)
    assert "no permission 'testapp.chnage_product'" in str(error.value)
    assert "Did you mean 'testapp.change_product'?" in str(error.value)
    assert not Group.objects.exists()


# SQL objects


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


# Data checks


def find_b(using: str, apps: Any) -> Any:
    return apps.get_model("testapp.Tag").objects.using(using).filter(name="b")


def find_nothing(using: str, apps: Any) -> Any:
    return None


class Lazily:
    def __call__(self, using: str, apps: Any) -> Iterator[int]:
        return (number for number in range(10**12))


@pytest.mark.parametrize(
    ("check", "told"),
    [
        (
            {"name": "No b", "sql": "SELECT name FROM testapp_tag WHERE name LIKE 'b%'"},
            "check 'No b' found 1 row that is wrong on the database 'default': ('b',). What",
        ),
        (
            {"name": "No b", "model": "testapp.Tag", "filter": {"name": "b"}},
            "'No b' found 1 row that is wrong on the database 'default': testapp.Tag ",
        ),
        (f"{__name__}.find_b", ".find_b' found 1 row that is wrong"),
        (find_b, "The data check 'find_b' found 1 row that is wrong"),
        (
            Lazily(),
            "found more than 5 rows that are wrong on the database 'default': 0, 1, 2, 3, 4, …",
        ),
        (
            {"name": "No", "sql": "SELECT nonsense"},
            "The data check 'No' failed on the database 'default': ",
        ),
    ],
)
def test_rows_that_are_wrong_stop_migrate_with_what_is_wrong(
    wire: Any, check: Any, told: str
) -> None:
    Tag.objects.bulk_create([Tag(name="a"), Tag(name="b")])
    wire((MigrationActions, {"consistency": [find_nothing, check]}))
    with pytest.raises(CommandError) as error:
        migrated()
    assert told in str(error.value)
    if "nonsense" not in str(check):
        wire((MigrationActions, {"consistency_before": [check]}))
        with pytest.raises(CommandError):
            emit_pre_migrate_signal(0, False, "default", plan=PLAN, apps=apps)
        emit_pre_migrate_signal(0, False, "default", plan=[], apps=apps)
        migrated()


def test_rows_that_are_right_stop_nothing(wire: Any) -> None:
    checks = [
        find_b,
        {"name": "No b", "sql": "SELECT name FROM testapp_tag WHERE name = 'b'"},
        {"name": "No b", "model": "testapp.Tag", "filter": {"name": "b"}},
    ]
    wire((MigrationActions, {"consistency": checks, "consistency_before": checks}))
    emit_pre_migrate_signal(0, False, "default", plan=PLAN, apps=apps)
    assert migrated() == ""


def test_while_migrations_are_missing_what_fails_is_left_out_and_said(
    wire: Any, monkeypatch: Any
) -> None:
    assert attempts.is_migrated("default")
    monkeypatch.setattr(attempts, "is_migrated", lambda using: False)
    broken = {**ON_TOP, "create": "CREATE VIEW tag_count AS SELECT nonsense FROM FROM"}
    check = {"name": "No", "sql": "SELECT nonsense"}
    wire((MigrationActions, {"sql": [VIEW, broken], "consistency": [check]}))
    said = migrated()
    assert "  Left out, as migrations are still to be applied: Making the SQL object" in said
    assert "The data check 'No'" in said
    assert get_memory_names() == ["tag_names"]


# Bad input

ROW = {"model": "testapp.Tag", "lookup": {"name": "a"}}


@pytest.mark.parametrize(
    ("options", "id", "told"),
    [
        ({"databases": ["defualt"]}, "E031", "has 'defualt', which is not in DATABASES. Did you"),
        (
            {"ensure": [ROW, {**ROW, "default": {}}]},
            "E030",
            "entry 1, has the key 'default', which",
        ),
        ({"ensure": [{"model": "testapp.Tag"}]}, "E030", "entry 0, has no 'lookup'. Add the key"),
        ({"ensure": [{**ROW, "lookup": "a"}]}, "E030", "has 'a' for 'lookup', of type str."),
        ({"ensure": [{**ROW, "model": "testapp.Tga"}]}, "E031", "Did you mean 'testapp.Tag'?"),
        (
            {"ensure": [{**ROW, "model": "Tag"}]},
            "E031",
            "names the model 'Tag', which is not inst",
        ),
        ({"ensure": [{**ROW, "lookup": {"nmae": 1}}]}, "E031", "Did you mean 'name'?"),
        ({"groups": {"Clerks": ["change_tag"]}}, "E030", "Write a list of 'app_label.codename'"),
        ({"groups": {"Clerks": "a.b"}}, "E030", "gives 'Clerks' the permissions 'a.b'."),
        ({"groups": {"Clerks": ["tetsapp.a"]}}, "E031", "Did you mean 'testapp'?"),
        ({"sites": {1: "shop.example"}}, "E031", "needs the app 'sites', which is not installed"),
        ({"sql": [VIEW, VIEW]}, "E030", "has the name 'tag_names', as one before it has."),
        ({"sql": [{**VIEW, "drop": "DROP VIEW a"}]}, "E030", "Write DROP … IF EXISTS."),
        ({"sql": [{**VIEW, "create": {"mariadb": ""}}]}, "E030", "for the vendor 'mariadb'."),
        ({"sql": [{**TRIGGER, "create": {"sqlite": "x"}}]}, "E030", "both for the same vendors."),
        (
            {"ensure": [{"model": "testapp.Tag", "lookup": ["name"]}]},
            "E030",
            "has ['name'] for 'lookup', of type list. It has to be a dict.",
        ),
        (
            {"sql": [{**VIEW, "create": 5}]},
            "E030",
            "has 5 for 'create', of type int. It has to be a string or a dict.",
        ),
        ({"sql": [5]}, "E007", "has the item 5, of type int. Each item has to be a dict"),
        ({"consistency": ["nowhere.here"]}, "E032", "and cannot be imported: No module named"),
        ({"consistency": [".here"]}, "E032", "and cannot be imported: it starts with a dot."),
        ({"consistency": ["os.sep"]}, "E032", "is 'os.sep', which cannot be called."),
        ({"consistency_before": [{"name": "a"}]}, "E030", "'consistency_before' of MigrationAct"),
        ({"consistency": [5]}, "E030", "is 5, which is no dict"),
        (
            {"consistency": [{"name": "a", "model": "testapp.Tag", "filter": {"x": 1}}]},
            "E031",
            "'x'",
        ),
        ({"insure": []}, "E006", "Did you mean 'ensure'?"),
    ],
)
def test_bad_options_are_told(wire: Any, options: Any, id: str, told: str) -> None:
    if isinstance(options.get("ensure"), list):
        assert wire((MigrationActions, {"ensure": [ROW]}))
    with pytest.raises(ImproperlyConfigured) as error:
        wire((MigrationActions, options))
    assert f"signal_kit.{id}" in str(error.value)
    assert told in str(error.value)


# With migrate itself

FILES = {
    "shop/__init__.py": "",
    "shop/models.py": """
from django.db import models

class Product(models.Model):
    name = models.CharField(max_length=100)
    slug = models.CharField(max_length=60, default="")

class Order(models.Model):
    number = models.IntegerField()
""",
    "shop/migrations/__init__.py": "",
    "shop/migrations/0001_initial.py": """
from django.db import migrations, models

class Migration(migrations.Migration):
    initial = True
    operations = [migrations.CreateModel("Product", [
        ("id", models.BigAutoField(primary_key=True)),
        ("name", models.CharField(max_length=50)),
    ])]
""",
    "shop/migrations/0002_order.py": """
from django.db import migrations, models

class Migration(migrations.Migration):
    dependencies = [("shop", "0001_initial")]
    operations = [
        migrations.AddField("product", "slug", models.CharField(max_length=60, default="")),
        migrations.AlterField("product", "name", models.CharField(max_length=100)),
        migrations.CreateModel("Order", [
            ("id", models.BigAutoField(primary_key=True)),
            ("number", models.IntegerField()),
        ]),
    ]
""",
}
# The kit comes first, so that its receivers are called before those of Django.
APPS = [
    KIT,
    "django.contrib.sites",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "shop",
]
OPTIONS = {
    "ensure": [
        {"model": "shop.Product", "lookup": {"name": "Tea"}, "defaults": {"slug": "tea"}},
        {"model": "shop.Order", "lookup": {"number": 1}},
    ],
    "groups": {"Clerks": ["shop.change_product", "shop.view_order", "auth.view_user"]},
    "sites": {1: "shop.example"},
    "sql": [
        {
            "name": "slugs",
            "create": "CREATE VIEW slugs AS SELECT slug FROM shop_product",
            "drop": "DROP VIEW IF EXISTS slugs",
        },
        {
            "name": "numbered",
            "create": "CREATE TRIGGER numbered AFTER INSERT ON shop_order BEGIN "
            "UPDATE shop_product SET slug = 'ordered'; END",
            "drop": "DROP TRIGGER IF EXISTS numbered",
        },
    ],
    "consistency": [{"name": "slugs", "sql": "SELECT * FROM slugs WHERE slug = ''"}],
    "consistency_before": [
        {"name": "names", "model": "shop.Product", "filter": {"name": "wrong"}}
    ],
    "sql_drop_first": True,
}
SITES = """
DATABASES["default"]["NAME"] = "db.sqlite3"
SITE_ID = 1
"""

HELP = """
import io
from django.core.management import call_command
from django.db import connection

def read(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()

def migrate(*words, **options):
    out = io.StringIO()
    call_command("migrate", *words, stdout=out, **options)
    return [line.strip()[:70] for line in out.getvalue().splitlines() if "Left out" in line]

def objects():
    return [name for name, in read(
        "SELECT name FROM sqlite_master WHERE type IN ('view', 'trigger') ORDER BY name")]

def tables():
    return [name for name, in read("SELECT name FROM sqlite_master WHERE type = 'table'")]

def perms():
    return [code for code, in read(
        "SELECT codename FROM auth_group_permissions g JOIN auth_permission p "
        "ON p.id = g.permission_id ORDER BY codename")]
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(
        tmp_path,
        FILES,
        APPS,
        SITES,
        RECEIVERS=[
            {"RECEIVER": "django_signal_kit.receivers.MigrationActions", "OPTIONS": OPTIONS}
        ],
    )


def test_migrate_plan_writes_nothing_and_migrate_of_a_fresh_database_makes_everything(
    project: Project,
) -> None:
    printed = project.run(
        HELP
        + """
migrate("--plan")
print(tables())
print(migrate())
print(read("SELECT name, slug FROM shop_product"), read("SELECT number FROM shop_order"))
print(perms(), objects())
print(read("SELECT id, domain, name FROM django_site"))
from django.contrib.sites.models import Site
print(Site.objects.get_current().domain)
print(read("SELECT domain FROM django_site"), migrate("--plan"))
before = read("SELECT * FROM signal_kit_sql_object")
print(migrate(), before == read("SELECT * FROM signal_kit_sql_object"))
"""
    )
    assert printed.splitlines() == [
        "[]",
        "[]",
        "[('Tea', 'tea')] [(1,)]",
        "['change_product', 'view_order', 'view_user'] ['numbered', 'slugs']",
        "[(1, 'shop.example', 'shop.example')]",
        "shop.example",
        "[('shop.example',)] []",
        "[] True",
    ]


def test_a_part_of_the_migrations_backwards_and_forwards_again(project: Project) -> None:
    printed = project.run(
        HELP
        + """
print(*migrate("contenttypes"), sep="\\n")
print("--")
print(*migrate("shop", "0001"), sep="\\n")
print(objects())
print("--")
print(migrate(), objects(), perms())
read("DELETE FROM shop_order")
print("--")
print(len(migrate("shop", "0001")), "shop_order" in tables())
print(len(migrate("shop", "zero")), "shop_product" in tables())
print(migrate(), objects(), perms(), read("SELECT slug FROM slugs"))
"""
    )
    parts = [part.strip().splitlines() for part in printed.split("--")]
    assert all("Left out" in line for line in parts[0])
    assert len(parts[0]) >= 4
    assert all("Left out" in line for line in parts[1][:-1])
    everything = "['change_product', 'view_order', 'view_user']"
    assert parts[2] == [f"[] ['numbered', 'slugs'] {everything}"]
    assert parts[3][0].endswith("False")
    assert parts[3][1].endswith("False")
    assert parts[3][2] == f"[] ['numbered', 'slugs'] {everything} [('tea',)]"


def test_wrong_data_stop_migrate_before_the_first_migration(project: Project) -> None:
    printed = project.run(
        HELP
        + """
from django.core.management import CommandError
migrate("shop", "0001")
read("INSERT INTO shop_product (name) VALUES ('wrong')")
try:
    migrate()
except CommandError as error:
    print(error)
print("shop_order" in tables())
"""
    )
    assert "The data check 'names' found 1 row that is wrong" in printed
    assert printed.splitlines()[-1] == "False"


def test_the_database_of_tests_has_it_too(project: Project) -> None:
    printed = project.run(
        HELP
        + """
from django.test.utils import get_runner, setup_test_environment
from django.test import TestCase, TransactionTestCase
import sys, types, unittest

class Quick(TestCase):
    def test_rows(self):
        assert perms() == ["change_product", "view_order", "view_user"]
        assert objects() == ["numbered", "slugs"]

class Slow(TransactionTestCase):
    def test_one(self):
        read("DELETE FROM auth_group_permissions")
    def test_two(self):
        assert len(perms()) == 3

from django.test.runner import DiscoverRunner
runner = DiscoverRunner(verbosity=0, interactive=False)
setup_test_environment()
old = runner.setup_databases()
loader = unittest.defaultTestLoader
suite = unittest.TestSuite(loader.loadTestsFromTestCase(case) for case in (Quick, Slow))
result = unittest.TextTestRunner(stream=sys.stdout).run(suite)
runner.teardown_databases(old)
print(result.wasSuccessful(), result.testsRun)
"""
    )
    assert printed.splitlines()[-1] == "True 3", printed
