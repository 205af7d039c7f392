"""Adds fields, managers, methods and properties to models, your own and those of others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db.models import Field, Manager, Model

from django_signal_kit.extension import extending
from django_signal_kit.receiver import ModelReceiver
from django_signal_kit.wiring.idle import check_idle
from django_signal_kit.wiring.senders import Coverage


class ModelExtension(ModelReceiver):
    """Adds to each covered model when its class has been made, before anything uses it.

    Written in the ``extensions.py`` of an app, which is imported before the first model and so
    cannot import any, or listed in the settings. Attributes alone may come from anywhere, such as
    a ``signals.py``. Multi-table children and proxies inherit. Historical models, which migrations
    work with, are left alone. What was added at the start stays until the process ends.
    """

    #: Name -> field. Only for models of the project's own apps, where ``makemigrations`` writes
    #: the migration; a pattern skips others. Each model gets a copy.
    fields: Mapping[str, Field[Any, Any]] = {}
    #: Name -> manager. The model's default manager stays what it was. Each model gets a copy.
    managers: Mapping[str, Manager[Any]] = {}
    #: Name -> function, which becomes a method, property or any other value.
    attributes: Mapping[str, Any] = {}

    def should_extend(self, model: type[Model]) -> bool:
        """Whether to extend a model that ``models`` covers; by default each. The registry of apps
        is not complete when this is asked: look at the class and its ``_meta`` alone."""
        return True

    def get_fields(self, model: type[Model]) -> Mapping[str, Field[Any, Any]]:
        """The fields that ``model`` gets; by default the option."""
        return self.fields

    def get_managers(self, model: type[Model]) -> Mapping[str, Manager[Any]]:
        """The managers that ``model`` gets; by default the option."""
        return self.managers

    def get_attributes(self, model: type[Model]) -> Mapping[str, Any]:
        """The methods, properties and values that ``model`` gets; by default the option."""
        return self.attributes

    def class_prepared(self, sender: type[Model], **kwargs: Any) -> None:
        if self._covers(sender):
            extending.add_fields(sender, self.get_fields(sender), self._owner)
            extending.add_managers(sender, self.get_managers(sender), self._owner)
            extending.add_attributes(sender, self.get_attributes(sender), self._owner)

    def extend_late(self) -> None:
        """Add the attributes that models lack because this class was imported after them."""
        for model in self._get_covered():
            extending.add_attributes(model, self.get_attributes(model), self._owner, is_late=True)

    def check(self) -> None:
        options = ["fields", "managers", "attributes"]
        check_idle(self, ModelExtension, options, [f"get_{option}" for option in options])
        specs = self.get_models()
        for model in self._get_covered():
            extending.check(
                self.name,
                self._owner,
                model,
                any(extending.is_named(model, spec) for spec in specs),
                self.get_fields(model),
                self.get_managers(model),
                self.get_attributes(model),
            )

    @property
    def _owner(self) -> str:
        """The same at the start, when names are not told apart yet, and later."""
        cls = type(self)
        return f"{cls.__module__}.{cls.__qualname__} {self.name.rpartition('.')[2]}"

    def _covers(self, model: type[Model]) -> bool:
        return (
            extending.can_be_extended(model)
            and any(extending.matches(model, spec) for spec in self.get_models())
            and not any(extending.matches(model, spec) for spec in self.exclude)
            and self.should_extend(model)
        )

    def _get_covered(self) -> list[type[Model]]:
        # A parent comes before its children, which inherit from it.
        covered = [model for model in Coverage(self).get_models() if self.should_extend(model)]
        return sorted(covered, key=lambda model: len(model.__mro__))
