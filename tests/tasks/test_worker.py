"""What ready-made receivers do in the process of a worker, with a queue in the database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.projects import KIT, Project

ROOT = Path(__file__).parents[2]

SETTINGS = """
import django
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}
ROOT_URLCONF = "shop.urls"
ALLOWED_HOSTS = ["*"]
MEDIA_ROOT = "media"
MIDDLEWARE = ["django_signal_kit.middleware.RequestContextMiddleware"]
if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": "shop.mails.Mails"}}
else:
    EMAIL_BACKEND = "shop.mails.Mails"
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"file": {"class": "logging.FileHandler", "filename": "deletions.log"}},
    "loggers": {"django_signal_kit.deletions": {"handlers": ["file"], "level": "INFO"}},
}
"""

FILES = {
    "shop/__init__.py": "",
    "shop/models.py": """
from django.db import models

class Product(models.Model):
    name = models.CharField(max_length=100)
    image = models.FileField(upload_to="products")

class Note(models.Model):
    text = models.CharField(max_length=100)

    def __str__(self):
        return self.text
""",
    "shop/signals.py": """
from django_signal_kit import ModelReceiver, register
from shop.models import Note

@register(models=["shop.Product"], flush_on="task")
class Notes(ModelReceiver):
    def post_delete(self, instance, **kwargs):
        self.collect(f"{instance.name} is sold out")

    def flush(self, items):
        for text in items:
            Note.objects.create(text=text)
""",
    "shop/urls.py": """
from django.http import HttpResponse
from django.urls import path
from django_signal_kit import context
from shop.models import Product

def sell(request):
    with context(actor="till 7"):
        for product in Product.objects.all():
            product.delete()
    raise ValueError("sold out")

urlpatterns = [path("sell/", sell)]
""",
    "shop/mails.py": """
from django.core.mail.backends.base import BaseEmailBackend

class Mails(BaseEmailBackend):
    def send_messages(self, messages):
        with open("mails.txt", "a") as file:
            file.write(f"{messages[0].subject}\\n")
        return 1
""",
}

SELL = """
from django.core.files.base import ContentFile
from django.core.management import call_command
from django.db import connection
from django.test import Client
from shop.models import Note, Product
call_command("migrate", verbosity=0)
with connection.schema_editor() as editor:
    editor.create_model(Product)
    editor.create_model(Note)
Product.objects.create(name="Tea", image=ContentFile(b"tea", "tea.png"))
client = Client(raise_request_exception=False, headers={"x-request-id": "abcdefgh"})
assert client.get("/sell/").status_code == 500
"""

LOOK = """
import json, os
from django_signal_kit.audit.models import AuditEntry
print(json.dumps({
    "entries": [
        [entry.object_text, entry.actor_text, entry.context.get("request_id")]
        for entry in AuditEntry.objects.all()
    ],
    "images": os.listdir("media/products"),
    "lines": open("deletions.log").read().splitlines(),
    "mails": open("mails.txt").read().splitlines() if os.path.exists("mails.txt") else [],
}))
"""


def make_receiver(name: str, **options: Any) -> dict[str, Any]:
    return {"RECEIVER": f"{KIT}.receivers.{name}", "OPTIONS": options}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    if find_spec("django_tasks_db") is None:
        pytest.skip("django-tasks-db is not installed")
    products = {"models": ["shop.Product"], "flush_on": "task"}
    apps = ["django.contrib.auth", "django.contrib.contenttypes", "django_tasks_db", "shop"]
    return Project(
        tmp_path,
        FILES,
        [*apps, KIT, f"{KIT}.audit"],
        SETTINGS,
        RECEIVERS=[
            make_receiver("AuditLog", models=["shop.Note"]),
            make_receiver("DeletionLog", **products),
            make_receiver("FileCleanup", **products),
            make_receiver("ExceptionAlert", to=["ops@shop.example"], flush_on="task"),
        ],
    )


def work(project: Project) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "django", "db_worker", "--batch", "--interval", "0.01"],
        cwd=project.directory,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "project_settings",
            "PYTHONPATH": os.pathsep.join([str(project.directory), str(ROOT)]),
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


def test_a_worker_does_what_a_request_has_left(project: Project) -> None:
    project.run(SELL)
    before = json.loads(project.run(LOOK))
    assert before == {"entries": [], "images": ["tea.png"], "lines": [], "mails": []}
    work(project)
    after = json.loads(project.run(LOOK))
    assert after["entries"] == [["Tea is sold out", "till 7", "abcdefgh"]]
    assert after["images"] == []
    assert len(after["lines"]) == 1
    assert after["lines"][0].startswith("Deleted shop.Product 1 ")
    [subject] = after["mails"]
    assert subject.startswith("[Django] ValueError in sell/ (")
