"""Whether a CacheInvalidation can work as it is set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.checks import CheckMessage, Warning
from django.db.models import ManyToManyField, Model

from django_signal_kit.cache.related import NoRelationError, get_path
from django_signal_kit.cache.templates import get_names
from django_signal_kit.exceptions import Misconfigured, did_you_mean
from django_signal_kit.wiring.senders import Coverage

if TYPE_CHECKING:
    from django_signal_kit.cache.cache_invalidation import CacheInvalidation


def check(receiver: CacheInvalidation) -> None:
    """Raise Misconfigured if an option of ``receiver`` names what is not there."""
    for alias in receiver.caches:
        if alias not in settings.CACHES:
            raise Misconfigured(
                "E012",
                f"The option 'caches' of {receiver.name} has {alias!r}, which is not in CACHES.",
                did_you_mean(alias, settings.CACHES),
            )
    try:
        names = get_names([*receiver.keys, *receiver.tags], receiver.fragments)
    except (TypeError, ValueError) as error:
        raise Misconfigured(
            "E012",
            f"A template of {receiver.name} cannot be read: {error}.",
            "Write templates such as 'product:{pk}'; for each fragment, a list of them.",
        ) from error
    for model in Coverage(receiver).get_models():
        _check_model(receiver, model, names)


def _check_model(receiver: CacheInvalidation, model: type[Model], names: list[str]) -> None:
    columns = [field.name for field in model._meta.concrete_fields]
    for name in names:
        # Of the class, a composite key is no attribute.
        if name != "pk" and not hasattr(model, name):
            raise _wrong_name(receiver, name, model, "attribute", columns)
    for path in receiver.related:
        try:
            get_path(model, path)
        except NoRelationError as error:
            raise Misconfigured(
                "E012", f"The option 'related' of {receiver.name} has {error}.", error.guess
            ) from error
    known = [*columns, *(field.attname for field in model._meta.concrete_fields)]
    known += [_get_accessor(relation) for relation in receiver.get_m2m_fields(model)]
    for name in receiver.fields:
        if name not in known:
            raise _wrong_name(receiver, name, model, "field", known)


def warn(
    receiver: CacheInvalidation, is_tagged: Callable[[type[Model]], bool]
) -> Iterator[CheckMessage]:
    """Warn of relations to models that no receiver gives tags."""
    ends = {
        (path, get_path(model, path).end): None
        for model in Coverage(receiver).get_models()
        for path in receiver.related
    }
    for path, end in ends:
        if not is_tagged(end):
            yield Warning(
                f"{receiver.name} touches the tags of {end._meta.label} ({path!r} in its option "
                f"'related'), and no CacheInvalidation that covers it has any.",
                hint=f"Give one that covers {end._meta.label} the option 'tags'.",
                id="signal_kit.W015",
            )


def _wrong_name(
    receiver: CacheInvalidation, name: str, model: type[Model], what: str, known: Iterable[str]
) -> Misconfigured:
    return Misconfigured(
        "E012",
        f"{receiver.name} names {name!r}, and {model._meta.label} has no such {what}.",
        did_you_mean(name, known),
    )


def _get_accessor(relation: Any) -> Any:
    """The name of a many-to-many relation on the model that is asked for it."""
    is_declared = isinstance(relation, ManyToManyField)
    return relation.name if is_declared else relation.get_accessor_name()
