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
from django.core.management import CommandError
from django.core.management.sql import emit_post_migrate_signal, emit_pre_migrate_signal
from django.db import connection
from django.db.models.signals import post_migrate
from django.test.utils import CaptureQueriesContext

from django_signal_kit.databases import attempts
from django_signal_kit.databases.attempts import MigrationActionError, Run
from django_signal_kit.receivers import MigrationActions
from tests.apps.testapp.models import Product, Tag
from tests.databases.migrating import (
    CLERKS,
    ON_TOP,
    PLAN,
    TRIGGER,
    VIEW,
    get_memory_names,
    get_sql,
    migrated,
)
from tests.projects import KIT, Project

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("no_objects_left"),
]

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
