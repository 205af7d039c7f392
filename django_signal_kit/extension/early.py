"""Extends models while they are made, before the kit can be wired.

The kit's AppConfig is made before Django imports any model, wherever it stands in
``INSTALLED_APPS`` (https://docs.djangoproject.com/en/stable/ref/applications/#how-applications-are-loaded).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib import import_module
from typing import Any

from django.apps import apps
from django.core.exceptions import AppRegistryNotReady
from django.db.models import Model
from django.db.models.signals import class_prepared
from django.utils.module_loading import module_has_submodule

from django_signal_kit.conf import conf
from django_signal_kit.exceptions import Misconfigured
from django_signal_kit.extension.model_extension import ModelExtension
from django_signal_kit.wiring.configured import get_declared, read_entry
from django_signal_kit.wiring.declaring import Declaration

ROOM = "extensions"
_UID = "signal_kit:early"
_READY_MADE = (
    "django_signal_kit.receivers.ModelExtension",
    "django_signal_kit.extension.model_extension.ModelExtension",
)


class Extensions:
    """What extends the models that are made between the first AppConfig and the wiring."""

    def __init__(self) -> None:
        self.finds = True
        self.found: list[ModelExtension] | None = None
        # The module that is being imported now.
        self.importing = ""

    def connect(self, finds: bool) -> None:
        """Extend each model that is made from now on; ``finds``: import each app's extensions."""
        self.finds, self.found = finds, None
        class_prepared.connect(self.on_class_prepared, dispatch_uid=_UID)

    def disconnect(self) -> None:
        """From now on the registry tells the receivers of models that are made."""
        class_prepared.disconnect(dispatch_uid=_UID)

    def on_class_prepared(self, sender: type[Model], **kwargs: Any) -> None:
        if sender._meta.apps is not apps:
            return
        if self.importing:
            raise imports_models(self.importing)
        if self.found is None:
            self.found = list(self.find())
        for extension in self.found:
            extension.class_prepared(sender=sender)

    def find(self) -> Iterator[ModelExtension]:
        """Make each extension that can be imported without models. What is wrong with one is told
        at the wiring."""
        if self.finds:
            self.discover()
        for declaration in [*self.read(), *get_declared()]:
            if issubclass(declaration.cls, ModelExtension):
                try:
                    extension = declaration.cls(**declaration.options)
                except Misconfigured:
                    continue
                extension._name = declaration.name or ""
                yield extension

    def discover(self) -> None:
        excluded = conf.DISCOVER_EXCLUDE
        for config in apps.get_app_configs():
            if config.name not in excluded and module_has_submodule(config.module, ROOM):
                self.load(f"{config.name}.{ROOM}")

    def read(self) -> Iterator[Declaration]:
        """The entries of SIGNAL_KIT["RECEIVERS"] whose class is the kit's or in a room for it."""
        try:
            entries = conf.RECEIVERS
        except Misconfigured:
            return
        for index, entry in enumerate(entries):
            path = entry.get("RECEIVER") if isinstance(entry, Mapping) else entry
            if not isinstance(path, str):
                continue
            module = path.rpartition(".")[0]
            if path in _READY_MADE or module.rpartition(".")[2] == ROOM:
                self.load(module)
                with suppress(Misconfigured):
                    yield read_entry(entry, f"SIGNAL_KIT['RECEIVERS'][{index}]")

    def load(self, module: str) -> None:
        """Import it. Raises Misconfigured if it imports models, and what it raises itself."""
        if module in sys.modules:
            return
        self.importing = module
        try:
            import_module(module)
        except Misconfigured:
            raise
        except (AppRegistryNotReady, ImportError) as error:
            # The module of models whose first model has brought us here.
            if isinstance(error, ImportError) and "partially initialized" not in str(error):
                raise
            raise imports_models(module) from error
        finally:
            self.importing = ""


def imports_models(module: str) -> Misconfigured:
    return Misconfigured(
        "E042",
        f"The module {module!r} imports models, which are made after it.",
        "Import them inside its functions, name them by label, or move what needs them to another "
        "module.",
    )


extensions = Extensions()
