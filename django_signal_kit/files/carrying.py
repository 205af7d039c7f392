"""A collected file as JSON, on its way to a worker and there."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

from django.apps import apps
from django.db.models import Model

from django_signal_kit.conf import conf
from django_signal_kit.files.own_deletion import OwnDeletion, has_own_deletion
from django_signal_kit.files.stored import CollectedFile
from django_signal_kit.rows.secrets import has_secret_key, is_secret_field
from django_signal_kit.rows.values import to_json


def pack_file(file: CollectedFile) -> dict[str, Any]:
    """By the field whose file it is: a worker has the same models, and so the same storages."""
    assert file.model is not None
    packed = {
        "model": file.model._meta.label,
        "field": file.field,
        "name": file.name,
        "using": file.using,
        "key": None if _hides_key(file.model) else to_json(file.key),
        # What comes later by this name is another file.
        "at": time.time(),
    }
    if file.is_taken:
        packed["taken"] = True
    if file.own is not None:
        packed["row"] = _pack_row(file.model, file.own.values)
    return packed


def unpack_file(packed: Mapping[str, Any]) -> CollectedFile:
    """Raises LookupError or FieldDoesNotExist if the worker does not know the field."""
    model: type[Model] = apps.get_model(packed["model"])
    field: Any = model._meta.get_field(packed["field"])
    key = packed["key"]
    if key is not None:
        key = _unpack_key(model, key)
    file = CollectedFile(field.storage, packed["name"], packed["using"], model, field.name, key)
    file.is_taken = packed.get("taken", False)
    file.collected_at = packed["at"]
    if "row" in packed and has_own_deletion(field):
        file.own = OwnDeletion(field, model, _unpack_row(model, packed["row"]))
    return file


def is_of_task(files: Iterable[Any]) -> bool:
    """Are they flushed in a worker?"""
    return any(getattr(file, "collected_at", None) is not None for file in files)


def is_another(file: Any) -> bool:
    """Has a file come by the name of ``file`` since a task was made for that? A task may run
    twice, and a name that it has freed may be taken before the row is there that names it."""
    collected_at = getattr(file, "collected_at", None)
    if collected_at is None:
        return False
    try:
        modified = file.storage.get_modified_time(file.name)
    except Exception:
        # It is not there, or its storage cannot say.
        return False
    return bool(modified.timestamp() > collected_at)


def _hides_key(model: type[Model]) -> bool:
    return has_secret_key(model, tuple(conf.REDACT))


def _unpack_key(model: type[Model], key: Any) -> Any:
    fields: Any = model._meta.pk_fields
    if len(fields) == 1:
        return fields[0].to_python(key)
    return tuple(field.to_python(part) for field, part in zip(fields, key, strict=True))


def _pack_row(model: type[Model], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a row that are no secrets."""
    secrets = tuple(conf.REDACT)
    return {
        field.attname: to_json(values[field.attname], secrets)
        for field in model._meta.concrete_fields
        if field.attname in values
        and not is_secret_field(field, secrets)
        and not (field.primary_key and _hides_key(model))
    }


def _unpack_row(model: type[Model], row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        field.attname: field.to_python(row[field.attname])
        for field in model._meta.concrete_fields
        if field.attname in row
    }
