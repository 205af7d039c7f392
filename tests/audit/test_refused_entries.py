"""An entry that its own table refuses is not taken for a fault of the row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db import IntegrityError, connection

from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.exceptions import EntryRefusedError
from django_signal_kit.receivers import AuditLog
from tests.apps.testapp.models import Line, Tag

pytestmark = pytest.mark.django_db(transaction=True)

TABLE = AuditEntry._meta.db_table


@pytest.fixture
def refusing(wire: Any) -> Iterator[None]:
    """The table takes one entry of each action."""
    wire((AuditLog, {"models": ["testapp.*", "sessions.Session"]}))
    Tag.objects.create(name="first")
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE UNIQUE INDEX only_one ON {TABLE} (action)")
    yield
    with connection.cursor() as cursor:
        on = f" ON {TABLE}" if connection.vendor == "mysql" else ""
        cursor.execute(f"DROP INDEX only_one{on}")


def test_it_is_said_whose_fault_it_is(refusing: None) -> None:
    with pytest.raises(EntryRefusedError) as error:
        Tag.objects.create(name="second")
    assert not isinstance(error.value, IntegrityError)
    assert isinstance(error.value.__cause__, IntegrityError)
    assert (error.value.using, error.value.table) == ("default", TABLE)
    text = str(error.value)
    assert text.startswith(f"The table {TABLE!r} of the audit log in the database 'default'")
    assert text.endswith("run what sqlsequencereset prints for its app.")
    assert "\n" not in text
    assert not Tag.objects.filter(name="second").exists()


def test_a_new_session_does_not_try_again_without_end(refusing: None) -> None:
    # Django makes another key for each IntegrityError.
    with pytest.raises(EntryRefusedError):
        SessionStore().save()
    assert not Session.objects.exists()


def test_get_or_create_does_not_look_for_a_row_that_another_has_made(refusing: None) -> None:
    with pytest.raises(EntryRefusedError):
        Tag.objects.get_or_create(name="second")


def test_the_rows_own_fault_stays_what_it_is(refusing: None) -> None:
    # On PostgreSQL the foreign key is looked at by the COMMIT, which goes along with the entry.
    AuditEntry.objects.all().delete()
    with pytest.raises(IntegrityError):
        Line.objects.create(product_id=-1)
    assert not Line.objects.exists()


@pytest.mark.skipif(connection.vendor != "postgresql", reason="its sequences can be behind")
def test_a_sequence_that_is_behind_its_rows(wire: Any) -> None:
    wire((AuditLog, {"models": ["testapp.Tag"]}))
    Tag.objects.create(name="first")
    last = AuditEntry.objects.latest("pk").pk
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT setval('{TABLE}_id_seq', %s, false)", [last])
    with pytest.raises(EntryRefusedError, match="duplicate key"):
        Tag.objects.create(name="second")
    Tag.objects.create(name="third")
