"""A stamp never goes back, whoever writes the row meanwhile.

Two writers take their moments in one order and may write in the other: one has waited for the lock
of the other, or their clocks differ. What is told by one statement that reads nothing is decided
in the database. A save writes its row only while the stamp there is not later, so that the
instance holds what the row holds, and asks for the moment anew if it is.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

from django.db import connections
from django.db.models import Case, DateTimeField, F, Model, Value, When
from django.db.models.sql.where import AND, ExtraWhere

from django_signal_kit.rows.database import lock_rows

#: A stamp later than that of another row of the same moment.
_NEXT = datetime.timedelta(microseconds=1)
_TRIES = 5


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

    def __init__(self, instance: Model, field: Any, get_moment: Callable[[], Any]) -> None:
        self.instance = instance
        self.field = field
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
        model = base_qs.model
        for _ in range(_TRIES):
            rows = model._base_manager.using(using)
            self._narrow(rows.query, values[place][2], using)
            if found := update(rows, using, pk_val, values, *rest):
                return found
            present = lock_rows(base_qs.filter(pk=pk_val), connections[using])
            there = list(present.values_list(self.field.attname)[:1])
            if not there:
                return found
            values[place] = (self.field, None, self._take_moment(there[0][0]))
        return update(base_qs, using, pk_val, values, *rest)

    def _find(self, values: list[Any]) -> int | None:
        for place, (field, _, value) in enumerate(values):
            if field is self.field:
                return place if isinstance(value, datetime.date) else None
        return None

    def _narrow(self, query: Any, moment: Any, using: str) -> None:
        connection = connections[using]
        names = (query.model._meta.db_table, self.field.column)
        column = ".".join(map(connection.ops.quote_name, names)).replace("%", "%%")
        param = self.field.get_db_prep_save(moment, connection)
        condition = f"{column} <= %s OR {column} IS NULL"
        # As it is: a condition made of lookups costs more than the rest of the stamp.
        query.where.add(ExtraWhere([condition], [param]), AND)

    def _take_moment(self, there: Any) -> Any:
        moment = self.get_moment()
        if there is not None and there > moment:
            moment = there + _NEXT if isinstance(self.field, DateTimeField) else there
        setattr(self.instance, self.field.attname, moment)
        return moment
