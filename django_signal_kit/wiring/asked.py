"""The columns whose values receivers ask for: old, written and loaded ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from django.db.models import Model

from django_signal_kit.receiver import ModelReceiver
from django_signal_kit.rows.columns import Column, get_columns
from django_signal_kit.writes.links import Heard

#: Model -> the receivers that are told of its rows.
Hearing = Mapping[type[Model], Iterable[ModelReceiver]]


def get_asked(
    hearing: Hearing, models: Iterable[type[Model]], links: Mapping[type[Model], Heard]
) -> dict[type[Model], list[Column]]:
    """Model -> the columns whose old values its receivers ask for."""
    found = {}
    for model in dict.fromkeys((*models, *links)):
        known = get_columns(model)
        names = [
            field.attname
            for receiver in hearing.get(model, ())
            for field in receiver.get_old_fields(model)
        ]
        if model in links:
            names += links[model].attnames
        found[model] = [known[name] for name in dict.fromkeys(names)]
    return found


def get_written(
    hearing: Hearing, old: Mapping[type[Model], list[Column]]
) -> dict[type[Model], list[Column]]:
    """Model -> the columns whose values after a write may be asked for: those whose ``old``
    values are, and those that are kept when they are loaded, with the key."""
    found = {}
    for model, columns in old.items():
        fields = [
            *(column.field for column in columns),
            *(
                field
                for receiver in hearing.get(model, ())
                for field in receiver.get_loaded_fields(model)
            ),
        ]
        known = get_columns(model)
        names = [field.attname for field in (*model._meta.pk_fields, *fields)]
        found[model] = [known[name] for name in dict.fromkeys(names)] if fields else []
    return found


def get_kept(hearing: Hearing, models: Iterable[type[Model]]) -> dict[type[Model], frozenset[str]]:
    """Those of which a receiver asks for what was loaded -> the attnames of what it asks."""
    asked = {
        model: frozenset(
            field.attname
            for receiver in hearing[model]
            for field in receiver.get_loaded_fields(model)
        )
        for model in models
    }
    return {model: names for model, names in asked.items() if names}
