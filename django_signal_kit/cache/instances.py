"""Instances that read as a row does, or did: what keys are made of."""

from __future__ import annotations

from copy import copy
from typing import Any

from django.db.models import Model
from django.db.models.fields import NOT_PROVIDED

from django_signal_kit.rows.columns import canonical_key
from django_signal_kit.rows.database import Row
from django_signal_kit.rows.fields import assign
from django_signal_kit.rows.values import say


def update(instance: Model, row: Row) -> Model:
    """``instance``, or a copy of it if it does not read as ``row`` does."""
    values = vars(instance)
    for name, value in row.items():
        own = values.get(name, NOT_PROVIDED)
        if own is not value and (own is NOT_PROVIDED or say(own) != say(value)):
            break
    else:
        return instance
    instance = copy(instance)
    for name, value in row.items():
        assign(instance, name, value)
    return instance


def make_instance(model: type[Model], pk: Any, row: Row, using: str) -> Model:
    """An instance with the values of ``row``, its key among them or ``pk``; other columns are
    deferred."""
    fields, pk = model._meta.pk_fields, canonical_key(model, pk)
    key = zip((f.attname for f in fields), pk if len(fields) > 1 else (pk,), strict=True)
    values = {**dict(key), **row}
    # In the order of the columns, and with the key: a model may have a from_db() of its own.
    names = [f.attname for f in model._meta.concrete_fields if f.attname in values]
    return model.from_db(using, names, [values[name] for name in names])
