"""Files whose field has a way of its own to delete them, and more with them."""

from __future__ import annotations

from typing import Any

from django.db.models import FileField, Model
from django.db.models.base import ModelState
from django.db.models.fields.files import FieldFile, ImageFieldFile

_DJANGOS = (FieldFile, ImageFieldFile)


class OwnDeletion:
    """``delete()`` of a class of field files, as of a row that is not there any more.

    Thumbnail fields remove there what they have made of an image. It finds the values that the
    row has in memory; saving it does nothing.
    """

    def __init__(self, field: FileField, model: type[Model], values: dict[str, Any]) -> None:
        self.field = field
        self.model = model
        #: Attname -> value in memory, of what the instance had loaded.
        self.values = values

    def delete(self, name: str, using: str) -> None:
        # Not by __init__(): nothing is made that others should hear of.
        instance: Any = self.model.__new__(self.model)
        instance._state = ModelState()
        instance._state.db, instance._state.adding = using, False
        instance.__dict__ |= {**self.values, self.field.attname: name}
        instance.save = instance.save_base = _do_nothing
        file = self.field.attr_class(instance, self.field, name)
        instance.__dict__[self.field.attname] = file
        file.delete(save=False)


def read_own_deletion(field: FileField, instance: Model) -> OwnDeletion:
    """Of the row that ``instance`` is now."""
    model = type(instance)
    values: dict[str, Any] = {
        name: value
        for other in model._meta.concrete_fields
        if (name := other.attname) in instance.__dict__
        and not isinstance(value := instance.__dict__[name], FieldFile)
    }
    return OwnDeletion(field, model, values)


def has_own_deletion(field: FileField) -> bool:
    # Django's own may come before one to which it hands on.
    classes = field.attr_class.__mro__
    return any("delete" in vars(cls) for cls in classes if cls not in _DJANGOS)


def _do_nothing(*args: Any, **kwargs: Any) -> None:
    """The row is deleted, or has another file by now."""
