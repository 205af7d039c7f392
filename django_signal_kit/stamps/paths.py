"""Paths of foreign keys from a row to the rows that are stamped with it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db import connections
from django.db.models import Model, Q, QuerySet
from django.db.models.constants import LOOKUP_SEP


class StepError(LookupError):
    """A path names what is no foreign key of ``model``; ``known`` are those that there are."""

    def __init__(self, model: type[Model], name: str, known: Collection[str]) -> None:
        super().__init__(f"{model._meta.label} has no foreign key {name!r}")
        self.name = name
        self.known = known
        self.is_first = False


class Path:
    """``"order__customer"``: from a row of ``model`` to one of another model."""

    def __init__(self, model: type[Model], text: str) -> None:
        """Raises StepError for what is no foreign key."""
        self.model = model
        self.text = text
        self.steps: list[Any] = []
        self.target = model
        for name in text.split(LOOKUP_SEP):
            self.steps.append(self._get_step(self.target, name))
            self.target = self.steps[-1].remote_field.model._meta.concrete_model

    def _get_step(self, model: type[Model], name: str) -> Any:
        try:
            field: Any = model._meta.get_field(name)
        except FieldDoesNotExist:
            field = None
        if field is None or not _is_key(field):
            error = StepError(model, name, [f.name for f in model._meta.fields if _is_key(f)])
            error.is_first = not self.steps
            raise error
        return field

    @property
    def first(self) -> Any:
        """The foreign key of the row itself."""
        return self.steps[0]

    def select(self, keys: Any, using: str) -> Q:
        """Which rows of ``target`` the path leads to. ``keys``: what the first foreign key holds,
        a collection or a queryset of one column."""
        rows = keys
        for before, step in zip(self.steps, self.steps[1:], strict=False):
            found: QuerySet[Any] = QuerySet(before.remote_field.model, using=using)
            found = found.filter(**{f"{before.target_field.attname}__in": rows})
            rows = found.order_by().values(step.attname)
        last = self.steps[-1].target_field
        if isinstance(rows, QuerySet) and not _can_look_at(self.target, using):
            rows = [key for (key,) in rows.values_list(*rows.query.values_select)]
        return Q(**{f"{last.attname}__in": rows})

    def select_from(self, attname: str, keys: Collection[Any], using: str) -> Q:
        """The same by the rows of ``model`` themselves, known by another of their columns."""
        rows: QuerySet[Any] = QuerySet(self.model, using=using)
        rows = rows.filter(**{f"{attname}__in": keys}).order_by()
        return self.select(rows.values(self.first.attname), using)

    def find(self, q: Q, using: str) -> list[Any]:
        """The primary keys of those rows, as they are now."""
        rows: QuerySet[Any] = QuerySet(self.target, using=using)
        return list(rows.filter(q).order_by().values_list("pk", flat=True))


def find_paths(model: type[Model], texts: Collection[str]) -> list[Path]:
    """The paths that begin at ``model``; one that it knows nothing of is left out. Raises
    StepError for one that goes wrong later."""
    paths = []
    for text in texts:
        try:
            paths.append(Path(model, text))
        except StepError as error:
            if not error.is_first:
                raise
    return paths


def _is_key(field: Any) -> bool:
    return bool(
        field.concrete
        and (field.many_to_one or field.one_to_one)
        and isinstance(field.remote_field.model, type)
    )


def _can_look_at(model: type[Model], using: str) -> bool:
    """Can an UPDATE of this model's table be told by a subquery what it updates?"""
    # MySQL refuses a subquery of the table that is updated, and plans others badly.
    return connections[using].features.update_can_self_select
