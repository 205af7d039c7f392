"""Drops from the cache what a change made wrong, and touches the tags of the rest."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, NamedTuple, TypeAlias

from django.conf import settings
from django.core.cache import caches
from django.core.checks import CheckMessage, Warning
from django.db import connections
from django.db.models import Field, ManyToManyField, Model, QuerySet

from django_signal_kit.cache import own_writes, recovery
from django_signal_kit.cache.guard import is_undecided
from django_signal_kit.cache.instances import make_instance, update
from django_signal_kit.cache.related import NoRelationError, get_end, get_own_key, list_ends
from django_signal_kit.cache.templates import get_names, render
from django_signal_kit.cache.versions import get_safe_key, get_version_key
from django_signal_kit.exceptions import Misconfigured, did_you_mean
from django_signal_kit.receiver import ModelReceiver
from django_signal_kit.rows.canonical import get_columns
from django_signal_kit.rows.database import Row
from django_signal_kit.rows.many_to_many import get_reverse_many_to_many
from django_signal_kit.rows.parents import ask_old_parents, get_old_parents
from django_signal_kit.rows.snapshots import get_new_row, get_old_row
from django_signal_kit.units.failures import report_failure
from django_signal_kit.units.unit import get_unit
from django_signal_kit.wiring.idle import check_idle
from django_signal_kit.wiring.registry import registry
from django_signal_kit.wiring.senders import Coverage
from django_signal_kit.writes.calls import tell_links_changed
from django_signal_kit.writes.links import LinkChange

#: A key to delete, or ``("tag", name)`` of a tag to touch.
Stale: TypeAlias = str | tuple[Literal["tag"], str]


class CacheInvalidation(ModelReceiver):
    """Deletes cache keys that are built from a changed row, from its old and its new values, and
    touches tags that are: what :func:`~django_signal_kit.cache.tagged` has cached with one of them
    is served no more, whenever it is stored.

    When the unit of work ends, and for a single save before other receivers hear of it (so that
    the writer reads what he wrote), and again after the commit (another reader may have stored the
    old row meanwhile), each time with one ``delete_many`` a cache. A cache that fails is logged
    and told by ``receiver_failed``; the write stands.

    A many-to-many link that is made or ends, with a deleted row too, drops the keys and touches
    the tags of the rows at both ends that are covered.

    What somebody caches inside a transaction that is rolled back later stays until it expires.
    """

    #: Templates over a row: ``"product:{pk}"``, ``"category:{category_id}:products"``. Anything
    #: but the key costs a query before each save, for the old value.
    keys: Sequence[str] = ()
    #: Templates of tags to touch: ``"product:{pk}"``, ``"category:{category_id}"``. They cost what
    #: keys cost.
    tags: Sequence[str] = ()
    #: Relations, ``"category"``, ``"category__parent"``, backwards too: the tags of the rows that
    #: they lead to, before the change and after it, are touched as well, as the CacheInvalidation
    #: that covers these has them. Anything but a foreign key of the row costs two queries a row.
    related: Sequence[str] = ()
    #: Names of ``{% cache %}`` fragments -> templates of what they vary on.
    fragments: Mapping[str, Sequence[str]] = {}
    #: Aliases of the caches to delete from.
    caches: Sequence[str] = ("default",)
    #: Names of the only fields, many-to-many ones too, whose change matters in an update; any if
    #: empty. Costs a query before each save.
    fields: Sequence[str] = ()
    #: Hear ``QuerySet.update()`` too, which reads and locks its rows before it changes them.
    bulk: bool | Literal["all"] = "all"

    def get_keys(self, instance: Any) -> Iterable[str]:
        """The keys that hold something of ``instance``, an instance of the model. Called with
        the new values and, for an update or a deletion, with the old ones; for a deletion while
        the row is still there."""
        return render(self.keys, self.fragments, instance)

    def get_tags(self, instance: Any) -> Iterable[str]:
        """The tags of what is made of ``instance``; called as :meth:`get_keys` is."""
        return render(self.tags, {}, instance)

    def invalidate(self, keys: Sequence[str], tags: Sequence[str]) -> None:
        """Delete ``keys`` from each of the caches, and touch ``tags`` there, by one
        ``delete_many()``. What a cache raises is logged, and what it may still hold is dropped as
        soon as it answers again."""
        dropped = _list_dropped(keys, tags)
        for alias in self.caches:
            try:
                recovery.drop(caches[alias], dropped)
            except Exception as error:
                held = ", ".join([*keys, *(f"what is tagged {tag}" for tag in tags)])
                error.add_note(f"The cache {alias!r} may still hold {held}.")
                recovery.owe(alias, dropped)
                report_failure(self, "flush", error)

    def pre_save(self, instance: Model, using: str, **kwargs: Any) -> None:
        self._get_old(instance, using)
        if instance._meta.parents:
            ask_old_parents(instance, at_once=self.on_error == "log")
        self._note_ends(instance, using)

    def post_save(
        self, instance: Model, created: bool, update_fields: Any, using: str, **kwargs: Any
    ) -> None:
        old = None if created else self._get_old(instance, using)
        if old is None and _names_key(type(instance), update_fields):
            # An update() has given the row another key.
            old = get_old_row(instance, using)
        new = self._get_new(instance, old, update_fields, using)
        if self.fields and not created and not self._matters(type(instance), old, new):
            return
        stale = self._get_stale(update(instance, new))
        if old is not None:
            stale += self._get_stale(make_instance(type(instance), instance.pk, old, using))
        for parent, row in get_old_parents(instance):
            if registry.covers(self, parent):
                key = getattr(instance, parent._meta.pk.attname)
                stale += self._get_stale(make_instance(parent, key, row, using))
        stale += self._get_stale_ends(instance, (old, new), using)
        unit = get_unit()
        is_alone = unit is not None and unit.parent is None and unit.instance is instance
        if is_alone and self.flush_on == "after_commit":
            self._invalidate_now(list(dict.fromkeys(stale)), using)
        else:
            self._collect(stale, using)

    def pre_delete(self, instance: Model, using: str, **kwargs: Any) -> None:
        unit = get_unit()
        if unit is not None:
            old = self._get_old(instance, using)
            if old is not None:
                instance_then = make_instance(type(instance), instance.pk, old, using)
            else:
                instance_then = instance
            # Afterwards nothing that the row pointed to, or was linked to, could be asked for.
            self._note_ends(instance, using)
            stale = self._get_stale(instance_then)
            row = old or vars(instance)
            unit.notes[self, id(instance)] = [
                *stale,
                *self._get_stale_ends(instance, (row,), using),
            ]

    def post_delete(self, instance: Model, using: str, **kwargs: Any) -> None:
        unit = get_unit()
        if unit is not None:
            self._collect(unit.notes.pop((self, id(instance)), ()), using)

    m2m_changed = tell_links_changed

    def links_changed(self, change: LinkChange, using: str, **kwargs: Any) -> None:
        # What a link makes is there only then, and what it was not afterwards.
        if change.action == "pre_add":
            return
        field = change.relation.field
        for end, name in enumerate((field.name, field.remote_field.get_accessor_name())):
            if self.fields and name not in self.fields:
                continue
            for model in registry.get_covered(self, change.relation.get_model(end)):
                # What an instance holds in memory may be of yesterday, or not saved yet.
                stale = self._get_stale_of_rows(
                    model, change.relation.get_attname(end), change.get_keys(end), using
                )
                self._collect(stale, using)

    def flush(self, items: list[Any]) -> None:
        """Delete the collected keys and touch the collected tags, at once."""
        # Where the transaction was Django's own, round one deletion, it has ended already, and
        # with it all has been done that was to be done after it.
        self._invalidate(
            item.stale if isinstance(item, _Early) else item
            for item in items
            if not isinstance(item, _Early) or connections[item.using].in_atomic_block
        )
        self._insist(
            item
            for item in items
            if not isinstance(item, _Early)
            and (self.flush_on == "after_commit" or isinstance(item, tuple))
        )

    def check(self) -> None:
        for alias in self.caches:
            if alias not in settings.CACHES:
                raise Misconfigured(
                    "E012",
                    f"The option 'caches' of {self.name} has {alias!r}, which is not in CACHES.",
                    did_you_mean(alias, settings.CACHES),
                )
        try:
            names = get_names([*self.keys, *self.tags], self.fragments)
        except (TypeError, ValueError) as error:
            raise Misconfigured(
                "E012",
                f"A template of {self.name} cannot be read: {error}.",
                "Write templates such as 'product:{pk}'; for each fragment, a list of them.",
            ) from error
        for model in Coverage(self).get_models():
            columns = [field.name for field in model._meta.concrete_fields]
            for name in names:
                # Of the class, a composite key is no attribute.
                if name != "pk" and not hasattr(model, name):
                    raise self._wrong_name(name, model, "attribute", columns)
            for path in self.related:
                try:
                    get_end(model, path)
                except NoRelationError as error:
                    raise Misconfigured(
                        "E012", f"The option 'related' of {self.name} has {error}.", error.guess
                    ) from error
            known = [*columns, *(f.attname for f in model._meta.concrete_fields)]
            known += [_get_accessor(relation) for relation in self.get_m2m_fields(model)]
            for name in self.fields:
                if name not in known:
                    raise self._wrong_name(name, model, "field", known)
        options = ["keys", "tags", "fragments", "related"]
        check_idle(self, CacheInvalidation, options, ["get_keys", "get_tags"])
        check_idle(self, CacheInvalidation, ["caches"], ["invalidate"])

    def get_warnings(self) -> list[CheckMessage]:
        return [
            Warning(
                f"{self.name} touches the tags of {end._meta.label} ({path!r} in its option "
                f"'related'), and no CacheInvalidation that covers it has any.",
                hint=f"Give one that covers {end._meta.label} the option 'tags'.",
                id="signal_kit.W015",
            )
            for path, end in self._list_untagged()
        ]

    def _list_untagged(self) -> list[tuple[str, type[Model]]]:
        """The relations to models that no receiver gives tags."""
        found = {
            (path, get_end(model, path)): None
            for model in Coverage(self).get_models()
            for path in self.related
        }
        return [
            (path, end)
            for path, end in found
            if not any(
                isinstance(receiver, CacheInvalidation)
                and (receiver.tags or type(receiver).get_tags is not CacheInvalidation.get_tags)
                for receiver in registry.get_covering(end)
            )
        ]

    def get_old_fields(self, model: type[Model]) -> list[Field[Any, Any]]:
        """The columns that the keys are made of: all, if what makes them is not known here."""
        if model not in self._columns:
            self._columns[model] = self._find_columns(model)
        return self._columns[model]

    def get_m2m_fields(self, model: type[Model]) -> list[Any]:
        """Both sides: a page of either may show the other."""
        return [*super().get_m2m_fields(model), *get_reverse_many_to_many(model)]

    def _forget_models(self) -> None:
        self._columns.clear()

    @cached_property
    def _columns(self) -> dict[type[Model], list[Field[Any, Any]]]:
        return {}

    def _find_columns(self, model: type[Model]) -> list[Field[Any, Any]]:
        columns = {f.name: f for f in model._meta.concrete_fields}
        columns |= {f.attname: f for f in model._meta.concrete_fields}
        own, known = type(self), CacheInvalidation
        if (own.get_keys, own.get_tags) != (known.get_keys, known.get_tags):
            return list(model._meta.concrete_fields)
        key = ("pk", model._meta.pk.name)
        names = get_names([*self.keys, *self.tags], self.fragments)
        names = [name for name in names if name not in key]
        if not columns.keys() >= set(names):
            return list(model._meta.concrete_fields)
        names += [name for name in self.fields if name in columns]
        names += [path for path in self.related if get_own_key(model, path) is not None]
        return list(dict.fromkeys(columns[name] for name in names))

    def _wrong_name(
        self, name: str, model: type[Model], what: str, known: Iterable[str]
    ) -> Misconfigured:
        return Misconfigured(
            "E012",
            f"{self.name} names {name!r}, and {model._meta.label} has no such {what}.",
            did_you_mean(name, known),
        )

    def _get_old(self, instance: Model, using: str) -> Row | None:
        return get_old_row(instance, using) if self.get_old_fields(type(instance)) else None

    def _get_new(
        self, instance: Model, old: Row | None, update_fields: Any, using: str
    ) -> dict[str, Any]:
        """What the row holds now, by attname: what this save left alone is as it was."""
        columns = (*instance._meta.pk_fields, *self.get_old_fields(type(instance)))
        written = [
            field
            for field in dict.fromkeys(columns)
            if update_fields is None
            or field.primary_key
            or field.generated
            or not update_fields.isdisjoint((field.name, field.attname))
        ]
        return {**(old or {}), **get_new_row(instance, written, using)}

    def _matters(self, model: type[Model], old: Row | None, new: Row) -> bool:
        fields = [f for f in model._meta.concrete_fields if {f.name, f.attname} & {*self.fields}]
        columns = get_columns(model)
        return any(
            old is None or not columns[f.attname].is_same(old[f.attname], new[f.attname])
            for f in fields
        )

    def _get_stale(self, instance: Model) -> list[Stale]:
        return [*self.get_keys(instance), *(("tag", tag) for tag in self.get_tags(instance))]

    def _note_ends(self, instance: Model, using: str) -> None:
        """What relations lead to before the change, where the row itself does not say."""
        unit = get_unit()
        paths = [path for path in self.related if get_own_key(type(instance), path) is None]
        if paths and unit is not None and instance.pk is not None:
            ends = list_ends(type(instance), paths, (), instance.pk, using)
            unit.notes[self, "ends", id(instance)] = list(ends)

    def _get_stale_ends(
        self, instance: Model, rows: Iterable[Row | None], using: str
    ) -> list[Stale]:
        if not self.related:
            return []
        unit, model = get_unit(), type(instance)
        noted = [] if unit is None else unit.notes.pop((self, "ends", id(instance)), [])
        known = [row for row in rows if row is not None]
        ends = [*noted, *list_ends(model, self.related, known, instance.pk, using)]
        return [
            ("tag", tag)
            for end, key in dict.fromkeys(ends)
            for receiver in registry.get_covering(end)
            if isinstance(receiver, CacheInvalidation)
            for tag in receiver.get_tags(make_instance(end, key, {}, using))
        ]

    def _get_stale_of_rows(
        self, model: type[Model], name: str, values: Collection[Any], using: str
    ) -> list[Stale]:
        rows: Iterable[Any]
        if self.get_old_fields(model) or not model._meta.get_field(name).primary_key:  # type: ignore[union-attr]
            rows = QuerySet(model, using=using).filter(**{f"{name}__in": values}) if values else ()
        else:
            rows = [make_instance(model, pk, {}, using) for pk in values]
        return [stale for row in rows for stale in self._get_stale(row)]

    def _invalidate_now(self, stale: list[Stale], using: str) -> None:
        """Whoever hears the same save later may look into the cache."""
        self._invalidate(stale)
        if connections[using].in_atomic_block:
            for one in stale:
                self._collect_one(one, using)
        else:
            self._insist(stale)

    def _insist(self, stale: Iterable[Stale]) -> None:
        """What was dropped after the commit stays so."""
        undecided = [alias for alias in self.caches if is_undecided(caches[alias])]
        dropped = _list_dropped(*_part(stale)) if undecided else []
        for alias in undecided if dropped else ():
            recovery.owe(alias, dropped)

    def _invalidate(self, stale: Iterable[Stale]) -> None:
        keys, tags = _part(stale)
        if keys or tags:
            self.invalidate(keys, tags)

    def _collect(self, stale: Iterable[Stale], using: str) -> None:
        is_open = connections[using].in_atomic_block
        for one in stale:
            self._collect_one(one, using)
            if is_open:
                self.collect(_Early(one, using), key=one, flush_on="before_commit", using=using)

    def _collect_one(self, one: Stale, using: str) -> None:
        if isinstance(one, tuple):
            # Even if keys are deleted before the commit alone: until then others read the old row.
            own_writes.touching.add(self)
            self.collect(one, key=one, flush_on="after_commit", using=using)
        else:
            self.collect(one, key=one, using=using)


class _Early(NamedTuple):
    """What is stale when the unit of work ends, before the commit."""

    stale: Stale
    using: str


def _part(stale: Iterable[Stale]) -> tuple[list[str], list[str]]:
    """The keys to delete, and the tags to touch."""
    keys: list[str] = []
    tags: list[str] = []
    for one in stale:
        if isinstance(one, tuple):
            tags.append(one[1])
        else:
            keys.append(one)
    return keys, tags


def _list_dropped(keys: Iterable[str], tags: Iterable[str]) -> list[str]:
    """All that has to be deleted: a key by the name too under which a tagged value has it."""
    names = dict.fromkeys(name for key in keys for name in (key, get_safe_key(key)))
    return [*names, *map(get_version_key, tags)]


def _names_key(model: type[Model], names: Any) -> bool:
    return bool(names) and any(field.name in names for field in model._meta.pk_fields)


def _get_accessor(relation: Any) -> Any:
    """The name of a many-to-many relation on the model that is asked for it."""
    is_declared = isinstance(relation, ManyToManyField)
    return relation.name if is_declared else relation.get_accessor_name()
