"""Why triggers cannot record a model as Python does, seen from its tables."""

from __future__ import annotations

from django.apps import apps
from django.db import connections, router
from django.db.models import Model

from django_signal_kit.audit.capture.specification import Specification


class ObstacleError(Exception):
    """Why triggers cannot record a model as Python does; ``str()`` is the end of a sentence that
    begins with its label."""


def get_databases(model: type[Model]) -> list[str]:
    """The aliases of the databases in which the table of ``model`` is made."""
    return [alias for alias in connections if router.allow_migrate_model(alias, model)]


def check_model(model: type[Model]) -> None:
    """Raise ObstacleError if the rows of ``model`` are not those of one table of its own."""
    meta = model._meta
    if meta.proxy:
        raise ObstacleError("is a proxy, whose rows are those of another model")
    if meta.parents:
        raise ObstacleError("is a multi-table child, whose rows are in two tables")
    for relation in meta.related_objects:
        if relation.parent_link:
            raise ObstacleError(
                f"has the multi-table child {relation.related_model._meta.label}, whose rows are "
                f"in two tables"
            )
    if not meta.managed:
        raise ObstacleError("is not managed by migrate, so that its table may be anything")
    for other in apps.get_models(include_auto_created=True):
        if _shares(model, other):
            raise ObstacleError(f"has the same table as {other._meta.label}")


def _shares(model: type[Model], other: type[Model]) -> bool:
    return (
        other._meta.db_table == model._meta.db_table
        and other is not model
        and other._meta.managed
        and not other._meta.proxy
        and not set(get_databases(model)).isdisjoint(get_databases(other))
    )


def check_names(specification: Specification) -> None:
    """Raise ObstacleError if Django does not quote them as triggers do."""
    quote = connections[specification.using].ops.quote_name
    mark = quote("a")[0]
    for name in specification.list_names():
        # PostgreSQL takes a name that says its schema: 'stock"."holder'.
        is_long = connections[specification.using].vendor == "postgresql" and '"."' in name
        if mark in name and not is_long:
            raise ObstacleError(
                f"has a table or a column with {mark} in its name, so that triggers cannot tell "
                f"where it is: {name}"
            )
