"""What a test may ask: who heard what, collected what, flushed what."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from django.dispatch import Signal
from django.test import TestCase

import django_signal_kit
from django_signal_kit import ModelReceiver, Receiver, batch
from django_signal_kit.test import SignalKit, SignalKitMixin
from tests.apps.testapp.models import Product, Tag
from tests.projects import KIT, SHOP, Project
from tests.tasks.queues import BROKER, IMMEDIATE, Broker, work
from tests.wiring.test_muting import run

kit = SignalKit()
renamed = Signal()


class Index(ModelReceiver):
    models = ["testapp.Tag"]

    def post_save(self, instance: Any, **kwargs: Any) -> None:
        self.collect(instance.name, key=instance.pk)

    def flush(self, items: list[Any]) -> None: ...


class Renames(Receiver):
    def renamed(self, **kwargs: Any) -> None: ...


class Child(Index):
    pass


class Bulk(ModelReceiver):
    models = ["testapp.Tag"]

    def post_bulk_create(self, objs: Any, **kwargs: Any) -> None: ...


@pytest.mark.django_db(transaction=True)
class TestCapture:
    def test_what_was_heard_collected_and_flushed(self, wire: Any) -> None:
        wire(Index)
        with kit.capture() as captured:
            tea = Tag.objects.create(name="tea")
            oil = Tag.objects.create(name="oil")
        assert [(h.receiver, h.signal, h.sender) for h in captured.heard] == [
            ("Index", "post_save", Tag)
        ] * 2
        assert captured.heard[0].arguments["created"] is True
        assert captured.get_items("Index") == ["tea", "oil"]
        assert captured.get_flushes(Index) == [["tea"], ["oil"]]
        captured.assert_received("Index", instance=tea, times=1)
        captured.assert_received(Index, instance=oil, signal="post_save")
        captured.assert_received(Index, times=2)
        captured.assert_not_received(Index, signal="pre_save")
        captured.assert_num_flushes(Index, 2)

    def test_arguments_may_be_called_as_ours_are(self, wire: Any) -> None:
        wire(Renames, EXTRA_SIGNALS={"renamed": f"{__name__}.renamed"})
        with kit.capture() as captured:
            renamed.send(None, name="tea", receiver="oil", signal_name="x", arguments=())
        (heard,) = captured.get_heard(Renames)
        assert heard.arguments["name"] == "tea"

    def test_a_failing_assertion_says_what_ran(self, wire: Any) -> None:
        wire(Index)
        with kit.capture() as captured:
            tea = Tag.objects.create(name="tea")
        other = Tag(pk=-1)
        for check, sentence in (
            (lambda: captured.assert_received(Index, other), "never, not at least once"),
            (lambda: captured.assert_received(Index, tea, times=2), "once, not 2 times"),
            (lambda: captured.assert_not_received(Index), "once, not never"),
            (lambda: captured.assert_num_flushes("Index", 3), "has flushed once, not 3 times"),
        ):
            with pytest.raises(AssertionError) as caught:
                check()
            assert sentence in str(caught.value)
            assert "post_save testapp.Tag" in str(caught.value)

    def test_what_is_not_wired_is_no_passing_assertion(self, wire: Any) -> None:
        wire(Index)
        with kit.capture() as captured:
            pass
        with pytest.raises(LookupError, match="Did you mean 'Index'"):
            captured.assert_not_received("Indx")
        with pytest.raises(LookupError, match="class Bulk"):
            captured.assert_not_received(Bulk)

    def test_a_muted_receiver_has_heard_nothing(self, wire: Any) -> None:
        wire(Index, Child)
        with kit.capture() as captured, kit.muted("Index"):
            Tag.objects.create(name="tea")
        captured.assert_not_received("Index")
        captured.assert_received("Child", times=1)
        # The class means its subclasses, too.
        captured.assert_received(Index, times=1)

    def test_rows_of_a_bulk_write_are_found_in_it(self, wire: Any) -> None:
        wire(Bulk, Index)
        with kit.capture() as captured:
            tags = Tag.objects.bulk_create([Tag(name="a"), Tag(name="b")])
        captured.assert_received(Bulk, instance=tags[0], times=1)
        captured.assert_received(Bulk, instance=tags[1], times=1)
        captured.assert_not_received(Bulk, instance=Tag(pk=-1))
        captured.assert_received(Index, instance=tags[1])
        assert captured.get_flushes(Index) == [["a", "b"]]

    def test_one_flush_of_a_batch_with_what_waits_once(self, wire: Any) -> None:
        wire(Index)
        with kit.capture() as captured, batch():
            tag = Tag.objects.create(name="tea")
            tag.save()
        captured.assert_num_flushes(Index, 1)
        assert captured.get_flushes(Index) == [["tea"]]
        assert captured.get_items(Index) == ["tea", "tea"]

    def test_captures_nest_and_see_async_work(self, wire: Any) -> None:
        wire(Index)

        async def work() -> None:
            await asyncio.gather(*(Tag.objects.acreate(name=str(n)) for n in range(3)))
            await sync_to_async(connections.close_all)()

        with kit.capture() as outer:
            Tag.objects.create(name="before")
            with kit.capture() as inner:
                asyncio.run(work())
        outer.assert_received(Index, times=4)
        inner.assert_received(Index, times=3)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("tasks", [BROKER, IMMEDIATE], ids=["outbox", "immediate"])
def test_what_is_collected_for_a_task_is_seen_and_sent(
    wire: Any, settings: Any, caplog: Any, tasks: Any
) -> None:
    settings.TASKS = tasks
    Broker.messages.clear()
    wire((Index, {"flush_on": "task"}))
    with kit.capture() as captured:
        Tag.objects.create(name="tea")
        assert work() == []
    assert captured.get_items(Index) == ["tea"]
    assert captured.get_flushes(Index) == [["tea"]]
    assert "flush Index: to a task, 1 item" in str(captured.trace)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


class InATestCase(SignalKitMixin, TestCase):
    def test_it(self) -> None:
        with self.signal_kit.capture() as captured:
            Tag.objects.create(name="tea")
            captured.assert_num_flushes(Index, 0)
            with self.signal_kit.flush_after_commit():
                Tag.objects.create(name="oil")
            captured.assert_num_flushes(Index, 1)

    def test_muted(self) -> None:
        with self.signal_kit.capture() as captured, self.signal_kit.muted("Index"):
            with self.signal_kit.flush_after_commit():
                Tag.objects.create(name="tea")
        captured.assert_not_received(Index)


@pytest.mark.django_db(transaction=True)
def test_in_a_test_case_flushes_come_when_they_are_asked_for(wire: Any) -> None:
    wire(Index)
    InATestCase.__test__ = True  # type: ignore[attr-defined]
    try:
        result = run(InATestCase)
    finally:
        InATestCase.__test__ = False  # type: ignore[attr-defined]
    assert result.testsRun == 2
    assert result.errors + result.failures == []


InATestCase.__test__ = False  # type: ignore[attr-defined]

TESTS = """
import pytest
from shop.models import Product


@pytest.mark.django_db
@pytest.mark.parametrize("number", range(4))
def test_it(signal_kit, number):
    with signal_kit.capture() as captured, signal_kit.flush_after_commit():
        product = Product.objects.create(name="tea")
    captured.assert_received("DeletionLog", times=0)
    with signal_kit.capture() as captured:
        product.delete()
    captured.assert_received("DeletionLog", signal="post_delete", times=1)
"""


@pytest.mark.parametrize("options", [(), ("-n", "2")])
def test_pytest_finds_the_fixture(tmp_path: Path, options: tuple[str, ...]) -> None:
    entry = {
        "RECEIVER": "django_signal_kit.receivers.DeletionLog",
        "OPTIONS": {"models": ["shop.*"]},
    }
    apps = ["django.contrib.contenttypes", KIT, "shop"]
    project = Project(tmp_path, {**SHOP, "test_shop.py": TESTS}, apps, RECEIVERS=[entry])
    line = ["-p", "no:cacheprovider", "-q", "--ds", "project_settings", *options, "test_shop.py"]
    out = project.run(f"import pytest, sys; sys.exit(pytest.main({line!r}))")
    assert "4 passed" in out


def test_a_plugin_alone_touches_no_django(tmp_path: Path) -> None:
    code = "import sys, django_signal_kit.pytest_plugin; print('django.conf' in sys.modules)"
    root = str(Path(django_signal_kit.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"


def test_products_are_not_covered(wire: Any) -> None:
    wire(Index)
    with kit.capture() as captured:
        Product(name="tea")
    captured.assert_not_received(Index)
