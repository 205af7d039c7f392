"""Keeps a column that says how many links a row has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db.models import IntegerField, Model, QuerySet

from django_signal_kit.exceptions import Misconfigured
from django_signal_kit.receiver import ModelReceiver
from django_signal_kit.relations.counting import LinkCount
from django_signal_kit.relations.sides import Side, get_side, lacks_relation
from django_signal_kit.units.unit import FlushOn
from django_signal_kit.writes.calls import tell_links_changed
from django_signal_kit.writes.links import LinkChange


class M2MCount(ModelReceiver):
    """Keeps, in a column of each row, how many links it has in a many-to-many relation.

    True after ``add``, ``remove``, ``clear`` and ``set`` from both sides, after the deletion of
    what is linked, after writes of the through model, in bulk too, and after a save of an
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

    _not_in_task = "until a worker has run, others would see a wrong count"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._counts: list[LinkCount] = []

    def get_links(self, side: Side, using: str) -> QuerySet[Any]:
        """The rows of the through model that count; by default all that lead somewhere."""
        links: QuerySet[Any] = QuerySet(side.through, using=using)
        return links.filter(**{f"{side.far.name}__isnull": False}) if side.far.null else links

    m2m_changed = tell_links_changed

    def links_changed(self, change: LinkChange, using: str, **kwargs: Any) -> None:
        if change.action == "add":
            return
        for count in self._counts:
            if count.side.links is change.relation:
                keys = change.get_keys(count.side.end)
                self._touch(count, keys, using)
                if change.action == "pre_add":
                    count.lock_early(keys, using)

    def post_save(
        self,
        sender: type[Model],
        instance: Model,
        created: bool | None,
        update_fields: Any,
        using: str,
        **kwargs: Any,
    ) -> None:
        for count in self._get_counts_of_rows(sender):
            self._check_own(count, instance, created, update_fields, using)

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
        for count in self._get_counts_of_rows(sender):
            for obj in objs:
                self._check_own(count, obj, created, None, using)

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
        # Named outright, so that its column is looked after: what is connected are its own rows.
        self._get_count(model)
        return (model,)

    def get_stamp_fields(self, model: type[Model]) -> list[str]:
        return [self.field]

    def list_counts(self, models: Iterable[type[Model]]) -> list[LinkCount]:
        """The columns of these covered models, each once."""
        return list(dict.fromkeys(self._get_count(model) for model in models))

    def _get_count(self, model: type[Model]) -> LinkCount:
        count = LinkCount(get_side(model, self.relation), self.field)
        if count not in self._counts:
            self._counts.append(count)
        return count

    def _get_counts_of_rows(self, model: type[Model]) -> list[LinkCount]:
        """Those that are columns of ``model``."""
        return [count for count in self._counts if issubclass(model, count.model)]

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
