"""Who listens to what, as data: everything that is connected, the kit's and others'."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any, Literal, TypeAlias

from asgiref.sync import iscoroutinefunction
from django.apps import apps
from django.db import DEFAULT_DB_ALIAS, router
from django.db.models import Model
from django.dispatch import Signal

from django_signal_kit import receivers
from django_signal_kit.current import get_muted
from django_signal_kit.receiver import ModelReceiver, Receiver
from django_signal_kit.rows.many_to_many import get_many_to_many, get_reverse_many_to_many
from django_signal_kit.tasks.options import read_options
from django_signal_kit.tasks.places import Place, find_place
from django_signal_kit.wiring import catalog
from django_signal_kit.wiring.others import find_others
from django_signal_kit.wiring.registry import get_throughs, registry
from django_signal_kit.wiring.sender_names import get_senders

Acts: TypeAlias = Literal["at_once", "before_commit", "after_commit", "task"]

#: Stands for a signal where triggers of the database do what a receiver is for.
TRIGGERS = "triggers"

_SIGNALS_OF_ROWS = catalog.MODEL_SIGNALS | {"m2m_changed"}


@dataclass(frozen=True)
class Listing:
    """One receiver, connected to one signal of one sender. JSON has these names and values."""

    signal: str
    #: A model's label, ``"any"``, or the repr of whatever else it is.
    sender: str
    #: The dotted path of the class or function.
    receiver: str
    #: What ``muted()`` calls it; None if it is not the kit's.
    name: str | None
    acts: Acts
    is_async: bool
    is_muted: bool
    #: Where its tasks wait of what it hears there: ``"in_transaction"``, ``"outbox"`` or
    #: ``"after_commit"``. None if it does not act in a task.
    queued: Place | None = None


def get_listings(
    signal_names: Iterable[str] | None = None, model: type[Model] | None = None
) -> Iterator[Listing]:
    """What is connected, signal by signal in the order in which Django calls it; then, under
    :data:`TRIGGERS`, what triggers do.

    With ``model`` only what its rows call: those that are connected to it or to its many-to-many
    relations, and to all models.
    """
    signal_names = None if signal_names is None else list(signal_names)
    connected = [(name, list(signal.receivers)) for name, signal in get_signals(signal_names)]
    senders = get_senders(item for _, items in connected for item in items)
    models = {id(known): known for known in apps.get_models(include_auto_created=True)}
    heard = None if model is None else {id(sender) for sender in get_own_senders(model)}
    for name, items in connected:
        if heard is not None:
            also = {id(None)} if name in _SIGNALS_OF_ROWS else set()
            items = [item for item in items if item[0][1] in heard | also]
        called = [(item, function) for item in items if (function := get_function(item))]
        # Django calls the synchronous ones first. The sort is stable.
        for item, function in sorted(called, key=lambda pair: iscoroutinefunction(pair[1])):
            sender = models.get(item[0][1])
            yield make_listing(name, senders[item[0][1]], function, sender)
    if signal_names is None or TRIGGERS in signal_names:
        yield from _list_triggers(model)


def _list_triggers(model: type[Model] | None) -> Iterator[Listing]:
    heard = None if model is None else get_own_senders(model)
    for receiver in registry.receivers:
        for sender in get_left(receiver):
            if heard is None or sender in heard:
                yield Listing(
                    signal=TRIGGERS,
                    sender=sender._meta.label,
                    receiver=get_path(type(receiver)),
                    name=receiver.name,
                    acts="at_once",
                    is_async=False,
                    is_muted=receiver.name in get_muted(),
                )


def get_left(receiver: Receiver) -> list[type[Model]]:
    """The models whose rows ``receiver`` leaves to triggers, with those of their links."""
    if not isinstance(receiver, ModelReceiver):
        return []
    models = [model for model in registry.get_models(receiver) if not receiver.hears(model)]
    throughs = (through for model in models for through in get_throughs(receiver, model))
    return list(dict.fromkeys((*models, *throughs)))


def collapse(listings: Iterable[Listing]) -> Iterator[tuple[Listing, list[str]]]:
    """Those that follow each other and differ only in the sender: the first, and all senders.

    What is called in between keeps them apart, so that the order stays true.
    """

    def without_sender(listing: Listing) -> tuple[Any, ...]:
        return (
            listing.signal,
            listing.receiver,
            listing.name,
            listing.acts,
            listing.is_async,
            listing.is_muted,
            listing.queued,
        )

    for _, group in groupby(listings, without_sender):
        same = list(group)
        yield same[0], list(dict.fromkeys(listing.sender for listing in same))


def get_signals(names: Iterable[str] | None = None) -> Iterator[tuple[str, Signal]]:
    """The signals of these ``names``, or all: those that have a name here, then those of others,
    by their dotted paths. What is not there is left out."""
    paths = catalog.get_paths()
    wanted = list(paths if names is None else names)
    for name in wanted:
        if name in paths and (signal := get_loaded_signal(name)) is not None:
            yield name, signal
    if names is None or not paths.keys() >= set(wanted):
        known = [found for name in paths if (found := get_loaded_signal(name)) is not None]
        for path, other in find_others(known):
            if names is None or path in wanted:
                yield path, other


def get_loaded_signal(name: str) -> Signal | None:
    """The signal of that name, or None if its module is not there to be listened to.

    To import ``django.test`` only to find nobody would cost more than the answer is worth.
    """
    module = catalog.get_paths()[name].rpartition(".")[0]
    if module == "django.test.signals" and module not in sys.modules:
        return None
    return catalog.get_signal(name)


def get_own_senders(model: type[Model], signal_name: str = "m2m_changed") -> list[Any]:
    """What a signal about rows of ``model`` has as its sender: the model; of its links the through
    models."""
    if signal_name != "m2m_changed":
        return [model]
    relations: list[Any] = [field.remote_field for field in get_many_to_many(model)]
    relations += get_reverse_many_to_many(model)
    return [model, *(relation.through for relation in relations)]


def get_function(item: Any) -> Callable[..., Any] | None:
    """What Django calls for an item of ``signal.receivers``; None if it is gone."""
    # The items have three parts in Django 5.2 and four since 6.0; these two are in both.
    function = item[1]
    return function() if isinstance(function, weakref.ReferenceType) else function


def get_receiver(function: Any) -> Receiver | None:
    """The receiver of the kit that stands behind it; None for what is somebody else's."""
    # A mock has every attribute.
    found = getattr(function, "signal_kit_receiver", None)
    return found if isinstance(found, Receiver) else None


def make_listing(
    signal_name: str, sender: str, function: Callable[..., Any], model: type[Model] | None
) -> Listing:
    receiver = get_receiver(function)
    acts: Acts = "at_once" if receiver is None else get_acts(receiver)
    return Listing(
        signal=signal_name,
        sender=sender,
        receiver=get_path(function if receiver is None else type(receiver)),
        name=None if receiver is None else receiver.name,
        acts=acts,
        is_async=iscoroutinefunction(function),
        is_muted=receiver is not None and receiver.name in get_muted(),
        queued=None if receiver is None or acts != "task" else get_queued(receiver, model),
    )


def get_acts(receiver: Receiver) -> Acts:
    """When a receiver of the kit acts; one without ``flush()`` acts when it is called."""
    return "at_once" if type(receiver).flush is Receiver.flush else receiver.flush_on


def get_queued(receiver: Receiver, model: type[Model] | None) -> Place:
    """Where its tasks wait of what is written to the database of ``model``, or to the default."""
    using = DEFAULT_DB_ALIAS if model is None else router.db_for_write(model)
    return find_place(read_options(receiver), using)


def get_path(thing: Any) -> str:
    """The dotted path of a class or a function; of what has none, the path of what it is of."""
    if isinstance(thing, partial):
        return f"partial({get_path(thing.func)})"
    name = getattr(thing, "__qualname__", None)
    if name is None:
        return f"{get_path(type(thing))}()"
    if name in receivers.__all__ and getattr(receivers, name) is thing:
        return f"{receivers.__name__}.{name}"
    module = getattr(thing, "__module__", None)
    return f"{module}.{name}" if module else str(name)
