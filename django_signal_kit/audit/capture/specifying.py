"""From a receiver's options and a model to what its triggers have to write, or why they cannot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connections, models
from django.db.models import Field, JSONField, Model

from django_signal_kit.audit.capture.naming import derive_text
from django_signal_kit.audit.capture.obstacles import (
    ObstacleError,
    check_model,
    check_names,
    get_databases,
)
from django_signal_kit.audit.capture.specification import Cell, Kind, Link, LogTable, Specification
from django_signal_kit.audit.capture.vendors import HEARING_CASCADES, NAMES, get_triggers
from django_signal_kit.audit.entries import Entry, find_kind, get_entry_model, get_kind
from django_signal_kit.audit.keys import get_hider, get_secrets
from django_signal_kit.audit.plans import get_stamps
from django_signal_kit.rows.columns import get_columns
from django_signal_kit.rows.fields import (
    converts,
    get_output,
    get_target,
    is_like_djangos,
    overrides,
)
from django_signal_kit.rows.secrets import is_secret_field
from django_signal_kit.wiring.registry import registry

#: Class of field -> how its values are told; of subclasses the first that is in their MRO.
_KINDS: Mapping[type[Field[Any, Any]], Kind] = {
    models.BooleanField: Kind.BOOLEAN,
    models.IntegerField: Kind.INTEGER,
    models.FloatField: Kind.FLOAT,
    models.DecimalField: Kind.DECIMAL,
    models.DateTimeField: Kind.DATETIME,
    models.DateField: Kind.DATE,
    models.TimeField: Kind.TIME,
    models.DurationField: Kind.DURATION,
    models.UUIDField: Kind.UUID,
    models.BinaryField: Kind.BYTES,
    models.JSONField: Kind.JSON,
    models.CharField: Kind.TEXT,
    models.TextField: Kind.TEXT,
    models.FileField: Kind.TEXT,
    models.FilePathField: Kind.TEXT,
    models.GenericIPAddressField: Kind.TEXT,
}
_KEYS = frozenset((Kind.INTEGER, Kind.UUID, Kind.TEXT))
_COLUMN = ("db_type", "get_db_prep_value", "get_db_prep_save")
_LONGEST_KEY = 255


class Recording(Protocol):
    """What is asked of a receiver that captures by triggers."""

    redact: Sequence[str]
    stamps: bool
    object_text: Mapping[str, str]

    @property
    def name(self) -> str: ...

    def list_fields(self, model: type[Model]) -> list[Field[Any, Any]]: ...

    def get_m2m_fields(self, model: type[Model]) -> list[Any]: ...


def find_obstacle(receiver: Recording, model: type[Model]) -> str:
    """Why triggers cannot record ``model`` for ``receiver``, as the end of a sentence that begins
    with its label; "" if they can. Asks no database. Raises TemplateError."""
    try:
        for alias in get_databases(model):
            vendor = connections[alias].vendor
            if vendor not in NAMES:
                raise ObstacleError(
                    f"is in {alias!r}, a database of {vendor}, of which no triggers are known"
                )
            specification = sketch(receiver, model, alias)
            check_names(specification)
            if obstacle := get_triggers(vendor).find_obstacle(specification):
                return obstacle
    except ObstacleError as obstacle:
        return str(obstacle)
    return ""


def hears_cascades(receiver: Recording, model: type[Model]) -> bool:
    """Do triggers record ``model``, and what foreign keys do to its rows as well?"""
    vendors = {connections[alias].vendor for alias in get_databases(model)}
    return vendors.issubset(HEARING_CASCADES) and not find_obstacle(receiver, model)


def specify(
    receiver: Recording, model: type[Model], using: str, *, makes_kind: bool = True
) -> Specification:
    """What the triggers of ``model`` in the database ``using`` have to write. Raises ObstacleError
    or TemplateError. Asks that database for the content type, and makes it if there is none; or
    else takes 0 for its key, which no content type has."""
    found = sketch(receiver, model, using)
    kind = get_kind(model, using) if makes_kind else find_kind(model, using)
    return found if kind is None else replace(found, content_type_id=kind.pk)


def sketch(receiver: Recording, model: type[Model], using: str) -> Specification:
    """:func:`specify` without asking the database: with 0 for the content type. What is installed
    for it has the same names."""
    check_model(model)
    cells = _list_cells(receiver, model)
    text = _make_text(receiver, model)
    return Specification(
        receiver=receiver.name,
        label=model._meta.label,
        table=model._meta.db_table,
        key=_make_key(model),
        cells=tuple(cells),
        left_out=tuple(
            str(field.column)
            for field in model._meta.concrete_fields
            if field.name not in {cell.name for cell in cells}
        ),
        text=text,
        hidden=tuple(_list_hidden(receiver, model, text)),
        links=tuple(_list_links(receiver, model)),
        content_type_id=0,
        using=using,
        log=_get_log_table(),
        use_tz=settings.USE_TZ,
        secrets=get_secrets(receiver),
        stamps=receiver.stamps,
    )


def _make_key(model: type[Model]) -> Cell:
    if len(model._meta.pk_fields) != 1:
        raise ObstacleError("has a composite primary key")
    field = model._meta.pk_fields[0]
    cell = _make_cell(field)
    if cell.kind not in _KEYS:
        raise ObstacleError(f"has a primary key of the kind {cell.kind}: {field.name}")
    if get_hider(field) is not None:
        raise ObstacleError(f"has a secret as its primary key: {field.name}")
    if cell.kind is Kind.TEXT and (cell.max_length or _LONGEST_KEY + 1) > _LONGEST_KEY:
        raise ObstacleError(
            f"has a primary key longer than {_LONGEST_KEY} characters: {field.name}"
        )
    return cell


def _list_cells(receiver: Recording, model: type[Model]) -> list[Cell]:
    stamps = get_stamps(model)
    secrets = get_secrets(receiver)
    return [
        _make_cell(
            field,
            is_secret=is_secret_field(field, secrets),
            is_stamp=field.name in stamps,
        )
        for field in receiver.list_fields(model)
    ]


def _make_cell(field: Any, *, is_secret: bool = False, is_stamp: bool = False) -> Cell:
    if field.remote_field is not None and get_hider(field) is not None:
        raise ObstacleError(
            f"names rows by a secret, which the log has as a keyed hash: {field.name}"
        )
    target: Any = get_output(field)
    return Cell(
        name=field.name,
        column=field.column,
        kind=_get_kind(field, target),
        is_secret=is_secret,
        is_stamp=is_stamp,
        decimal_places=getattr(target, "decimal_places", None) or 0,
        max_digits=getattr(target, "max_digits", None),
        max_length=getattr(target, "max_length", None),
    )


def _get_kind(field: Any, target: Any) -> Kind:
    column = get_columns(field.model)[field.attname]
    is_plain = (
        is_like_djangos(target)
        and not column.has_own_attribute
        and not converts(target)
        and not overrides(target, *_COLUMN)
    )
    if isinstance(target, JSONField) and (target.encoder or target.decoder):
        is_plain = False
    kind = next((_KINDS[cls] for cls in type(target).__mro__ if cls in _KINDS), None)
    if kind is None or not is_plain:
        raise ObstacleError(
            f"has the field {field.name} ({type(field).__name__}), of which the database cannot "
            f"tell what Python reads"
        )
    return kind


def _list_links(receiver: Recording, model: type[Model]) -> Iterator[Link]:
    for field in receiver.get_m2m_fields(model):
        through = field.remote_field.through
        if registry.covers(receiver, through):  # type: ignore[arg-type]
            # Its rows tell the same, and more.
            continue
        owner, target = map(
            through._meta.get_field, (field.m2m_field_name(), field.m2m_reverse_field_name())
        )
        if not (owner.target_field.primary_key and target.target_field.primary_key):
            raise ObstacleError(f"has links that name no primary keys: {field.name}")
        if through._meta.parents:
            raise ObstacleError(f"has links in two tables: {field.name}")
        if get_hider(target) is not None:
            raise ObstacleError(f"has links to rows whose key is a secret: {field.name}")
        yield Link(
            name=field.name,
            table=through._meta.db_table,
            owner_column=owner.column,
            target_column=target.column,
            target_kind=_get_kind(target, get_output(target)),
        )


def _make_text(receiver: Recording, model: type[Model]) -> tuple[str | Cell, ...]:
    template = receiver.object_text.get(model._meta.label)
    return derive_text(model, template, get_secrets(receiver), partial(_make_text_cell, receiver))


def _list_hidden(
    receiver: Recording, model: type[Model], text: tuple[str | Cell, ...]
) -> Iterator[Cell]:
    """The secrets that may be in ``text``, recorded or not; one of a kind that only Python reads
    cannot be looked for."""
    if all(isinstance(part, str) or part.kind is not Kind.TEXT for part in text):
        return
    for field in model._meta.concrete_fields:
        if is_secret_field(field, get_secrets(receiver)):
            with suppress(ObstacleError):
                cell = _make_text_cell(receiver, field)
                if cell.kind is Kind.TEXT:
                    yield cell


def _make_text_cell(receiver: Recording, field: Any) -> Cell:
    return _make_cell(field, is_secret=is_secret_field(field, get_secrets(receiver)))


def _get_log_table() -> LogTable:
    meta = get_entry_model()._meta
    columns = {field.attname: field.column for field in meta.concrete_fields}
    pk: Any = get_target(get_user_model()._meta.pk)
    kind = next((_KINDS[cls] for cls in type(pk).__mro__ if cls in _KINDS), Kind.TEXT)
    return LogTable(meta.db_table, {name: columns[name] for name in Entry._fields}, kind)
