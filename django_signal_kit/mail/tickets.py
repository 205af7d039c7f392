"""What is collected: which row a mail is about, as plain JSON that any process understands."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from django.apps import apps
from django.core.exceptions import ValidationError
from django.db import connections
from django.db.models import Field, Model, QuerySet
from django.utils.connection import ConnectionDoesNotExist

#: What is raised by a name or a key that nothing has any more.
_CHANGED = (ConnectionDoesNotExist, LookupError, TypeError, ValidationError, ValueError)


@dataclass(frozen=True)
class Ticket:
    """One mail that is to be sent.

    ``email``: the receiver's name; ``label``: the row's model; ``using``: its database; ``key``:
    its primary key, a JSON list of texts; ``occasion``: empty, or what tells one mail about the
    row from the next; ``language``: the one that was active when it was collected.
    """

    email: str
    label: str
    using: str
    key: str
    occasion: str = ""
    language: str = field(default="", compare=False)

    @classmethod
    def make(cls, email: str, item: Sequence[str]) -> Ticket:
        return cls(email, *item)

    @property
    def item(self) -> list[str]:
        """What ``flush()`` is given, in this process or in a worker."""
        return [self.label, self.using, self.key, self.occasion, self.language]

    @cached_property
    def model(self) -> type[Model]:
        return apps.get_model(self.label)

    @cached_property
    def root(self) -> str:
        """The label of the row's table that has the key: a proxy, and the child of a multi-table
        model, is the same row."""
        model: Any = self.model._meta.concrete_model
        while (parent := _get_parent(model)) is not None:
            model = parent
        label: str = model._meta.label
        return label

    @cached_property
    def digest(self) -> str:
        names = [self.email, self.root.lower(), self.using, self.key, self.occasion]
        return hashlib.sha256(json.dumps(names).encode()).hexdigest()

    def __str__(self) -> str:
        return f"{self.label} {say_key(self.key)}"


@dataclass
class Held:
    """A mail that this process alone may send. ``served``: digests of the addresses that have
    got theirs, while others have not."""

    ticket: Ticket
    message_id: str
    served: list[str] = field(default_factory=list)


def make_message_id(ticket: Ticket, domain: str) -> str:
    """The same for each attempt, so that who gets it twice can know it."""
    return f"<{ticket.digest[:40]}@{domain}>"


def get_key(instance: Model) -> str:
    """The primary key as text: a UUID, a date and a key of several columns, too."""
    return json.dumps(
        [
            str(field.to_python(getattr(instance, field.attname)))
            for field in _get_columns(instance)
        ]
    )


def say_key(key: str) -> str:
    """A key as one reads it."""
    return ", ".join(json.loads(key))


def read_rows(tickets: Iterable[Ticket]) -> dict[Ticket, Model | Exception]:
    """The rows as they are now, hidden ones too: one query a model and database. Of a ticket that
    was made when the model, its key or the database was another, why there can be none."""
    groups: dict[tuple[type[Model], str], dict[str, list[Ticket]]] = {}
    found: dict[Ticket, Model | Exception] = {}
    for ticket in tickets:
        try:
            model, using = ticket.model, connections[ticket.using].alias
            _parse_key(model, ticket.key)
        except _CHANGED as error:
            found[ticket] = error
        else:
            keys = groups.setdefault((model, using), {})
            keys.setdefault(ticket.key, []).append(ticket)
    for (model, using), keys in groups.items():
        rows: QuerySet[Any] = QuerySet(model, using=using)
        for row in rows.filter(pk__in=[_parse_key(model, key) for key in keys]):
            found |= dict.fromkeys(keys.get(get_key(row), ()), row)
    return found


def _parse_key(model: type[Model], key: str) -> Any:
    values = [
        field.to_python(text)
        for field, text in zip(_get_columns(model), json.loads(key), strict=True)
    ]
    return values[0] if len(values) == 1 else tuple(values)


def _get_columns(model: type[Model] | Model) -> Sequence[Field[Any, Any]]:
    return model._meta.pk_fields


def _get_parent(model: type[Model]) -> Any:
    pk: Any = model._meta.pk
    link = getattr(pk, "remote_field", None)
    return link.model if link is not None and link.parent_link else None
