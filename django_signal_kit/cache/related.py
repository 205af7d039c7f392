"""Relations over which what shows a row is found, such as ``"category__parent"``."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.core.exceptions import FieldDoesNotExist
from django.db.models import ForeignKey, ManyToManyField, ManyToManyRel, ManyToOneRel, Model

from django_signal_kit.exceptions import did_you_mean


class NoRelationError(ValueError):
    """A path that leads nowhere; says why, and what might have been meant."""

    def __init__(self, sentence: str, guess: str) -> None:
        super().__init__(sentence)
        self.guess = guess


class Path(NamedTuple):
    """Relations from a model to another, forwards and backwards."""

    name: str
    #: The model that they lead to.
    end: type[Model]
    #: The foreign key of the row itself that they start with, if they do: the row says where it
    #: leads, before a change and after it.
    key: Any
    #: What comes after it.
    rest: str
    #: May a change of the row be one of what comes after its key, too?
    turns: bool

    @property
    def is_plain(self) -> bool:
        """Does the row itself say all?"""
        return self.key is not None and not self.rest


def get_path(model: type[Model], name: str) -> Path:
    """The relations of ``name``, such as ``"category__parent"``. Raises NoRelationError."""
    here, turns, key = model, False, None
    first, _, rest = name.partition("__")
    for part in name.split("__"):
        field = _get_relation(here, part, name)
        if part == first and here is model and key is None and _is_own_key(field):
            key = field
        else:
            turns = turns or _may_turn(field, here, model)
        here = field.related_model
    return Path(name, here, key, rest if key is not None else name, turns)


def _get_relation(model: type[Model], part: str, name: str) -> Any:
    try:
        field: Any = model._meta.get_field(part)
    except FieldDoesNotExist:
        field = None
    if field is None or not field.is_relation or field.related_model is None:
        known = [f.name for f in model._meta.get_fields() if f.is_relation and f.related_model]
        raise NoRelationError(
            f"{name!r}, and {model._meta.label} has no relation {part!r}",
            did_you_mean(part, known),
        )
    return field


def _is_own_key(field: Any) -> bool:
    return isinstance(field, ForeignKey) and field.target_field.primary_key


def _may_turn(field: Any, here: type[Model], model: type[Model]) -> bool:
    """May a change of a row of ``model`` change where ``field`` leads from ``here``? It does not
    if the column is in another table, and names a primary key."""
    if _is_own_key(field):
        return _share_table(here, model)
    if isinstance(field, ManyToOneRel):
        return not _is_own_key(field.field) or _share_table(field.related_model, model)
    if isinstance(field, (ManyToManyField, ManyToManyRel)):
        relation = field if isinstance(field, ManyToManyRel) else field.remote_field
        return not getattr(relation, "through")._meta.auto_created  # noqa: B009
    return True


def _share_table(one: Any, other: type[Model]) -> bool:
    return not _get_tables(one).isdisjoint(_get_tables(other))


def _get_tables(model: type[Model]) -> set[type[Model]]:
    return {model._meta.concrete_model, *model._meta.get_parent_list()}  # type: ignore[arg-type]
