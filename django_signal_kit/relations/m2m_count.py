"""Keeps a column that says how many links a row has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db.models import Field, IntegerField, Model, QuerySet

from django_signal_kit.exceptions import Misconfigured
from django_signal_kit.receiver import ModelReceiver
from django_signal_kit.relations.counting import LinkCount
from django_signal_kit.relations.links import Side, get_side, is_change_ahead, lacks_relation
from django_signal_kit.relations.pointers import in_parts
from django_signal_kit.relations.watchlist import Watchlist
from django_signal_kit.rows.snapshots import get_old_row
from django_signal_kit.units.unit import FlushOn, get_unit

_ROWS = frozenset(("post_save", "pre_bulk_create", "post_bulk_create"))


class M2MCount(ModelReceiver):
    """Keeps, in a column of each row, how many links it has in a many-to-many relation.

    True after ``add``, ``remove``, ``clear`` and ``set`` from both sides, after the deletion of
    what is linked, after writes of an explicit through model, in bulk too, and after a save of an
    instance that holds an old count. The database counts, once for each row that was touched, at
    the end of the unit of work and in its transaction: a lock and an UPDATE each 500 rows.
    """

    #: The many-to-many relation, by the name that it has on ``models``: a field's, or that of the
    #: manager on the other side ("product_set", a ``related_name``).
    relation: str = ""
    #: The column of ``models`` that holds the count; of whole numbers.
    field: str = ""
    #: When the rows are counted. Before the commit nobody ever sees a wrong count.
    flush_on: FlushOn = "before_commit"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._watched: Watchlist[LinkCount] = Watchlist()

    def get_links(self, side: Side, using: str) -> QuerySet[Any]:
        """The rows of the through model that count; by default all that lead somewhere."""
        links: QuerySet[Any] = QuerySet(side.through, using=using)
        return links.filter(**{f"{side.far.name}__isnull": False}) if side.far.null else links

    def m2m_changed(
        self,
        sender: type[Model],
        instance: Model,
        action: str,
        reverse: bool,
        pk_set: set[Any] | None,
        using: str,
        **kwargs: Any,
    ) -> None:
        if not is_change_ahead(action, pk_set):
            return
        for count, _ in self._watched.get_links(sender):
            keys = count.side.get_keys(instance, reverse, pk_set, using)
            self._touch(count, keys, using)
            if action == "pre_add":
                count.lock_early(keys, using)

    def pre_save(
        self, sender: type[Model], instance: Model, update_fields: Any, using: str, **kwargs: Any
    ) -> None:
        for count, pointer in self._watched.get_held(sender):
            if pointer.is_written(update_fields):
                get_old_row(instance, using)
                count.lock_early({getattr(instance, pointer.attname)}, using)

    def post_save(
        self,
        sender: type[Model],
        instance: Model,
        created: bool | None,
        update_fields: Any,
        using: str,
        **kwargs: Any,
    ) -> None:
        for count, pointer in self._watched.get_held(sender):
            if pointer.is_written(update_fields):
                old, new = pointer.read_saved(instance, created, using)
                if created is not False or old != new or count.side.far.null:
                    self._touch(count, {old, new}, using)
        for count in self._get_counts_of_rows(sender):
            self._check_own(count, instance, created, update_fields, using)

    def pre_delete(self, sender: type[Model], instance: Model, using: str, **kwargs: Any) -> None:
        for count, pointer in self._watched.get_deleted(sender):
            self._touch(count, pointer.read_deleted(instance, using), using)

    def pre_bulk_create(
        self, sender: type[Model], objs: Sequence[Model], using: str, **kwargs: Any
    ) -> None:
        for count, pointer in self._watched.get_held(sender):
            count.lock_early({getattr(obj, pointer.attname) for obj in objs}, using)

    def post_bulk_create(
        self,
        sender: type[Model],
        objs: Sequence[Model],
        using: str,
        ignore_conflicts: bool,
        update_conflicts: bool,
        **kwargs: Any,
    ) -> None:
        created = None if ignore_conflicts or update_conflicts else True
        for count, pointer in self._watched.get_held(sender):
            self._touch(count, {getattr(obj, pointer.attname) for obj in objs}, using)
        for count in self._get_counts_of_rows(sender):
            for obj in objs:
                self._check_own(count, obj, created, None, using)

    def pre_queryset_update(
        self,
        sender: type[Model],
        queryset: QuerySet[Any],
        values: dict[str, Any],
        using: str,
        **kwargs: Any,
    ) -> None:
        unit = get_unit()
        for count, pointer in self._watched.get_held(sender):
            far = count.side.far
            names = {far.name, far.attname} if far.null else set()
            if unit is not None and (pointer.is_written(values) or not names.isdisjoint(values)):
                rows = pointer.read_rows(queryset, using)
                self._touch(count, set(rows.values()), using)
                unit.notes[self, count] = list(rows)

    def post_queryset_update(self, sender: type[Model], using: str, **kwargs: Any) -> None:
        unit = get_unit()
        for count, pointer in self._watched.get_held(sender):
            pks = () if unit is None else unit.notes.pop((self, count), ())
            for some in in_parts(pks):
                self._touch(count, pointer.read(using, pk__in=some), using)

    def flush(self, items: list[tuple[LinkCount, str, bool, Any]]) -> None:
        """Count the links of the rows that were touched, and write it into their column."""
        groups: dict[tuple[LinkCount, str, bool], set[Any]] = {}
        for count, using, is_locked, key in items:
            groups.setdefault((count, using, is_locked), set()).add(key)
        for (count, using, is_locked), keys in groups.items():
            links = self.get_links(count.side, using)
            if is_locked:
                keys -= groups.get((count, using, False), set())
            count.recount(keys, links, is_locked=is_locked)

    def check(self) -> None:
        for option in ("relation", "field"):
            if not getattr(self, option):
                raise Misconfigured(
                    "E012",
                    f"The option {option!r} of {self.name} is empty.",
                    "Name the many-to-many relation by 'relation', and the column for its count "
                    "by 'field'.",
                )

    def lacks(self, model: type[Model]) -> str | None:
        if lack := lacks_relation(model, self.relation):
            return lack
        try:
            field = model._meta.get_field(self.field)
        except FieldDoesNotExist:
            return f"no field {self.field!r}"
        return None if isinstance(field, IntegerField) else f"no whole-number field {self.field!r}"

    def get_m2m_fields(self, model: type[Model]) -> list[Any]:
        return [self._get_count(model).side.relation]

    def get_senders(self, signal_name: str, model: type[Model]) -> Iterable[type[Model]]:
        pointer = self._get_count(model).side.pointer
        own = (model,) if signal_name in _ROWS or "bulk_update" in signal_name else ()
        return (*own, *pointer.get_senders(signal_name))

    def get_old_fields(self, model: type[Model]) -> list[Field[Any, Any]]:
        return [pointer.field for _, pointer in self._watched.get_held(model)]

    def get_stamp_fields(self, model: type[Model]) -> list[str]:
        return [self.field]

    def list_counts(self, models: Iterable[type[Model]]) -> list[LinkCount]:
        """The columns of these covered models, each once."""
        return list(dict.fromkeys(self._get_count(model) for model in models))

    def _get_count(self, model: type[Model]) -> LinkCount:
        count = LinkCount(get_side(model, self.relation), self.field)
        if count not in [known for known, _ in self._watched]:
            self._watched.add(count, count.side.pointer, count.side.through)
        return count

    def _get_counts_of_rows(self, model: type[Model]) -> list[LinkCount]:
        """Those that are columns of ``model``."""
        return [count for count, _ in self._watched if issubclass(model, count.model)]

    def _touch(self, count: LinkCount, keys: Iterable[Any], using: str) -> None:
        for key in keys:
            if key is not None:
                item = (count, using, False, key)
                self.collect(item, key=item, using=using)

    def _check_own(
        self,
        count: LinkCount,
        instance: Model,
        created: bool | None,
        update_fields: Any,
        using: str,
    ) -> None:
        """A save has written the column: an old count, perhaps, or a made-up one."""
        name = count.field.attname
        if update_fields is not None and name not in update_fields:
            return
        key = getattr(instance, count.side.key)
        if name not in instance.__dict__ or (created and instance.__dict__[name] == 0):
            return
        if key is not None:
            item = (count, using, True, key)
            self.collect(item, key=item, using=using)
