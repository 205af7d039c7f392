"""Start-up: what the settings and signals.py say is wired, or it fails with a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db.models.signals import post_save
from django.test import override_settings

from django_signal_kit.receivers import AuditLog
from tests.projects import KIT, Project
from tests.testapp.models import Tag

NAMES = (
    "from django_signal_kit.registry import registry\n"
    "print([receiver.name for receiver in registry.receivers])"
)

SIGNALS = """
from django.db.models.signals import post_save
from django.dispatch import receiver
from django_signal_kit import ModelReceiver, register

@register(models=["auth.User"])
class First(ModelReceiver):
    def post_save(self, **kwargs):
        print("first")

@register
class Second(ModelReceiver):
    models = ["auth.User"]
    def post_save(self, **kwargs):
        print("second")

@register(name="third", models=["auth.User"])
class Third(ModelReceiver):
    async def post_save(self, **kwargs):
        print("async")

@receiver(post_save, sender="auth.User")
def plain(**kwargs):
    print("plain")
"""

RECEIVERS = """
from django_signal_kit import ModelReceiver

class Listed(ModelReceiver):
    models = ["auth.User"]
    def post_save(self, **kwargs):
        print("listed")

class Last(Listed):
    def post_save(self, **kwargs):
        print("last")
"""


def test_receivers_of_signals_modules_are_found_and_called_after_those_of_the_settings(
    tmp_path: Path,
) -> None:
    entries = '{"RECEIVERS": ["shop.receivers.Listed", "shop.receivers.Last"]}'
    project = Project(tmp_path, KIT, "shop", "bare", signal_kit=entries)
    project.write("shop/signals.py", SIGNALS)
    project.write("shop/receivers.py", RECEIVERS)
    project.write("bare/models.py", "")
    done = project.run(
        f"{NAMES}\nfrom django.core.management import call_command\n"
        "call_command('migrate', verbosity=0)\n"
        "from django.contrib.auth.models import User\nUser.objects.create(username='a')"
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "['Listed', 'Last', 'First', 'Second', 'third']",
        "plain",
        "listed",
        "last",
        "first",
        "second",
        "async",
    ]


def test_a_broken_signals_module_raises_its_own_error(tmp_path: Path) -> None:
    project = Project(tmp_path, KIT, "shop")
    project.write("shop/signals.py", "import nonsense_that_is_not_there")
    done = project.run("")
    assert done.returncode != 0
    assert "No module named 'nonsense_that_is_not_there'" in done.stderr


def test_an_excluded_app_is_not_imported(tmp_path: Path) -> None:
    project = Project(tmp_path, KIT, "shop", signal_kit='{"DISCOVER_EXCLUDE": ["shop"]}')
    project.write("shop/signals.py", "raise RuntimeError")
    done = project.run(NAMES)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_the_simple_config_wires_the_settings_and_looks_for_nothing(tmp_path: Path) -> None:
    project = Project(
        tmp_path,
        "django_signal_kit.apps.SimpleSignalKitConfig",
        "shop",
        signal_kit='{"RECEIVERS": ["shop.receivers.Listed"]}',
    )
    project.write("shop/signals.py", "raise RuntimeError")
    project.write("shop/receivers.py", RECEIVERS)
    done = project.run(NAMES)
    assert (done.stdout.strip(), done.stderr) == ("['Listed']", "")


@pytest.mark.parametrize(
    ("signal_kit", "message"),
    [
        ('{"RECIEVERS": []}', "Unknown key 'RECIEVERS' in SIGNAL_KIT. Did you mean 'RECEIVERS'?"),
        (
            '{"RECEIVERS": ["django_signal_kit.receivers.AuditLgo"]}',
            "Did you mean 'django_signal_kit.receivers.AuditLog'?",
        ),
        (
            '{"RECEIVERS": ["django_signal_kit.receivers.AuditLog"]}',
            "Add 'django_signal_kit.audit' to INSTALLED_APPS",
        ),
    ],
)
def test_a_start_that_would_leave_a_receiver_out_fails(
    tmp_path: Path, signal_kit: str, message: str
) -> None:
    done = Project(tmp_path, KIT, signal_kit=signal_kit).run("")
    assert done.returncode != 0
    assert "ImproperlyConfigured" in done.stderr
    assert message in done.stderr


def test_a_project_with_the_kit_starts_without_a_warning(tmp_path: Path) -> None:
    entries = """{"RECEIVERS": [
        {"RECEIVER": "django_signal_kit.receivers.AuditLog", "OPTIONS": {"models": ["auth.*"]}},
        {"RECEIVER": "django_signal_kit.receivers.LastModified",
         "OPTIONS": {"models": ["auth.User"], "field": "last_login"}},
        {"RECEIVER": "django_signal_kit.receivers.CacheInvalidation",
         "OPTIONS": {"models": ["auth.User"], "keys": ["user:{pk}"]}},
        {"RECEIVER": "django_signal_kit.receivers.FileCleanup", "OPTIONS": {"models": ["shop.*"]}},
        "django_signal_kit.receivers.WelcomeEmail"]}"""
    project = Project(tmp_path, KIT, "django_signal_kit.audit", "shop", signal_kit=entries)
    project.write(
        "shop/models.py",
        "from django.db import models\n"
        "class Leaflet(models.Model):\n    file = models.FileField()",
    )
    done = project.run(
        f"from django.core.management import call_command; call_command('check')\n{NAMES}",
        "-X",
        "dev",
        "-W",
        "error",
    )
    assert done.stderr == ""
    assert "'WelcomeEmail'" in done.stdout


@pytest.mark.django_db
def test_starting_again_doubles_nothing(wire: Any) -> None:
    wire((AuditLog, {"models": ["testapp.Tag"]}))
    before = len(post_save.receivers)
    with override_settings(INSTALLED_APPS=[config.name for config in apps.get_app_configs()]):
        assert len(post_save.receivers) == before
    assert len(post_save.receivers) == before
    assert post_save.has_listeners(Tag)


@pytest.mark.django_db
def test_override_settings_rewires_and_wires_back(wire: Any) -> None:
    wire()
    assert not post_save.has_listeners(Tag)
    entry = {
        "RECEIVER": "django_signal_kit.receivers.AuditLog",
        "OPTIONS": {"models": ["testapp.Tag"]},
    }
    with override_settings(SIGNAL_KIT={"RECEIVERS": [entry]}):
        assert post_save.has_listeners(Tag)
    assert not post_save.has_listeners(Tag)


@pytest.mark.django_db
def test_no_migration_is_missing() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)
