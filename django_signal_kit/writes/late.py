"""Fields that models get after the wiring: some apps add them when all models are there.

A field is told of while it is being added, and is related to nothing yet. What it asks for is
therefore wired before the next write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from threading import RLock
from typing import Any

from django.apps import apps
from django.db.models import Model

from django_signal_kit.rows.columns import get_columns

#: Models whose wiring is out of date. Always this very set: it is looked at before each write.
waiting: set[type[Model]] = set()

_lock = RLock()
_refresh: list[Callable[[Iterable[type[Model]]], None]] = []


def watch(refresh: Callable[[Iterable[type[Model]]], None]) -> None:
    """Call ``refresh(models)`` before a write that may concern them."""
    _refresh[:] = [refresh]


def settle() -> None:
    """Wire what is waiting. To be called if anything is."""
    with _lock:
        models = list(waiting)
        if models:
            for refresh in _refresh:
                refresh(models)
            waiting.difference_update(models)


def wrap_add_field(original: Callable[..., None]) -> Callable[..., None]:
    @wraps(original)
    def add_field(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        made = apps.all_models[self.app_label].get(self.model_name)
        # Not while the model itself is being made.
        if made is not None and made is getattr(self, "model", self):
            get_columns.cache_clear()
            waiting.add(made)
            # Who has wired the models has made them list their fields, too early now.
            for child in apps.get_models() if apps.models_ready else ():
                if issubclass(child, made) and child is not made:
                    child._meta._expire_cache()  # type: ignore[attr-defined]

    return add_field
