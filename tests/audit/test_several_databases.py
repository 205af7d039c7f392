"""An entry is where its row is, if the log is there; then one is not kept without the other."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.core.checks import run_checks
from django.db import connections, transaction
from django.db.models.signals import post_save
from django.test.utils import CaptureQueriesContext

from django_signal_kit import batch
from django_signal_kit.audit import databases
from django_signal_kit.audit.models import AuditEntry
from tests.apps.testapp.models import Product, Tag

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

LOG = ("django_signal_kit.receivers.AuditLog", {"models": ["testapp.*"]})


class Elsewhere:
    """Keeps the log in one database."""

    def __init__(self, alias: str) -> None:
        self.alias = alias

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return self.alias if model in (AuditEntry, ContentType) else None


class Sticky:
    """Writes an instance where it came from, as routers of replicas do."""

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        instance = hints.get("instance")
        return None if instance is None else instance._state.db


class NoLog:
    """Allows the log in the default database alone."""

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return db == "default" if app_label == "signal_kit_audit" else None


@pytest.fixture(autouse=True)
def _ask_again() -> Iterator[None]:
    databases._with_tables.clear()
    ContentType.objects.clear_cache()
    yield
    databases._with_tables.clear()
    databases._without_tables.clear()
    ContentType.objects.clear_cache()


@pytest.fixture
def without_log() -> Iterator[None]:
    """The other database has no table of the log."""
    table = AuditEntry._meta.db_table
    with connections["other"].cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO hidden")
    yield
    with connections["other"].cursor() as cursor:
        cursor.execute(f"ALTER TABLE hidden RENAME TO {table}")


def log(alias: str) -> list[tuple[str, str]]:
    found = AuditEntry.objects.using(alias).order_by("pk")
    return [(entry.action, entry.object_text) for entry in found]


@pytest.mark.parametrize("routers", [[], [Sticky()]])
def test_an_entry_is_where_its_row_is(wire: Any, settings: Any, routers: list[Any]) -> None:
    settings.DATABASE_ROUTERS = routers
    wire(LOG)
    Tag.objects.using("other").create(name="a")
    tag = Tag.objects.create(name="b")
    assert log("default") == [("create", str(tag))]
    (entry,) = AuditEntry.objects.using("other")
    assert (entry.using, entry.content_type.model) == ("other", "tag")
    kind = ContentType.objects.db_manager("other").get_for_model(Tag)
    assert entry.content_type_id == kind.pk


@pytest.mark.parametrize("opened", [transaction.atomic, batch])
def test_an_entry_goes_with_its_row(wire: Any, opened: Any) -> None:
    wire(LOG)
    with pytest.raises(KeyError), opened(using="other"):
        product = Product.objects.using("other").create(name="a")
        product.tags.create(name="b")
        raise KeyError
    assert log("default") == log("other") == []


def test_a_write_in_autocommit_goes_with_its_entry(wire: Any) -> None:
    def refuse(using: str, **kwargs: Any) -> None:
        if using == "other":
            raise KeyError

    wire(LOG)
    post_save.connect(refuse, sender=Tag)
    try:
        with pytest.raises(KeyError):
            Tag(name="a").save(using="other")
        Tag(name="b").save(using="default")
    finally:
        post_save.disconnect(refuse, sender=Tag)
    assert not Tag.objects.using("other").exists()
    assert (len(log("default")), log("other")) == (1, [])


def test_one_unit_about_two_databases_has_its_entries_in_both(wire: Any) -> None:
    wire(LOG)
    with batch(), batch(using="other"):
        Tag.objects.bulk_create([Tag(name="a"), Tag(name="b")])
        Tag.objects.using("other").create(name="c")
    assert (len(log("default")), len(log("other"))) == (2, 1)


@pytest.mark.parametrize("alias", ["default", "other"])
def test_a_router_says_where_the_log_is(wire: Any, settings: Any, alias: str) -> None:
    settings.DATABASE_ROUTERS = [Elsewhere(alias)]
    wire(LOG)
    Tag.objects.using("other").create(name="a")
    Tag.objects.using("default").create(name="b")
    assert len(log(alias)) == 2
    asked = {str(message.id) for message in run_checks(databases=["other"])}
    assert W006 not in asked


@pytest.mark.usefixtures("without_log")
def test_without_a_table_there_the_entry_is_in_the_default_database(wire: Any) -> None:
    wire(LOG)
    Tag.objects.using("other").create(name="a")
    assert len(log("default")) == 1


def test_whether_the_table_is_there_is_asked_once(wire: Any) -> None:
    wire(LOG)
    Tag.objects.using("other").create(name="warm")
    with CaptureQueriesContext(connections["other"]) as queries:
        Tag.objects.using("other").create(name="a")
    verbs = [query["sql"].split()[0] for query in queries]
    assert verbs == ["BEGIN", "INSERT", "INSERT", "COMMIT"]


def test_a_table_that_was_lacking_is_looked_for_again(
    wire: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire(LOG)
    other = connections["other"]
    names = other.introspection.table_names
    monkeypatch.setattr(other.introspection, "table_names", list)
    Tag.objects.using("other").create(name="a")
    monkeypatch.setattr(other.introspection, "table_names", names)
    Tag.objects.using("other").create(name="b")
    assert (len(log("default")), len(log("other"))) == (2, 0)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 61)
    Tag.objects.using("other").create(name="c")
    assert (len(log("default")), len(log("other"))) == (2, 1)


def test_a_login_in_another_database_is_logged_there(wire: Any) -> None:
    from django.contrib.auth.signals import user_logged_in

    wire("django_signal_kit.receivers.LoginLog")
    user = User.objects.using("other").create(username="ann")
    user_logged_in.send(sender=User, request=None, user=user)
    assert (log("default"), log("other")) == ([], [("login", "ann")])


# The check


def warnings(**options: Any) -> list[str]:
    return [str(message.msg) for message in run_checks(**options) if message.id == W006]


W006 = "signal_kit.W006"


def test_the_check_says_where_entries_and_rows_commit_apart(wire: Any, settings: Any) -> None:
    wire(LOG)
    assert warnings() == warnings(databases=["default", "other"]) == []
    settings.DATABASE_ROUTERS = [NoLog()]
    (message,) = warnings()
    assert "The database 'other' has covered rows" in message
    assert "go to 'default'" in message
    wire()
    assert warnings() == []


@pytest.mark.usefixtures("without_log")
def test_the_check_asks_a_database_that_it_may_ask(wire: Any) -> None:
    wire(LOG)
    assert warnings() == warnings(databases=["default"]) == []
    assert len(warnings(databases=["other"])) == 1
