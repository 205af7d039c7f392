"""Mails that somebody asks for by hand: those that are waiting, and those to certain rows."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import Any

from django.apps import apps
from django.core.exceptions import FieldError, ValidationError
from django.db import connections, router
from django.db.models import DateField, Model, Q, QuerySet
from django.utils import timezone, translation

from django_signal_kit.exceptions import did_you_mean
from django_signal_kit.mail import claims
from django_signal_kit.mail.email import Email
from django_signal_kit.mail.tickets import Ticket, get_key
from django_signal_kit.wiring.kinds import get_of_kind, leave_out_children
from django_signal_kit.wiring.registry import registry


def get_receivers(names: Iterable[str] = ()) -> list[Email]:
    """Those of the kind Email, of these names if there are any. Raises LookupError for a name that
    is none of theirs, and if there is none at all."""
    known = get_of_kind(Email, names)
    return [known[name] for name in names] or list(known.values())


def get_covering(model: type[Model]) -> list[Email]:
    """The receivers of the kind Email that are about ``model``."""
    wanted = model._meta.concrete_model
    return [
        each
        for each in registry.receivers
        if isinstance(each, Email) and wanted in get_models(each)
    ]


def get_models(receiver: Email) -> list[type[Model]]:
    """Those that are covered, without proxies and the children of a covered one."""
    models = [model for model in registry.get_models(receiver) if not model._meta.proxy]
    if not models:
        # It hears another signal.
        named = [apps.get_model(each) for each in receiver.get_models() if isinstance(each, str)]
        models = named + [each for each in receiver.get_models() if isinstance(each, type)]
    return leave_out_children(models)


def list_unfinished(receiver: Email, *, refused: bool = False) -> list[Ticket]:
    """What is to be sent and has not been: it waits, has failed, or whoever was sending it has
    died. With ``refused`` those too that a server has refused for good; they wait from now on."""
    model = claims.get_model()
    state = model.State
    rows = model._base_manager.using(router.db_for_write(model)).filter(email=receiver.name[:150])
    if refused:
        rows.filter(state=state.REFUSED).update(state=state.FAILED)
    is_lost = Q(state=state.SENDING, held_until__lt=timezone.now())
    waiting = rows.filter(Q(state__in=[state.WAITING, state.FAILED]) | is_lost).order_by("pk")
    labels = {each._meta.label for each in apps.get_models()}
    names = ("model", "using", "key", "occasion", "language")
    return [
        Ticket(receiver.name, *values)
        for values in waiting.values_list(*names).iterator()
        if values[0] in labels and values[1] in connections
    ]


def make_tickets(receiver: Email, rows: Iterable[Model], using: str) -> Iterator[Ticket]:
    """One for each row. Who asks by hand does not ask for what a row has had, also of a receiver
    that sends each time; the claims know that of the others."""
    left = iter(rows)
    while chunk := list(islice(left, 500)):
        tickets = [make_ticket(receiver, row, using) for row in chunk]
        told = claims.list_told(tickets) if not receiver.once and claims.is_installed() else set()
        yield from (ticket for ticket in tickets if (ticket.root, ticket.key) not in told)


def make_ticket(receiver: Email, row: Model, using: str) -> Ticket:
    occasion = "" if receiver.once else uuid.uuid4().hex
    return Ticket(receiver.name, row.__class__._meta.label, using, get_key(row), occasion)


def list_since(
    receiver: Email, model: type[Model], since: datetime, field: str | None, using: str
) -> QuerySet[Any]:
    """The rows that were made since then. Raises LookupError if no column says so."""
    name = field or _find_date(model)
    if name is None:
        raise LookupError(
            f"{model._meta.label} has no field that says when a row was made. Name one with "
            f"--date-field."
        )
    known = [each.name for each in model._meta.concrete_fields if isinstance(each, DateField)]
    if name not in known:
        raise LookupError(
            f"{model._meta.label} has no field {name!r} with a date. {did_you_mean(name, known)}"
        )
    rows: QuerySet[Any] = QuerySet(model, using=using)
    return rows.filter(**{f"{name}__gte": since}).order_by("pk")


def find_row(model: type[Model], text: str, using: str) -> Any:
    """The row that has this address, this user name or this key. Raises LookupError if there is
    none, or more than one."""
    rows: QuerySet[Any] = QuerySet(model, using=using)
    name = getattr(model, "get_email_field_name", lambda: "email")()
    names = [f"{name}__iexact", getattr(model, "USERNAME_FIELD", None), "pk"]
    for lookup in names:
        try:
            found = list(rows.filter(**{lookup: text})[:2]) if lookup else []
        except (ValueError, TypeError, ValidationError, FieldError):
            continue
        if len(found) == 1:
            return found[0]
        if found:
            raise LookupError(f"Several rows of {model._meta.label} have {text!r}. Give a key.")
    raise LookupError(f"No row of {model._meta.label} has the address, name or key {text!r}.")


def preview(receiver: Email, row: Any) -> Any:
    """The mail as it would be sent to ``row``, or None."""
    with translation.override(receiver.get_language(row)):
        return receiver.get_message(row)


def _find_date(model: type[Model]) -> str | None:
    dates = [each for each in model._meta.concrete_fields if isinstance(each, DateField)]
    for field in dates:
        if field.name == "date_joined" or field.auto_now_add:
            return field.name
    return None
