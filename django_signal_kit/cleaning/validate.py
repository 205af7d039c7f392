"""Refuses rows that are not valid."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any, TypeAlias

from django.core.exceptions import ValidationError
from django.db.models import Field, Model
from django.utils.module_loading import import_string

from django_signal_kit.cleaning import validity as validation
from django_signal_kit.exceptions import InvalidRowsError, Misconfigured
from django_signal_kit.options import check_names
from django_signal_kit.receiver import ModelReceiver
from django_signal_kit.wiring.idle import check_idle
from django_signal_kit.wiring.senders import Coverage

Validator: TypeAlias = Callable[[Any], object]


class Validate(ModelReceiver):
    """Refuses what ``full_clean()`` refuses, at each save, in ``bulk_create()`` and
    ``bulk_update()``, and the literal values of ``QuerySet.update()``.

    Runs before the write, and raises ``ValidationError``; for a bulk write one
    ``InvalidRowsError`` with all its bad rows. Only what is written is validated. Foreign keys,
    uniqueness and constraints of many rows are looked up together.
    """

    #: Validate as ``full_clean()`` does. If False, only ``validators`` and ``clean()`` are asked.
    full_clean: bool = True
    #: Name of a field -> validators besides its own: functions or dotted paths.
    validators: Mapping[str, Sequence[str | Validator]] = {}
    #: Names of fields that are not validated.
    exclude_fields: Sequence[str] = ()

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._validators: dict[type[Model], tuple[tuple[Any, tuple[Validator, ...]], ...]] = {}
        self._excluded = frozenset(self.exclude_fields)

    def should_validate(self, instance: Model) -> bool:
        """Whether this row is validated; by default each. Called before each write."""
        return True

    def get_validators(self, field: Field[Any, Any]) -> Sequence[str | Validator]:
        """The validators of a field besides its own; by default those of the option. Asked once
        for each field of a covered model."""
        return self.validators.get(field.name, ())

    def clean(self, instance: Model) -> None:
        """Look at the row as a whole: raise ``ValidationError`` if it is wrong. Called before
        each write of a row, after its fields have been cleaned."""

    def pre_save(
        self, instance: Model, using: str, update_fields: Set[str] | None, **kwargs: Any
    ) -> None:
        errors = self._find_errors(type(instance), [instance], using, update_fields)
        if errors:
            raise errors[0]

    def pre_bulk_create(
        self,
        sender: type[Model],
        objs: Sequence[Model],
        using: str,
        ignore_conflicts: bool,
        update_conflicts: bool,
        **kwargs: Any,
    ) -> None:
        is_upsert = ignore_conflicts or update_conflicts
        errors = self._find_errors(sender, objs, using, None, is_new=True, is_upsert=is_upsert)
        if errors:
            raise InvalidRowsError(errors)

    def pre_bulk_update(
        self,
        sender: type[Model],
        objs: Sequence[Model],
        fields: Set[str],
        using: str,
        **kwargs: Any,
    ) -> None:
        errors = self._find_errors(sender, objs, using, fields)
        if errors:
            raise InvalidRowsError(errors)

    def pre_queryset_update(
        self, sender: type[Model], values: Mapping[str, Any], using: str, **kwargs: Any
    ) -> None:
        meta = sender._meta
        names = {name: (meta.pk if name == "pk" else meta.get_field(name)).name for name in values}
        values = {
            names[name]: value
            for name, value in values.items()
            if names[name] not in self._excluded
        }
        errors = validation.clean_values(sender, values, using) if self.full_clean else {}
        for field, validators in self._get_validators(sender):
            value = values.get(field.name)
            if value not in field.empty_values and not hasattr(value, "resolve_expression"):
                for error in _run(validators, value):
                    errors.setdefault(field.name, []).append(error)
        if errors:
            raise ValidationError(errors)

    def check(self) -> None:
        options, hooks = ["full_clean", "validators"], ["get_validators", "clean"]
        check_idle(self, Validate, options, hooks)
        models = Coverage(self).get_models()
        known = {field.name for model in models for field in model._meta.fields}
        for option in ("validators", "exclude_fields") if models else ():
            lack = "and no model that it covers has such a field"
            check_names(self.name, option, getattr(self, option), known, lack)
        for name, validators in self.validators.items():
            _load(self.name, name, validators)
        for model in models:
            self._get_validators(model)

    def _find_errors(
        self,
        model: type[Model],
        instances: Sequence[Model],
        using: str,
        written: Set[str] | None,
        is_new: bool = False,
        is_upsert: bool = False,
    ) -> dict[int, ValidationError]:
        """Position -> what is wrong with that row; only of bad ones."""
        rows = [
            validation.get_row(position, instance, written, self._excluded)
            for position, instance in enumerate(instances)
            if self.should_validate(instance)
        ]
        if self.full_clean and rows:
            validation.clean(model, rows, using, is_new=is_new, is_upsert=is_upsert)
        for row in rows:
            for field, validators in self._get_validators(model):
                if field.name not in row.exclude:
                    value = getattr(row.instance, field.attname)
                    if value not in field.empty_values:
                        for error in _run(validators, value):
                            row.add(error, field.name)
            validation.collect(row, lambda: self.clean(row.instance))  # noqa: B023
        return {row.position: ValidationError(row.errors) for row in rows if row.errors}

    def _forget_models(self) -> None:
        self._validators.clear()

    def _get_validators(self, model: type[Model]) -> tuple[tuple[Any, tuple[Validator, ...]], ...]:
        found = self._validators.get(model)
        if found is None:
            found = self._validators[model] = tuple(
                (field, _load(self.name, field.name, validators))
                for field in model._meta.concrete_fields
                if (validators := self.get_validators(field))
            )
        return found


def _run(validators: Sequence[Validator], value: Any) -> list[ValidationError]:
    errors = []
    for validator in validators:
        try:
            validator(value)
        except ValidationError as error:
            errors.append(error)
    return errors


def _load(receiver: str, field: str, validators: Any) -> tuple[Validator, ...]:
    """The functions that the names stand for. Raises Misconfigured."""
    what = f"The validators of the field {field!r} in {receiver}"
    if isinstance(validators, str) or not isinstance(validators, Sequence):
        raise Misconfigured(
            "E038",
            f"{what} are {validators!r}.",
            f"Write a list: {{{field!r}: ['django.core.validators.validate_slug']}}.",
        )
    loaded = []
    for validator in validators:
        try:
            found = import_string(validator) if isinstance(validator, str) else validator
        except ImportError as error:
            raise Misconfigured(
                "E038",
                f"{what} have {validator!r}, which cannot be imported: {error}.",
                "Write the dotted path of a function.",
            ) from error
        if not callable(found):
            raise Misconfigured(
                "E038",
                f"{what} have {validator!r}, which cannot be called.",
                "Write the dotted path of a function that takes a value.",
            )
        loaded.append(found)
    return tuple(loaded)
