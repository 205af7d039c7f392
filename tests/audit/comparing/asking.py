"""Asks whether rows are what the log says."""

from __future__ import annotations

from typing import Any

from django.db import connections
from django.db.models import Model, QuerySet

from django_signal_kit.audit.comparing.finding import Finding
from django_signal_kit.audit.comparing.walking import get_walks


def find(*labels: str, **options: Any) -> list[Finding]:
    """All that is wrong with rows of the models of these labels, or of all covered ones."""
    return [
        finding
        for walk in get_walks(labels, **options)
        for _, findings in walk.run()
        for finding in findings
    ]


def tell(*labels: str, **options: Any) -> list[tuple[Any, ...]]:
    """The same in short: ``("changed", "1", {"stock": (told, found)})``."""
    return [
        (
            finding.kind,
            finding.key,
            {
                each.field: (each.told, each.found)
                if len(each) == 4 and hasattr(each, "told")
                else (each.verb, each.member)  # type: ignore[union-attr]
                for each in finding.differences
            },
        )
        for finding in find(*labels, **options)
    ]


def run_sql(sql: str, *params: Any, using: str = "default") -> None:
    with connections[using].cursor() as cursor:
        cursor.execute(sql, params)


def change(row: Model, column: str, value: Any, using: str = "default") -> None:
    """By raw SQL, past all receivers."""
    quote = connections[using].ops.quote_name
    meta = row._meta
    field = meta.get_field(column)
    owner = field.model._meta
    run_sql(
        f"UPDATE {quote(owner.db_table)} SET {quote(field.column)} = %s "
        f"WHERE {quote(owner.pk.column)} = %s",
        value,
        owner.pk.get_db_prep_value(getattr(row, owner.pk.attname), connections[using]),
        using=using,
    )


def delete(row: Model, using: str = "default") -> None:
    """Past all receivers; of a multi-table child its own table alone."""
    rows: QuerySet[Any] = QuerySet(type(row), using=using)
    rows.filter(pk=row.pk)._raw_delete(using)
