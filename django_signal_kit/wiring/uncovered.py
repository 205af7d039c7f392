"""Items of the option ``models`` that mean no model, and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches

from django.apps import apps
from django.core.checks import Warning
from django.db.models import Model

from django_signal_kit.exceptions import join
from django_signal_kit.receiver import ModelReceiver, ModelSpec
from django_signal_kit.wiring.senders import Coverage, can_be_covered

# As many models, or labels, are named in one sentence.
_MOST = 3


def check_coverage(receivers: Iterable[ModelReceiver]) -> Iterator[Warning]:
    """One warning for each receiver that covers nothing, and for each item of ``models`` by which
    another covers nothing."""
    for receiver in receivers:
        specs = receiver.get_models()
        vain = [spec for spec in specs if not Coverage(receiver, [spec]).get_models()]
        if len(vain) == len(specs):
            reasons = [explain(receiver, spec) for spec in vain[:_MOST]]
            yield Warning(
                f"{receiver} covers no model, so it hears nothing.",
                hint=" ".join(reasons) or "Set its option 'models'.",
                id="signal_kit.W001",
            )
            continue
        for spec in vain:
            yield Warning(
                f"The option 'models' of {receiver.name} has {spec!r}, which adds no model.",
                hint=explain(receiver, spec),
                id="signal_kit.W009",
            )


def explain(receiver: ModelReceiver, spec: ModelSpec) -> str:
    """Why ``receiver`` covers no model by this item."""
    coverage = Coverage(receiver, [spec])
    meant = [model for model in apps.get_models() if coverage.means(model)]
    if not meant:
        return f"Nothing matches {spec!r}. {suggest(spec)}".rstrip()
    excluded = [model for model in meant if coverage.excluded.match(model)]
    if len(excluded) == len(meant):
        return f"The option 'exclude' leaves out {join(map(label, meant), most=_MOST)}."
    reasons = (
        f"{label(model)} has {lack}"
        if (lack := receiver.lacks(model))
        else f"{label(model)} is covered only if it is named outright"
        for model in meant
        if model not in excluded
    )
    return f"{join(reasons, most=_MOST)}."


def suggest(spec: ModelSpec) -> str:
    """The labels of models, or the patterns, that are near to an item that means none."""
    models = [model for model in apps.get_models() if can_be_covered(model)]
    if isinstance(spec, str) and spec.endswith(".*"):
        labels = {model._meta.app_label: f"{model._meta.app_label}.*" for model in models}
        near = get_close_matches(spec[:-2], labels, n=_MOST, cutoff=0.5) or list(labels)
    else:
        word = spec if isinstance(spec, str) else spec.__name__
        labels = {model.__name__: label(model) for model in models}
        near = get_close_matches(word.rpartition(".")[2], labels, n=_MOST, cutoff=0.5)
    found = [repr(labels[name]) for name in near]
    return f"There is {join(found, 'or', _MOST)}." if found else ""


def label(model: type[Model]) -> str:
    return model._meta.label
