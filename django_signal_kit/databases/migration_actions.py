"""Makes what has to be there after ``migrate``, and checks the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.apps import AppConfig
from django.apps import apps as installed_apps
from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.migrations.recorder import MigrationRecorder

from django_signal_kit.databases import consistency, ensured, validation
from django_signal_kit.databases.attempts import Run
from django_signal_kit.databases.objects import SQLObject, SQLObjects, get_sql_objects
from django_signal_kit.exceptions import Misconfigured, did_you_mean
from django_signal_kit.receiver import Receiver
from django_signal_kit.wiring.idle import check_idle

# The options that say what there is to do, and the hooks in which a subclass may say it.
_ACTIONS = ("ensure", "groups", "sites", "sql", "consistency_before", "consistency")
_HOOKS = ("get_rows", "get_groups", "get_sql_objects", "before_migrate", "after_migrate")


class MigrationActions(Receiver):
    """Acts once for each ``migrate`` of a database, when all apps have had their turn.

    First rows, groups and sites, then SQL objects, then data checks. All of it can be done again
    and again. What fails stops ``migrate`` with a sentence; the migrations themselves stand.
    """

    #: Aliases of the databases to act on.
    databases: Sequence[str] = (DEFAULT_DB_ALIAS,)
    #: Rows that have to be there: ``{"model", "lookup", "defaults", "update"}``. A query each.
    ensure: Sequence[Mapping[str, Any]] = ()
    #: Groups and what they may do at least: ``{"Clerks": ["shop.change_product"]}``. Three queries
    #: each.
    groups: Mapping[str, Sequence[str]] = {}
    #: Domains of ``django.contrib.sites``: ``{1: "shop.example"}``. A query each.
    sites: Mapping[int, str] = {}
    #: Views, functions and triggers: ``{"name", "create", "drop"}``. Two queries for all.
    sql: Sequence[Mapping[str, Any]] = ()
    #: Drop all of ``sql`` before migrations are applied, so that tables under a view can change.
    #: It is missing meanwhile, and after a migration that fails.
    sql_drop_first: bool = False
    #: What finds rows that are wrong before migrations are applied, and stops them. A query each.
    consistency_before: Sequence[Any] = ()
    #: What finds rows that are wrong at the end. A query each.
    consistency: Sequence[Any] = ()

    def get_rows(self, using: str) -> Sequence[Mapping[str, Any]]:
        """The rows to ensure in a database; the option ``ensure`` by default."""
        return self.ensure

    def get_groups(self, using: str) -> Mapping[str, Sequence[str]]:
        """The groups to ensure in a database; the option ``groups`` by default."""
        return self.groups

    def get_sql_objects(self, using: str) -> list[SQLObject]:
        """What the database has to have, in order: ``SQLObject(name, create, drop)``. By default
        those of the option ``sql`` that are for its vendor."""
        return get_sql_objects(self.sql, connections[using].vendor)

    def should_act(self, using: str) -> bool:
        """Whether to act on this database. By default if ``databases`` names it."""
        return using in self.databases

    def before_migrate(self, run: Run) -> None:
        """Called once, before the first migration is applied; not if there is none to apply.
        ``run`` has ``using`` and ``apps``, with the models as their tables are now."""
        # A fresh database has no data to be wrong.
        if self.consistency_before and MigrationRecorder(connections[run.using]).has_table():
            for entry in self.consistency_before:
                consistency.check(run, entry)
        if self.sql_drop_first:
            SQLObjects(run, self.name).drop_all()

    def after_migrate(self, run: Run) -> None:
        """Called once after each ``migrate`` and each ``flush``, when all apps had their turn.
        ``run`` has ``using`` and ``apps``, with the models as their tables are now."""
        with transaction.atomic(run.using):
            self._ensure(run)
        SQLObjects(run, self.name).sync(self.get_sql_objects(run.using))
        for entry in self.consistency:
            consistency.check(run, entry)

    def pre_migrate(self, app_config: AppConfig, using: str, **kwargs: Any) -> None:
        if kwargs.get("plan") and app_config is get_senders()[0] and self.should_act(using):
            self.before_migrate(self._get_run(using, **kwargs))

    def post_migrate(self, app_config: AppConfig, using: str, **kwargs: Any) -> None:
        if app_config is get_senders()[-1] and self.should_act(using):
            self.after_migrate(self._get_run(using, **kwargs))

    def check(self) -> None:
        for alias in self.databases:
            if alias not in connections:
                raise Misconfigured(
                    "E031",
                    f"The option 'databases' of {self.name} has {alias!r}, which is not in "
                    f"DATABASES.",
                    did_you_mean(alias, connections),
                )
        validation.check_rows(self.name, self.ensure)
        validation.check_groups(self.name, self.groups)
        validation.check_sites(self.name, self.sites)
        validation.check_objects(self.name, self.sql)
        for option in ("consistency_before", "consistency"):
            validation.check_consistency(self.name, option, getattr(self, option))
        # An empty list that is given drops what was in it before.
        is_set = "sql" in vars(self) or any(getattr(self, name) for name in _ACTIONS)
        check_idle(self, MigrationActions, _ACTIONS, _HOOKS, is_set=is_set)
        check_idle(self, MigrationActions, ["databases"], ["should_act"])

    def _ensure(self, run: Run) -> None:
        for entry in self.get_rows(run.using):
            what = f"{entry['model']} {dict(entry['lookup'])}"
            with run.attempt(f"Ensuring {what}"):
                if run.admits(run.apps.get_model(entry["model"]), what):
                    ensured.ensure_row(run, entry)
        for name, permissions in self.get_groups(run.using).items():
            with run.attempt(f"Ensuring the group {name!r}"):
                if run.admits(run.apps.get_model("auth.Group"), f"the group {name!r}"):
                    ensured.ensure_group(run, name, permissions)
        for pk, domain in self.sites.items():
            with run.attempt(f"Ensuring the site {domain!r}"):
                if run.admits(run.apps.get_model("sites.Site"), f"the site {domain!r}"):
                    ensured.ensure_site(run, pk, domain)

    def _get_run(
        self,
        using: str,
        apps: Any = installed_apps,
        plan: Sequence[Any] = (),
        verbosity: int = 1,
        stdout: Any = None,
        **kwargs: Any,
    ) -> Run:
        aliases = [alias for alias in connections if self.should_act(alias)]
        return Run(using, apps, bool(plan), verbosity, stdout, self.name, aliases)


def get_senders() -> list[AppConfig]:
    """The apps that the two signals are sent for, in order: those that have models."""
    return [config for config in installed_apps.get_app_configs() if config.models_module]
