"""A stamp never goes back, whoever writes the row meanwhile.

Two writers take their moments in one order and may write in the other: one has waited for the lock
of the other, or their clocks differ. What is told by one statement that reads nothing is decided
in the database. A save writes its row only while the stamp there is not later, so that the
instance holds what the row holds, and asks for the moment anew if it is.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from functools import cache
from typing import Any

from django.db import connections
from django.db.models import Case, DateTimeField, F, Model, Value, When
from django.db.models.sql.where import ExtraWhere

from django_signal_kit.rows.columns import get_columns
from django_signal_kit.rows.database import lock_rows

#: A stamp later than that of another row of the same moment.
_NEXT = datetime.timedelta(microseconds=1)
_TRIES = 5
# Where the fields to be returned stand behind the values, since Django 6.0.
_RETURNING = 2


def at_least(field: Any, moment: Any) -> Case:
    """``moment`` for a column or, where the stamp there is later already, what comes after it."""
    there = F(field.name)
    later: Any = there + Value(_NEXT) if isinstance(field, DateTimeField) else there
    return Case(
        When(**{f"{field.name}__gt": moment}, then=later),
        default=Value(moment, output_field=field),
        output_field=field,
    )


class Guard:
    """The UPDATE of one save, which stamps ``field`` of ``instance``."""

    __slots__ = ("field", "get_moment", "instance")

    def __init__(self, instance: Model, field: Any, get_moment: Callable[..., Any]) -> None:
        self.instance = instance
        self.field = field
        #: ``get_moment(instance, field)``: a value for the field.
        self.get_moment = get_moment

    def __call__(
        self,
        update: Callable[..., Any],
        base_qs: Any,
        using: str,
        pk_val: Any,
        values: list[Any],
        *rest: Any,
    ) -> Any:
        place = self._find(values)
        if place is None:
            # Another table of a multi-table row, or a value that is nobody's moment.
            return update(base_qs, using, pk_val, values, *rest)
        condition = _get_condition(base_qs.model, self.field, using)
        is_direct = condition.is_for(update, pk_val)
        found: Any = False
        for _ in range(_TRIES):
            # It is this save's alone, made for this statement; somebody may have narrowed it.
            conditions = base_qs.query.where.children
            conditions.append(condition.make(using, values[place][2], pk_val, is_direct))
            if is_direct:
                found = base_qs._update(values, *rest[_RETURNING:]) or False
            else:
                found = update(base_qs, using, pk_val, values, *rest)
            if found:
                return found
            conditions.pop()
            present = lock_rows(base_qs.filter(pk=pk_val), connections[using])
            there = list(present.values_list(self.field.attname)[:1])
            if not there:
                return found
            values[place] = (self.field, None, self._take_moment(there[0][0]))
        return update(base_qs, using, pk_val, values, *rest)

    def _find(self, values: list[Any]) -> int | None:
        wanted = self.field
        for place, (field, _, value) in enumerate(values):
            if field is wanted:
                return place if isinstance(value, datetime.date) else None
        return None

    def _take_moment(self, there: Any) -> Any:
        moment = self.get_moment(self.instance, self.field)
        if there is not None and there > moment:
            moment = there + _NEXT if isinstance(self.field, DateTimeField) else there
        setattr(self.instance, self.field.attname, moment)
        return moment


class _Condition:
    """Which row an UPDATE may find: one whose stamp is not later. In SQL as it is: conditions made
    of lookups cost more than all the rest of a stamp, and Django makes that of the key by one. So
    it is given with ours, unless somebody has a way of his own to update."""

    def __init__(self, model: type[Model], field: Any, using: str) -> None:
        self.field = field
        self.key: Any = model._meta.pk
        # A composite key is no column.
        key = get_columns(model).get(self.key.attname)
        self._plain = None if key is None else key.plain
        quote = connections[using].ops.quote_name
        stamp_name, key_name = (
            f"{quote(model._meta.db_table)}.{quote(found.column or '')}".replace("%", "%%")
            for found in (field, self.key)
        )
        self._sqls = [f"{stamp_name} <= %s OR {stamp_name} IS NULL"]
        self._sqls_with_key = [f"{key_name} = %s AND ({self._sqls[0]})"]
        self._is_plain = not model._meta.select_on_save

    def is_for(self, update: Any, pk_val: Any) -> bool:
        """Can the key be told here, as ``update`` would? Nobody but Django is behind it."""
        return (
            self._is_plain
            and pk_val.__class__ is self._plain
            and update.func.__module__ == Model.__module__
        )

    def make(self, using: str, moment: Any, pk_val: Any, is_direct: bool) -> ExtraWhere:
        connection = connections[using]
        params = [self.field.get_db_prep_save(moment, connection)]
        if is_direct:
            params.insert(0, self.key.get_db_prep_value(pk_val, connection))
        return ExtraWhere(self._sqls_with_key if is_direct else self._sqls, params)


@cache
def _get_condition(model: type[Model], field: Any, using: str) -> _Condition:
    return _Condition(model, field, using)
