"""An action that fails stops ``migrate``, unless there are migrations still to be applied."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from django.core.management.base import CommandError
from django.db import connections, router, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Model


class MigrationActionError(CommandError):
    """An action of ``MigrationActions`` could not be done, or data are not as they have to be."""


@dataclass(frozen=True)
class Run:
    """One ``migrate`` or ``flush`` of a database: ``apps`` has the models as their tables are."""

    using: str
    apps: Any
    has_plan: bool
    verbosity: int = 1
    stdout: Any = None
    #: The name of the receiver that acts, and on which databases.
    owner: str = ""
    aliases: Sequence[str] = ()

    def admits(self, model: type[Model], what: str) -> bool:
        """May the table of ``model`` be here? If it may be in none of the databases that are acted
        on, ``what`` would never be done, and that is said."""
        if router.allow_migrate_model(self.using, model):
            return True
        if not any(router.allow_migrate_model(alias, model) for alias in self.aliases):
            places = [alias for alias in connections if router.allow_migrate_model(alias, model)]
            remedy = (
                f"Add {' or '.join(map(repr, places))} to its option 'databases'."
                if places
                else "Let a router allow it, or take it out of the options."
            )
            self.say(
                f"  Left out: {what}. No router allows {model._meta.label} on a database that "
                f"{self.owner} acts on ({', '.join(map(repr, self.aliases))}). {remedy}"
            )
        return False

    def say(self, text: str, verbosity: int = 1) -> None:
        if self.verbosity >= verbosity:
            (self.stdout or sys.stdout).write(text + "\n")

    @contextmanager
    def attempt(
        self, what: str, atomic: Callable[[str], AbstractContextManager[None]] = transaction.atomic
    ) -> Iterator[None]:
        """Do ``what`` as a whole. Where it fails because the database is not wholly migrated
        (``migrate shop zero``), it is left out with a line that says so."""
        try:
            with atomic(self.using):
                yield
        except MigrationActionError:
            raise
        except Exception as error:
            if is_migrated(self.using):
                raise MigrationActionError(
                    f"{what} failed on the database {self.using!r}: {error}"
                ) from error
            self.say(f"  Left out, as migrations are still to be applied: {what} ({error})")


def atomic_ddl(using: str) -> AbstractContextManager[None]:
    """A transaction, where it holds CREATE and DROP as well; MariaDB commits at each of them."""
    if connections[using].features.can_rollback_ddl:
        return transaction.atomic(using)
    return nullcontext()


def is_migrated(using: str) -> bool:
    """Are all migrations applied? Reads them from the disk, so ask only where something failed."""
    executor = MigrationExecutor(connections[using])
    return not executor.migration_plan(executor.loader.graph.leaf_nodes())
