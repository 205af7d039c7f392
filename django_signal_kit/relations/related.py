"""Rows that belong to another row: which of them are there, and adding what is missing once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, TypeAlias

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.db import IntegrityError, connections, transaction
from django.db.models import Exists, ForeignKey, Model, OuterRef, QuerySet

from django_signal_kit.exceptions import Misconfigured, did_you_mean
from django_signal_kit.rows.database import lock_rows
from django_signal_kit.units.locking import lock_before_reading

#: Writes instances of the related model to a database.
Write: TypeAlias = Callable[[list[Model], str], None]


class Link:
    """The foreign key, or one-to-one field, by which rows of ``model`` belong to a ``parent``."""

    def __init__(self, model: type[Model], field: Any) -> None:
        self.model = model
        self.field = field
        self.parent: type[Model] = field.remote_field.model._meta.concrete_model
        #: A parent has one such row at most, and the database sees to it.
        self.is_unique: bool = field.unique
        self._target: Any = field.target_field

    def get_key(self, parent: Model) -> Any:
        """What the rows of ``parent`` point to, as the database gives it back."""
        return self._target.to_python(getattr(parent, self._target.attname))

    def get_owner(self, row: Model) -> Any:
        """The key of the parent that ``row`` belongs to."""
        return getattr(row, self.field.attname)

    def get_parents(self, keys: Collection[Any], using: str) -> QuerySet[Any]:
        parents: QuerySet[Any] = QuerySet(self.parent, using=using)
        return parents.filter(**{f"{self._target.attname}__in": list(keys)})

    def get_all_rows(self, using: str) -> QuerySet[Any]:
        """The related rows, those too that their own manager would hide."""
        return QuerySet(self.model, using=using)

    def get_rows(self, keys: Collection[Any], using: str) -> QuerySet[Any]:
        """The related rows of the parents with these keys."""
        return self.get_all_rows(using).filter(**{f"{self.field.name}__in": list(keys)})

    def only_lacking(self, parents: QuerySet[Any]) -> QuerySet[Any]:
        """Those of ``parents`` that have no related row at all."""
        owner = OuterRef(self._target.attname)
        rows = self.get_all_rows(parents.db)
        return parents.filter(~Exists(rows.filter(**{self.field.name: owner})))

    def read_lacking(
        self, keys: Collection[Any], names: Sequence[str], using: str
    ) -> dict[Any, dict[str, Any]]:
        """Of the parents with these keys, those that are there and have no related row: key ->
        values of the fields ``names``. One query."""
        rows = self.only_lacking(self.get_parents(keys, using))
        found = rows.values_list(self._target.attname, *names)
        return {key: dict(zip(names, values, strict=True)) for key, *values in found}

    def read_having(self, keys: Collection[Any], using: str) -> set[Any]:
        """The keys of those parents that have a related row. One query."""
        rows = self.get_rows(keys, using)
        return set(rows.order_by().values_list(self.field.attname, flat=True))

    def lock(self, parents: QuerySet[Any], using: str) -> list[Any]:
        """Load these parents in the order of their keys, and lock them where that can be done."""
        lock_before_reading(connections[using], self.parent)
        return list(lock_rows(parents.order_by("pk"), connections[using]))

    def add(self, groups: Sequence[list[Model]], write: Write, using: str) -> int:
        """Write groups of rows, each of one parent, and return how many rows were written.

        A group whose parent has got a row from somebody else in the meantime is left out. Inside
        a savepoint, so that the transaction around it stays usable.
        """
        if not groups:
            return 0
        rows = [row for group in groups for row in group]
        try:
            with transaction.atomic(using):
                write(rows, using)
            return len(rows)
        except IntegrityError:
            if len(groups) > 1:
                return sum(self.add([group], write, using) for group in groups)
            if not (self.is_unique and self._has_row(self.get_owner(rows[0]), using)):
                raise
            return 0

    def _has_row(self, key: Any, using: str) -> bool:
        # Whoever reads from a snapshot sees only with a lock what others have committed.
        rows = self.get_rows([key], using).order_by()
        return bool(lock_rows(rows, connections[using]).values_list("pk"))


def find_links(model: type[Model]) -> list[ForeignKey[Any, Any]]:
    """The fields by which rows of ``model`` may belong to others: its one-to-one fields, or its
    foreign keys if it has none of those."""
    fields: list[Any] = [
        field
        for field in model._meta.concrete_fields
        if isinstance(field, ForeignKey) and not getattr(field.remote_field, "parent_link", False)
    ]
    return [field for field in fields if field.one_to_one] or fields


def find_link(receiver: str, related: str | type[Model], name: str) -> Link:
    """The link that the options 'related' and 'field' of a receiver name. Raises Misconfigured."""
    is_model = isinstance(related, type) and issubclass(related, Model)
    model: Any = related if is_model else _find_model(receiver, related)
    if name:
        try:
            found = [model._meta.get_field(name)]
        except FieldDoesNotExist:
            found = []
        found = [field for field in found if field in model._meta.concrete_fields]
        found = [field for field in found if field.many_to_one or field.one_to_one]
    else:
        found = list(find_links(model))
    if len(found) == 1:
        return Link(model, found[0])
    names = [field.name for field in find_links(model)]
    which = f"{name!r} is none" if name else f"it has {len(names)}"
    raise Misconfigured(
        "E035",
        f"{receiver} needs a foreign key or one-to-one field of {model._meta.label}, and {which}.",
        f"Name one by the option 'field': {', '.join(map(repr, names))}."
        if names
        else "Add one, or name another model by the option 'related'.",
    )


def _find_model(receiver: str, related: Any) -> type[Model]:
    try:
        return apps.get_model(related)
    except (LookupError, ValueError, AttributeError):
        labels = [model._meta.label for model in apps.get_models()]
        raise Misconfigured(
            "E035",
            f"The option 'related' of {receiver} is {related!r}, which is no model.",
            did_you_mean(related, labels, 'Write "app_label.Model".'),
        ) from None


def find_unique_field(model: type[Model], instances: Iterable[Model]) -> Any:
    """A field by which rows can be found whose keys nobody told, or None."""
    instances = list(instances)
    for field in model._meta.concrete_fields:
        if field.unique and not field.primary_key:
            values = [instance.__dict__.get(field.attname) for instance in instances]
            if all(value is not None and not hasattr(value, "as_sql") for value in values):
                return field
    return None
