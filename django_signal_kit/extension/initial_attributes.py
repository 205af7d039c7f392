"""Gives each new and each loaded instance attributes that are no columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db.models import Model

from django_signal_kit.exceptions import Misconfigured
from django_signal_kit.receiver import ModelReceiver
from django_signal_kit.wiring.idle import check_idle
from django_signal_kit.wiring.senders import Coverage

_MUTABLE = (list, dict, set, bytearray)


class InitialAttributes(ModelReceiver):
    """Sets attributes on instances as they are made, by hand or by a query, if they are not set.

    Never reads a field, and so never loads a deferred one. Runs at the end of ``__init__()``,
    where the values of the columns are there, for each row of each query.
    """

    #: Name -> value, or a function without arguments that makes one for each instance, such as
    #: ``list``.
    attributes: Mapping[str, Any] = {}

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._plans: dict[type[Model], tuple[tuple[str, Any, bool], ...]] = {}

    def get_attributes(self, model: type[Model]) -> Mapping[str, Any]:
        """What the instances of a model are given; by default the option. Asked once a model."""
        return self.attributes

    def post_init(self, instance: Model, **kwargs: Any) -> None:
        plan = self._plans.get(type(instance)) or self._get_plan(type(instance))
        values = instance.__dict__
        for name, value, is_made in plan:
            if name not in values:
                values[name] = value() if is_made else value

    def check(self) -> None:
        check_idle(self, InitialAttributes, ["attributes"], ["get_attributes"])
        for model in Coverage(self).get_models():
            self._get_plan(model)

    def _get_plan(self, model: type[Model]) -> tuple[tuple[str, Any, bool], ...]:
        attributes = self.get_attributes(model)
        for name, value in attributes.items():
            _check(self.name, model, name, value)
        plan = tuple((name, value, callable(value)) for name, value in attributes.items())
        self._plans[model] = plan
        return plan


def _check(receiver: str, model: type[Model], name: str, value: Any) -> None:
    what = f"The attribute {name!r} of {receiver}"
    if not str(name).isidentifier():
        raise Misconfigured("E018", f"{what} is no name of an attribute.", "Choose another.")
    if isinstance(value, _MUTABLE):
        raise Misconfigured(
            "E019",
            f"{what} is {value!r}, which all instances would share.",
            f"Give a function that makes one for each, such as {type(value).__name__}.",
        )
    try:
        model._meta.get_field(name)
        is_taken = True
    except FieldDoesNotExist:
        present = getattr(model, name, None)
        # What is set on the instance would hide a method, and be hidden by a property.
        is_taken = callable(present) or hasattr(type(present), "__get__") or name == "_state"
    if is_taken:
        raise Misconfigured(
            "E018",
            f"{what} is a field, a method or a property of {model._meta.label}.",
            f"Choose another name, or leave {model._meta.label} out.",
        )
