"""Foreign keys: whether they lead anywhere."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Any

from django.core.exceptions import ValidationError
from django.db import router
from django.db.models import ForeignKey
from django.db.models.base import ModelState

from django_signal_kit.cleaning.rules import Row, Rule


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


def is_asked_at_once(field: Any) -> bool:
    """Whether it is a foreign key whose rows are looked for here."""
    return (
        isinstance(field, ForeignKey)
        and type(field).validate is ForeignKey.validate
        and not field.remote_field.parent_link
    )
