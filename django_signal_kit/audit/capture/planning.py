"""What ``migrate`` would do to triggers, told without doing it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db import connections
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.state import ProjectState

from django_signal_kit.audit.capture.deploying import Plan, find_kept
from django_signal_kit.audit.capture.vendors import NAMES
from django_signal_kit.audit.capture.wanted import (
    Tables,
    compare_with,
    fold,
    get_capturing,
    list_installed,
    list_wanted,
)


def tell_plan(
    using: str, app_label: str = "", migration_name: str = "", *, run_syncdb: bool = False
) -> Iterator[tuple[str, str, str]]:
    """What ``migrate`` with these arguments would do: "install", "replace", "drop" or "set aside"
    (until the plan is done), a name, and its table."""
    installed = list_installed(using)
    if not installed and (connections[using].vendor not in NAMES or not get_capturing()):
        return
    executor = MigrationExecutor(connections[using])
    plan = executor.migration_plan(_list_targets(executor.loader, app_label, migration_name))
    tables = _PlannedTables(executor, plan, run_syncdb=run_syncdb)
    wanted = list(list_wanted(using, tables=tables))
    kept = find_kept(using, plan, wanted)
    found = compare_with(using, (piece for _, piece in wanted), installed)
    for verb, pieces in (
        ("drop", found.left),
        ("replace", found.changed),
        ("set aside", [piece for piece in found.standing if piece.name not in kept]),
        ("install", found.missing),
    ):
        for piece in pieces:
            yield verb, piece.name, piece.table


def _list_targets(loader: Any, app_label: str, name: str) -> list[tuple[str, str | None]]:
    """As Django's command takes them."""
    if not app_label:
        return list(loader.graph.leaf_nodes())
    if not name:
        return [key for key in loader.graph.leaf_nodes() if key[0] == app_label]
    if name == "zero":
        return [(app_label, None)]
    target = (app_label, loader.get_migration_by_prefix(app_label, name).name)
    if target not in loader.graph.nodes and target in loader.replacements:
        return [loader.replacements[target].replaces[-1]]
    return [target]


class _PlannedTables(Tables):
    """Those that there will be once a plan is done."""

    def __init__(self, executor: Any, plan: Plan, *, run_syncdb: bool) -> None:
        super().__init__(executor.connection)
        self.has_kinds = self.has_log()
        unmigrated = executor.loader.unmigrated_apps
        self._columns: dict[str, set[str]] = {}
        for model in _project(executor, plan).apps.get_models(include_auto_created=True):
            meta = model._meta
            is_made = run_syncdb or meta.app_label not in unmigrated
            if is_made or self.has(meta.db_table):
                self._columns[meta.db_table] = {
                    str(field.column) for field in meta.concrete_fields
                }
        self.names = {fold(self.connection, table) for table in self._columns}

    def _list_columns(self, table: str) -> set[str]:
        return {self._fold_column(column) for column in self._columns[table]}


def _project(executor: Any, plan: Plan) -> ProjectState:
    """The models as migrations know them once ``plan`` is done."""
    loader = executor.loader
    nodes = loader.graph.nodes
    applied = {nodes[key] for key in loader.applied_migrations if key in nodes}
    applied |= {migration for migration, is_undone in plan if not is_undone}
    applied -= {migration for migration, is_undone in plan if is_undone}
    state = ProjectState(real_apps=loader.unmigrated_apps)
    for migration, _ in executor.migration_plan(loader.graph.leaf_nodes(), clean_start=True):
        if migration in applied:
            migration.mutate_state(state, preserve=False)
    return state
