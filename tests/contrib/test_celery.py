"""A task of Celery knows who has sent it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contrib.shop import Shop

pytest.importorskip("celery")

TASKS = """
import os
from celery import Celery, shared_task
from django_signal_kit.contrib.celery import carry_context

for folder in ("in", "done"):
    os.makedirs(folder, exist_ok=True)
app = Celery("shop", set_as_current=True, broker="filesystem://", fixups=[])
app.conf.update(
    broker_transport_options={
        "data_folder_in": "in", "data_folder_out": "in", "store_processed": False,
    },
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)
carry_context()

@shared_task
def make(name):
    from shop.models import Product
    Product.objects.create(name=name)
    return f"after {name}"

@shared_task(bind=True, max_retries=1)
def fail_once(self, name):
    make(f"{name} {self.request.retries}")
    if not self.request.retries:
        raise self.retry(countdown=0)

@shared_task
def hand_on(name):
    make.delay(name)

@shared_task
def stop():
    app.control.shutdown()
"""

WORKER = """
import django
django.setup()
from celery.apps.worker import Worker
from celery.signals import task_postrun
from shop import tasks
left = {"count": %d}

@task_postrun.connect(weak=False)
def count(state=None, **kwargs):
    left["count"] -= state != "RETRY"
    if not left["count"]:
        raise SystemExit(0)

tasks.app.Worker(pool="solo", loglevel="ERROR", without_gossip=True, without_mingle=True,
                 without_heartbeat=True).start()
"""


def test_a_task_knows_who_has_sent_it(tmp_path: Path) -> None:
    shop = Shop(tmp_path, TASKS)
    shop.send(
        'for task in ("make", "fail_once", "hand_on"):\n'
        "    getattr(tasks, task).delay(task)\n"
        'tasks.make.apply_async(("first",), link=tasks.make.s())\n'
        'with context(actor="cron", request_id=None):\n'
        '    tasks.make.delay("by cron")\n'
        'tasks.make.apply(("at once",))\n'
    )
    shop.run('from shop import tasks\ntasks.make.delay("by nobody")')
    shop.work("-c", WORKER % 8)
    by_ann = ["make", "fail_once 0", "fail_once 1", "hand_on", "first", "after first", "at once"]
    assert sorted(shop.tell()) == sorted(
        [
            *([name, "ann", "abcdefgh"] for name in by_ann),
            ["by cron", "cron", None],
            ["by nobody", "", None],
        ]
    )
