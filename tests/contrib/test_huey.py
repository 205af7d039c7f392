"""A task of huey knows who has sent it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contrib.shop import Shop

pytest.importorskip("huey")

TASKS = """
from huey import SqliteHuey
from django_signal_kit.contrib.huey import carry_context
from shop.models import Product

huey = SqliteHuey(filename="huey.sqlite3")
carry_context(huey)

@huey.task()
def make(name):
    Product.objects.create(name=name)
    return f"after {name}"

@huey.task(context=True)
def tell(name, task=None, **kwargs):
    make.call_local(name + str(sorted(kwargs)) + str(task is not None))

@huey.task(retries=1)
def fail_once(name):
    if Product.objects.filter(name=f"before {name}").exists():
        return make.call_local(name)
    make.call_local(f"before {name}")
    raise ValueError(name)

@huey.task(retries=1, retry_delay=1)
def fail_later(name):
    fail_once.call_local(name)

@huey.task()
def hand_on(name):
    make(name)
"""

WORKER = """
import django, time
django.setup()
from shop.tasks import huey
consumer = huey.create_consumer(workers=2)
consumer.start()
while len(huey) or huey.scheduled_count() or huey._tasks_in_flight:
    time.sleep(0.05)
consumer.stop(graceful=True)
"""


def test_a_task_knows_who_has_sent_it(tmp_path: Path) -> None:
    shop = Shop(tmp_path, TASKS)
    shop.send(
        'for task in ("make", "tell", "fail_once", "fail_later", "hand_on"):\n'
        "    getattr(tasks, task)(task)\n"
        'tasks.huey.enqueue(tasks.make.s("first").then(tasks.make))\n'
        'tasks.make.schedule(("late",), delay=1)\n'
        'with context(actor="cron", request_id=None):\n'
        '    tasks.make("by cron")\n'
        "tasks.huey.immediate = True\n"
        'tasks.make("at once")\n'
    )
    shop.run('from shop import tasks\ntasks.make("by nobody")')
    shop.work("-c", WORKER)
    by_ann = [
        *("make", "tell[]True", "before fail_once", "fail_once", "before fail_later"),
        *("fail_later", "hand_on", "first", "after first", "late", "at once"),
    ]
    assert sorted(shop.tell()) == sorted(
        [
            *([name, "ann", "abcdefgh"] for name in by_ann),
            ["by cron", "cron", None],
            ["by nobody", "", None],
        ]
    )
