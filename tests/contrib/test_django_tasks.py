"""A task of Django's knows who has sent it."""

from __future__ import annotations

import copy
import inspect
import pickle
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import django
import pytest
from django.contrib.auth import get_user_model

from django_signal_kit import context, get_context
from django_signal_kit.contrib.django_tasks import carry_context
from tests.conftest import run_async
from tests.contrib.shop import Shop

LIBRARY = "django.tasks" if django.VERSION >= (6, 0) else "django_tasks"
task = pytest.importorskip(LIBRARY).task

TASKS = f"""
from {LIBRARY} import task
from django_signal_kit.contrib.django_tasks import carry_context
from shop.models import Product

@carry_context
@task
def make(name):
    Product.objects.create(name=name)

@carry_context
@task(priority=5)
async def make_async(name):
    await Product.objects.acreate(name=name)

@carry_context
@task(takes_context=True)
def count_attempts(context, name):
    make.call(name + str(context.attempt))

@carry_context
@task
def hand_on(name):
    make.enqueue(name)

@task
def plain(name):
    Product.objects.create(name=name)
"""

SETTINGS = """
TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}
"""

told: list[Any] = []


@carry_context
@task
def tell(*args: Any, **kwargs: Any) -> None:
    found = get_context()
    told.append((args, kwargs, str(found.pop("actor")), found))


@carry_context
@task
async def tell_async() -> None:
    told.append(get_context())


@pytest.fixture(autouse=True)
def _forget() -> None:
    told.clear()


def test_a_task_knows_who_has_sent_it_at_once() -> None:
    user = get_user_model()(pk=7, username="ann")
    with context(actor=user, reason="sale"):
        tell.enqueue(1, tea="green")
        tell.using(priority=7).enqueue()
    tell.enqueue()
    assert told == [
        ((1,), {"tea": "green"}, "ann", {"reason": "sale"}),
        ((), {}, "ann", {"reason": "sale"}),
        ((), {}, "None", {}),
    ]


def test_async_code_sends_its_context() -> None:
    async def send() -> None:
        with context(actor="cron"):
            await tell_async.aenqueue()

    run_async(send())
    assert told == [{"actor": "cron"}]


def test_a_task_is_as_it_was() -> None:
    plain = task(priority=5)(tell.func)
    carrying = carry_context(plain)
    assert (carrying.priority, carrying.name, carrying.module_path) == (
        *(5, "tell", f"{__name__}.tell"),
    )
    assert inspect.iscoroutinefunction(tell_async.func)
    assert isinstance(carrying, type(plain))
    later = tell.using(priority=3)
    for made in (pickle.loads(pickle.dumps(later)), copy.copy(later)):
        assert (made.priority, made.func) == (3, tell.func)
        assert type(made) is type(tell)


def test_a_decorator_below_task_says_where_it_belongs() -> None:
    with pytest.raises(TypeError, match=r"decorates tasks, .* Write it above @task\."):
        carry_context(print)


def test_a_worker_knows_who_has_sent_a_task(tmp_path: Path) -> None:
    if find_spec("django_tasks_db") is None:
        pytest.skip("django-tasks-db is not installed")
    shop = Shop(tmp_path, TASKS, settings=SETTINGS, apps=("django_tasks_db",))
    shop.send(
        'for task in ("make", "make_async", "count_attempts", "hand_on", "plain"):\n'
        "    getattr(tasks, task).enqueue(task)\n"
        "from asgiref.sync import async_to_sync\n"
        'async_to_sync(tasks.make.aenqueue)("sent by await")\n'
        'with context(actor="cron", request_id=None):\n'
        '    tasks.make.using(priority=1).enqueue("by cron")\n'
    )
    shop.run('from shop import tasks\ntasks.make.enqueue("by nobody")')
    shop.work("-m", "django", "db_worker", "--batch", "--interval", "0.01")
    by_ann = ["make", "make_async", "count_attempts1", "hand_on", "sent by await"]
    assert sorted(shop.tell()) == sorted(
        [
            *([name, "ann", "abcdefgh"] for name in by_ann),
            ["by cron", "cron", None],
            *([name, "", None] for name in ("by nobody", "plain")),
        ]
    )
