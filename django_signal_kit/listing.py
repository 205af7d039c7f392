"""Who listens to what: every receiver on every signal, the kit's and others', as data."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.apps import apps
from django.db.models import Model
from django.dispatch import Signal
from django.utils.module_loading import import_string

from django_signal_kit import catalog
from django_signal_kit.current import get_muted
from django_signal_kit.receiver import Receiver

# As django.dispatch makes it of sender=None.
_NO_SENDER = id(None)

WHEN = {
    "before_commit": "before the commit",
    "after_commit": "after the commit",
    "task": "in a task, after the commit",
}


@dataclass
class Listener:
    """One function on one signal, with all the senders that it is connected to."""

    signal: str
    #: Dotted path of the function, or of the receiver's method.
    path: str
    #: The kit's name of the receiver; empty for a function of somebody else's.
    name: str
    #: When a receiver of the kit acts; "at once" if it collects nothing.
    acts: str
    is_async: bool
    is_muted: bool
    #: Labels of models, or other names of senders; empty for any sender.
    senders: list[str] = field(default_factory=list)
    models: list[type[Model]] = field(default_factory=list)

    def hears(self, model: type[Model]) -> bool:
        """Would this listener be told of ``model``?"""
        return not self.senders or model in self.models


def get_listeners(signal_name: str | None = None) -> list[Listener]:
    """The listeners of one signal or of all, per signal in the order in which they are called."""
    paths = catalog.get_paths()
    names = paths if signal_name is None else {signal_name: paths[signal_name]}
    senders = _get_senders()
    return [
        listener
        for name, path in names.items()
        if (signal := _get_loaded(path)) is not None
        for listener in _get_listeners(name, signal, senders)
    ]


def _get_loaded(path: str) -> Signal | None:
    # What nobody has imported has no receiver; django.test is not to be loaded for a listing.
    if path.rpartition(".")[0] not in sys.modules:
        return None
    return import_string(path)  # type: ignore[no-any-return]


def _get_senders() -> dict[int, Any]:
    models = apps.get_models(include_auto_created=True, include_swapped=True)
    return {id(sender): sender for sender in (*models, *apps.get_app_configs())}


def _get_listeners(name: str, signal: Signal, senders: dict[int, Any]) -> Iterator[Listener]:
    found: dict[Any, Listener] = {}
    for item in list(signal.receivers):
        # Three items in Django 5.2 and four since 6.0; these two are where they were.
        (uid, sender_id), function = item[0], item[1]
        if isinstance(function, weakref.ReferenceType):
            function = function()
        if function is None:
            continue
        # The kit connects one function to many models; others are told apart by what they are.
        key = uid if isinstance(uid, str) else id(function)
        listener = found.get(key)
        if listener is None:
            listener = found[key] = _describe(name, function)
        if sender_id != _NO_SENDER:
            sender = senders.get(sender_id)
            listener.senders.append(_get_label(sender))
            if isinstance(sender, type):
                listener.models.append(sender)
    return iter(sorted(found.values(), key=lambda listener: listener.is_async))


def _describe(signal_name: str, function: Any) -> Listener:
    receiver = getattr(function, "signal_kit_receiver", None)
    if isinstance(receiver, Receiver):
        cls = type(receiver)
        method = getattr(function, "__name__", signal_name)
        collects = cls.flush is not Receiver.flush
        return Listener(
            signal=signal_name,
            path=f"{cls.__module__}.{cls.__qualname__}.{method}",
            name=receiver.name,
            acts=WHEN[receiver.flush_on] if collects else "at once",
            is_async=iscoroutinefunction(function),
            is_muted=receiver.name in get_muted(),
        )
    return Listener(
        signal=signal_name,
        path=get_path(function),
        name="",
        acts="at once",
        is_async=iscoroutinefunction(function),
        is_muted=False,
    )


def get_path(function: Any) -> str:
    """The dotted path of anything that can be connected: a function, a method, a partial, an
    instance with ``__call__``."""
    inner = getattr(function, "func", None)
    if inner is not None and not hasattr(function, "__qualname__"):
        return f"partial of {get_path(inner)}"
    owner = function if hasattr(function, "__qualname__") else type(function)
    return f"{owner.__module__}.{owner.__qualname__}"


def _get_label(sender: Any) -> str:
    if sender is None:
        return "another sender"
    if isinstance(sender, type) and issubclass(sender, Model):
        return sender._meta.label
    return str(getattr(sender, "label", sender))
