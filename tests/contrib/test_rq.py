"""A job of RQ knows who has sent it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cache.redis_server import RedisServer
from tests.contrib.shop import Shop

pytest.importorskip("rq")

TASKS = """
from redis import Redis
from rq import Queue, Retry
from django_signal_kit.contrib.rq import ContextJob
from shop.models import Product

queue = Queue(connection=Redis(port={port}), job_class=ContextJob)

def make(name):
    Product.objects.create(name=name)

async def make_async(name):
    await Product.objects.acreate(name=name)

def fail_once(name):
    if Product.objects.filter(name=f"before {{name}}").exists():
        return make(name)
    make(f"before {{name}}")
    raise ValueError(name)

def hand_on(name):
    queue.enqueue(make, name)
"""

WORKER = """
import django
django.setup()
from rq import SimpleWorker
from django_signal_kit.contrib.rq import ContextJob
from shop.tasks import queue
SimpleWorker([queue], connection=queue.connection, job_class=ContextJob).work(burst=True)
"""


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    server = RedisServer(tmp_path, durable=False)
    yield server.port
    server.kill()


def test_a_job_knows_who_has_sent_it(tmp_path: Path, port: int) -> None:
    shop = Shop(tmp_path, TASKS.format(port=port))
    shop.send(
        "for job in (tasks.make, tasks.make_async, tasks.hand_on):\n"
        "    tasks.queue.enqueue(job, job.__name__)\n"
        'tasks.queue.enqueue(tasks.fail_once, "tea", retry=tasks.Retry(max=1))\n'
        'with context(actor="cron", request_id=None):\n'
        '    tasks.queue.enqueue(tasks.make, "by cron")\n'
    )
    shop.run('from shop import tasks\ntasks.queue.enqueue(tasks.make, "by nobody")')
    shop.work("-c", WORKER)
    found = shop.tell()
    by_ann = ["make", "make_async", "hand_on", "before tea", "tea"]
    assert sorted(found) == sorted(
        [
            *([name, "ann", "abcdefgh"] for name in by_ann),
            ["by cron", "cron", None],
            ["by nobody", "", None],
        ]
    )
