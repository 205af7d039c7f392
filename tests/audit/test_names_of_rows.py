"""What a row is called in the log, whatever its ``__str__`` does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import connection, models, transaction
from django.utils.translation import gettext_lazy

from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.receivers import AuditLog, DeletionLog

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def node(make_model: Any, wire: Any) -> Iterator[Any]:
    ContentType.objects.clear_cache()

    def call(self: Any) -> str:
        return f"{self.name} of {self.parent.name}" if self.parent_id else self.name

    parent = models.ForeignKey("self", models.CASCADE, null=True, related_name="children")
    name = models.CharField(max_length=20)
    made = make_model("Node", models.Model, name=name, parent=parent, __str__=call)
    wire((AuditLog, {"models": ["testapp.Node"]}))
    yield made
    ContentType.objects.clear_cache()


def names(**conditions: Any) -> list[str]:
    found = AuditEntry.objects.filter(**conditions).values_list("object_text", flat=True)
    return sorted(found)


def plant(node: Any) -> None:
    drinks = node.objects.create(name="Drinks")
    teas = node.objects.create(name="Teas", parent=drinks)
    node.objects.create(name="Green", parent=teas)


def test_a_row_that_goes_with_its_parent_is_called_as_it_was(node: Any) -> None:
    plant(node)
    node.objects.get(name="Drinks").delete()
    assert names(action="delete") == ["Drinks", "Green of Teas", "Teas of Drinks"]


def test_so_are_rows_that_a_queryset_deletes(node: Any) -> None:
    plant(node)
    node.objects.all().delete()
    assert names(action="delete") == ["Drinks", "Green of Teas", "Teas of Drinks"]


def test_so_does_the_log_of_deletions_call_them(node: Any, wire: Any, caplog: Any) -> None:
    plant(node)
    wire((DeletionLog, {"models": ["testapp.Node"]}))
    with caplog.at_level("INFO"):
        node.objects.get(name="Drinks").delete()
    assert sorted(record.object for record in caplog.records if hasattr(record, "object")) == [
        "Drinks",
        "Green of Teas",
        "Teas of Drinks",
    ]


def test_a_name_is_asked_for_once_an_entry(node: Any, monkeypatch: Any) -> None:
    plant(node)
    AuditEntry.objects.all().delete()
    asked: list[Any] = []
    monkeypatch.setattr(node, "__str__", lambda self: asked.append(self.pk) or "a")
    node.objects.all().delete()
    # Some databases make Django take the pointers away first, which is told as well.
    assert AuditEntry.objects.filter(action="delete").count() == 3
    assert len(asked) == AuditEntry.objects.count()


def fail_in_sql(self: Any) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM nowhere")
    return ""


def fail_and_go_on(self: Any) -> str:
    try:
        return fail_in_sql(self)
    except Exception:
        return "a row"


def fail_in_a_block(self: Any) -> str:
    with transaction.atomic(savepoint=False):
        return fail_in_sql(self)


@pytest.mark.parametrize("call", [fail_in_sql, fail_and_go_on, fail_in_a_block])
def test_a_name_that_fails_in_the_database_harms_no_write(
    call: Any, node: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(node, "__str__", call)
    node.objects.create(name="a")
    with transaction.atomic():
        node.objects.create(name="b")
        node.objects.bulk_create([node(name="c")])
        node.objects.filter(name="b").update(name="d")
        node.objects.filter(name="d").delete()
    assert node.objects.count() == 2
    assert AuditEntry.objects.count() == 5
    expected = "a row" if call is fail_and_go_on else "Node "
    assert all(name.startswith(expected) for name in names())


class Nameless:
    def __str__(self) -> str:
        raise RuntimeError("no name")


@pytest.mark.parametrize(
    ("said", "name"),
    [
        (lambda self: 1 / 0, "Node "),
        (lambda self: None, "Node "),
        (lambda self: Nameless(), "Node "),
        (lambda self: gettext_lazy("Yes"), "Yes"),
    ],
)
def test_a_row_that_cannot_say_its_name_is_told_all_the_same(
    said: Any, name: str, node: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(node, "__str__", said)
    node.objects.create(name="a")
    assert names()[0].startswith(name)
