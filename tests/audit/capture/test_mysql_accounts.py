"""Triggers of MariaDB run with the rights of who has made them: what follows from that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.checks import run_checks
from django.db import DatabaseError, OperationalError, connection

from django_signal_kit import context
from django_signal_kit.audit.models import AuditEntry
from tests.apps.testapp.models import Tag
from tests.audit.capture.installing import install as install_all
from tests.audit.capture.mysql import Install, drop, list_pieces, only_on_mysql, put
from tests.audit.capture.mysql import install as install
from tests.factories import TagFactory

pytestmark = [pytest.mark.django_db(transaction=True), only_on_mysql]

ACCOUNT = "'signal_kit_tests'@'127.0.0.1'"


@contextmanager
def account(*rights: str) -> Iterator[Any]:
    """A session of an account that has no more than these rights in the database."""
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE OR REPLACE USER {ACCOUNT}")
        for right in rights:
            cursor.execute(f"GRANT {right} TO {ACCOUNT}")
        options = {**connection.get_connection_params(), "user": "signal_kit_tests"}
        other = connection.get_new_connection(options)
        other.autocommit(True)
        try:
            yield other.cursor()
        finally:
            other.close()
            cursor.execute(f"DROP USER {ACCOUNT}")


def find_errors() -> list[tuple[str | None, str, str | None]]:
    return [
        (found.id, found.msg, found.hint)
        for found in run_checks(databases=["default"])
        if found.id in ("signal_kit.E084", "signal_kit.E085")
    ]


def test_who_writes_rows_needs_no_right_to_the_log(install: Install) -> None:
    install(Tag)
    with account("INSERT ON testapp_tag") as cursor:
        cursor.execute("INSERT INTO testapp_tag (name) VALUES ('a')")
        with pytest.raises(connection.Database.OperationalError, match="denied"):  # type: ignore[attr-defined]
            cursor.execute("SELECT * FROM signal_kit_audit_auditentry")
    assert AuditEntry.objects.get().changes["name"] == [None, "a"]


def test_nothing_is_written_once_the_account_is_gone(install: Install) -> None:
    receiver = install(Tag)
    assert find_errors() == []
    pieces = list_pieces(receiver, Tag)
    drop(pieces)
    put(
        [
            piece._replace(create=piece.create.replace("CREATE", "CREATE DEFINER = gone@nowhere"))
            for piece in pieces
        ]
    )
    with pytest.raises(OperationalError) as caught, context(reason="any"):
        TagFactory()
    (note,) = caught.value.__cause__.__notes__  # type: ignore[union-attr]
    assert note.startswith("The account that has made the triggers of the audit log is gone")
    assert not Tag.objects.exists()
    ((number, message, hint),) = find_errors()
    assert number == "signal_kit.E085"
    assert message.endswith("is gone (gone@nowhere).")
    assert hint == note

    drop(pieces)
    install_all()
    TagFactory()
    assert find_errors() == []


def test_who_may_make_no_triggers_is_told_which_right_is_missing(install: Install) -> None:
    receiver = install(Tag)
    piece = list_pieces(receiver, Tag)[0]
    drop([piece])
    with account("SELECT, INSERT ON testapp_tag") as cursor:
        own, connection.connection = connection.connection, cursor.connection
        try:
            with pytest.raises(DatabaseError) as caught:
                put([piece])
        finally:
            connection.connection = own
    assert caught.value.__cause__.__notes__ == [  # type: ignore[union-attr]
        "Triggers are made by an account that has the right TRIGGER on each table."
    ]
