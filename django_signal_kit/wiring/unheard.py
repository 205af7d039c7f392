"""Foreign keys by which the database itself deletes or changes rows: nobody can hear of those.

What is told here is what Django's own ``CASCADE``, ``SET_NULL`` or ``SET_DEFAULT`` would have let
a receiver hear, and ``DB_CASCADE``, ``DB_SET_NULL`` or ``DB_SET_DEFAULT`` of Django 6.1 do not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.apps import apps
from django.core.checks import Warning
from django.db import models
from django.db.models import Field, Model

from django_signal_kit.receiver import ModelReceiver
from django_signal_kit.wiring.connecting import make_functions
from django_signal_kit.wiring.senders import Coverage

# The signals by which a receiver hears what Django does itself: it loads the children that it
# deletes, and writes to the others by QuerySet.update().
_DELETIONS = frozenset(("pre_delete", "post_delete"))
_UPDATES = frozenset(("pre_queryset_update", "post_queryset_update"))

_UNHEARD = {
    getattr(models, name): (verb, signals)
    for name, verb, signals in (
        ("DB_CASCADE", "deletes", _DELETIONS),
        ("DB_SET_NULL", "changes", _UPDATES),
        ("DB_SET_DEFAULT", "changes", _UPDATES),
    )
    if hasattr(models, name)
}


def check_foreign_keys(receivers: Iterable[ModelReceiver]) -> Iterator[Warning]:
    """One warning for each foreign key of which a receiver hears less than it may expect."""
    wired = [(receiver, Coverage(receiver), make_functions(receiver)) for receiver in receivers]
    for field, on_delete in _get_foreign_keys():
        verb, signals = _UNHEARD[on_delete]
        names = [
            receiver.name
            for receiver, coverage, functions in wired
            if not signals.isdisjoint(functions)
            and not receiver._hears_database(field.model)
            and _hears(receiver, coverage, field.model, signals.intersection(functions))
        ]
        if names:
            label, name = field.model._meta.label, on_delete.__name__
            yield Warning(
                f"The rows that {name} {verb} are not told to {', '.join(names)}: the database "
                f"{verb} them, and Django sends no signal.",
                hint=(
                    f"Write on_delete={name.removeprefix('DB_')}, or leave {label} out by the "
                    f"option 'exclude', or add 'signal_kit.W002' to SILENCED_SYSTEM_CHECKS."
                ),
                obj=field,
                id="signal_kit.W002",
            )


def _hears(
    receiver: ModelReceiver, coverage: Coverage, model: type[Model], signals: Iterable[str]
) -> bool:
    return any(
        model in receiver.get_senders(signal, covered)
        for signal in signals
        for covered in coverage.get_models()
    )


def _get_foreign_keys() -> Iterator[tuple[Field[Any, Any], Any]]:
    for model in apps.get_models():
        # Not the inherited ones: they are columns of the parent's table.
        for field in model._meta.local_fields:
            on_delete = getattr(field.remote_field, "on_delete", None)
            if on_delete in _UNHEARD:
                yield field, on_delete
