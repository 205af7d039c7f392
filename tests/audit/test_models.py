"""The table of the log: written once, tied to nothing, and swappable."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import connection

from django_signal_kit import context
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.receivers import AuditLog
from tests.apps.testapp.models import Product
from tests.factories import ProductFactory, UserFactory

ROOT = Path(__file__).parents[2]


@pytest.fixture
def entry(wire: Any) -> AuditEntry:
    """An entry about a product, by maria."""
    wire((AuditLog, {"models": ["testapp.Product"]}))
    with context(actor=UserFactory(username="maria")):
        ProductFactory(name="Lamp")
    return AuditEntry.objects.get()


@pytest.mark.django_db
def test_an_entry_cannot_be_changed_by_save(entry):
    entry.object_text = "forged"
    with pytest.raises(TypeError, match="not changed once it is written"):
        entry.save()
    with pytest.raises(TypeError, match="not changed once it is written"):
        entry.save(update_fields=["object_text"])
    entry.refresh_from_db()
    assert entry.object_text == "Lamp"


@pytest.mark.django_db
def test_a_new_entry_can_be_saved():
    entry = AuditEntry(action="login", object_text="maria")
    entry.save()
    assert AuditEntry.objects.get() == entry


@pytest.mark.django_db
def test_an_entry_says_what_happened_to_what(entry):
    assert str(entry) == "Lamp created"


@pytest.mark.django_db
def test_no_foreign_key_has_a_constraint_in_the_database():
    with connection.cursor() as cursor:
        constraints = connection.introspection.get_constraints(cursor, AuditEntry._meta.db_table)
    assert constraints
    assert [name for name, found in constraints.items() if found["foreign_key"]] == []


@pytest.mark.django_db
def test_each_question_has_its_index():
    with connection.cursor() as cursor:
        constraints = connection.introspection.get_constraints(cursor, AuditEntry._meta.db_table)
    indexes = {tuple(found["columns"]) for found in constraints.values() if found["index"]}
    assert {
        ("content_type_id", "object_pk", "id"),
        ("actor_id", "id"),
        ("at",),
        ("unit",),
    } <= indexes


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("how", ["sql", "delete", "queryset"])
def test_an_entry_outlives_the_user_who_did_it(entry, how):
    user = User.objects.get(username="maria")
    key = user.pk
    if how == "sql":
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM auth_user WHERE id = %s", [key])
    elif how == "delete":
        user.delete()
    else:
        User.objects.filter(pk=key).delete()
    assert not User.objects.filter(pk=key).exists()
    left = AuditEntry.objects.get()
    assert (left.actor_id, left.actor_text, left.object_text) == (key, "maria", "Lamp")
    with pytest.raises(User.DoesNotExist):
        left.actor  # noqa: B018


@pytest.mark.django_db(transaction=True)
def test_an_entry_outlives_the_kind_of_its_object(entry):
    kind = ContentType.objects.create(app_label="gone", model="thing")
    gone = AuditEntry.objects.create(action="create", content_type=kind, object_pk="1")
    kind.delete()
    ContentType.objects.clear_cache()
    gone = AuditEntry.objects.get(pk=gone.pk)
    assert gone.content_type_id is not None
    with pytest.raises(ContentType.DoesNotExist):
        gone.content_type  # noqa: B018
    assert entry.content_type.model_class() is Product


FILES = {
    "settings.py": """
        SECRET_KEY = "x"
        USE_TZ = True
        DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
        DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
        ROOT_URLCONF = "urls"
        MIDDLEWARE = [
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
            "django_signal_kit.middleware.RequestContextMiddleware",
        ]
        TEMPLATES = [
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ]
                },
            }
        ]
        STATIC_URL = "/static/"
        INSTALLED_APPS = [
            "django.contrib.admin",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.messages",
            "django.contrib.sessions",
            "django.contrib.staticfiles",
            APPS,
        ]
        SIGNAL_KIT_AUDIT_ENTRY_MODEL = "logbook.Entry"
        SIGNAL_KIT = {
            "RECEIVERS": [
                {
                    "RECEIVER": "logbook.receivers.TenantLog",
                    "OPTIONS": {"models": ["logbook.*"]},
                }
            ]
        }
        """,
    "urls.py": """
        from django.contrib import admin
        from django.urls import path

        urlpatterns = [path("admin/", admin.site.urls)]
        """,
    "logbook/__init__.py": "",
    "logbook/models.py": """
        from django.db import models

        from django_signal_kit.audit.models import AbstractAuditEntry


        class Entry(AbstractAuditEntry):
            tenant = models.CharField(max_length=20, default="acme")


        class Lamp(models.Model):
            name = models.CharField(max_length=20)

            def __str__(self):
                return self.name
        """,
    "logbook/receivers.py": """
        from django_signal_kit.receivers import AuditLog


        class TenantLog(AuditLog):
            pass
        """,
    "logbook/admin.py": """
        from django.contrib import admin

        from django_signal_kit.audit.admin import AuditEntryAdmin
        from django_signal_kit.audit.history import AuditHistoryMixin
        from logbook.models import Entry, Lamp


        class LampAdmin(AuditHistoryMixin, admin.ModelAdmin):
            pass


        admin.site.register(Entry, AuditEntryAdmin)
        admin.site.register(Lamp, LampAdmin)
        """,
    "use.py": """
        import django

        django.setup()

        from django.contrib import admin
        from django.contrib.auth.models import User
        from django.db import connection
        from django.test import Client

        from django_signal_kit.audit.models import AuditEntry
        from logbook.models import Entry, Lamp

        lamp = Lamp.objects.create(name="Sol")
        lamp.name = "Luna"
        lamp.save()
        create, update = Entry.objects.order_by("pk")
        assert (create.action, create.tenant) == ("create", "acme")
        assert update.changes == {"name": ["Sol", "Luna"]}, update.changes
        assert "signal_kit_audit_auditentry" not in connection.introspection.table_names()

        assert not admin.site.is_registered(AuditEntry)
        client = Client()
        client.force_login(User.objects.create_superuser("root"))
        page = client.get("/admin/logbook/entry/")
        assert page.status_code == 200
        assert "Name <bdi>Sol</bdi> → <bdi>Luna</bdi>" in page.content.decode()
        page = client.get(f"/admin/logbook/entry/{update.pk}/change/")
        assert page.status_code == 200
        assert "acme" in page.content.decode()
        page = client.get(f"/admin/logbook/lamp/{lamp.pk}/history/")
        assert page.content.decode().count("signal-kit-line") == 2
        assert "/admin/logbook/entry/" in page.content.decode()
        print("all is well")
        """,
}


@pytest.mark.parametrize(
    "apps",
    [
        ("logbook", "django_signal_kit", "django_signal_kit.audit"),
        ("django_signal_kit", "django_signal_kit.audit", "logbook"),
    ],
)
def test_a_project_may_have_a_model_of_its_own(tmp_path, apps):
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        names = ", ".join(repr(app) for app in apps)
        path.write_text(textwrap.dedent(text).replace("APPS,", f"{names},"), encoding="utf-8")

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-W", "error::RuntimeWarning", *arguments],
            cwd=tmp_path,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "settings",
                "PYTHONPATH": os.pathsep.join((str(tmp_path), str(ROOT))),
                "PYTHONIOENCODING": "utf-8",
            },
            capture_output=True,
            encoding="utf-8",
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("-m", "django", "makemigrations", "logbook")
    run("-m", "django", "makemigrations", "--check", "--dry-run")
    run("-m", "django", "check", "--fail-level", "WARNING")
    run("-m", "django", "migrate")
    assert run("use.py") == "all is well\n"


@pytest.mark.django_db
def test_the_migrations_of_the_kits_own_model_are_complete():
    call_command("makemigrations", "signal_kit_audit", check=True, dry_run=True)
