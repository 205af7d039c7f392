"""A mail to somebody who is made up: does a template fail before the first real user comes?"""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.conf import settings
from django.db import models
from django.db.models import Model
from django.utils import timezone, translation

from django_signal_kit.mail.rendering import render_html, render_text
from django_signal_kit.units.sparing import DatabaseNeeded, without_database

if TYPE_CHECKING:
    from django_signal_kit.mail.email import Email


def find_failure(
    receiver: Email, names: Mapping[str, str]
) -> Iterator[tuple[str, str, Exception]]:
    """(option, name, exception) of each template that cannot be rendered for a made-up row.

    A template, or a hook, that needs the database is not judged, nor is a hook that needs more of
    the row than can be made up.
    """
    model = find_model(receiver)
    if model is None:
        return
    with without_database(), translation.override(settings.LANGUAGE_CODE):
        try:
            data = receiver.get_context_data(make_up(model))
        except Exception:
            return
        for option, name in names.items():
            render = render_html if option == "html_template" else render_text
            try:
                render(name, data)
            except Exception as error:
                if not _is_caused_by(error, DatabaseNeeded):
                    yield option, name, error


def make_up(model: type[Model]) -> Model:
    """A row of ``model`` that never was, with a value in each field."""
    instance = model(
        **{
            field.attname: _make_value(field)
            for field in model._meta.concrete_fields
            if not isinstance(field, models.GeneratedField)
        }
    )
    instance._state.adding = False
    instance._state.db = "default"
    return instance


def _make_value(field: Any) -> Any:
    if field.remote_field:
        return _make_value(field.target_field)
    if field.choices:
        return next((value for value, _ in field.flatchoices), None)
    if "email" in field.name:
        return "ann@example.com"
    for kind, make in _VALUES:
        if isinstance(field, kind):
            return make(field)
    return field.get_default() if field.has_default() else None


_VALUES: list[tuple[Any, Callable[[Any], Any]]] = [
    (models.BooleanField, lambda field: True),
    (models.UUIDField, lambda field: uuid.UUID(int=1)),
    (models.DecimalField, lambda field: Decimal(1)),
    (models.FloatField, lambda field: 1.0),
    (models.IntegerField, lambda field: 1),
    (models.URLField, lambda field: "https://example.com/"),
    (models.CharField, lambda field: "ann"[: field.max_length]),
    (models.TextField, lambda field: "ann"),
    (models.DateTimeField, lambda field: timezone.now()),
    (models.DateField, lambda field: timezone.now().date()),
    (models.TimeField, lambda field: datetime.time(12)),
    (models.DurationField, lambda field: datetime.timedelta(hours=1)),
]


def find_model(receiver: Email) -> type[Model] | None:
    """One of those that are covered, if it can be told."""
    for spec in receiver.get_models():
        if isinstance(spec, str):
            try:
                return apps.get_model(spec)
            except (LookupError, ValueError):
                continue
        if issubclass(spec, Model) and not spec._meta.abstract:
            return spec
    return None


def _is_caused_by(error: BaseException | None, kind: type[BaseException]) -> bool:
    while error is not None:
        if isinstance(error, kind):
            return True
        error = error.__cause__ or error.__context__
    return False
