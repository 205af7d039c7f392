"""A worker writes the lines of a DeletionLog."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction

from django_signal_kit import batch, context
from django_signal_kit.receivers import DeletionLog
from tests.apps.testapp.models import Product, Tag
from tests.factories import ProductFactory, TagFactory, UserFactory
from tests.tasks.queues import BROKER, IMMEDIATE, LATER, Broker, get_messages, work

pytestmark = pytest.mark.django_db(transaction=True)

OPTIONS = {"models": [Tag, Product], "flush_on": "task"}


class Priced(DeletionLog):
    """Tells what JSON does not know."""

    def get_values(self, instance: Any) -> Any:
        return {"price": Decimal("9.50"), "api_token": "geheim"}


class Failing(DeletionLog):
    is_down = True

    def log(self, line: dict[str, Any]) -> None:
        names = {row["object"] for row in line.get("rows", [line])}
        if Failing.is_down and "bad" in names:
            raise ConnectionError("no log")
        super().log(line)


@pytest.fixture
def kept() -> Iterator[list[logging.LogRecord]]:
    records: list[logging.LogRecord] = []

    class Keeps(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    logger, keeps = logging.getLogger(DeletionLog.logger), Keeps()
    level = logger.level
    logger.addHandler(keeps)
    logger.setLevel(logging.INFO)
    yield records
    logger.removeHandler(keeps)
    logger.setLevel(level)


@pytest.fixture(autouse=True)
def _queue(settings: Any) -> None:
    settings.TASKS = BROKER
    Broker.messages.clear()
    Broker.is_down = False
    Failing.is_down = True


def wire_log(wire: Any, cls: type = DeletionLog, **options: Any) -> Any:
    return wire((cls, {**OPTIONS, **options}), TASKS={"OUTBOX": False, "ATTEMPTS": 3})


def tell(record: logging.LogRecord) -> dict[str, Any]:
    names = ("model", "pk", "object", "fields", "using", "unit", "actor", "actor_pk", "context")
    return {name: getattr(record, name) for name in names}


@pytest.mark.parametrize(
    "options",
    [{"fields": "__all__"}, {"fields": "__all__", "hash_secrets": True}, {"fields": ["name"]}, {}],
)
def test_a_worker_writes_the_line_that_the_request_would_have_written(
    wire: Any, kept: Any, options: Any
) -> None:
    def delete(**more: Any) -> dict[str, Any]:
        wire((DeletionLog, {"models": [Product], **options, **more}))
        with context(actor=user, request_id="abcdefgh"):
            product.pk, product._state.adding = 7, True
            product.save()
            product.delete()
        work()
        return tell(kept.pop())

    product, user = ProductFactory.build(name="Tea", api_token="geheim"), UserFactory()
    at_once, later = delete(), delete(flush_on="task")
    assert at_once.pop("unit") != later.pop("unit")
    assert at_once == later
    assert at_once["actor_pk"] == user.pk


def test_no_secret_is_in_the_message_and_what_is_no_json_becomes_some(
    wire: Any, kept: Any
) -> None:
    wire_log(wire, Priced)
    TagFactory(name="a").delete()
    assert "geheim" not in json.dumps(get_messages())
    assert work() == []
    assert kept[0].fields == {"price": "9.50", "api_token": "[redacted]"}


def test_what_is_rolled_back_is_never_told(wire: Any, kept: Any) -> None:
    wire_log(wire)
    tag = TagFactory()
    with transaction.atomic():
        tag.delete()
        transaction.set_rollback(True)
    assert (get_messages(), kept) == ([], [])


def test_a_backend_that_runs_it_at_once_writes_it_after_the_commit(
    wire: Any, settings: Any, kept: Any
) -> None:
    settings.TASKS = IMMEDIATE
    wire_log(wire)
    tag = TagFactory()
    with transaction.atomic():
        tag.delete()
        assert kept == []
    assert [record.model for record in kept] == ["testapp.Tag"]


def test_a_task_that_runs_twice_writes_the_same_line(wire: Any, kept: Any) -> None:
    wire_log(wire, fields="__all__")
    TagFactory().delete()
    waiting = Broker.messages[:]
    for _ in range(2):
        Broker.messages[:] = waiting
        assert work() == []
    first, second = map(tell, kept)
    # By which whoever collects lines knows it again.
    assert first == second
    assert first["unit"] is not None


def test_only_the_line_that_could_not_be_written_is_tried_again(
    wire: Any, settings: Any, kept: Any
) -> None:
    settings.TASKS = LATER
    wire_log(wire, Failing)
    for name in ("a", "bad", "c"):
        TagFactory(name=name)
    Tag.objects.all().delete()
    assert work() == []
    assert sorted(record.object for record in kept) == ["a", "c"]
    assert [len(message["items"]) for message in get_messages()] == [1]
    Failing.is_down = False
    assert work() == []
    assert [record.object for record in kept[2:]] == ["bad"]


def test_the_rows_of_one_line_are_tried_again_together(
    wire: Any, settings: Any, kept: Any
) -> None:
    settings.TASKS = LATER
    wire_log(wire, Failing, per="unit")
    with transaction.atomic():
        for name in ("a", "bad"):
            with batch():
                TagFactory(name=name).delete()
                TagFactory(name=name).delete()
    assert work() == []
    assert [record.count for record in kept] == [2]
    Failing.is_down = False
    assert work() == []
    assert [(record.count, record.rows[0]["object"]) for record in kept] == [(2, "a"), (2, "bad")]
