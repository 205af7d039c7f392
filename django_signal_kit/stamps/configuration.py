"""What is wrong, or in vain, in the options of a LastModified."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Warning
from django.db.models import Model

from django_signal_kit.exceptions import Misconfigured, did_you_mean, join
from django_signal_kit.middleware import get_missing
from django_signal_kit.stamps.columns import Stamps, lacks_date_field
from django_signal_kit.stamps.paths import Path, StepError
from django_signal_kit.wiring.idle import overrides
from django_signal_kit.wiring.senders import Coverage


def check(receiver: Any) -> None:
    """Raises Misconfigured for the first mistake."""
    models = Coverage(receiver).get_models()
    for model in models:
        _check_columns(receiver, model)
    for text in receiver.touch if models else ():
        _check_path(receiver, text, models)


def _check_columns(receiver: Any, model: type[Model]) -> None:
    names = receiver._get_stamps(model).names
    for name in names:
        if names.count(name) > 1:
            raise Misconfigured(
                "E051",
                f"{receiver.name} is to write two stamps into the field {name!r} of "
                f"{model._meta.label}.",
                "Give each of 'field', 'created_field', 'by_field' and 'created_by_field' a field "
                "of its own, or leave it out.",
            )


def _check_path(receiver: Any, text: str, models: list[type[Model]]) -> None:
    where = f"The option 'touch' of {receiver.name} has {text!r}"
    known: set[str] = set()
    paths: list[Path] = []
    for model in models:
        try:
            paths.append(Path(model, text))
        except StepError as error:
            if not error.is_first:
                raise Misconfigured(
                    "E049", f"{where}, but {error}.", did_you_mean(error.name, error.known)
                ) from None
            known |= set(error.known)
    if not paths:
        name = text.partition("__")[0]
        raise Misconfigured(
            "E049",
            f"{where}, but no model that it covers has a foreign key {name!r}.",
            did_you_mean(name, known, "Name a foreign key, or a path such as 'order__customer'."),
        )
    for path in paths:
        if lack := lacks_date_field(path.target, receiver.field):
            raise Misconfigured(
                "E050",
                f"{where}, but {path.target._meta.label}, to which it leads, has {lack}.",
                "Give that model a field for the stamp, name it by the option 'field', or leave "
                "the path out.",
            )


def get_warnings(receiver: Any, base: type) -> list[CheckMessage]:
    """What works, and does less than one would think. ``base``: LastModified itself."""
    models = Coverage(receiver).get_models()
    return [
        *_warn_of_middleware(receiver, base),
        *(
            warning
            for model in models
            for stamps in [receiver._get_stamps(model)]
            for warning in (
                *_warn_of_auto_now(receiver, base, stamps),
                *_warn_of_editors(receiver, base, stamps),
            )
        ),
    ]


def _warn_of_middleware(receiver: Any, base: type) -> list[CheckMessage]:
    names = [name for name in (receiver.by_field, receiver.created_by_field) if name]
    if not names or overrides(receiver, base, ["get_editor"]):
        return []
    return get_missing(
        f"{receiver.name} does not know who makes a request, and leaves "
        f"{join(map(repr, names))} as {'it is' if len(names) == 1 else 'they are'}"
    )


def _warn_of_auto_now(receiver: Any, base: Any, stamps: Stamps) -> Iterator[Warning]:
    asked = [
        what
        for what, is_asked in (
            ("'keep_explicit'", receiver.keep_explicit),
            ("get_timestamp()", type(receiver).get_timestamp is not base.get_timestamp),
        )
        if is_asked
    ]
    for field in (stamps.changed, stamps.created) if asked else ():
        word = next((w for w in ("auto_now", "auto_now_add") if getattr(field, w, False)), None)
        if word is not None:
            yield Warning(
                f"{receiver.name} stamps {field}, which has {word}=True: Django writes a moment "
                f"of its own over it, so that {' and '.join(asked)} has no effect there.",
                hint=f"Take {word} away from the field; {receiver.name} stamps it.",
                id="signal_kit.W013",
            )


def _warn_of_editors(receiver: Any, base: Any, stamps: Stamps) -> Iterator[Warning]:
    if type(receiver).get_editor is not base.get_editor:
        return
    try:
        user: Any = apps.get_model(settings.AUTH_USER_MODEL)
    except LookupError:
        # A project without users has actors of its own.
        return
    for field in (stamps.by, stamps.created_by):
        related = None if field is None else field.remote_field.model._meta.concrete_model
        if related is not None and not (issubclass(related, user) or issubclass(user, related)):
            yield Warning(
                f"{receiver.name} writes who changed a row into {field}, which points to "
                f"{related._meta.label}: users are no such rows, so that it stays as it is.",
                hint="Override get_editor(), or point the field to the user model.",
                id="signal_kit.W014",
            )
