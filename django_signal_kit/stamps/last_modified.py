"""Says in the row itself when, and by whom, it was changed last."""

from __future__ import annotations

import datetime
from collections.abc import MutableSet, Sequence
from typing import Any

from django.core.checks import CheckMessage
from django.core.exceptions import FieldDoesNotExist
from django.db import router
from django.db.models import DateField, DateTimeField, Model
from django.utils import timezone

from django_signal_kit.current import get_context
from django_signal_kit.exceptions import join
from django_signal_kit.middleware import get_missing
from django_signal_kit.receiver import ModelReceiver
from django_signal_kit.wiring.idle import overrides


class LastModified(ModelReceiver):
    """Stamps a row at each save, under ``update_fields`` and deferred loading too, and in bulk
    writes: ``bulk_create``, ``bulk_update`` and ``QuerySet.update()``.

    The stamp is written by the statement of the save itself, without a query of its own, and the
    instance holds what the database holds. Fixtures keep the stamps that they bring.
    """

    #: The date or datetime field of the stamp.
    field: str = "updated_at"
    #: The foreign key to the user who changed the row; empty for none. Left as it is where
    #: nobody is known, or only a user of another database.
    by_field: str = ""
    #: The date or datetime field that is stamped once, when the row is new; empty for none.
    created_field: str = ""
    #: The foreign key to the user who made the row; empty for none.
    created_by_field: str = ""

    def get_timestamp(self, instance: Model | None) -> datetime.datetime:
        """The moment to write; aware if ``USE_TZ``. ``instance`` is None for the rows of a
        ``QuerySet.update()``, which are not read."""
        return timezone.now()

    def get_editor(self, instance: Model | None) -> Any:
        """The user who changes the row, or None. By default the context's actor, if it is one
        that a row can point to: not an anonymous user, nor a text."""
        actor = get_context()["actor"]
        return None if getattr(actor, "pk", None) is None else actor

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
        moment = self.get_timestamp(instance)
        stamps = {self.field: moment}
        is_new = instance._state.adding
        if is_new and self.created_field and getattr(instance, self.created_field) is None:
            stamps[self.created_field] = moment
        for name, stamp in stamps.items():
            self._write(instance, name, _fit(type(instance), name, stamp), update_fields)
        if self.by_field or (is_new and self.created_by_field):
            editor = self.get_editor(instance)
            # A new row does not know yet in which database it will be.
            instance._state.db = instance._state.db or using
            if editor is not None and _can_point(instance, editor):
                if self.by_field:
                    self._write(instance, self.by_field, editor, update_fields)
                if is_new and self.created_by_field:
                    self._write(instance, self.created_by_field, editor, update_fields)

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
            stamps = (self.field, self.by_field)
            update_fields += [name for name in stamps if name and name not in update_fields]

    def pre_bulk_update(
        self,
        sender: type[Model],
        objs: Sequence[Model],
        fields: MutableSet[str],
        using: str,
        **kwargs: Any,
    ) -> None:
        # What the caller names himself is written as he has set it.
        given = [name for name in self._list_fields() if name in fields]
        for instance in objs:
            values = [_get(instance, name) for name in given]
            self.pre_save(instance=instance, using=using, update_fields=fields)
            for name, value in values:
                setattr(instance, name, value)

    def pre_queryset_update(
        self, sender: type[Model], values: dict[str, Any], using: str, **kwargs: Any
    ) -> None:
        if self.field not in values:
            values[self.field] = _fit(sender, self.field, self.get_timestamp(None))
        if self.by_field and self.by_field not in values:
            editor = self.get_editor(None)
            row = sender()
            row._state.db = using
            if editor is not None and _can_point(row, editor):
                values[self.by_field] = editor

    def lacks(self, model: type[Model]) -> str | None:
        dates = (self.field, self.created_field)
        for name in self._list_fields():
            try:
                field = model._meta.get_field(name)
            except FieldDoesNotExist:
                return f"no field {name!r}"
            if name in dates and not isinstance(field, DateField):
                return f"no date or datetime field {name!r}"
        return None

    def get_warnings(self) -> list[CheckMessage]:
        names = [name for name in (self.by_field, self.created_by_field) if name]
        if not names or overrides(self, LastModified, ["get_editor"]):
            return []
        return get_missing(
            f"{self.name} does not know who makes a request, and leaves "
            f"{join(map(repr, names))} as {'it is' if len(names) == 1 else 'they are'}"
        )

    def get_stamp_fields(self, model: type[Model]) -> list[str]:
        # Who changes what is stamped once, when the row is new, changes something.
        return [name for name in (self.field, self.by_field) if name]

    def _list_fields(self) -> list[str]:
        names = (self.field, self.by_field, self.created_field, self.created_by_field)
        return [name for name in names if name]

    def _write(
        self, instance: Model, name: str, value: Any, update_fields: MutableSet[str] | None
    ) -> None:
        setattr(instance, name, value)
        if update_fields is not None:
            # The very set that the save hands on to its SQL.
            update_fields.add(name)


def _get(instance: Model, name: str) -> tuple[str, Any]:
    """A value, and the name by which it is set: a row that is pointed to is not loaded for it."""
    field: Any = instance._meta.get_field(name)
    if field.is_relation and not field.is_cached(instance):
        name = field.attname
    return name, getattr(instance, name)


def _can_point(instance: Model, editor: Any) -> bool:
    return not isinstance(editor, Model) or router.allow_relation(editor, instance)


def _fit(model: type[Model], name: str, moment: datetime.datetime) -> Any:
    if isinstance(model._meta.get_field(name), DateTimeField):
        return moment
    return timezone.localdate(moment) if timezone.is_aware(moment) else moment.date()
