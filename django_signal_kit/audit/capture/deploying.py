"""Triggers follow the tables: what ``migrate`` does to them.

Before a plan that changes tables, the triggers that name such a table are taken away, or are made
such as can do with any columns, where the database can have them; after it, all are made as the
models are now.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.apps import AppConfig, apps
from django.db import connections
from django.db.migrations import Migration, operations
from django.db.migrations.operations import RunPython, SeparateDatabaseAndState
from django.db.migrations.operations.base import Operation
from django.db.models import Model
from django.db.models.signals import post_migrate, pre_migrate

from django_signal_kit.audit.capture import standing
from django_signal_kit.audit.capture.installing import install, step_aside
from django_signal_kit.audit.capture.pieces import Piece
from django_signal_kit.audit.capture.wanted import Difference, list_installed, list_wanted

# What changes no column that a trigger names, nor takes any trigger away, by vendor.
_ALWAYS = (
    RunPython,
    operations.CreateModel,
    operations.AddIndex,
    operations.RemoveIndex,
    operations.RenameIndex,
    operations.AlterModelOptions,
    operations.AlterModelManagers,
    operations.AlterModelTableComment,
)
_IN_PLACE = (
    operations.AddField,
    operations.AddConstraint,
    operations.RemoveConstraint,
    operations.AlterUniqueTogether,
)
_HARMLESS = {
    "postgresql": (*_ALWAYS, *_IN_PLACE),
    "mysql": (*_ALWAYS, *_IN_PLACE),
    # Of most others it makes a new table, and the triggers go with the old one.
    "sqlite": _ALWAYS,
}

#: What a plan is: migrations, and whether each is undone.
Plan = Sequence[tuple[Migration, bool]]


def connect() -> None:
    """Follow ``migrate``, from now on."""
    pre_migrate.connect(_before, dispatch_uid="signal_kit:capture")
    post_migrate.connect(_after, dispatch_uid="signal_kit:capture")


def _before(
    app_config: AppConfig, using: str, plan: Plan = (), verbosity: int = 0, **kwargs: Any
) -> None:
    if not _is_first(app_config):
        return
    standing.suspend(using)
    installed = list_installed(using) if plan else []
    if not installed:
        return
    kept = find_kept(using, plan, list(list_wanted(using)))
    step_aside(using, [each for each in installed if each.name not in kept])


def _after(app_config: AppConfig, using: str, verbosity: int = 0, **kwargs: Any) -> None:
    # As early as can be: receivers of the signal may write.
    if _is_first(app_config):
        stdout = kwargs.get("stdout")
        found = install(using, _make_teller(stdout, verbosity))
        if found and verbosity and stdout is not None:
            stdout.write(f"Triggers of the audit log: {_sum_up(found)}.\n")
        standing.resume(using)


def find_kept(using: str, plan: Plan, wanted: Sequence[tuple[type[Model], Piece]]) -> set[str]:
    """The names of those of ``wanted`` that can stay while ``plan`` is carried out."""
    harmless = _HARMLESS[connections[using].vendor]
    touched = set(list_touched(plan, (model for model, _ in wanted), harmless))
    return {piece.name for model, piece in wanted if model not in touched}


def _is_first(app_config: AppConfig) -> bool:
    """Is it the one of which a signal of ``migrate`` tells first?"""
    first = next((each for each in apps.get_app_configs() if each.models_module), None)
    return app_config is first


def _sum_up(found: Difference) -> str:
    counts = {
        "installed": len(found.missing),
        "replaced": len(found.changed),
        "dropped": len(found.left),
    }
    return ", ".join(f"{count} {verb}" for verb, count in counts.items() if count)


def _make_teller(stdout: Any, verbosity: int) -> Any:
    if verbosity < 2 or stdout is None:
        return None

    def tell(verb: str, name: str, table: str) -> None:
        stdout.write(f"  {verb} {name} on {table}\n")

    return tell


def list_touched(
    plan: Plan, models: Iterable[type[Model]], harmless: tuple[type[Operation], ...]
) -> Iterator[type[Model]]:
    """Those of ``models`` whose columns, or those of whose links, a plan may change. What cannot
    say which it changes is taken to change them all."""
    steps = [
        step
        for migration, is_undone in plan
        for step in _flatten(migration.operations)
        # Undone, what makes something takes it away.
        if not isinstance(step, RunPython if is_undone else harmless)
    ]
    for model in dict.fromkeys(models):
        near = [model, *(field.related_model for field in model._meta.many_to_many)]
        if any(_touches(step, each) for step in steps for each in near):
            yield model


def _flatten(steps: Iterable[Operation]) -> Iterator[Operation]:
    for step in steps:
        if isinstance(step, SeparateDatabaseAndState):
            yield from _flatten(step.database_operations)
        else:
            yield step


def _touches(operation: Operation, model: Any) -> bool:
    try:
        return operation.references_model(model._meta.model_name, model._meta.app_label)
    except Exception:
        return True
