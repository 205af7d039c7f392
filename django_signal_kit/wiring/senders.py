"""From what the settings say ("shop.*", an abstract base) to the models to connect to."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from django.apps import apps
from django.db.models import Model

from django_signal_kit.exceptions import Misconfigured, did_you_mean
from django_signal_kit.receiver import ModelReceiver, ModelSpec
from django_signal_kit.tasks.places import QUEUE_APPS
from django_signal_kit.wiring.specs import get_specs, parse

# The kit's own apps, and what a project puts in the place of their models.
_OWN_MARK = "signal_kit_own"


class Coverage:
    """Which models a receiver covers: those there are, and those still to come."""

    def __init__(self, receiver: ModelReceiver, specs: Sequence[ModelSpec] | None = None) -> None:
        """By ``specs``; by default all that the receiver has. Raises Misconfigured if a spec names
        no model, or one that lacks what is needed."""
        self.receiver = receiver
        self.bases: list[type] = []
        self.labels: set[str] = set()
        self.all = False
        for spec in get_specs(receiver) if specs is None else specs:
            self._include(spec)
        self.excluded = _Patterns(receiver, receiver.exclude)
        self._left_out: dict[type[Model], bool] = {}

    def _include(self, spec: ModelSpec) -> None:
        pattern = parse(self.receiver, "models", spec)
        if pattern == "__all__":
            self.all = True
        elif isinstance(pattern, str):
            self.labels.add(pattern)
        else:
            self.bases.append(pattern)
            if _is_concrete(pattern) and (lack := self.receiver.lacks(pattern)):
                raise Misconfigured(
                    "E012",
                    f"{self.receiver.name} cannot cover {pattern._meta.label}: it has {lack}.",
                    _guess(pattern, lack),
                )

    def __contains__(self, model: type[Model]) -> bool:
        if not can_be_covered(model):
            return False
        is_matched = self.all or model._meta.app_label in self.labels
        return (
            (
                (is_matched and not self._leaves_out(model))
                or any(issubclass(model, base) for base in self.bases)
            )
            and not self.excluded.match(model)
            and not self.receiver.lacks(model)
        )

    def means(self, model: type[Model]) -> bool:
        """Is ``model`` meant by a spec, though it may not be covered?"""
        return can_be_covered(model) and (
            self.all
            or model._meta.app_label in self.labels
            or any(issubclass(model, base) for base in self.bases)
        )

    def _leaves_out(self, model: type[Model]) -> bool:
        if model._meta.app_label in QUEUE_APPS:
            return True
        try:
            return self._left_out[model]
        except KeyError:
            found = self._left_out[model] = self.receiver._leaves_out(model)
            return found

    def get_models(self) -> list[type[Model]]:
        """The covered models of the app registry."""
        return [model for model in apps.get_models() if model in self]


class _Patterns:
    def __init__(self, receiver: ModelReceiver, specs: Sequence[ModelSpec]) -> None:
        self.tests: list[Callable[[type[Model]], bool]] = []
        for spec in specs:
            pattern = parse(receiver, "exclude", spec)
            if pattern == "__all__":
                self.tests.append(lambda model: True)
            elif isinstance(pattern, str):
                self.tests.append(lambda model, label=pattern: model._meta.app_label == label)  # type: ignore[misc]
            else:
                self.tests.append(lambda model, base=pattern: issubclass(model, base))  # type: ignore[misc]

    def match(self, model: type[Model]) -> bool:
        return any(test(model) for test in self.tests)


def can_be_covered(model: type[Model]) -> bool:
    """Not what Django makes by itself, what another model stands in for, and the kit's own."""
    meta = model._meta
    return not (meta.abstract or meta.auto_created or meta.swapped or hasattr(model, _OWN_MARK))


def _is_concrete(cls: type) -> bool:
    return issubclass(cls, Model) and not cls._meta.abstract


def _guess(model: type[Model], lack: str) -> str:
    """The field that may be meant by a name that ``lack`` has in quotes."""
    names = [field.name for field in model._meta.get_fields()]
    remedy = "Leave the model out, or give the option the name of a field that it has."
    for wrong in re.findall(r"'(\w+)'", lack):
        near = did_you_mean(wrong, names, remedy)
        if wrong not in names and near != remedy:
            return near
    return remedy
