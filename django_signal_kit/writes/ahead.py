"""What comes before a save and depends on it: the look-up of ``get_or_create()``, validation.

Receivers of ``pre_save`` change values and refuse rows. Whoever looks for a row by a value, or
asks whether it is free, has to ask for the value that will be written; and Django looks again for
a row that somebody else has just made after an ``IntegrityError`` alone. Django's own methods are
wrapped, once for all models; one that no receiver covers costs one look into a set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Set
from contextlib import suppress
from copy import copy
from functools import wraps
from typing import Any, TypeAlias

from django.core.exceptions import ValidationError
from django.db import router
from django.db.models import Field, FileField, Model, QuerySet
from django.forms.models import BaseModelForm

from django_signal_kit.current import get_muted
from django_signal_kit.receiver import ModelReceiver
from django_signal_kit.units.failures import report_failure

Receivers: TypeAlias = dict[type[Model], list[ModelReceiver]]

#: The models whose saves are heard.
_heard: set[type[Model]] = set()
#: Model -> the receivers that change values of it when it is saved, in their order.
_cleaners: Receivers = {}
#: Model -> the receivers that make room for a new row of it.
_freers: Receivers = {}

_originals: list[tuple[Any, str, Any]] = []


def cover(model: type[Model], receiver: ModelReceiver | None) -> None:
    """The saves of ``model`` are heard; ``receiver``: who hears ``pre_save`` of them, and may
    change values or make room then. ``settle()`` has to follow."""
    _heard.add(model)
    for hook, covered in (("clean_fields", _cleaners), ("get_freed_fields", _freers)):
        if receiver is not None and getattr(type(receiver), hook) is not getattr(
            ModelReceiver, hook
        ):
            covered.setdefault(model, []).append(receiver)


def uncover() -> None:
    """Leave all models to Django alone. ``settle()`` has to follow."""
    _heard.clear()
    _cleaners.clear()
    _freers.clear()


def settle() -> None:
    """Wrap the methods that are needed for what is covered, and no others."""
    while _originals:
        owner, name, original = _originals.pop()
        setattr(owner, name, original)
    if _heard:
        # update_or_create() calls it, and so do the asynchronous twins and related managers.
        _wrap(QuerySet, "get_or_create", _get_or_create)
    if _cleaners:
        _wrap(Model, "full_clean", _full_clean)
        _wrap(BaseModelForm, "_post_clean", _post_clean)
    if _freers:
        _wrap(Model, "validate_unique", _validate_unique)


def get_freed_fields(instance: Model, using: str) -> Set[str]:
    """Names of unique fields for which the save of ``instance`` will make room."""
    if type(instance) not in _freers:
        return frozenset()
    return {
        name
        for receiver in _freers[type(instance)]
        if receiver.name not in get_muted()
        for name in receiver.get_freed_fields(instance, using)
    }


def _wrap(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    original = getattr(owner, name)
    _originals.append((owner, name, original))
    setattr(owner, name, make(original))


def _get_or_create(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def get_or_create(self: Any, defaults: Any = None, **kwargs: Any) -> Any:
        model = self.model
        if model not in _heard:
            return original(self, defaults, **kwargs)
        if model in _cleaners and (changed := _clean_lookup(self, kwargs, defaults or {})):
            # A row as it is written now, or one that is older than the receiver.
            given, kwargs = kwargs, {**kwargs, **changed}
            self._for_write = True
            for lookup in (kwargs, given):
                with suppress(model.DoesNotExist):
                    return self.get(**lookup), False
        try:
            return original(self, defaults, **kwargs)
        except ValidationError:
            # Because another has made the row in the meantime?
            with suppress(model.DoesNotExist):
                return self.get(**kwargs), False
            raise

    get_or_create.alters_data = True  # type: ignore[attr-defined]
    return get_or_create


def _full_clean(original: Callable[..., None]) -> Callable[..., None]:
    @wraps(original)
    def full_clean(self: Model, exclude: Any = None, *args: Any, **kwargs: Any) -> None:
        if type(self) in _cleaners:
            names = {field.name for field in self._meta.concrete_fields} - set(exclude or ())
            _clean(self, names, _get_database(self))
        return original(self, exclude, *args, **kwargs)

    return full_clean


def _validate_unique(original: Callable[..., None]) -> Callable[..., None]:
    @wraps(original)
    def validate_unique(self: Model, exclude: Any = None) -> None:
        freed = get_freed_fields(self, _get_database(self)) if type(self) in _freers else ()
        if freed:
            exclude = {*(exclude or ()), *freed}
        return original(self, exclude)

    return validate_unique


def _post_clean(original: Callable[..., None]) -> Callable[..., None]:
    @wraps(original)
    def _post_clean(self: Any) -> None:
        model = type(self.instance)
        if model in _cleaners:
            # The forms of a formset are compared with one another by their cleaned data.
            fields = {field.name: field for field in _get_fields(self)}
            using = _get_database(self.instance)
            # What a cleaner refuses is told by full_clean(), with all that is wrong.
            with suppress(ValidationError):
                values = _clean_values(copy(self.instance), fields, self.cleaned_data, using)
                self.cleaned_data.update(values)
        original(self)

    return _post_clean


def _get_database(instance: Model) -> str:
    return instance._state.db or router.db_for_write(type(instance), instance=instance)


def _get_fields(form: Any) -> Iterable[Field[Any, Any]]:
    """The columns that the form writes."""
    options = form._meta
    for field in form.instance._meta.concrete_fields:
        is_left_out = field.name in (options.exclude or ())
        if not is_left_out and (options.fields is None or field.name in options.fields):
            yield field


def _clean_lookup(
    queryset: Any, lookup: Mapping[str, Any], defaults: Mapping[str, Any]
) -> dict[str, Any]:
    """What a row that is made by ``lookup`` would have in the place of its values."""
    model = queryset.model
    fields: dict[str, Any] = {}
    for field in model._meta.concrete_fields:
        if field.generated:
            continue
        for name in (field.name, field.attname, *(("pk",) if field.primary_key else ())):
            fields |= {name: field, f"{name}__exact": field}
    # Whether a value is changed may depend on others.
    row = {
        fields[name].attname: value
        for name, value in {**lookup, **defaults}.items()
        if name in fields and not callable(value) and not isinstance(value, Model)
    }
    return _clean_values(model(**row), fields, lookup, queryset.db)


def _clean_values(
    instance: Model, fields: Mapping[str, Any], values: Mapping[str, Any], using: str
) -> dict[str, Any]:
    """Those of ``values`` that receivers change when they are saved, by the names in ``fields``.

    ``instance``: a row that nobody else has, with the values beside them.
    """
    attributes = instance.__dict__
    given = {
        name: fields[name]
        for name, value in values.items()
        if name in fields
        and not isinstance(value, Model)
        and not isinstance(fields[name], FileField)
    }
    before = {}
    for name, field in given.items():
        setattr(instance, field.attname, values[name])
        before[name] = attributes.get(field.attname)
    _clean(instance, {field.name for field in given.values()}, using)
    after = {name: attributes.get(field.attname) for name, field in given.items()}
    return {name: value for name, value in after.items() if value is not before[name]}


def _clean(instance: Model, names: Set[str], using: str) -> None:
    """Let the receivers change the fields ``names`` as they will when ``instance`` is saved."""
    for receiver in _cleaners[type(instance)]:
        if receiver.name in get_muted():
            continue
        try:
            receiver.clean_fields(instance, names, using)
        except Exception as error:
            if receiver.on_error == "raise":
                raise
            report_failure(receiver, "pre_save", error)
