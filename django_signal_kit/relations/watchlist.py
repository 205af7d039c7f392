"""The foreign keys that a receiver watches, each with what it watches them for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from django.db.models import Model

from django_signal_kit.relations.pointers import Pointer

T = TypeVar("T")


class Watchlist(Generic[T]):
    """Pairs of what a foreign key is watched for, and the foreign key, in the order in which they
    were added."""

    def __init__(self) -> None:
        self._watched: list[tuple[type[Model], T, Pointer]] = []

    def add(self, what: T, pointer: Pointer, through: type[Model] | None = None) -> None:
        """``through``: the model of the links, if the foreign key may be one that it inherits."""
        self._watched.append((through or pointer.holder, what, pointer))

    def clear(self) -> None:
        self._watched.clear()

    def __iter__(self) -> Iterator[tuple[T, Pointer]]:
        return ((what, pointer) for _, what, pointer in self._watched)

    def get_links(self, through: type[Model]) -> list[tuple[T, Pointer]]:
        """Those of links in ``through``, as ``m2m_changed`` tells of them."""
        return [(what, pointer) for holder, what, pointer in self._watched if holder is through]

    def get_held(self, model: type[Model]) -> list[tuple[T, Pointer]]:
        """Those that rows of ``model`` hold, and whose writes are told of."""
        return [
            (what, pointer)
            for holder, what, pointer in self._watched
            if pointer.far is None and issubclass(model, holder)
        ]

    def get_deleted(self, model: type[Model]) -> list[tuple[T, Pointer]]:
        """Those that may go with a row of ``model``."""
        return [(what, pointer) for what, pointer in self if pointer.is_deleted_with(model)]
