"""What an item of ``models`` or ``exclude`` means; else, what to write in its place."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.apps import apps
from django.utils.module_loading import import_string

from django_signal_kit.exceptions import Misconfigured, did_you_mean
from django_signal_kit.options import say_value
from django_signal_kit.receiver import ModelReceiver

_FORMS = 'Write "app_label.Model", "app_label.*" or a dotted path.'


def get_specs(receiver: ModelReceiver) -> Iterable[Any]:
    """What the receiver says that it covers. Raises Misconfigured if that is no list."""
    specs: Any = receiver.get_models()
    if isinstance(specs, str | type):
        raise Misconfigured(
            "E008",
            f"get_models() of {receiver.name} returns {specs!r}, which is no list.",
            f"Return [{say_value(specs)}].",
        )
    return specs  # type: ignore[no-any-return]


def parse(receiver: ModelReceiver, option: str, spec: Any) -> Any:
    """``"__all__"``, an app label, or a class. Raises Misconfigured for anything else."""
    if isinstance(spec, type) or spec == "__all__":
        return spec
    where = f"The option {option!r} of {receiver.name} has {spec!r}"
    if not isinstance(spec, str):
        raise Misconfigured("E008", f"{where}, which is no model.", _FORMS)
    app_label, dot, name = spec.rpartition(".")
    if name == "*":
        if app_label in [config.label for config in apps.get_app_configs()]:
            return app_label
        why = f"but there is no app {app_label!r}" if app_label else "which names no app"
        raise Misconfigured("E008", f"{where}, {why}.", _advise_app(spec))
    if dot and "." not in app_label:
        try:
            return apps.get_model(app_label, name)
        except LookupError:
            pass
    if "." in app_label:
        try:
            found = import_string(spec)
        except ImportError:
            found = None
        if isinstance(found, type):
            return found
    raise Misconfigured("E008", f"{where}, but there is no such model.", _advise(spec))


def _advise_app(spec: str) -> str:
    """What to write in the place of a pattern whose app is not there."""
    label = spec[:-2]
    if not label:
        return 'For all models write "__all__", for those of an app "app_label.*".'
    configs = list(apps.get_app_configs())
    for config in configs:
        if label in (config.name, f"{config.name}.models"):
            return f'An app is named by its label: write "{config.label}.*".'
    model = _find_model(label)
    if model is not None:
        return f'Write "{model}".'
    return did_you_mean(label, [config.label for config in configs])


def _advise(spec: str) -> str:
    """What to write in the place of what is no model."""
    if spec.strip("_*").casefold() in ("all", ""):
        return 'For all models write "__all__".'
    for config in apps.get_app_configs():
        if spec.casefold() in (config.label.casefold(), config.name, f"{config.label}.models"):
            return f'For all models of the app write "{config.label}.*".'
    model = _find_model(spec)
    if model is not None:
        return f'Write "{model}".'
    return did_you_mean(spec, [model._meta.label for model in apps.get_models()], _FORMS)


def _find_model(name: str) -> str | None:
    """The label of the model that is meant by ``"Product"``, ``"shop.models.Product"`` or
    ``"shop.Product"`` with something too much, if it is the only one."""
    words = [word.casefold() for word in name.split(".")]
    found = [
        model._meta.label
        for model in apps.get_models()
        if model._meta.model_name in words
        and (len(words) == 1 or model._meta.app_label.casefold() in words)
    ]
    return found[0] if len(found) == 1 else None
