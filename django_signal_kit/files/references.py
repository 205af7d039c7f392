"""Which rows name a file: in file fields, and in further columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from typing import Any

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.core.files.storage import Storage
from django.db import connections, router, transaction
from django.db.models import Field, FileField, Model, QuerySet

from django_signal_kit.exceptions import Misconfigured
from django_signal_kit.files.storages import identify, normalize
from django_signal_kit.units.loggers import get_logger

logger = get_logger("django_signal_kit.files")

_CHUNK = 500


def find_used(
    receiver: str,
    storage: Storage,
    names: Sequence[str],
    reference_fields: Iterable[str],
    spellings: Mapping[str, set[str]] | None = None,
) -> set[str]:
    """Those of ``names`` that must stay: a row names them, in a file field with the same storage
    or in one of ``reference_fields``, or the next one may. ``receiver``: who asks.
    ``spellings``: what :func:`get_spellings` says of the names."""
    if spellings is None:
        spellings = get_spellings(storage, names)
    candidates = sorted(set().union(*(spellings[name] for name in names)))
    used: set[str] = set()
    databases = [_Database(receiver, alias) for alias in connections]
    for model, field in _get_references(receiver, storage, reference_fields):
        if isinstance(field, FileField):
            used |= _get_defaults(field)
        for database in databases:
            used |= database.find(model, field, candidates)
    return {name for name in names if not used.isdisjoint(spellings[name])}


def get_spellings(storage: Storage, names: Iterable[str]) -> dict[str, set[str]]:
    """Name -> the names of that file, while it is there: of "a/b" and "a/./b" a row may have been
    given the second to have the first deleted."""
    folders: dict[str, str] = {}
    return {name: {name, normalize(storage, name, folders)} for name in names}


def parse_reference(receiver: str, reference: str) -> tuple[type[Model], Field[Any, Any]]:
    """The model and the field that ``"app.Model.field"`` names. Raises Misconfigured."""
    label, _, name = reference.rpartition(".")
    try:
        model = apps.get_model(label)
        field = model._meta.get_field(name)
    except (LookupError, ValueError, FieldDoesNotExist) as error:
        raise Misconfigured(
            "E012",
            f"The option 'reference_fields' of {receiver} has {reference!r}, which is no field: "
            f"{error}.",
            'Write "app.Model.field".',
        ) from error
    if field not in model._meta.concrete_fields:
        raise Misconfigured(
            "E012",
            f"The option 'reference_fields' of {receiver} has {reference!r}, which is no column.",
            'Write "app.Model.field".',
        )
    return model, field


def _get_references(
    receiver: str, storage: Storage, reference_fields: Iterable[str]
) -> Iterator[tuple[type[Model], Field[Any, Any]]]:
    for model in apps.get_models():
        if model._meta.proxy:
            continue
        for field in model._meta.local_concrete_fields:
            if isinstance(field, FileField) and identify(field.storage) == identify(storage):
                yield model, field
    for reference in reference_fields:
        yield parse_reference(receiver, reference)


def _get_defaults(field: FileField) -> set[str]:
    """Names that the next new row may hold."""
    db_default = getattr(field.db_default, "value", field.db_default)
    return {str(field.get_default() or ""), str(db_default)}


class _Database:
    """One of the databases, each of which may hold rows that name a file.

    What the router says of migrations is no answer: a table may have been made by others.
    """

    def __init__(self, receiver: str, alias: str) -> None:
        self.receiver = receiver
        self.alias = alias
        self.connection = connections[alias]

    def find(self, model: type[Model], field: Field[Any, Any], names: Sequence[str]) -> set[str]:
        """Those of ``names`` that a row of ``model`` holds; all of them if it cannot be asked."""
        if self._is_dummy() or not (
            router.allow_migrate_model(self.alias, model) or self._may_have(model)
        ):
            return set()
        rows: QuerySet[Any] = QuerySet(model, using=self.alias)
        found: set[str] = set()
        try:
            with self._guard():
                for start in range(0, len(names), _CHUNK):
                    chunk = names[start : start + _CHUNK]
                    values = rows.filter(**{f"{field.name}__in": chunk}).values_list(field.name)
                    found |= {str(value) for (value,) in values}
        except Exception as error:
            if self._may_have(model):
                logger.exception(
                    "%s could not ask %s in %r, so it deletes nothing",
                    self.receiver,
                    model._meta.label,
                    self.alias,
                    extra={
                        "receiver": self.receiver,
                        "model": model._meta.label,
                        "using": self.alias,
                        "count": len(names),
                        "error": type(error).__name__,
                    },
                )
                return set(names)
        return found

    def _may_have(self, model: type[Model]) -> bool:
        """Has it the table, or a view of this name? A second database often has the tables of a
        few apps alone. True if it cannot be told."""
        table = model._meta.db_table
        limit = self.connection.ops.max_name_length()
        is_plain = table.isidentifier() and (limit is None or len(table) <= limit)
        return not is_plain or self._tables is None or table.casefold() in self._tables

    @cached_property
    def _tables(self) -> set[str] | None:
        """The names of its tables and views; None if it does not tell."""
        try:
            with self._guard():
                names = self.connection.introspection.table_names(include_views=True)
        except Exception:
            return None
        return {name.casefold() for name in names}

    def _guard(self) -> AbstractContextManager[Any]:
        # In a transaction of somebody's, such as a TestCase's, an error must leave it usable.
        if self.connection.in_atomic_block:
            return transaction.atomic(using=self.alias)
        return nullcontext()

    def _is_dummy(self) -> bool:
        """An alias without a database: ``"default": {}`` where each model has one of its own."""
        engine: str = self.connection.settings_dict["ENGINE"]
        return engine == "django.db.backends.dummy"
