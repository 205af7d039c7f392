"""Constraints of ``Meta.constraints``: whether a row keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext, suppress
from typing import Any

from django.core.exceptions import FieldError, ValidationError
from django.db import DatabaseError, connections, transaction
from django.db.models import BooleanField, Model, Q, Value
from django.db.models.constraints import BaseConstraint
from django.db.models.functions import Coalesce
from django.db.models.lookups import Exact
from django.db.models.sql import Query

from django_signal_kit.cleaning.rules import CHUNK, Row, Rule


class Constraint(Rule):
    """A constraint of ``Meta.constraints``, of whichever kind: one query for each row."""

    chunk = 1

    def __init__(self, using: str, model: type[Model], constraint: BaseConstraint) -> None:
        super().__init__(using)
        self.model = model
        self.constraint: Any = constraint

    def concerns(self, row: Row) -> bool:
        # The constraint itself knows whether one of its fields is excluded.
        return True

    def is_broken(self, rows: Sequence[Row]) -> bool:
        return True

    def get_error(self, row: Row) -> ValidationError | None:
        try:
            self.constraint.validate(
                self.model, row.instance, exclude=row.exclude, using=self.using
            )
        except ValidationError as error:
            return error
        return None


class Check(Constraint):
    """A ``CheckConstraint``: the database computes its condition of many rows in one query."""

    chunk = CHUNK

    def is_broken(self, rows: Sequence[Row]) -> bool:
        selects: list[str] = []
        params: list[Any] = []
        for row in rows:
            # A field of the condition that is excluded is missing.
            with suppress(FieldError):
                sql, values = self._compile(row)
                selects.append(sql)
                params.extend(values)
        if not selects:
            return False
        connection = connections[self.using]
        guard = transaction.atomic(self.using) if connection.in_atomic_block else nullcontext()
        try:
            with guard, connection.cursor() as cursor:
                cursor.execute(" UNION ALL ".join(selects), params)
                return cursor.fetchone() is not None
        except DatabaseError:
            # A value that the database cannot even compare; each row by itself will tell.
            return True

    def _compile(self, row: Row) -> tuple[str, Sequence[Any]]:
        """SQL that selects something if the condition is false for ``row``."""
        query: Any = Query(None)
        values = row.instance._get_field_expression_map(self.model._meta, row.exclude)
        for name, value in values.items():
            query.add_annotation(value, name, select=False)
        query.add_annotation(Value(1), "_broken")
        holds = Coalesce(Q(self.constraint.condition), True, output_field=BooleanField())
        query.add_q(Q(Exact(holds, False)))
        sql, params = query.get_compiler(using=self.using).as_sql()
        return sql, params
