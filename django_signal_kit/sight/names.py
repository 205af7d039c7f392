"""What signals and senders are called."""

from __future__ import annotations

import sys
from typing import Any
from weakref import WeakKeyDictionary

from django.apps import AppConfig
from django.db.models import Model
from django.dispatch import Signal

from django_signal_kit.wiring import catalog
from django_signal_kit.wiring.listing import get_path
from django_signal_kit.wiring.others import find_paths

_names: WeakKeyDictionary[Signal, str] = WeakKeyDictionary()


def get_name(signal: Signal) -> str:
    """``"post_save"`` for the signals that the kit knows, the dotted path of others, and
    ``"a signal"`` for one that no module has under a name."""
    try:
        return _names[signal]
    except KeyError:
        pass
    for name, path in catalog.get_paths().items():
        module, _, attribute = path.rpartition(".")
        if getattr(sys.modules.get(module), attribute, None) is signal:
            _names[signal] = name
            return name
    # One that no module has is not looked for again: that goes through all of them.
    (_names[signal],) = find_paths([signal]).values()
    return _names[signal]


def get_label(sender: Any) -> str:
    """``"shop.Product"`` for a model, the name of an app, the dotted path of a class; empty for
    None."""
    if sender is None:
        return ""
    if isinstance(sender, type) and issubclass(sender, Model):
        return sender._meta.label
    if isinstance(sender, AppConfig):
        return sender.label
    return get_path(sender if isinstance(sender, type) else type(sender))
