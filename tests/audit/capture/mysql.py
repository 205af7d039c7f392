"""Both captures of the audit log on one MariaDB, hearing the same writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import connection, connections, models

from django_signal_kit.audit.capture import standing
from django_signal_kit.audit.capture.mysql import triggers
from django_signal_kit.audit.capture.pieces import Piece
from django_signal_kit.audit.capture.specifying import specify
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.receivers import AuditLog
from tests.audit.capture.both import alone
from tests.audit.capture.installing import installed

only_on_mysql = pytest.mark.skipif(
    connection.vendor != "mysql", reason="about triggers of MariaDB and MySQL"
)


class ByPython(AuditLog):
    def get_context(self) -> Mapping[str, Any]:
        return {**super().get_context(), "log": "python"}


class ByTriggers(AuditLog):
    def get_context(self) -> Mapping[str, Any]:
        return {**super().get_context(), "log": "triggers"}


Install = Callable[..., Any]


@pytest.fixture
def install(wire: Any) -> Iterator[Install]:
    """``install(*models, **options)``: triggers for these models; both captures with
    ``both=True``. Returns the receiver of the triggers."""
    with ExitStack() as stack:

        def do(*covered: type[models.Model], both: bool = False, **options: Any) -> Any:
            ContentType.objects.clear_cache()
            options = {"models": [model._meta.label for model in covered], **options}
            logs: list[Any] = [(ByTriggers, {**options, "capture": "triggers"})]
            if both:
                logs.append((ByPython, options))
            stack.enter_context(alone())
            found = wire(*logs)
            stack.enter_context(installed())
            # So that nobody has to ask in the midst of what a test counts.
            standing.check(connections["default"])
            return found[0] if both else found

        yield do
    ContentType.objects.clear_cache()


def list_pieces(receiver: Any, model: type[models.Model]) -> list[Piece]:
    found = specify(receiver, model, "default")
    assert triggers.find_obstacle(found) == ""
    return [piece.marked() for piece in triggers.write(found)]


def put(pieces: list[Piece]) -> None:
    with connection.cursor() as cursor:
        for piece in pieces:
            cursor.execute(piece.create)


def drop(pieces: list[Piece]) -> None:
    with connection.cursor() as cursor:
        for piece in pieces:
            cursor.execute(piece.drop)


def tell_both() -> tuple[list[Any], list[Any]]:
    """What Python has told since the last call, and what triggers have; and forget it."""
    told: dict[str, list[Any]] = {"python": [], "triggers": []}
    for entry in AuditEntry.objects.order_by("pk"):
        told[entry.context.get("log", str(entry.context))].append(describe(entry))
    AuditEntry.objects.all().delete()
    return told["python"], told["triggers"]


def describe(entry: AuditEntry) -> Any:
    return (
        entry.action,
        entry.content_type_id,
        entry.object_pk,
        entry.object_text,
        json.dumps(entry.changes),
        entry.actor_id,
        entry.actor_text,
        {key: value for key, value in entry.context.items() if key != "log"},
        entry.using,
    )


def assert_same(*, in_order: bool = True) -> list[Any]:
    """Assert that both captures have told the same since the last call, and return it."""
    python, by_triggers = tell_both()
    if not in_order:
        # Of the rows of one statement each has its own.
        python.sort(key=repr)
        by_triggers.sort(key=repr)
    assert by_triggers == python, f"{by_triggers}\n{python}"
    return python
