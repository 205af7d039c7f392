"""Links of many-to-many relations: each change is told once, however it is written.

A link is a row of a through model. Calls of a relation's manager are told by ``m2m_changed``;
rows that are written directly, and links that end with a row of either side, by nobody. Both
become the same :class:`LinkChange` here, and ``links_changed()`` of a receiver hears it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import cache, cached_property
from typing import Any, TypeAlias

from django.apps import apps
from django.db.models import Count, Model, QuerySet

from django_signal_kit.receiver import ModelReceiver
from django_signal_kit.rows.many_to_many import get_many_to_many

#: What a link names: the row of the side that declares the field, and that of the other.
Link: TypeAlias = tuple[Any, Any]
#: A receiver, and the function that tells it.
Listener: TypeAlias = tuple[ModelReceiver, Callable[..., Any]]

#: The ends of a link.
SOURCE, TARGET = 0, 1


class Relation:
    """A many-to-many field, and the rows of the through model that are its links."""

    def __init__(self, field: Any) -> None:
        self.field = field
        self.through: type[Model] = field.remote_field.through
        names = (field.m2m_field_name(), field.m2m_reverse_field_name())
        #: The foreign keys of a link: to the side that declares the field, and to the other.
        self.ends: tuple[Any, Any] = tuple(map(self.through._meta.get_field, names))
        self.attnames: tuple[str, str] = tuple(end.attname for end in self.ends)

    def get_model(self, end: int) -> type[Model]:
        """The model of the rows at one end."""
        return self.ends[end].remote_field.model  # type: ignore[no-any-return]

    def get_attname(self, end: int) -> str:
        """The field of those rows that a link names: their key, but for a ``to_field``."""
        return self.ends[end].target_field.attname  # type: ignore[no-any-return]

    def names_key(self, end: int) -> bool:
        """Does a link name those rows by their key?"""
        return bool(self.ends[end].target_field.primary_key)

    @cached_property
    def is_unique(self) -> bool:
        """Can a link be there only once?"""
        meta = self.through._meta
        groups = [{field.name} for field in meta.concrete_fields if field.unique]
        groups += [set(names) for names in meta.unique_together]
        groups += [set(constraint.fields) for constraint in meta.total_unique_constraints]
        groups += [set(getattr(meta.pk, "field_names", (meta.pk.name,)))]
        ends = {end.name for end in self.ends}
        return bool(meta.auto_created) or any(group <= ends for group in groups)

    def count(self, links: Collection[Link], using: str) -> dict[Link, int]:
        """How many rows hold each of these links, where there are any."""
        rows: QuerySet[Any] = QuerySet(self.through, using=using)
        for attname, keys in zip(self.attnames, zip(*links, strict=True), strict=True):
            rows = rows.filter(**{f"{attname}__in": set(keys)})
        counts = rows.order_by().values(*self.attnames).annotate(signal_kit_count=Count("*"))
        names = (*self.attnames, "signal_kit_count")
        return {(source, target): n for source, target, n in counts.values_list(*names)}

    def get_link(self, row: Mapping[str, Any] | None) -> Link | None:
        """The link that a row of the through model is, given by attname; None if it is none."""
        if row is None:
            return None
        source, target = (row.get(attname) for attname in self.attnames)
        return None if source is None or target is None else (source, target)


class LinkChange:
    """What one write does to the links of one relation.

    ``action`` is ``"pre_add"`` before links are made, as far as can be said then, ``"add"`` when
    they are there, and ``"remove"`` before links end.
    """

    def __init__(
        self,
        relation: Relation,
        action: str,
        using: str,
        links: Iterable[Link] | Callable[[], Iterable[Link]],
        *,
        named: Collection[Link] | Callable[[], Iterable[Link]] | None = None,
        instance: Model | None = None,
        end: int | None = None,
        is_clear: bool = False,
        is_aside: bool = False,
        instead_of: Collection[Link] = (),
        gone: tuple[Collection[Any], Collection[Any]] = ((), ()),
        goes_with: int | None = None,
    ) -> None:
        self.relation = relation
        self.action = action
        self.using = using
        self._links = links
        self._named = named
        #: The row whose manager is called, and the end at which it is.
        self.instance = instance
        self.end = end
        self.is_clear = is_clear
        #: A call of one relation does it to another one with the same through model.
        self.is_aside = is_aside
        #: Of links to be made: those that end by the same write, and are there still.
        self.instead_of = instead_of
        #: What links name of rows, at each end, that this very write deletes.
        self.gone = gone
        #: The end with whose rows all of the links go, if they do.
        self.goes_with = goes_with

    @property
    def links(self) -> Collection[Link]:
        """The links that are made or end. What has to be read for it is, when they are first
        asked for: that has to be while the change is told."""
        if callable(self._links):
            self._links = frozenset(self._links())
        return self._links  # type: ignore[return-value]

    @property
    def at_most(self) -> Collection[Link]:
        """Beside :attr:`links` those that are named and not there, and those of which there are
        other rows; costs no query for a write that names them."""
        if self._named is None:
            return self.links
        if callable(self._named):
            self._named = frozenset(self._named())
        return self._named

    def get_keys(self, end: int, *, exactly: bool = False) -> set[Any]:
        """What the links, :attr:`at_most` or ``exactly``, name of the rows at one end that are
        not deleted by this very write."""
        return set(self.group(end, exactly=exactly))

    def group(self, end: int, *, exactly: bool = False) -> dict[Any, set[Any]]:
        """Those keys, each with what is at the other end."""
        if self.goes_with == end:
            return {}
        groups: dict[Any, set[Any]] = {}
        for link in self.links if exactly else self.at_most:
            if link[end] not in self.gone[end]:
                groups.setdefault(link[end], set()).add(link[1 - end])
        return groups

    def get_pks(self, end: int, keys: Collection[Any]) -> dict[Any, Any]:
        """What links name of rows at one end -> the primary key. Costs a query if these differ."""
        if self.relation.names_key(end):
            return {key: key for key in keys}
        attname = self.relation.get_attname(end)
        rows: QuerySet[Any] = QuerySet(self.relation.get_model(end), using=self.using)
        return dict(rows.filter(**{f"{attname}__in": keys}).values_list(attname, "pk"))

    def load(
        self, end: int, keys: Collection[Any], models: Iterable[type[Model]]
    ) -> Iterator[tuple[Any, Model]]:
        """The rows of ``models`` at one end that have these keys; the one whose manager is called
        first, as it is."""
        wanted = set(keys)
        attname = self.relation.get_attname(end)
        models = tuple(models)
        if isinstance(self.instance, models) and self.end == end:
            key = getattr(self.instance, attname)
            if key in wanted:
                wanted.discard(key)
                yield key, self.instance
        for model in models if wanted else ():
            rows: QuerySet[Any] = QuerySet(model, using=self.using)
            for row in rows.filter(**{f"{attname}__in": wanted}).order_by("pk"):
                yield getattr(row, attname), row


class Heard:
    """A through model, and what hears of the links that its rows are, in order."""

    def __init__(self, through: type[Model], listeners: Iterable[Listener]) -> None:
        self.through = through
        self.listeners = tuple(listeners)
        self.relations = tuple(map(get_relation, list_fields(through)))
        #: The models whose rows are rows of ``through``.
        self.models = _list_models(through)
        #: The foreign keys by which rows are links.
        self.fields: list[Any] = list(dict.fromkeys(end for r in self.relations for end in r.ends))
        self.attnames: list[str] = [field.attname for field in self.fields]
        self.names = {*self.attnames, *(field.name for field in self.fields)}

    def tell(self, change: LinkChange, *, is_bulk: bool = False, raw: bool = False) -> None:
        for receiver, function in self.listeners:
            if (receiver.bulk or not is_bulk) and (receiver.raw or not raw):
                function(change=change, using=change.using)


#: Through model, or a proxy or child of one -> what hears of the links that its rows are.
heard: dict[type[Model], Heard] = {}


@cache
def get_relation(field: Any) -> Relation:
    return Relation(field)


def list_fields(through: type[Model]) -> list[Any]:
    """The many-to-many fields whose links the rows of ``through`` are."""
    # Asking all models, for each through model, would take the square of their number.
    ends = [field.remote_field.model for field in through._meta.fields if field.remote_field]
    return [
        field
        for model in dict.fromkeys(ends)
        # What is named by text has not come yet.
        for field in (get_many_to_many(model) if isinstance(model, type) else ())
        if field.model is model
        and field.remote_field.through is through
        and isinstance(field.remote_field.model, type)
    ]


def _list_models(through: type[Model]) -> list[type[Model]]:
    """``through``, and the proxies and children of it."""
    found = {through: None}
    for model in (waiting := [through]):
        waiting += [child for child in model.__subclasses__() if child not in found]
        found |= dict.fromkeys(waiting)
    return [model for model in found if model._meta.apps is apps and not model._meta.abstract]
