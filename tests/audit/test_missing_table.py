"""Where the table of the log is missing, who needs it says so in one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.core.checks import Warning, run_checks
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import DatabaseError, connection, connections, transaction
from django.db.models import Model

from django_signal_kit import batch
from django_signal_kit.audit.databases import list_missing_tables
from django_signal_kit.audit.entries import get_entry_model
from django_signal_kit.audit.models import AuditEntry, AuditSeal
from django_signal_kit.checks import check_log_tables
from django_signal_kit.exceptions import LogTableMissingError
from django_signal_kit.receivers import AuditLog, LoginLog
from tests.apps.belongings.models import Profile
from tests.apps.testapp.models import Note, Tag

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

TAGS = {"models": ["testapp.Tag"]}
W012 = "signal_kit.W012"


@contextmanager
def hidden(*models: type[Model], alias: str = "default") -> Iterator[None]:
    """These models have no table there."""
    quote = connections[alias].ops.quote_name
    tables = [model._meta.db_table for model in models]

    def rename(old: str, new: str) -> None:
        with connections[alias].cursor() as cursor:
            cursor.execute(f"ALTER TABLE {quote(old)} RENAME TO {quote(new)}")

    for table in tables:
        rename(table, f"{table}_hidden")
    try:
        yield
    finally:
        for table in tables:
            rename(f"{table}_hidden", table)


def get_warnings(*aliases: str) -> list[tuple[str, str | None]]:
    messages = [message for message in run_checks(databases=aliases) if message.id == W012]
    assert all(isinstance(message, Warning) for message in messages)
    return [(str(message.msg), message.hint) for message in messages]


COMMANDS = [
    ["backfillauditlog"],
    ["backfillauditlog", "--dry-run"],
    ["exportauditlog"],
    ["exportauditlog", "--model", "testapp.Tag", "--actor", "ann"],
    ["pruneauditlog", "--older-than", "90d"],
    ["pruneauditlog", "--older-than", "90d", "--dry-run"],
    ["sealauditlog"],
    ["verifyauditlog"],
]
if connection.vendor == "postgresql":
    COMMANDS.append(["partitionauditlog"])


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_names_the_table_and_the_remedy(wire: Any, command: list[str]) -> None:
    wire((AuditLog, TAGS))
    Tag.objects.create(name="tea")
    with hidden(AuditEntry), pytest.raises(CommandError) as error:
        call_command(*command)
    assert str(error.value) == (
        "The database 'default' has no table 'signal_kit_audit_auditentry'. Run migrate "
        "--database default, or name another with --using."
    )


def test_the_command_about_triggers_names_its_own_option() -> None:
    with hidden(AuditEntry), pytest.raises(CommandError, match=r"another with --database\.$"):
        call_command("auditcapture")


@pytest.mark.parametrize(
    "command", [command for command in COMMANDS if "backfill" not in command[0]], ids=" ".join
)
def test_a_command_names_the_database_that_it_was_to_look_into(
    wire: Any, command: list[str]
) -> None:
    if command == ["partitionauditlog"]:
        pytest.skip("The other database is SQLite.")
    wire((AuditLog, TAGS))
    with hidden(AuditEntry, alias="other"), pytest.raises(CommandError) as error:
        call_command(*command, using="other")
    assert str(error.value).startswith(
        "The database 'other' has no table 'signal_kit_audit_auditentry'. Run migrate --database "
    )


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_table_of_seals_is_missed_by_those_who_need_it(wire: Any, command: list[str]) -> None:
    wire((AuditLog, TAGS))
    needs = command[0] in ("pruneauditlog", "sealauditlog", "verifyauditlog", "partitionauditlog")
    with hidden(AuditSeal):
        if needs:
            with pytest.raises(CommandError, match="no table 'signal_kit_audit_auditseal'"):
                call_command(*command)
        else:
            call_command(*command, verbosity=0)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_setting_that_names_no_log_is_told(settings: Any, command: list[str]) -> None:
    settings.SIGNAL_KIT_AUDIT_ENTRY_MODEL = "testapp.Lgo"
    with pytest.raises(CommandError, match=r"Lgo|No AuditLog covers any model"):
        call_command(*command)


def test_a_write_says_it_in_the_place_of_the_database(wire: Any) -> None:
    wire((AuditLog, TAGS))
    with hidden(AuditEntry), pytest.raises(LogTableMissingError) as error:
        Tag.objects.create(name="tea")
    assert str(error.value) == (
        "The database 'default' has no table 'signal_kit_audit_auditentry' for the audit log. "
        "Run: migrate --database default"
    )
    assert isinstance(error.value, DatabaseError)
    assert isinstance(error.value.__cause__, DatabaseError)
    assert (error.value.using, error.value.table) == ("default", AuditEntry._meta.db_table)
    # Entry and change are both kept or neither.
    assert not Tag.objects.filter(name="tea").exists()


@pytest.mark.parametrize("opened", [transaction.atomic, batch])
def test_so_does_one_of_many_in_a_transaction(wire: Any, opened: Any) -> None:
    wire((AuditLog, TAGS))
    with hidden(AuditEntry), pytest.raises(LogTableMissingError):
        with opened():
            Tag.objects.bulk_create([Tag(name="tea"), Tag(name="pot")])
            Tag.objects.create(name="cup")
    assert not Tag.objects.exists()


def test_another_error_of_the_database_stays_what_it_is(wire: Any) -> None:
    wire((AuditLog, TAGS))
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE signal_kit_audit_auditentry RENAME COLUMN object_text TO text")
    try:
        with pytest.raises(DatabaseError) as error:
            Tag.objects.create(name="tea")
    finally:
        with connection.cursor() as cursor:
            cursor.execute(
                "ALTER TABLE signal_kit_audit_auditentry RENAME COLUMN text TO object_text"
            )
    assert not isinstance(error.value, LogTableMissingError)


def test_a_command_that_writes_covered_rows_says_it_in_one_sentence(wire: Any) -> None:
    User.objects.create(username="ann")
    wire(
        (AuditLog, {"models": ["belongings.Profile"]}),
        (
            "django_signal_kit.receivers.CreateRelated",
            {"models": ["auth.User"], "related": "belongings.Profile", "field": "user"},
        ),
    )
    with hidden(AuditEntry), pytest.raises(CommandError) as error:
        call_command("createrelated", verbosity=0)
    assert "has no table 'signal_kit_audit_auditentry' for the audit log. Run" in str(error.value)
    assert not Profile.objects.exists()


MISSING = (
    "The database 'default' has no table 'signal_kit_audit_auditentry' for the audit log. No row "
    "that is recorded can be written.",
    "Run: migrate --database default",
)


@pytest.mark.parametrize("entry", [(AuditLog, TAGS), LoginLog])
def test_the_check_asks_a_database_that_it_may_ask(wire: Any, entry: Any) -> None:
    wire(entry)
    assert get_warnings("default", "other") == []
    with hidden(AuditEntry):
        assert get_warnings() == []
        assert get_warnings("default") == get_warnings("default", "other") == [MISSING]


def test_the_table_of_content_types_is_needed_too(wire: Any) -> None:
    wire((AuditLog, TAGS))
    with hidden(ContentType):
        [(message, _)] = get_warnings("default")
    assert "has no table 'django_content_type' for the audit log" in message


def test_before_the_first_migrate_nothing_is_missed(wire: Any) -> None:
    wire((AuditLog, {"models": ["testapp.Note"]}))
    with hidden(AuditEntry, Note):
        assert get_warnings("default") == []


def test_nobody_is_asked_without_a_log(wire: Any) -> None:
    wire()
    with hidden(AuditEntry):
        assert get_warnings("default") == []


class LogsElsewhere:
    """Sends the log to the other database."""

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return "other" if model in (AuditEntry, ContentType) else None


def test_where_a_router_sends_the_log_is_asked(wire: Any, settings: Any) -> None:
    settings.DATABASE_ROUTERS = [LogsElsewhere()]
    wire((AuditLog, TAGS))
    assert get_warnings("default", "other") == []
    with hidden(AuditEntry, alias="other"):
        assert get_warnings("default") == []
        [(message, hint)] = get_warnings("default", "other")
    assert "The database 'other' has no table" in message
    assert hint == "Run: migrate --database other"


def test_a_database_that_does_not_answer_is_told(wire: Any, tmp_path: Path) -> None:
    wire((AuditLog, TAGS))
    gone = connections.create_connection("other")
    gone.settings_dict = {**gone.settings_dict, "NAME": str(tmp_path / "none" / "db.sqlite3")}
    before = connections["other"]
    connections["other"] = gone
    try:
        [message] = check_log_tables(databases=["other"])
    finally:
        connections["other"] = before
    assert message.id == W012
    assert message.msg == (
        "The database 'other' cannot be asked for the table of the audit log: unable to open "
        "database file."
    )
    assert message.hint == "See that it runs, and that DATABASES says where."


@pytest.mark.skipif(connection.vendor != "postgresql", reason="PostgreSQL has schemas")
def test_a_table_in_a_schema_of_its_own_is_there() -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA elsewhere")
        cursor.execute("CREATE TABLE elsewhere.entries (id integer)")
    model = get_entry_model()
    before = model._meta.db_table
    try:
        model._meta.db_table = '"elsewhere"."entries"'
        assert list_missing_tables("default", [model]) == []
        model._meta.db_table = '"elsewhere"."nothing"'
        assert list_missing_tables("default", [model]) == ['"elsewhere"."nothing"']
    finally:
        model._meta.db_table = before
        with connection.cursor() as cursor:
            cursor.execute("DROP SCHEMA elsewhere CASCADE")
