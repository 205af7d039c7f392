"""What the commands about the log have in common."""

from __future__ import annotations

from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError
from django.db import connections, router
from django.db.models import IntegerField, Model

from django_signal_kit.audit.entries import get_entry_model
from django_signal_kit.audit.models import AuditSeal


class LogCommand(BaseCommand):
    """A command about the log in one database."""

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--using",
            metavar="ALIAS",
            help="The database of the log. By default the one that it is written to.",
        )

    def get_log(self, alias: str | None) -> tuple[type[Model], str]:
        """The model of the log, and the database. Raises CommandError if it cannot be sealed."""
        model: type[Model] = get_entry_model()
        using = alias or router.db_for_write(model)
        if using not in connections:
            raise CommandError(
                f"There is no database {using!r}. Choose from {', '.join(sorted(connections))}."
            )
        if not isinstance(model._meta.pk, IntegerField):
            raise CommandError(
                f"{model._meta.label} has the key {model._meta.pk.name!r}, which does not count "
                f"up, so it cannot be sealed. Leave its key to AbstractAuditEntry."
            )
        for table in (model._meta.db_table, AuditSeal._meta.db_table):
            if table not in connections[using].introspection.table_names():
                raise CommandError(
                    f"The database {using!r} has no table {table!r}. Run migrate "
                    f"--database {using}, or name another with --using."
                )
        return model, using
