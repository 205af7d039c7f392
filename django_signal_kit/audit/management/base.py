"""What the commands about the log have in common."""

from __future__ import annotations

from argparse import ArgumentParser

from django.contrib.contenttypes.models import ContentType
from django.core.management.base import BaseCommand, CommandError
from django.db import connections, router
from django.db.models import IntegerField, Model

from django_signal_kit.audit.databases import list_missing_tables
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
        model = find_entry_model()
        using = alias or router.db_for_write(model)
        check_database(using)
        if not isinstance(model._meta.pk, IntegerField):
            raise CommandError(
                f"{model._meta.label} has the key {model._meta.pk.name!r}, which does not count "
                f"up, so it cannot be sealed. Leave its key to AbstractAuditEntry."
            )
        check_tables(using, model, AuditSeal)
        return model, using


def find_entry_model() -> type[Model]:
    """The model of the log. Raises CommandError if the setting names none."""
    try:
        model: type[Model] = get_entry_model()
    except (LookupError, ValueError) as error:
        raise CommandError(
            f"SIGNAL_KIT_AUDIT_ENTRY_MODEL names no model of the log: {error}"
        ) from error
    return model


def check_log(alias: str | None, *others: type[Model], option: str = "--using") -> str:
    """The database of the log; ``alias``, if it is given. Raises CommandError if the tables of the
    log, of content types and of ``others`` are not in it. ``option``: that names another."""
    model = find_entry_model()
    using = alias or router.db_for_write(model)
    check_tables(using, model, ContentType, *others, option=option)
    return using


def check_database(alias: str) -> None:
    """Raise CommandError if the settings know no such database."""
    if alias not in connections:
        raise CommandError(
            f"There is no database {alias!r}. Choose from {', '.join(sorted(connections))}."
        )


def check_tables(using: str, *models: type[Model], option: str = "--using") -> None:
    """Raise CommandError if a table of one of ``models`` is not in this database."""
    for table in list_missing_tables(using, models):
        raise CommandError(
            f"The database {using!r} has no table {table!r}. Run migrate --database {using}, or "
            f"name another with {option}."
        )
