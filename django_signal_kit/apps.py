"""From the settings and every app's ``signals.py`` to connected receivers."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import module_has_submodule
from django.utils.translation import gettext_lazy as _

from django_signal_kit.checks import check_log_tables, check_signal_kit
from django_signal_kit.conf import conf
from django_signal_kit.exceptions import find_cause, is_told_by
from django_signal_kit.extension import extending
from django_signal_kit.extension.early import extensions
from django_signal_kit.extension.model_extension import ModelExtension
from django_signal_kit.receiver import Receiver
from django_signal_kit.sight import counting, mutes, watching
from django_signal_kit.tasks.framework import forget_backends
from django_signal_kit.units import views
from django_signal_kit.wiring.configured import discovered, load
from django_signal_kit.wiring.registry import registry
from django_signal_kit.writes import hooks

#: The settings that say which models stand in the place of others.
SWAPPING = ("SIGNAL_KIT_AUDIT_ENTRY_MODEL", "AUTH_USER_MODEL")
#: All that say what is wired.
WIRING = ("SIGNAL_KIT", "INSTALLED_APPS", "TASKS", *SWAPPING)

_NOT_SAID: Any = object()


class SimpleSignalKitConfig(AppConfig):
    """Wires what the settings list, and what has been registered, without looking for more."""

    name = "django_signal_kit"
    label = "signal_kit"
    verbose_name = _("Signal kit")
    #: Whether the modules of apps are looked for.
    discovers = False

    def __init__(self, app_name: str, app_module: ModuleType | None) -> None:
        super().__init__(app_name, app_module)
        # Before any model is made: others take Django's methods then.
        hooks.install()
        views.install()
        extensions.connect(self.discovers)

    def ready(self) -> None:
        """Connect the receivers. Raises ImproperlyConfigured if any of them cannot be."""
        checks.register(check_signal_kit)
        checks.register(check_log_tables, checks.Tags.database)
        # Under override_settings(INSTALLED_APPS=...) rewire() follows, when the other settings of
        # the same override are in force.
        if not apps.stored_app_configs:
            try:
                self.start()
            except ImproperlyConfigured as error:
                if not is_told_by(wire, error):
                    raise
                # The sentence says it all: by which of the kit's functions it came says nothing.
                raise error.with_traceback(None) from error.__cause__
        setting_changed.connect(rewire, dispatch_uid="signal_kit:setting_changed")

    def start(self) -> None:
        """Wire what the settings say now."""
        wire()
        (watching.wrapping.start if conf.WATCH else watching.wrapping.stop)()
        (mutes.start if conf.ADMIN_MUTING else mutes.stop)()


class SignalKitConfig(SimpleSignalKitConfig):
    """Finds the receivers in the ``signals`` module of every installed app, then wires; and those
    in ``extensions`` before models are made."""

    default = True
    discovers = True

    def start(self) -> None:
        discover()
        super().start()


def discover() -> None:
    """Import the ``signals`` module of every app that has one and is not excluded.

    A module that cannot be imported raises what it raises.
    """
    excluded = conf.DISCOVER_EXCLUDE
    for config in apps.get_app_configs():
        name = f"{config.name}.signals"
        if name in sys.modules or config.name in excluded:
            continue
        if module_has_submodule(config.module, "signals"):
            discovered.add(name)
            import_module(name)


def wire() -> None:
    """Connect what the settings and ``@register`` say, and nothing else."""
    extensions.disconnect()
    receivers, problems = load()
    if problems:
        raise ImproperlyConfigured("\n".join(map(str, problems))) from find_cause(problems)
    extending.take_back()
    (counting.start if conf.COUNTERS else counting.stop)()
    registry.connect(receivers)
    _settle_capture(receivers)
    for receiver in receivers:
        if isinstance(receiver, ModelExtension):
            receiver.extend_late()


def rewire(*, setting: str, value: Any = _NOT_SAID, **kwargs: Any) -> None:
    """Follow ``override_settings()`` of what the wiring depends on in tests, and back.

    Others send the signal too, and some do not say what the value is: the settings do.
    """
    # The apps of TestCase.available_apps are announced too, but never become the setting.
    is_setting = setting != "INSTALLED_APPS" or value in (_NOT_SAID, settings.INSTALLED_APPS)
    if setting not in WIRING or not is_setting:
        return
    if setting == "TASKS":
        forget_backends()
    if setting in SWAPPING:
        # Django remembers which models are swapped.
        apps.clear_cache()
    for config in apps.get_app_configs():
        if isinstance(config, SimpleSignalKitConfig):
            config.start()
            return
    # For the length of the block the kit is not installed.
    extensions.disconnect()
    extending.take_back()
    registry.disconnect()
    _settle_capture([])
    watching.wrapping.stop()
    mutes.stop()
    counting.stop()


def _settle_capture(receivers: list[Receiver]) -> None:
    # Who has no log need not import it.
    if "django_signal_kit.audit.audit_log" in sys.modules:
        from django_signal_kit.audit.capture import carrying

        carrying.settle(receivers)
