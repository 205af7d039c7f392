"""The receivers of one kind, as a command names them, and the models that they go through."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from django.db.models import Model

from django_signal_kit.exceptions import did_you_mean
from django_signal_kit.receiver import Receiver
from django_signal_kit.wiring.registry import registry

R = TypeVar("R", bound=Receiver)


def get_of_kind(kind: type[R], names: Iterable[str]) -> dict[str, R]:
    """Name -> each receiver of a ready-made class that is connected, in their order. Raises
    LookupError if there is none, and for one of ``names`` that is none of theirs."""
    known = {each.name: each for each in registry.receivers if isinstance(each, kind)}
    what = f"receiver of the kind {kind.__name__}"
    if not known:
        raise LookupError(f"No {what} is connected.")
    for name in names:
        if name not in known:
            raise LookupError(f"No {what} is named {name!r}. {did_you_mean(name, known)}")
    return known


def leave_out_children(models: Iterable[type[Model]]) -> list[type[Model]]:
    """``models`` without the multi-table children of one of them: each row is in one then."""
    found = list(models)
    covered = set(found)
    return [model for model in found if covered.isdisjoint(model._meta.get_parent_list())]
