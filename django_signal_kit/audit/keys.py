"""Keys of rows as logs have them: one that is a secret as a keyed hash, the same everywhere."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from django.db.models import Field, Model

from django_signal_kit.audit.decoding import decode
from django_signal_kit.conf import check_parts, conf
from django_signal_kit.rows.columns import canonical_key
from django_signal_kit.rows.secrets import is_secret_field
from django_signal_kit.rows.values import redact_with_hash, to_json, to_text
from django_signal_kit.wiring.registry import registry

_LONGEST = 255
_CUT = re.compile(rf"\A.{{{_LONGEST - 65}}}~[0-9a-f]{{64}}\Z", re.DOTALL)


def to_key(model: type[Model], pk: Any) -> str:
    """The primary key of a row of ``model`` as text; a composite one as a JSON list.

    It is one text for all forms in which a key may be given: "5", or a UUID in capitals. One that
    is longer than the column ends with its SHA-256, so that it is still one of its own.
    """
    return get_key_writer(model)(pk)


def get_key_writer(model: type[Model]) -> Callable[[Any], str]:
    """:func:`to_key` for many rows of one model."""
    hide = get_key_hider(model)
    if hide is None:
        return lambda pk: _write(canonical_key(model, pk))
    return lambda pk: _write(hide(pk))


def read_key(model: type[Model], text: str) -> list[Any]:
    """The key of a row, column by column, from what :func:`to_key` has made of it. Raises
    ValueError or ValidationError for one that does not tell: a secret, or one that was cut."""
    if "[redacted " in text or _CUT.search(text):
        raise ValueError(f"{text!r} does not tell the key.")
    fields = model._meta.pk_fields
    if len(fields) == 1:
        values = [fields[0].to_python(text)]
    else:
        values = [
            decode(field, value) for field, value in zip(fields, json.loads(text), strict=True)
        ]
    return values


def get_key_hider(model: type[Model]) -> Callable[[Any], Any] | None:
    """What makes of a key of ``model`` one without secrets; None if it has none."""
    hiders = [get_hider(field) for field in model._meta.pk_fields]
    if not any(hiders):
        return None

    def hide(pk: Any) -> Any:
        if not isinstance(pk, tuple):
            return pk if hiders[0] is None else hiders[0](pk)
        return tuple(
            value if hider is None or value is None else hider(value)
            for hider, value in zip(hiders, pk, strict=True)
        )

    return hide


def get_hider(field: Field[Any, Any]) -> Callable[[Any], str] | None:
    """What makes a hash of the values of ``field``, if they are by what rows are known, and
    secrets: as (a part of) a primary key, or in a foreign key. Else None."""
    target: Any = field
    while target.remote_field is not None and target.target_field is not target:
        target = target.target_field
    if target is field and field not in field.model._meta.pk_fields:
        return None
    is_secret = is_secret_field(target, get_secret_names(target.model))
    return _get_hasher(target) if is_secret else None


def get_secret_names(model: type[Model]) -> tuple[str, ...]:
    """Parts of names of secrets: what REDACT has, and the option of those who tell of ``model``.

    All who write or look for a key of it have to agree.
    """
    covering = registry.get_covering(model._meta.concrete_model or model)
    options = (getattr(receiver, "redact", ()) for receiver in covering)
    return (*conf.REDACT, *(name for given in options for name in given))


def check_secrets(receiver: Any) -> None:
    """Raise Misconfigured if its option ``redact`` makes a secret of each value."""
    check_parts(f"The option 'redact' of {receiver.name}", receiver.redact)


def get_secrets(receiver: Any) -> tuple[str, ...]:
    """Parts of names of secrets in what ``receiver`` tells, beside those that the kit knows."""
    return (*conf.REDACT, *receiver.redact)


def _get_hasher(target: Any) -> Callable[[Any], str]:
    def to_hash(value: Any) -> str:
        if isinstance(value, Model):
            value = getattr(value, target.attname, value.pk)
        # A UUID may be given as text.
        with suppress(Exception):
            value = target.to_python(value)
        return redact_with_hash(value)

    return to_hash


def _write(pk: Any) -> str:
    if pk.__class__ is int:
        return str(pk)
    text = json.dumps(to_json(pk)) if isinstance(pk, tuple) else to_text(str(pk))
    if len(text) <= _LONGEST:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"{text[: _LONGEST - len(digest) - 1]}~{digest}"
