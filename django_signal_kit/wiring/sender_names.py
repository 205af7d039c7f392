"""What to call the senders to which receivers are connected. Django keeps them by their id."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterable
from typing import Any

from django.apps import apps

ANY = "any"

#: Columns that a sender may take that is neither a model nor an app.
_LONGEST = 120


def get_senders(items: Iterable[Any]) -> dict[int, str]:
    """Id of a sender -> what to call it, of the items of ``signal.receivers``."""
    senders = {id(None): ANY}
    for model in apps.get_models(include_auto_created=True, include_swapped=True):
        senders[id(model)] = model._meta.label
    for config in apps.get_app_configs():
        senders[id(config)] = repr(config)
    lost = set()
    for item in items:
        key = item[0][1]
        if key not in senders:
            # Since 6.0 an item refers to its sender, if the sender can be referred to.
            reference = next((part for part in item[2:] if isinstance(part, weakref.ref)), None)
            if reference is None:
                lost.add(key)
            else:
                found = reference()
                senders[key] = "an object that is gone" if found is None else tell_object(found)
    return {**senders, **_find(lost)}


def tell_object(thing: Any) -> str:
    """Its repr, of which one line has to do; of one that has none to show, its class."""
    try:
        text = " ".join(repr(thing).split())
    except Exception:
        return f"an object of {type(thing).__module__}.{type(thing).__qualname__}"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _find(ids: set[int]) -> dict[int, str]:
    """Classes, and instances of classes of somebody's, by their ids: by one look at all that
    there is."""
    found = {id_: f"an object of id {id_}" for id_ in ids}
    for thing in gc.get_objects() if ids else ():
        if id(thing) in ids and (isinstance(thing, type) or type(thing).__module__ != "builtins"):
            found[id(thing)] = tell_object(thing)
    return found
