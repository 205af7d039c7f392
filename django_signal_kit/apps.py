"""From the settings and every app's ``signals.py`` to connected receivers."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import module_has_submodule
from django.utils.translation import gettext_lazy as _

from django_signal_kit.checks import check_signal_kit
from django_signal_kit.conf import conf
from django_signal_kit.loading import load
from django_signal_kit.registry import registry


class SimpleSignalKitConfig(AppConfig):
    """Wires what the settings list, and what has been registered, without looking for more."""

    name = "django_signal_kit"
    label = "signal_kit"
    verbose_name = _("Signal kit")

    def ready(self) -> None:
        """Connect the receivers. Raises ImproperlyConfigured if any of them cannot be."""
        checks.register(check_signal_kit)
        # Under override_settings(INSTALLED_APPS=...) rewire() follows, when the other settings of
        # the same override are in force.
        if not apps.stored_app_configs:
            wire()
        setting_changed.connect(rewire, dispatch_uid="signal_kit:setting_changed")


class SignalKitConfig(SimpleSignalKitConfig):
    """Finds the receivers in the ``signals`` module of every installed app, then wires."""

    default = True

    def ready(self) -> None:
        discover()
        super().ready()


def discover() -> None:
    """Import the ``signals`` module of every app that has one and is not excluded.

    A module that cannot be imported raises what it raises.
    """
    for config in apps.get_app_configs():
        if config.name not in conf.DISCOVER_EXCLUDE and module_has_submodule(
            config.module, "signals"
        ):
            import_module(f"{config.name}.signals")


def wire() -> None:
    """Connect what the settings and ``@register`` say, and nothing else."""
    receivers, problems = load()
    if problems:
        raise ImproperlyConfigured("\n".join(map(str, problems))) from problems[0]
    registry.connect(receivers)


def rewire(*, setting: str, value: Any, **kwargs: Any) -> None:
    """Follow ``override_settings()`` of SIGNAL_KIT and INSTALLED_APPS in tests, and back."""
    # The apps of TestCase.available_apps are announced too, but never become the setting.
    if setting == "SIGNAL_KIT" or (
        setting == "INSTALLED_APPS" and value == settings.INSTALLED_APPS
    ):
        wire()
