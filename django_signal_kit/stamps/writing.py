"""How a stamp gets into a row: of a save, or of an update whose rows are not read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, MutableSet
from typing import Any

from django.db.models import Case, F, Model, Value, When

from django_signal_kit.rows.snapshots import get_old_row, get_upserted_fields
from django_signal_kit.stamps.changes import find_same, has_changed
from django_signal_kit.stamps.columns import Stamps, can_point, fit
from django_signal_kit.stamps.explicit import is_explicit
from django_signal_kit.stamps.monotonic import Guard, at_least
from django_signal_kit.units.unit import get_unit
from django_signal_kit.writes.guarded import guard


class Writer:
    """Stamps one instance that is about to be saved."""

    __slots__ = ("given", "instance", "receiver", "stamps", "update_fields", "using")

    def __init__(
        self,
        receiver: Any,
        stamps: Stamps,
        instance: Model,
        update_fields: MutableSet[str] | None,
        using: str,
    ) -> None:
        self.receiver = receiver
        self.stamps = stamps
        self.instance = instance
        #: The very set that the save hands on to its SQL.
        self.update_fields = update_fields
        self.using = using
        #: What the caller has set himself.
        self.given: list[Any] = []
        if receiver.keep_explicit:
            self.given = [field for field in stamps.fields if is_explicit(instance, field)]

    def write(self) -> None:
        receiver, instance, stamps = self.receiver, self.instance, self.stamps
        moment, is_new = receiver.get_timestamp(instance), instance._state.adding
        field = stamps.changed
        if self.update_fields is not None:
            self.update_fields |= {given.name for given in self.given}
        if field not in self.given:
            self._set(field, fit(field, moment))
            if not is_new:
                self._guard()
        created = stamps.created
        if is_new and created is not None and getattr(instance, created.attname) is None:
            self._set(created, fit(created, moment))
        if stamps.by is not None or (is_new and stamps.created_by is not None):
            self._write_editors()

    def leaves_as_it_was(self) -> bool:
        """Does this save leave the row as it is? Then it leaves it its stamps, too."""
        old = None if self.given else get_old_row(self.instance, self.using)
        written: Collection[str] | None = self.update_fields
        if written is None:
            written = get_upserted_fields()
        if old is None or has_changed(self.instance, old, written, self.stamps.names):
            return False
        for field in self.stamps.fields:
            if field.attname in old:
                setattr(self.instance, field.attname, old[field.attname])
        return True

    def _write_editors(self) -> None:
        instance, stamps = self.instance, self.stamps
        fields = [stamps.by, stamps.created_by if instance._state.adding else None]
        wanted = [field for field in fields if field is not None and field not in self.given]
        if not wanted:
            return
        editor = self.receiver.get_editor(instance)
        # A new row does not know yet in which database it will be.
        instance._state.db = instance._state.db or self.using
        for field in wanted:
            if can_point(field, instance, editor):
                self._set(field, editor)

    def _set(self, field: Any, value: Any) -> None:
        name = field.attname if field.is_relation and not isinstance(value, Model) else field.name
        setattr(self.instance, name, value)
        if self.update_fields is not None:
            self.update_fields.add(field.name)

    def _guard(self) -> None:
        unit = get_unit()
        if unit is not None and unit.instance is self.instance:
            guard(unit, Guard(self.instance, self.stamps.changed, self._get_moment))

    def _get_moment(self, instance: Model, field: Any) -> Any:
        return _get_moment(self.receiver, instance, field)


def stamp_values(
    receiver: Any,
    stamps: Stamps,
    model: type[Model],
    values: dict[str, Any],
    using: str,
    rows: Any,
) -> None:
    """Add to ``values``, which an update of rows of ``model`` writes, what they lack of stamps."""
    found = make_values(receiver, stamps, model, using, rows)
    if receiver.only_if_changed:
        same = find_same(stamps, values, using)
        if same is not None:
            found = {name: _unless(same, stamps, name, value) for name, value in found.items()}
    given = dict(values)
    values.clear()
    # In front: MySQL sets one column after the other, and would look at what is new already.
    values.update(found | given)


def _unless(same: Any, stamps: Stamps, name: str, value: Any) -> Case:
    if isinstance(value, Model):
        target = stamps.by.target_field
        value = Value(getattr(value, target.attname), output_field=target)
    elif not hasattr(value, "resolve_expression"):
        value = Value(value, output_field=stamps.changed)
    return Case(When(same, then=F(name)), default=value)


def make_values(
    receiver: Any, stamps: Stamps, model: type[Model], using: str, rows: Any
) -> dict[str, Any]:
    """What an update of rows of ``model`` writes into their stamps; ``rows``: those, if they are
    read and locked."""
    field = stamps.changed
    moment = _get_moment(receiver, None, field)
    values = {field.name: moment}
    if not isinstance(rows, list) or _are_later(rows, field, moment):
        values[field.name] = at_least(field, moment)
    if stamps.by is not None:
        editor, row = receiver.get_editor(None), model()
        row._state.db = using
        if can_point(stamps.by, row, editor):
            values[stamps.by.name] = editor
    return values


def keep_given(instance: Model, fields: Iterable[Any]) -> list[tuple[str, Any]]:
    """Values, each with the name by which it is set: no row that is pointed to is loaded."""
    found = []
    for field in fields:
        is_key = field.is_relation and not field.is_cached(instance)
        name = field.attname if is_key else field.name
        found.append((name, getattr(instance, name)))
    return found


def _get_moment(receiver: Any, instance: Model | None, field: Any) -> Any:
    return fit(field, receiver.get_timestamp(instance))


def _are_later(rows: list[Model], field: Any, moment: Any) -> bool:
    stamps = [row.__dict__.get(field.attname) for row in rows]
    return any(stamp is not None and stamp > moment for stamp in stamps)
