"""Files that are uploaded for a row: told to whoever takes them away if the row is not written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, Protocol

from django.db import router
from django.db.models import FileField, Model
from django.db.models.fields.files import FieldFile

from django_signal_kit.current import get_muted
from django_signal_kit.units.unit import get_unit
from django_signal_kit.wiring.registry import registry

_EARLY = "_signal_kit_early_uploads"
_FRESH = "_signal_kit_fresh_uploads"


class Hearer(Protocol):
    """A receiver that is told of uploads."""

    name: str

    def _note_upload(self, field: FileField, instance: Model, name: str, using: str) -> None: ...


def install() -> None:
    """Wrap ``FieldFile.save()``, unless it is wrapped; Django has no signal for it."""
    if not hasattr(FieldFile.save, "signal_kit_hook"):
        FieldFile.save = _wrap(FieldFile.save)  # type: ignore[method-assign]


def _wrap(original: Callable[..., None]) -> Callable[..., None]:
    @wraps(original)
    def save(self: FieldFile, name: str, content: Any, save: bool = True) -> None:
        hearers = list(_find_hearers(self.field, type(self.instance)))
        if not hearers:
            return original(self, name, content, save)
        original(self, name, content, save=False)
        _note(self.field, self.instance, str(self.name), hearers)
        if save:
            self.instance.save()

    save.alters_data = True  # type: ignore[attr-defined]
    save.signal_kit_hook = True  # type: ignore[attr-defined]
    return save


def _find_hearers(field: FileField, model: type[Model]) -> Iterator[Hearer]:
    muted = get_muted()
    for receiver in registry.get_covering(model):
        hears = getattr(receiver, "_hears_uploads", None)
        if hears is not None and receiver.name not in muted and hears(field, model):
            yield receiver  # type: ignore[misc]


def _note(field: FileField, instance: Model, name: str, hearers: list[Hearer]) -> None:
    unit, model = get_unit(), type(instance)
    if unit is None:
        # The save that is to come may fail, or be rolled back.
        using = instance._state.db or router.db_for_write(model, instance=instance)
        instance._state.__dict__.setdefault(_EARLY, {})[field.attname] = name
    else:
        using = unit.using
        instance._state.__dict__.setdefault(_FRESH, {})[field.attname] = name
    for hearer in hearers:
        hearer._note_upload(field, instance, name, using)


def start_save(instance: Model) -> dict[str, str]:
    """Attname -> name of what was uploaded for ``instance`` before the save that begins."""
    notes = instance._state.__dict__
    notes.pop(_FRESH, None)
    return notes.get(_EARLY) or {}


def end_save(instance: Model) -> dict[str, str]:
    """Attname -> name of what was uploaded in the save, which has been done."""
    notes = instance._state.__dict__
    notes.pop(_EARLY, None)
    return notes.get(_FRESH) or {}
