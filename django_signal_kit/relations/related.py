"""Rows that belong to another row: which of them are there, and adding what is missing once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from django.db import IntegrityError, connections, transaction
from django.db.models import Exists, F, Field, ForeignKey, Model, OuterRef, QuerySet

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

    def read_stale(
        self, keys: Collection[Any], sync: Mapping[str, Any], using: str
    ) -> tuple[list[Model], set[str]]:
        """The related rows, already given the values that they should have, of which a field
        differs from the parent's; and the names of those fields. One query, which locks them.

        ``sync``: name of the parent's field -> field of the related model.
        """
        targets = [(f"signal_kit_new_{name}", field) for name, field in sync.items()]
        new = {
            f"signal_kit_new_{name}": F(f"{self.field.name}__{name}") for name in sync
        }  # As the database holds it: an instance may hold an F(), or be older than its row.
        rows = lock_rows(self.get_rows(keys, using).annotate(**new), connections[using])
        stale: list[Model] = []
        names: set[str] = set()
        for row in rows:
            differing = {
                field.name for alias, field in targets if _give(row, field, getattr(row, alias))
            }
            if differing:
                stale.append(row)
                names |= differing
        return stale, names


def _give(row: Model, field: Field[Any, Any], value: Any) -> bool:
    """Set a field, and tell whether that changed it."""
    value = field.to_python(value)
    if getattr(row, field.attname) == value:
        return False
    setattr(row, field.attname, value)
    return True


def find_links(model: type[Model]) -> list[ForeignKey[Any, Any]]:
    """The fields by which rows of ``model`` may belong to others: its one-to-one fields, or its
    foreign keys if it has none of those."""
    fields: list[Any] = [
        field
        for field in model._meta.concrete_fields
        if isinstance(field, ForeignKey) and not getattr(field.remote_field, "parent_link", False)
    ]
    return [field for field in fields if field.one_to_one] or fields


def find_unique_field(model: type[Model], instances: Iterable[Model]) -> Any:
    """A field by which rows can be found whose keys nobody told, or None."""
    instances = list(instances)
    for field in model._meta.concrete_fields:
        if field.unique and not field.primary_key:
            values = [instance.__dict__.get(field.attname) for instance in instances]
            if all(value is not None and not hasattr(value, "as_sql") for value in values):
                return field
    return None
