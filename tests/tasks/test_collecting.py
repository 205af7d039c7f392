"""What a receiver collects for a task goes there once per unit of work, as JSON."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction
from django.test import TestCase
from django.utils.module_loading import import_string

from django_signal_kit import batch, muted, only
from django_signal_kit.exceptions import NotJSONError
from django_signal_kit.wiring.registry import registry
from tests.apps.testapp.models import Tag
from tests.conftest import as_entry
from tests.tasks.collectors import (
    IN_TRANSACTION,
    Awaits,
    Counts,
    Fails,
    FailsInPart,
    Instances,
    Names,
    Pairs,
)
from tests.tasks.queues import (
    BROKER,
    DUMMY,
    FRAMEWORK,
    IMMEDIATE,
    get_enqueued,
    get_messages,
    work,
)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(params=["dummy", "broker", "outbox"])
def queue(request: Any, settings: Any) -> Any:
    """A queue that nobody works off; returns what gives the arguments of its tasks. That of a
    broker is filled after the commit, without an outbox and with one."""
    if request.param == "broker":
        settings.INSTALLED_APPS = [
            name for name in settings.INSTALLED_APPS if name != "django_signal_kit.tasks"
        ]
    settings.TASKS = DUMMY if request.param == "dummy" else BROKER
    if request.param == "dummy":
        return lambda: [result.kwargs for result in get_enqueued()]
    return get_messages


def test_a_unit_of_work_makes_one_task_of_a_receiver(wire: Any, queue: Any) -> None:
    wire(Names)
    with batch():
        Tag.objects.create(name="a")
        Tag.objects.bulk_create([Tag(name="b"), Tag(name="c")])
        assert queue() == []
    tasks = queue()
    for task in tasks:
        # Only one of the outbox has it.
        task.pop("row", None)
    assert tasks == [
        {
            "receiver": "Names",
            "using": "default",
            "items": ["a", "b", "c"],
            "carried": {},
            "attempt": 1,
        }
    ]


def test_nothing_is_enqueued_before_the_commit_and_nothing_after_a_rollback(
    wire: Any, queue: Any
) -> None:
    wire(Names)
    with transaction.atomic():
        Tag.objects.create(name="a")
        with pytest.raises(ValueError), transaction.atomic():
            Tag.objects.create(name="lost")
            raise ValueError
        Tag.objects.create(name="b")
        assert queue() == []
    with pytest.raises(ValueError), transaction.atomic():
        Tag.objects.create(name="lost as well")
        raise ValueError
    assert [task["items"] for task in queue()] == [["a", "b"]]


def test_an_item_that_waits_under_its_key_can_be_changed(wire: Any, queue: Any) -> None:
    wire(Counts)
    with transaction.atomic():
        for _ in range(3):
            Tag.objects.create(name="a")
        with pytest.raises(ValueError), transaction.atomic():
            Tag.objects.create(name="a")
            raise ValueError
    assert [task["items"] for task in queue()] == [[{"name": "a", "count": 3}]]


def test_a_muted_receiver_collects_nothing(wire: Any, queue: Any) -> None:
    wire(Names, Counts)
    with muted("Names"):
        Tag.objects.create(name="a")
    with only("Names"):
        Tag.objects.create(name="b")
    assert [(task["receiver"], len(task["items"])) for task in queue()] == [
        ("Counts", 1),
        ("Names", 1),
    ]


def test_a_thousand_items_are_one_task_and_what_is_too_many_is_split(
    wire: Any, queue: Any
) -> None:
    wire(Names)
    Tag.objects.bulk_create([Tag(name=f"{number}") for number in range(1000)])
    assert [len(task["items"]) for task in queue()] == [1000]
    Tag.objects.bulk_create([Tag(name=f"{number}") for number in range(4100)])
    assert [len(task["items"]) for task in queue()[1:]] == [2000, 2000, 100]


def test_a_task_is_no_larger_than_a_broker_takes(wire: Any, queue: Any) -> None:
    receiver = wire(Names)
    long = ["x" * 100_000, "y" * 100_000, "z" * 100_000, "\N{SNOWMAN}" * 50_000]
    huge = "h" * 400_000
    with batch():
        for item in (*long, huge, "small", "small too"):
            receiver.collect(item)
    sizes = [[len(item) for item in task["items"]] for task in queue()]
    # A snowman takes six bytes: it fits with nothing, and is told from what comes before it.
    assert sizes == [[100_000, 100_000], [100_000], [50_000], [400_000], [5, 9]]
    for task in queue():
        if len(task["items"][0]) < 400_000 and "\N{SNOWMAN}" not in task["items"][0]:
            assert len(json.dumps(task)) <= 256 * 1024


@pytest.mark.parametrize(
    ("item", "what"),
    [
        (Decimal("1.5"), "which is Decimal('1.5'), of type Decimal"),
        (
            {"at": datetime.date(2024, 1, 1)},
            "item['at'] is datetime.date(2024, 1, 1), of type date",
        ),
        ([1, {"a": [b"x"]}], "item[1]['a'][0] is b'x', of type bytes"),
        ({1: "a"}, "which is a dict with the key 1, of type int"),
        ({"a": {None: 1}}, "item['a'] is a dict with the key None, of type NoneType"),
        (float("nan"), "which is nan, of type float"),
        ({"a", "b"}, "of type set"),
    ],
)
def test_what_is_not_json_is_refused_where_it_is_collected(
    wire: Any, queue: Any, item: Any, what: str
) -> None:
    receiver = wire(Names)
    with pytest.raises(NotJSONError) as caught:
        receiver.collect(item)
    message = str(caught.value)
    assert message.startswith(f"Names collects {item!r} for a task, and ")
    assert what in message
    assert "Collect keys, not instances" in message
    assert queue() == []


def make_ring() -> list[Any]:
    ring: list[Any] = []
    ring.append(ring)
    return ring


@pytest.mark.parametrize(
    ("item", "what"),
    [
        (make_ring(), "nested too deep, or holds itself"),
        ({"pk": 10**5000}, "item['pk'] is a number of more digits than Python writes"),
    ],
    ids=["ring", "digits"],
)
def test_what_python_itself_cannot_write_is_told(
    wire: Any, queue: Any, item: Any, what: str
) -> None:
    receiver = wire(Names)
    with pytest.raises(NotJSONError) as caught:
        receiver.collect(item)
    assert what in str(caught.value)
    assert queue() == []


def test_an_instance_that_is_collected_fails_the_write_as_any_receiver_would(
    wire: Any, queue: Any
) -> None:
    wire(Instances)
    with pytest.raises(NotJSONError, match=r"Instances collects .* item\['tag'\] is <Tag: a>"):
        with transaction.atomic():
            Tag.objects.create(name="a")
    assert not Tag.objects.exists()
    assert queue() == []


def test_an_item_that_has_become_something_else_is_refused_when_it_is_flushed(
    wire: Any, settings: Any, failures: Any
) -> None:
    settings.TASKS = DUMMY
    receiver = wire(Names)
    with batch():
        item = receiver.collect({"a": 1}, key="k")
        item["a"] = object()
    assert get_enqueued() == []
    (told,) = failures
    assert isinstance(told["exception"], NotJSONError)
    assert told["receiver"] is receiver
    assert told["items"] == [item]


def test_items_that_are_objects_travel_by_the_hooks(
    wire: Any, flushed: Any, settings: Any
) -> None:
    settings.TASKS = BROKER
    wire(Pairs)
    tag = Tag.objects.create(name="a")
    assert get_messages()[0]["items"] == [[tag.pk, "a"]]
    assert work() == []
    assert flushed == [("Pairs", [(tag.pk, "a")])]


def test_subclasses_of_text_and_numbers_are_texts_and_numbers(wire: Any, queue: Any) -> None:
    class Text(str):
        pass

    receiver = wire(Names)
    with batch():
        receiver.collect([Text("a"), True, None, 1.5, ("t",)])
    (task,) = queue()
    assert task["items"] == [["a", True, None, 1.5, ["t"]]]
    assert type(task["items"][0][0]) is str


def test_a_worker_flushes_what_is_in_the_task(wire: Any, flushed: Any, settings: Any) -> None:
    settings.TASKS = BROKER
    wire(Names, Awaits)
    Tag.objects.create(name="a")
    assert flushed == []
    assert work() == []
    assert flushed == [("Names", ["a"]), ("Awaits", ["a"])]


def test_the_task_is_found_by_its_path(settings: Any) -> None:
    settings.TASKS = BROKER
    task = import_string("django_signal_kit.tasks.running.flush_collected")
    assert task.module_path == "django_signal_kit.tasks.running.flush_collected"
    assert type(task).__module__ == f"{FRAMEWORK}.base"


def test_a_task_for_a_receiver_that_is_not_wired_fails_by_name(wire: Any, settings: Any) -> None:
    settings.TASKS = BROKER
    wire(Names)
    Tag.objects.create(name="a")
    wire(Counts, TASKS={"ATTEMPTS": 1})
    (error,) = work()
    assert str(error) == (
        "No receiver is named 'Names' here, so its task cannot be flushed. Choose from 'Counts'."
    )


def test_the_immediate_backend_runs_after_the_commit(
    wire: Any, flushed: Any, settings: Any
) -> None:
    settings.TASKS = IMMEDIATE
    wire(Names)
    with transaction.atomic():
        Tag.objects.create(name="a")
        Tag.objects.create(name="b")
        assert flushed == []
    assert flushed == [("Names", ["a", "b"])]
    assert IN_TRANSACTION == [False]


def test_the_immediate_backend_hides_no_failure(
    wire: Any, settings: Any, failures: Any, caplog: Any
) -> None:
    settings.TASKS = IMMEDIATE
    receivers = wire(Fails, FailsInPart, Names)
    with transaction.atomic():
        Tag.objects.create(name="a")
        Tag.objects.create(name="b")
    assert Tag.objects.count() == 2
    assert [told["receiver"] for told in failures] == receivers[:2]
    assert [told["sender"] for told in failures] == [Fails, FailsInPart]
    assert [told["items"] for told in failures] == [["a", "b"], ["b"]]
    assert [told["signal_name"] for told in failures] == ["flush", "flush"]
    assert type(failures[0]["exception"]) is ValueError
    assert "Fails failed in flush: ValueError" in caplog.text


class InATestCase(TestCase):
    """A TestCase never commits: what is enqueued is captured."""

    def test_the_task_is_among_the_captured_callbacks(self) -> None:
        entry = as_entry(Names)
        with self.settings(TASKS=DUMMY, SIGNAL_KIT={"RECEIVERS": [entry]}):
            with self.captureOnCommitCallbacks() as callbacks:
                Tag.objects.create(name="a")
            assert (get_enqueued(), len(callbacks)) == ([], 1)
            with self.captureOnCommitCallbacks(execute=True):
                Tag.objects.create(name="b")
            assert [result.kwargs["items"] for result in get_enqueued()] == [["b"]]


def test_other_backends_are_used_as_soon_as_the_setting_says_so(
    wire: Any, settings: Any, flushed: Any
) -> None:
    settings.TASKS = DUMMY
    wire(Names)
    Tag.objects.create(name="a")
    assert len(get_enqueued()) == 1
    settings.TASKS = IMMEDIATE
    Tag.objects.create(name="b")
    assert flushed == [("Names", ["b"])]
    assert registry.receivers[0].name == "Names"
