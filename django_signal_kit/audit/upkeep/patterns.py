"""Which rows an entry may be about: the content types of the log's database, by label."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import TypeVar

from django.apps import apps
from django.contrib.contenttypes.models import ContentType

from django_signal_kit.exceptions import did_you_mean

T = TypeVar("T")

#: What entries are called whose content type is gone, or that never had one.
NO_KIND = "(unknown)"


class Kinds:
    """The content types of one database when this was made: id -> ``"shop.Cart"``."""

    def __init__(self, using: str) -> None:
        self.labels = {kind.pk: _get_label(kind) for kind in ContentType.objects.using(using)}

    def get_label(self, id: int | None) -> str:
        return self.labels.get(id, NO_KIND)  # type: ignore[arg-type]

    def choose(self, id: int | None, choices: Mapping[str, T]) -> T | None:
        """Of ``{"shop.Cart": …, "shop.*": …, "__all__": …}`` what is most specific for a content
        type; None if nothing speaks of it. What is gone is spoken of by ``"__all__"`` alone."""
        ranks = {pattern: _get_rank(self.get_label(id), pattern) for pattern in choices}
        best = max(ranks, key=ranks.__getitem__, default=None)
        return choices[best] if best is not None and ranks[best] else None

    def find(self, patterns: Collection[str]) -> set[int]:
        """The ids of the content types that any of ``patterns`` names. Raises LookupError for a
        pattern that names neither one of them nor a model that is installed."""
        installed = {model._meta.label for model in apps.get_models()}
        for pattern in patterns:
            if not any(_get_rank(label, pattern) for label in {*self.labels.values(), *installed}):
                guess = did_you_mean(pattern, installed, 'Write "app.Model" or "app.*".')
                raise LookupError(f"There is no model {pattern!r}. {guess}")
        wanted = dict.fromkeys(patterns, True)
        return {id for id in self.labels if self.choose(id, wanted)}


def _get_label(kind: ContentType) -> str:
    # A model that is gone has left the name of its row only.
    model = kind.model_class()
    return f"{kind.app_label}.{kind.model}" if model is None else model._meta.label


def _get_rank(label: str, pattern: str) -> int:
    """How well ``pattern`` fits a model: 0 if it does not, 3 if it names it."""
    if pattern == "__all__":
        return 1
    if pattern.endswith(".*"):
        return 2 * (label.partition(".")[0] == pattern[:-2])
    with suppress(LookupError, ValueError):
        # Entries are about concrete models: a proxy stands for its own.
        pattern = apps.get_model(pattern)._meta.concrete_model._meta.label
    return 3 * (label.lower() == pattern.lower())
