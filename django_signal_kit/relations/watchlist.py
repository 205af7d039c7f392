"""The foreign keys that a receiver watches, each with the model to which it points."""

from __future__ import annotations

from django.db.models import Model

from django_signal_kit.relations.pointers import Pointer


class Watchlist:
    """Models, each with a foreign key by which its rows are pointed to, in the order in which they
    were added."""

    def __init__(self) -> None:
        self._watched: list[tuple[type[Model], Pointer]] = []

    def add(self, model: type[Model], pointer: Pointer) -> None:
        self._watched.append((model, pointer))

    def clear(self) -> None:
        self._watched.clear()

    def get_links(self, through: type[Model]) -> list[tuple[type[Model], Pointer]]:
        """Those that are ends of links in ``through``, of which Django sends no signal."""
        return [
            (model, pointer)
            for model, pointer in self._watched
            if pointer.is_link and pointer.holder is through
        ]

    def get_held(self, model: type[Model]) -> list[tuple[type[Model], Pointer]]:
        """Those that rows of ``model`` hold, and whose writes are told of."""
        return [
            (target, pointer)
            for target, pointer in self._watched
            if not pointer.is_link and issubclass(model, pointer.holder)
        ]

    def get_deleted(self, model: type[Model]) -> list[tuple[type[Model], Pointer]]:
        """Those that go with a row of ``model``."""
        return [
            (target, pointer)
            for target, pointer in self._watched
            if not pointer.is_link and pointer.is_deleted_with(model)
        ]
