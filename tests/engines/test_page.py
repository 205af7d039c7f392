"""What the page about queues says to set, and to start, flushes what is committed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.docs.blocks import Block, read
from tests.engines.test_engines import ROOT, run

PAGE = ROOT / "docs" / "topics" / "background.md"

#: The path of the backend -> the engine.
KNOWN = {
    "django_tasks_db.DatabaseBackend": "django_tasks_db",
    "django_ox.backend.OxBackend": "django_ox",
    "django_tasks_rq.RQBackend": "rq",
    "huey.contrib.djhuey.tasks_backend.HueyBackend": "huey",
    "django_tasks_fennel.CeleryBackend": "celery",
}
#: The servers of the page are not the test's own.
OWN_QUEUE = """
from kombu import Exchange, Queue
CELERY_TASK_QUEUES = [
    Queue(PLACE["name"], Exchange(PLACE["name"]), routing_key=PLACE["name"], alias="default")
]
TASKS["default"]["QUEUES"] = []
"""


def get_steps() -> list[tuple[Block, list[str]]]:
    """Each block of settings, with the lines of the shell that follow upon it."""
    steps: list[tuple[Block, list[str]]] = []
    for block in read(PAGE):
        if block.language == "python":
            steps.append((block, []))
        elif block.language == "sh":
            steps[-1][1].extend(block.code.splitlines())
    return steps


STEPS = get_steps()


def write_settings(block: Block, folder: Path) -> None:
    code = block.code.replace('"PORT": 6379', '"PORT": PLACE["broker"]')
    code = code.replace('"port": 6379', '"port": PLACE["broker"]')
    if "CELERY" in code:
        code += OWN_QUEUE
    start = "from tests.engines.projects.base import *\n"
    # The project has the app already.
    end = "INSTALLED_APPS = list(dict.fromkeys(INSTALLED_APPS))\n"
    (folder / "page_settings.py").write_text(start + code + end)


def as_arguments(line: str) -> str:
    """The line of a shell as arguments of Python."""
    if line.startswith("python manage.py "):
        return line.replace("python manage.py", "-m django")
    return f"-m {line}"


@pytest.mark.parametrize(("block", "lines"), [step for step in STEPS if step[1]])
def test_the_settings_and_the_worker_of_the_page_work(
    block: Block, lines: list[str], tmp_path: Path, monkeypatch: Any
) -> None:
    write_settings(block, tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path), str(ROOT))))
    [engine] = [KNOWN[path] for path in KNOWN if path in block.code]
    migrate, worker = lines
    assert migrate == "python manage.py migrate"
    told = run(
        *(engine, "--settings", "page_settings", "--worker", as_arguments(worker)),
        *("--faults", "writer", "--units", "6"),
        rounds=1,
    )
    assert told["flushed"] == told["committed"] > 0
    assert told["lost"] == 0


def test_each_engine_is_on_the_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert [path for path in KNOWN if path not in text] == []
    assert len([step for step in STEPS if step[1]]) == len(KNOWN)


def test_without_a_queue_the_flush_runs_at_once(tmp_path: Path) -> None:
    ((block, _),) = [step for step in STEPS if not step[1]]
    write_settings(block, tmp_path)
    code = """
import django
django.setup()
from django.core.management import call_command
call_command("migrate", run_syncdb=True, verbosity=0)
from tests.engines.notes.models import Note, Order
Order.objects.create(key="a")
assert [note.key for note in Note.objects.all()] == ["a"]
"""
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
    place = {
        "scenario": "tests.engines.notes",
        "folder": str(tmp_path),
        "database": database,
    }
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "page_settings",
            "PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT))),
            "SIGNAL_KIT_ENGINES_PLACE": json.dumps(place),
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
