"""Says in the row itself when, and by whom, it was changed last."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Collection, Iterable, Mapping, MutableSet, Sequence
from typing import Any

from django.core.checks import CheckMessage
from django.db.models import Field, Model, QuerySet
from django.utils import timezone

from django_signal_kit.current import get_context
from django_signal_kit.receiver import ModelReceiver
from django_signal_kit.stamps import configuration
from django_signal_kit.stamps.columns import (
    Stamps,
    find_date_field,
    lacks_date_field,
    lacks_foreign_key,
)
from django_signal_kit.stamps.explicit import note_written
from django_signal_kit.stamps.parents import Parents
from django_signal_kit.stamps.touching import Touch, update_all
from django_signal_kit.stamps.writing import Writer, keep_given, make_values, stamp_values
from django_signal_kit.writes.calls import tell_links_changed
from django_signal_kit.writes.links import LinkChange


class LastModified(ModelReceiver):
    """Stamps a row at each save, under ``update_fields`` and deferred loading too, and in bulk
    writes: ``bulk_create``, ``bulk_update`` and ``QuerySet.update()``.

    The stamp is written by the statement of the save itself, without a query of its own, is never
    earlier than the one that is there, and the instance holds what the database holds. Fixtures
    keep the stamps that they bring.
    """

    #: The date or datetime field of the stamp; of several names the first that a model has.
    field: str | Sequence[str] = ("updated_at", "modified", "modified_at", "last_modified")
    #: The foreign key to the user who changed the row; empty for none. Left as it is where
    #: nobody is known, or somebody to whom it cannot point.
    by_field: str = ""
    #: The date or datetime field that is stamped once, when the row is new; empty for none.
    created_field: str = ""
    #: The foreign key to the user who made the row; empty for none.
    created_by_field: str = ""
    #: Paths of foreign keys to rows that are stamped with a row: ``["order", "order__customer"]``.
    #: Costs an UPDATE for each model at the end of the unit of work, and a transaction.
    touch: Sequence[str] = ()
    #: Do not stamp a row that a save leaves as it was. Costs a query before each save of a row
    #: that is there, and a transaction.
    only_if_changed: bool = False
    #: Leave alone a stamp that the caller has set himself. What is loaded is kept beside the
    #: instances for it.
    keep_explicit: bool = False

    _guards_updates = True
    _not_in_task = "until a worker has run, a stamp would be older than its row"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if (self.touch or self.only_if_changed) and "flush_on" not in options:
            # A row and its parents, or what was compared and what is written: both, or neither.
            self.flush_on = "before_commit"
        self._stamps: dict[type[Model], Stamps] = {}
        self._parents = Parents(self.touch, self._note)

    def get_timestamp(self, instance: Model | None) -> datetime.datetime:
        """The moment to write; aware if ``USE_TZ``. ``instance`` is None for the rows of a
        ``QuerySet.update()``, which are not read, and for those that are touched."""
        return timezone.now()

    def get_editor(self, instance: Model | None) -> Any:
        """The user who changes the row, or None; by default the context's actor. One to whom the
        foreign key cannot point is not written: another model's row, a text, a user of another
        database."""
        return get_context()["actor"]

    def should_stamp(self, instance: Model) -> bool:
        """Whether this save changes the stamp. ``QuerySet.update()`` does not ask."""
        return True

    def pre_save(
        self,
        instance: Model,
        using: str,
        update_fields: MutableSet[str] | None,
        **kwargs: Any,
    ) -> None:
        if not self.should_stamp(instance):
            return
        stamps = self._get_stamps(type(instance))
        writer = Writer(self, stamps, instance, update_fields, using)
        if self.only_if_changed and writer.leaves_as_it_was():
            return
        writer.write()
        if self.touch:
            self._parents.remember(instance, using)

    def post_save(
        self, instance: Model, update_fields: Collection[str] | None, using: str, **kwargs: Any
    ) -> None:
        if self.touch:
            self._parents.save(instance, update_fields, using)
        note_written(instance, self.get_loaded_fields(type(instance)), update_fields)

    def pre_delete(self, instance: Model, using: str, **kwargs: Any) -> None:
        self._parents.delete(instance, using)

    m2m_changed = tell_links_changed

    def links_changed(self, change: LinkChange, using: str, **kwargs: Any) -> None:
        self._parents.link(change, using)

    def pre_bulk_create(
        self,
        objs: Sequence[Model],
        using: str,
        update_conflicts: bool,
        update_fields: list[str] | None,
        **kwargs: Any,
    ) -> None:
        for instance in objs:
            self.pre_save(instance=instance, using=using, update_fields=None)
        if update_conflicts and update_fields is not None:
            stamps = self._get_stamps(type(objs[0]))
            names = [field.name for field in (stamps.changed, stamps.by) if field is not None]
            update_fields += [name for name in names if name not in update_fields]

    def post_bulk_create(self, objs: Sequence[Model], using: str, **kwargs: Any) -> None:
        for instance in objs:
            self.post_save(instance=instance, using=using, update_fields=None)

    def pre_bulk_update(
        self,
        sender: type[Model],
        objs: Sequence[Model],
        fields: MutableSet[str],
        using: str,
        **kwargs: Any,
    ) -> None:
        # What the caller names himself is written as he has set it.
        given = [field for field in self._get_stamps(sender).fields if field.name in fields]
        for instance in objs:
            values = keep_given(instance, given)
            self.pre_save(instance=instance, using=using, update_fields=fields)
            for name, value in values:
                setattr(instance, name, value)

    def post_bulk_update(
        self, objs: Sequence[Model], fields: Collection[str], using: str, **kwargs: Any
    ) -> None:
        for instance in objs:
            self.post_save(instance=instance, using=using, update_fields=fields)

    def pre_queryset_update(
        self,
        sender: type[Model],
        queryset: QuerySet[Any],
        values: dict[str, Any],
        rows: Any,
        using: str,
        **kwargs: Any,
    ) -> None:
        if self.touch:
            self._parents.update(queryset, rows, values, using)
        stamp_values(self, self._get_stamps(sender), sender, values, using, rows)

    def flush(self, items: list[Touch]) -> None:
        """Stamp the rows that were touched: one UPDATE for each model."""
        update_all(items, self._get_values)

    def check(self) -> None:
        configuration.check(self)

    def get_warnings(self) -> list[CheckMessage]:
        return configuration.get_warnings(self, LastModified)

    def lacks(self, model: type[Model]) -> str | None:
        found = lacks_date_field(model, self.field)
        if found is None and self.created_field:
            found = lacks_date_field(model, self.created_field)
        for name in (self.by_field, self.created_by_field):
            if found is None and name:
                found = lacks_foreign_key(model, name)
        return found

    def get_methods(self, signal_names: Iterable[str]) -> Mapping[str, Callable[..., Any]]:
        # What nothing that is set has need of would cost for nothing.
        idle = set() if self.touch else {"pre_delete", "m2m_changed"}
        if not (self.touch or self.keep_explicit):
            idle |= {"post_save", "post_bulk_create", "post_bulk_update"}
        return {
            name: method
            for name, method in super().get_methods(signal_names).items()
            if name not in idle or getattr(type(self), name) is not getattr(LastModified, name)
        }

    def get_m2m_fields(self, model: type[Model]) -> list[Any]:
        found = super().get_m2m_fields(model)
        self._parents.listen(model, found)
        return found

    def get_old_fields(self, model: type[Model]) -> Iterable[Field[Any, Any]]:
        if self.only_if_changed:
            return model._meta.concrete_fields
        return self._parents.get_keys(model)

    def get_loaded_fields(self, model: type[Model]) -> Iterable[Field[Any, Any]]:
        stamps = self._get_stamps(model).fields if self.keep_explicit else []
        return [*stamps, *self._parents.get_keys(model)]

    def get_stamp_fields(self, model: type[Model]) -> list[str]:
        # Who changes what is stamped once, when the row is new, changes something.
        stamps = self._get_stamps(model)
        return [field.name for field in (stamps.changed, stamps.by) if field is not None]

    def _forget_models(self) -> None:
        self._stamps.clear()
        self._parents = Parents(self.touch, self._note)

    def _get_stamps(self, model: type[Model]) -> Stamps:
        try:
            return self._stamps[model]
        except KeyError:
            changed = find_date_field(model, self.field) or ""
            found = Stamps(
                model, changed, self.by_field, self.created_field, self.created_by_field
            )
            self._stamps[model] = found
            return found

    def _note(self, touch: Touch) -> None:
        self.collect(touch, key=touch, using=touch.using)

    def _get_values(self, model: type[Model], using: str) -> dict[str, Any]:
        return make_values(self, self._get_stamps(model), model, using, None)
