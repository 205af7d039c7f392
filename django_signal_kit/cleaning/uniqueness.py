"""Uniqueness: whether no other row, stored or of the same write, has the same values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db.models import F, Model, Q, UniqueConstraint
from django.db.models.lookups import Exact, IsNull
from django.utils.hashable import make_hashable

from django_signal_kit.cleaning.constraints import Constraint
from django_signal_kit.cleaning.rules import CHUNK, Row, Rule


class Unique(Rule):
    """No other row has the same values: ``unique=True`` and ``unique_together``.

    ``written``: the rows of the database that are written over, and so are no others.
    """

    def __init__(
        self, using: str, model: type[Model], names: Sequence[str], written: Set[Any]
    ) -> None:
        super().__init__(using)
        self.model = model
        self.names = tuple(names)
        self.written = written

    def concerns(self, row: Row) -> bool:
        return row.exclude.isdisjoint(self.names) and None not in self._get_values(row)

    def is_broken(self, rows: Sequence[Row]) -> bool:
        return self._has_others(self._match_any(rows))

    def get_error(self, row: Row) -> ValidationError:
        error: ValidationError = row.instance.unique_error_message(self.model, self.names)
        return error

    def get_field(self, error: ValidationError) -> str:
        return self.names[0] if len(self.names) == 1 else NON_FIELD_ERRORS

    def apply(self, rows: Sequence[Row]) -> None:
        super().apply([row for row in rows if row.freed.isdisjoint(self.names)])
        self.compare(rows)

    def compare(self, rows: Sequence[Row]) -> None:
        """Find the rows that have the values of an earlier one of ``rows``."""
        seen = set()
        for row in rows:
            if self.concerns(row):
                values = make_hashable(self._get_values(row))
                if values in seen:
                    error = self.get_error(row)
                    row.add(error, self.get_field(error))
                seen.add(values)

    def _get_values(self, row: Row) -> tuple[Any, ...]:
        fields: list[Any] = [self.model._meta.get_field(name) for name in self.names]
        return tuple(getattr(row.instance, field.attname) for field in fields)

    def _match_any(self, rows: Sequence[Row]) -> Q:
        """The rows of the database that have the values of one of ``rows``."""
        if len(self.names) == 1:
            return Q((f"{self.names[0]}__in", {self._get_values(row)[0] for row in rows}))
        pairs = (zip(self.names, self._get_values(row), strict=True) for row in rows)
        return Q(*(Q(*pair) for pair in pairs), _connector=Q.OR)

    def _has_others(self, condition: Q) -> bool:
        found = self.model._default_manager.using(self.using).filter(condition)
        if not self.written:
            return found.exists()
        return not set(found.values_list("pk", flat=True)) <= self.written


class UniqueByConstraint(Constraint):
    """A ``UniqueConstraint``, with or without a condition and expressions.

    Two rows of the same write are compared with one another only if it has neither.
    """

    chunk = CHUNK

    def __init__(
        self, using: str, model: type[Model], constraint: UniqueConstraint, written: Set[Any]
    ) -> None:
        super().__init__(using, model, constraint)
        self.unique = Unique(using, model, constraint.fields, written)
        self.is_plain = not constraint.condition and bool(constraint.fields)
        self.expressions: list[Any] = [F(name) for name in constraint.fields] or [
            expression.get_expression_for_validation()
            if hasattr(expression, "get_expression_for_validation")
            else expression
            for expression in constraint.expressions
        ]
        self.names = set(_get_names(self.expressions))
        if constraint.condition:
            self.names |= constraint.condition.referenced_base_fields

    def concerns(self, row: Row) -> bool:
        return row.exclude.isdisjoint(self.names)

    def get_field(self, error: ValidationError) -> str:
        if getattr(error, "code", None) == "unique":
            return self.unique.get_field(error) if self.unique.names else NON_FIELD_ERRORS
        return NON_FIELD_ERRORS

    def is_broken(self, rows: Sequence[Row]) -> bool:
        condition = Q(*map(self._match, rows), _connector=Q.OR)
        if self.constraint.condition:
            condition &= self.constraint.condition
        return self.unique._has_others(condition)

    def apply(self, rows: Sequence[Row]) -> None:
        super().apply(rows)
        if self.is_plain:
            self.unique.compare(rows)

    def _match(self, row: Row) -> Q:
        """The rows of the database that have the values of this one."""
        values = row.instance._get_field_expression_map(self.model._meta, row.exclude)
        replacements = {F(name): value for name, value in values.items()}
        parts = []
        for expression in self.expressions:
            value = expression.replace_expressions(replacements)
            part = Q(Exact(expression, value))
            if self.constraint.nulls_distinct is False:
                part |= Q(IsNull(expression, True), IsNull(value, True))
            parts.append(part)
        return Q(*parts)


class UniqueForDate(Rule):
    """``unique_for_date`` and its like: one query for each row."""

    chunk = 1

    def __init__(self, using: str, check: tuple[Any, ...]) -> None:
        super().__init__(using)
        self.check = check

    def concerns(self, row: Row) -> bool:
        _, _, *names = self.check
        return row.exclude.isdisjoint(names)

    def is_broken(self, rows: Sequence[Row]) -> bool:
        return True

    def get_error(self, row: Row) -> ValidationError | None:
        errors = row.instance._perform_date_checks([self.check])
        return ValidationError(errors) if errors else None


def _get_names(expressions: Sequence[Any]) -> Iterator[str]:
    """The fields to which ``expressions`` refer."""
    for expression in expressions:
        parts: Any = expression.flatten() if hasattr(expression, "flatten") else (expression,)
        yield from (str(part.name) for part in parts if hasattr(part, "name"))
