"""A project whose tasks write what is audited, in a worker of its own process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.projects import KIT, SHOP, Project

_SETTINGS = """
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
"""
_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "shop", KIT, f"{KIT}.audit"]
_AUDIT = {"RECEIVER": f"{KIT}.receivers.AuditLog", "OPTIONS": {"models": ["shop.Product"]}}

_START = """
from django.contrib.auth.models import User
from django.core.management import call_command
from django_signal_kit import context
call_command("migrate", verbosity=0)
with __import__("django").db.connection.schema_editor() as editor:
    from shop.models import Product
    editor.create_model(Product)
"""

#: Who sends, and why. Nobody has asked for the actor when a task is sent.
CAUSE = 'context(actor=lambda: User.objects.get(username="ann"), request_id="abcdefgh")'

_TELL = """
import json
from django_signal_kit.audit.models import AuditEntry
print(json.dumps([
    [entry.object_text, entry.actor_text, entry.context.get("request_id")]
    for entry in AuditEntry.objects.order_by("pk")
]))
"""


class Shop(Project):
    def __init__(
        self, directory: Path, tasks: str, *, settings: str = "", apps: tuple[str, ...] = ()
    ) -> None:
        files = {**SHOP, "shop/tasks.py": tasks}
        files["shop/models.py"] += "    def __str__(self):\n        return self.name\n"
        super().__init__(
            directory, files, [*_APPS, *apps], _SETTINGS + settings, RECEIVERS=[_AUDIT]
        )

    def send(self, code: str) -> None:
        """Run ``code`` under the context ``CAUSE``, with a user "ann" and a worker's tables."""
        lines = "".join(f"    {line}\n" for line in code.splitlines())
        ann = 'User.objects.create_user("ann")\n'
        self.run(f"{_START}{ann}from shop import tasks\nwith {CAUSE}:\n{lines}")

    def work(self, *command: str) -> None:
        """Run a worker that ends by itself."""
        root = Path(__file__).parents[2]
        done = subprocess.run(
            [sys.executable, *command],
            cwd=self.directory,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "project_settings",
                "PYTHONDONTWRITEBYTECODE": "1",
                "PYTHONWARNINGS": "default",
                "PYTHONPATH": os.pathsep.join([str(self.directory), str(root)]),
            },
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def tell(self) -> Any:
        """``[product, actor, request id]`` of each entry."""
        return json.loads(self.run(_TELL))
