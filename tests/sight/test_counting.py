"""Calls, flushes and items of receivers are counted and timed, and their errors remembered."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from functools import wraps
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth import user_logged_out
from django.db import transaction
from django.db.models.signals import post_save
from django.utils import timezone

from django_signal_kit import ModelReceiver, Receiver, muted, tally
from django_signal_kit.sight import counting
from django_signal_kit.sight.figures import BOUNDS, Figures, Histogram, Tasks
from django_signal_kit.sight.slots import Slot
from django_signal_kit.sight.stopwatches import CHUNK
from django_signal_kit.tasks.models import OutboxTask
from django_signal_kit.units.unit import make_id
from django_signal_kit.wiring import dispatch, measuring
from django_signal_kit.wiring.registry import registry
from tests.apps.testapp.models import Tag
from tests.conftest import run_async
from tests.sight.anew import _begin_anew  # noqa: F401 a fixture

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


class Index(ModelReceiver):
    models = ["testapp.Tag"]

    def post_save(self, instance: Any, **kwargs: Any) -> None:
        self.collect(instance.pk, key=instance.pk)

    def flush(self, items: list[Any]) -> None:
        if "bad flush" in Tag.objects.filter(pk__in=items).values_list("name", flat=True):
            raise LookupError("no such index")


class Fails(ModelReceiver):
    models = ["testapp.Tag"]

    def pre_save(self, instance: Any, **kwargs: Any) -> None:
        if instance.name.startswith("bad"):
            password = "swordfish"
            raise ValueError(f"{instance.name}: password={password!r}, len={len(password)}")


class Slow(ModelReceiver):
    models = ["testapp.Tag"]

    async def post_save(self, instance: Any, **kwargs: Any) -> None:
        await asyncio.sleep(0)
        self.collect(instance.pk)

    async def flush(self, items: list[Any]) -> None:
        await asyncio.sleep(0)


def read(name: str) -> Figures:
    return counting.get_counters().receivers[name]


def connected(signal: Any = post_save) -> list[Any]:
    return [item[1] for item in signal.receivers if hasattr(item[1], "signal_kit_receiver")]


def test_what_ran_is_counted_and_timed(wire: Any) -> None:
    wire(Index, COUNTERS=True)
    before = timezone.now()
    with transaction.atomic():
        tag = Tag.objects.create(name="tea")
        tag.save()
        Tag.objects.bulk_create([Tag(name="a"), Tag(name="b")])
    found = read("Index")
    assert (found.calls.count, found.errors) == (4, 0)
    assert (found.flushes.count, found.flush_errors) == (1, 0)
    # The second save of a tag found what waited of the first.
    assert (found.collected, found.flushed) == (4, 3)
    assert found.calls.seconds > 0
    assert found.flushes.seconds > 0
    assert found.calls.mean == found.calls.seconds / 4
    assert sum(found.calls.buckets) == 4
    assert found.has_run
    assert found.ran_at is not None
    assert before - timedelta(seconds=1) <= found.ran_at <= timezone.now()


def test_what_is_muted_is_not_called(wire: Any) -> None:
    wire(Index, COUNTERS=True)
    with muted(Index):
        Tag.objects.create(name="tea")
    assert read("Index") == Figures()
    assert not read("Index").has_run


def test_async_receivers_and_flushes_are_counted(wire: Any) -> None:
    wire(Slow, COUNTERS=True)
    run_async(Tag.objects.acreate(name="tea"))
    Tag.objects.create(name="oil")
    found = read("Slow")
    assert (found.calls.count, found.flushes.count) == (2, 2)
    assert (found.collected, found.flushed) == (2, 2)
    assert found.calls.seconds > 0


def test_without_the_setting_the_very_methods_are_called(wire: Any) -> None:
    receiver = wire(Index)
    assert measuring.wrappers == []
    assert "flush" not in vars(receiver)
    assert "collect" not in vars(receiver)
    (function,) = connected()
    assert function.__wrapped__ == receiver.post_save
    Tag.objects.create(name="tea")
    counters = counting.get_counters()
    assert not counters.is_on
    assert counters.receivers == {"Index": Figures()}
    assert counters.processes == []

    wire(Index, COUNTERS=True)
    (function,) = connected()
    assert function.__wrapped__.__wrapped__ == registry.receivers[0].post_save
    receiver = wire(Index)
    (function,) = connected()
    assert function.__wrapped__ == receiver.post_save


def test_counting_goes_on_when_the_receiver_is_wired_again(wire: Any) -> None:
    for _ in range(3):
        wire(Index, COUNTERS=True)
        Tag.objects.create(name="tea")
    assert read("Index").calls.count == 3


@pytest.fixture
def _hurried() -> Iterator[None]:
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_hurried")
def test_threads_lose_no_call(wire: Any) -> None:
    receiver = wire(Index, COUNTERS=True)
    (function,) = connected()
    tag, number = Tag(pk=1), CHUNK * 3 + 1
    receiver.collect = lambda *args, **kwargs: None
    begin = threading.Barrier(4)

    def call() -> None:
        begin.wait()
        for _ in range(number):
            function(signal=post_save, sender=Tag, instance=tag, created=True)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        # Reading meanwhile takes nothing away.
        read("Index")
    for thread in threads:
        thread.join()
    assert read("Index").calls.count == 4 * number


def test_a_receiver_may_get_more_than_the_signal_sends_itself(wire: Any) -> None:
    heard = []

    class Curious(ModelReceiver):
        models = ["testapp.Tag"]

        def post_save(self, **kwargs: Any) -> None:
            heard.append(kwargs["mood"])

    counting.start()
    try:
        registry.connect([Curious()])
    finally:
        counting.stop()
    post_save.send(sender=Tag, instance=Tag(), mood="glad")
    registry.disconnect()
    assert heard == ["glad"]


class Door(Receiver):
    def user_logged_out(self, user: Any, **kwargs: Any) -> None:
        kwargs["own"] = True
        if user is None:
            raise ValueError("nobody")


@pytest.mark.parametrize("on_error", ["raise", "log"])
def test_what_is_wrapped_round_it_is_called_whatever_the_signal(wire: Any, on_error: str) -> None:
    """Arguments that are not named one by one go past no wrapper, nor past on_error."""
    seen: list[Any] = []

    def look(receiver: Receiver, name: str, method: Any) -> Any:
        @wraps(method)
        def looked(**kwargs: Any) -> Any:
            seen.append(name)
            return method(**kwargs)

        return looked if name == "user_logged_out" else method

    measuring.wrappers.append(look)
    try:
        wire((Door, {"on_error": on_error}), COUNTERS=True)
        user_logged_out.send(sender=Tag, user="ann")
        if on_error == "raise":
            with pytest.raises(ValueError, match="nobody"):
                user_logged_out.send(sender=Tag, user=None)
        else:
            user_logged_out.send(sender=Tag, user=None)
    finally:
        measuring.wrappers.remove(look)
    assert seen == ["user_logged_out"] * 2
    assert (read("Door").calls.count, read("Door").errors) == (2, 1)


def test_what_is_not_wired_any_more_is_forgotten_after_a_day(wire: Any) -> None:
    """One that has been given another name would be told of for ever."""
    wire(Index, COUNTERS=True)
    Tag.objects.create(name="tea")
    told = counting._counting.read()
    numbers, now = told["sums"]["receivers"]["Index"], time.time()
    ran = {"Index": now - 90_000, "Renamed": now - 90_000, "Elsewhere": now - 3600}
    error = {**ERROR, "at": now - 90_000}
    ended = Slot()
    ended.hold()
    ended.write(
        {
            "sums": {"receivers": dict.fromkeys(ran, numbers)},
            "ran": ran,
            "errors": {
                "a": {**error, "receiver": "Renamed"},
                "b": {**error, "receiver": "Index"},
            },
            "since": now,
        },
        is_last=True,
    )
    counting._counting.publish(is_due=True, is_last=False)
    counters = counting.get_counters()
    assert {*counters.receivers} == {"Index", "Elsewhere"}
    assert counters.receivers["Index"].calls.count == 2
    assert [error.receiver for error in counters.errors] == ["Index"]
    assert len(counters.processes) == 1


# Errors

ERROR = {"where": "flush", "exception": "E", "message": "", "traceback": "", "count": 1}


def test_what_fails_is_remembered_without_values(wire: Any) -> None:
    wire(Fails, Index, COUNTERS=True)
    for name in ("bad", "bad", "bad too"):
        with pytest.raises(ValueError):
            Tag.objects.create(name=name)
    with pytest.raises(ValueError):
        Tag.objects.bulk_create([Tag(name="bad")])
    counters = counting.get_counters()
    assert counters.receivers["Fails"].errors == 4
    assert counters.receivers["Fails"].calls.count == 4
    (failure,) = counters.errors
    assert failure.count == 4
    assert (failure.receiver, failure.where) == ("Fails", "pre_save")
    assert failure.exception == "ValueError"
    assert failure.message == "bad: password=[redacted], len=9"
    assert "in pre_save" in failure.traceback
    assert failure.traceback.rstrip().endswith("password=[redacted], len=9")
    assert counters.get_failure(failure.id) == failure
    assert counters.get_failure("none") is None
    assert abs(failure.at - timezone.now()) < timedelta(minutes=1)


def test_a_flush_that_fails_is_told_apart(wire: Any) -> None:
    wire(Index, COUNTERS=True)
    Tag.objects.create(name="bad flush")
    counters = counting.get_counters()
    figures = counters.receivers["Index"]
    assert (figures.errors, figures.flush_errors, figures.flushes.count) == (0, 1, 1)
    assert [(f.where, f.exception) for f in counters.errors] == [("flush", "LookupError")]


def test_what_is_logged_instead_of_raised_is_an_error_all_the_same(wire: Any) -> None:
    wire((Fails, {"on_error": "log"}), COUNTERS=True)
    Tag.objects.create(name="bad")
    assert Tag.objects.count() == 1
    assert read("Fails").errors == 1
    assert len(counting.get_counters().errors) == 1


def test_secrets_of_the_settings_are_not_told(wire: Any, settings: Any) -> None:
    settings.SHOP = {"api": {"token": "tok-4711-abc"}}
    settings.SECRET_KEY = "very secret indeed"

    class Careless(Receiver):
        def request_finished(self, **kwargs: Any) -> None:
            raise OSError(
                f"{settings.SHOP['api']['token']} {django_settings.SECRET_KEY} "
                f"redis://:hunter2@cache:6379 auth.User"
            )

    counting.start()
    try:
        function = dispatch.make_function(
            receiver := Careless(), "request_finished", receiver.request_finished
        )
    finally:
        counting.stop()
    function(signal=None, sender=None)
    counting.start()
    (failure,) = counting.get_counters().errors
    counting.stop()
    assert failure.message == "[redacted] [redacted] redis://:[redacted]@cache:6379 auth.User"
    for secret in ("4711", "indeed", "hunter2"):
        assert secret not in failure.traceback


def test_only_the_latest_kinds_of_errors_are_remembered(wire: Any) -> None:
    receiver = wire(Fails, COUNTERS=True)
    kinds = [type(f"Error{number}", (Exception,), {}) for number in range(25)]

    def fail(instance: Any, **kwargs: Any) -> None:
        raise kinds[int(instance.name)]

    receiver.pre_save = fail
    registry.connect([receiver])
    for number in range(25):
        with pytest.raises(kinds[number]):
            Tag.objects.create(name=str(number))
    counters = counting.get_counters()
    assert counters.receivers["Fails"].errors == 25
    names = [failure.exception.rpartition(".")[2] for failure in counters.errors]
    assert names == [f"Error{number}" for number in range(24, 4, -1)]
    assert len(counting._counting.failures.read()) == 20


def test_what_is_set_off_by_garbage_waits_for_no_lock_of_its_own_thread() -> None:
    """Whoever notes something may be interrupted by the end of an object that calls a receiver."""

    def work() -> None:
        with tally._lock, counting._counting.failures._lock:
            counting._counting.failures.note("Index", "flush", ValueError("no"))
            tally.add("Index", "pages_indexed")

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    assert tally.read("Index") == {"pages_indexed": 1}


def test_an_exception_that_cannot_be_told_harms_nobody(wire: Any) -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    class Raises(ModelReceiver):
        models = ["testapp.Tag"]

        def post_save(self, **kwargs: Any) -> None:
            raise MuteError

    counting.start()
    try:
        registry.connect([Raises()])
    finally:
        counting.stop()
    with pytest.raises(MuteError):
        post_save.send(sender=Tag, instance=Tag())
    registry.disconnect()


# What receivers count themselves


class Own(Receiver):
    def request_finished(self, **kwargs: Any) -> None: ...

    def get_own_figures(self) -> dict[str, Any]:
        return {"pages": 3, "ratio": 0.5, "yes": True}


class Broken(Receiver):
    def request_finished(self, **kwargs: Any) -> None: ...

    def get_own_figures(self) -> dict[str, int]:
        raise KeyError("nothing")


def test_receivers_add_figures_of_their_own(wire: Any, caplog: Any) -> None:
    wire(Own, Broken, Index, COUNTERS=True)
    tally.add("Index", "pages_indexed", 2)
    tally.add("Index", "pages_indexed")
    for _ in range(2):
        found = counting.get_counters().receivers
    assert found["Own"].own == {"pages": 3}
    assert found["Index"].own["pages_indexed"] == 3
    assert found["Broken"].own == {}
    assert [r.message.partition(",")[0] for r in caplog.records] == [
        "Broken: get_own_figures() failed"
    ]


# Histograms


def test_a_histogram_says_within_which_time_most_were_done() -> None:
    assert Histogram().mean == Histogram().p95 == 0
    buckets = [0] * (len(BOUNDS) + 1)
    # A hundred from 1 to 2.5 ms.
    buckets[BOUNDS.index(0.0025)] = 100
    found = Histogram(100, 0.2, tuple(buckets))
    assert found.mean == 0.002
    assert found.p95 == pytest.approx(0.001 + 0.0015 * 0.95)
    assert found.get_quantile(0) == pytest.approx(0.001)
    assert found.get_quantile(1) == pytest.approx(0.0025)
    buckets[-1] = 10
    assert Histogram(110, 200.0, tuple(buckets)).p95 == 10


def test_durations_are_sorted_by_their_bounds(wire: Any) -> None:
    wire(Index, COUNTERS=True)
    stopwatch = counting._counting._tallies["Index"].calls
    for seconds in (0.0, 0.00001, 0.000011, 0.3, 10.0, 11.0):
        stopwatch._durations.append(seconds)
    found = read("Index").calls
    assert found.seconds == pytest.approx(21.300021)
    expected = {0.00001: 2, 0.000025: 1, 0.5: 1, 10.0: 1}
    assert dict(zip(BOUNDS, found.buckets, strict=False)) == {
        b: expected.get(b, 0) for b in BOUNDS
    }
    assert found.buckets[-1] == 1


# Tasks


def test_tasks_are_those_of_the_outboxes() -> None:
    now = timezone.now()
    for using, name, failed_at in (
        ("default", "Index", None),
        ("other", "Index", None),
        ("default", "Index", now),
        ("other", "Gone", now),
    ):
        OutboxTask.objects.using(using).bulk_create(
            [
                OutboxTask(
                    id=make_id(), receiver=name, payload="", created_at=now, failed_at=failed_at
                )
            ]
        )
    assert counting.get_tasks() == {"Index": Tasks(2, 1), "Gone": Tasks(0, 1)}
