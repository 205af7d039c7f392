"""What only the database can say of a row: whether its keys lead anywhere, whether it is unique,
and whether it keeps the constraints.

A rule is asked of many rows at once: one query says whether any of them breaks it, and only if one
does, they are halved until it is found. What is wrong with a single row Django itself says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from contextlib import nullcontext, suppress
from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS, FieldError, ValidationError
from django.db import DatabaseError, connections, router, transaction
from django.db.models import (
    BooleanField,
    CheckConstraint,
    F,
    ForeignKey,
    Model,
    Q,
    UniqueConstraint,
    Value,
)
from django.db.models.base import ModelState
from django.db.models.constraints import BaseConstraint
from django.db.models.functions import Coalesce
from django.db.models.lookups import Exact, IsNull
from django.db.models.sql import Query
from django.utils.hashable import make_hashable

#: How many rows are asked for in one query.
CHUNK = 200


class Row:
    """An instance that is to be written, and what has been found out about it."""

    __slots__ = ("errors", "exclude", "instance", "position")

    def __init__(self, position: int, instance: Any, exclude: set[str]) -> None:
        self.position = position
        self.instance = instance
        #: Names of the fields that are not written, or are wrong already.
        self.exclude = exclude
        self.errors: dict[str, list[ValidationError]] = {}

    def add(self, error: ValidationError, field: str = NON_FIELD_ERRORS) -> None:
        """A dict of errors is about the fields that it names."""
        if hasattr(error, "error_dict"):
            error.update_error_dict(self.errors)
        else:
            self.errors.setdefault(field, []).extend(error.error_list)
        self.exclude.update(self.errors.keys() - {NON_FIELD_ERRORS})


class Rule:
    """Asked of rows that are to be written to the database ``using``."""

    chunk = CHUNK

    def __init__(self, using: str) -> None:
        self.using = using

    def concerns(self, row: Row) -> bool:
        """Whether the row has all the values that the rule is about."""
        raise NotImplementedError

    def is_broken(self, rows: Sequence[Row]) -> bool:
        """Whether one of ``rows`` at least may break it; asked by one query."""
        raise NotImplementedError

    def get_error(self, row: Row) -> ValidationError | None:
        """What is wrong with a row, of which ``is_broken()`` is true."""
        raise NotImplementedError

    def get_field(self, error: ValidationError) -> str:
        """The field to which the error belongs."""
        return NON_FIELD_ERRORS

    def apply(self, rows: Sequence[Row]) -> None:
        """Give each row that breaks the rule its error."""
        concerned = [row for row in rows if self.concerns(row)]
        for start in range(0, len(concerned), self.chunk):
            for row in self._find(concerned[start : start + self.chunk]):
                error = self.get_error(row)
                if error is not None:
                    row.add(error, self.get_field(error))

    def _find(self, rows: Sequence[Row]) -> Iterator[Row]:
        if not self.is_broken(rows):
            return
        if len(rows) == 1:
            yield rows[0]
            return
        half = len(rows) // 2
        yield from self._find(rows[:half])
        yield from self._find(rows[half:])


class Reference(Rule):
    """A foreign key leads to a row that there is, and to one of its ``limit_choices_to``."""

    def __init__(self, using: str, field: Any) -> None:
        super().__init__(using)
        self.field = field
        self.remote = field.remote_field

    def concerns(self, row: Row) -> bool:
        name, attname = self.field.name, self.field.attname
        return name not in row.exclude and getattr(row.instance, attname) is not None

    def is_broken(self, rows: Sequence[Row]) -> bool:
        return self.lacks({getattr(row.instance, self.field.attname) for row in rows})

    def lacks(self, values: Set[Any]) -> bool:
        """Whether one of these values leads nowhere."""
        name = self.remote.field_name
        found = (
            self.remote.model._base_manager.using(self._get_database())
            .filter(**{f"{name}__in": values})
            .complex_filter(self.field.get_limit_choices_to())
        )
        return bool(found.values(name).distinct().count() < len(values))

    def get_error(self, row: Row) -> ValidationError:
        return self.refuse(getattr(row.instance, self.field.attname))

    def refuse(self, value: Any) -> ValidationError:
        return ValidationError(
            self.field.error_messages["invalid"],
            code="invalid",
            params={
                "model": self.remote.model._meta.verbose_name,
                "pk": value,
                "field": self.remote.field_name,
                "value": value,
            },
        )

    def get_field(self, error: ValidationError) -> str:
        return str(self.field.name)

    def _get_database(self) -> str:
        """Where the other row is, for one that is written to ``using``: a router may know."""
        hint = self.field.model.__new__(self.field.model)
        hint._state = ModelState()
        hint._state.db = self.using
        return router.db_for_read(self.remote.model, instance=hint)


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
        super().apply(rows)
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


def get_rules(
    model: type[Model], using: str, rows: Sequence[Row], is_new: bool, is_upsert: bool
) -> Iterator[Rule]:
    """All the rules of ``model``, for ``rows`` that are inserted (``is_new``) or saved."""
    for field in model._meta.fields:
        if is_asked_at_once(field):
            yield Reference(using, field)
    if is_upsert:
        # To clash is what it is for.
        return
    instance = rows[0].instance
    written: dict[type[Model], Set[Any]] = {}

    def get_written(of: type[Model]) -> Set[Any]:
        if of not in written:
            written[of] = set() if is_new else set(get_keys(of, rows))
        return written[of]

    unique_checks, date_checks = instance._get_unique_checks()
    for owner, names in unique_checks:
        is_key = {owner._meta.get_field(name) for name in names} <= set(owner._meta.pk_fields)
        if is_new or not is_key:
            yield Unique(using, owner, names, get_written(owner))
    for check in date_checks:
        yield UniqueForDate(using, check)
    for owner, constraints in instance.get_constraints():
        for constraint in constraints:
            if isinstance(constraint, UniqueConstraint):
                yield UniqueByConstraint(using, owner, constraint, get_written(owner))
            elif isinstance(constraint, CheckConstraint):
                yield Check(using, owner, constraint)
            else:
                yield Constraint(using, owner, constraint)


def _get_names(expressions: Sequence[Any]) -> Iterator[str]:
    """The fields to which ``expressions`` refer."""
    for expression in expressions:
        parts: Any = expression.flatten() if hasattr(expression, "flatten") else (expression,)
        yield from (str(part.name) for part in parts if hasattr(part, "name"))


def is_asked_at_once(field: Any) -> bool:
    """Whether it is a foreign key whose rows are looked for here."""
    return (
        isinstance(field, ForeignKey)
        and type(field).validate is ForeignKey.validate
        and not field.remote_field.parent_link
    )


def get_keys(model: type[Model], rows: Sequence[Row]) -> Iterator[Any]:
    """The primary keys that ``rows`` have in the table of ``model``, those that are known."""
    fields: Any = model._meta.pk_fields
    for row in rows:
        values = tuple(field.to_python(getattr(row.instance, field.attname)) for field in fields)
        if None not in values:
            yield values if len(fields) > 1 else values[0]
