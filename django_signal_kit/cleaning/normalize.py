"""Cleans the values of fields before they are written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any, NamedTuple

from django.apps import apps
from django.db.models import Field, Model
from django.db.models.signals import pre_save
from django.utils.module_loading import import_string

from django_signal_kit.cleaning.cleaners import CLEANERS, Cleaner, empty_to_none
from django_signal_kit.exceptions import Misconfigured, did_you_mean
from django_signal_kit.receiver import ModelReceiver
from django_signal_kit.units.failures import report_failure
from django_signal_kit.wiring.idle import check_idle
from django_signal_kit.wiring.senders import Coverage


class Step(NamedTuple):
    """One field of a model, and what its values go through."""

    name: str
    attname: str
    chain: tuple[tuple[str, Cleaner], ...]


class Normalize(ModelReceiver):
    """Cleans values at each save, in ``bulk_create`` and ``bulk_update``, and the literal values
    of ``QuerySet.update()``, by the statement that writes them and without a query.

    Cleans only what is written, and sets it on the instance too. Expressions (``F()``) and fields
    that were not loaded stay as they are. Runs before the write, in its transaction.
    """

    #: Name of a field -> its cleaners, in order: names of those of the kit, dotted paths, or
    #: functions that take a value and give back a clean one.
    fields: Mapping[str, Sequence[str | Cleaner]] = {}

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._steps: dict[type[Model], tuple[Step, ...]] = {}

    def get_cleaners(self, field: Field[Any, Any]) -> Sequence[str | Cleaner]:
        """The cleaners of a field; by default those of the option. Asked once for each field of
        a covered model."""
        return self.fields.get(field.name, ())

    def pre_save(self, instance: Model, update_fields: Set[str] | None, **kwargs: Any) -> None:
        values = instance.__dict__
        for name, attname, chain in self._get_steps(type(instance)):
            if update_fields is not None and name not in update_fields:
                continue
            # What was not loaded is not written either.
            if attname in values:
                value = values[attname]
                cleaned = self._clean(type(instance), name, chain, value)
                if cleaned is not value:
                    setattr(instance, attname, cleaned)

    def clean_fields(self, instance: Model, names: Set[str], using: str) -> None:
        """What ``pre_save`` does, an overridden one too."""
        self.pre_save(
            signal=pre_save,
            sender=type(instance),
            instance=instance,
            raw=False,
            using=using,
            update_fields=names,
        )

    def pre_bulk_create(self, sender: type[Model], objs: Sequence[Model], **kwargs: Any) -> None:
        self._clean_all("pre_bulk_create", objs, None)

    def pre_bulk_update(
        self, sender: type[Model], objs: Sequence[Model], fields: Set[str], **kwargs: Any
    ) -> None:
        self._clean_all("pre_bulk_update", objs, fields)

    def pre_queryset_update(
        self, sender: type[Model], values: dict[str, Any], **kwargs: Any
    ) -> None:
        for name, attname, chain in self._get_steps(sender):
            for key in {name, attname} & values.keys():
                values[key] = self._clean(sender, name, chain, values[key])

    def lacks(self, model: type[Model]) -> str | None:
        try:
            found = any(self.get_cleaners(field) for field in model._meta.concrete_fields)
        except Exception:
            # An override may know more of its own models than of others.
            return None
        return None if found else f"none of the fields {', '.join(map(repr, self.fields))}"

    def check(self) -> None:
        is_set = any(self.fields.values())
        check_idle(self, Normalize, ["fields"], ["get_cleaners"], is_set=is_set)
        models = Coverage(self).get_models()
        # A pattern covers no model if none has such a field.
        known = {
            field.name
            for model in models or apps.get_models()
            for field in model._meta.concrete_fields
        }
        for name in self.fields:
            if name not in known:
                raise Misconfigured(
                    "E021",
                    f"The option 'fields' of {self.name} has {name!r}, and no model that it "
                    f"covers has such a column.",
                    did_you_mean(name, known),
                )
        for name, chain in self.fields.items():
            for cleaner in _as_chain(self, name, chain):
                get_cleaner(self.name, name, cleaner)
        for model in models:
            for step in self._get_steps(model):
                _check_null(self.name, model, step)

    def _forget_models(self) -> None:
        self._steps.clear()

    def _get_steps(self, model: type[Model]) -> tuple[Step, ...]:
        steps = self._steps.get(model)
        if steps is None:
            steps = self._steps[model] = tuple(
                Step(
                    field.name,
                    field.attname,
                    tuple(
                        (_get_name(cleaner), get_cleaner(self.name, field.name, cleaner))
                        for cleaner in cleaners
                    ),
                )
                for field in model._meta.concrete_fields
                if (cleaners := _as_chain(self, field.name, self.get_cleaners(field)))
            )
        return steps

    def _clean(
        self, model: type[Model], name: str, chain: tuple[tuple[str, Cleaner], ...], value: Any
    ) -> Any:
        if hasattr(value, "resolve_expression"):
            return value
        for cleaner_name, cleaner in chain:
            try:
                value = cleaner(value)
            except Exception as error:
                error.add_note(
                    f"Raised by the cleaner {cleaner_name!r} of {self.name}, which was given the "
                    f"value of {model._meta.label}.{name}, of type {type(value).__name__}."
                )
                raise
        return value

    def _clean_all(
        self, signal_name: str, objs: Sequence[Model], update_fields: Set[str] | None
    ) -> None:
        for position, instance in enumerate(objs):
            try:
                self.pre_save(instance=instance, update_fields=update_fields)
            except Exception as error:
                error.add_note(f"It is the row at position {position} of {len(objs)}.")
                if self.on_error == "raise":
                    raise
                # The other rows are cleaned all the same.
                report_failure(self, signal_name, error)


def get_cleaner(receiver: str, field: str, cleaner: str | Cleaner) -> Cleaner:
    """The function that a name, a dotted path or a function stands for. Raises Misconfigured."""
    if callable(cleaner):
        return cleaner
    if cleaner in CLEANERS:
        return CLEANERS[cleaner]
    what = f"The cleaner {cleaner!r} of the field {field!r} in {receiver}"
    if not isinstance(cleaner, str) or "." not in cleaner:
        raise Misconfigured("E020", f"{what} does not exist.", did_you_mean(cleaner, CLEANERS))
    try:
        found: Callable[[Any], Any] = import_string(cleaner)
    except ImportError as error:
        raise Misconfigured(
            "E020", f"{what} cannot be imported: {error}.", "Write the path of a function."
        ) from error
    if not callable(found):
        raise Misconfigured(
            "E020",
            f"{what} is {found!r}, which cannot be called.",
            "Write the path of a function.",
        )
    return found


def _as_chain(receiver: Normalize, field: str, cleaners: Any) -> Sequence[str | Cleaner]:
    if isinstance(cleaners, str) or not isinstance(cleaners, Sequence):
        raise Misconfigured(
            "E020",
            f"The cleaners of the field {field!r} in {receiver.name} are {cleaners!r}.",
            f"Write a list: {{{field!r}: ['strip']}}.",
        )
    return cleaners


def _get_name(cleaner: str | Cleaner) -> str:
    return cleaner if isinstance(cleaner, str) else getattr(cleaner, "__qualname__", repr(cleaner))


def _check_null(receiver: str, model: type[Model], step: Step) -> None:
    field: Any = model._meta.get_field(step.name)
    if not field.null and any(cleaner is empty_to_none for _, cleaner in step.chain):
        raise Misconfigured(
            "E022",
            f"{receiver} has the cleaner 'empty_to_none' for {model._meta.label}.{step.name}, "
            f"whose column is never NULL.",
            "Take the cleaner away, or give the field null=True and migrate.",
        )
