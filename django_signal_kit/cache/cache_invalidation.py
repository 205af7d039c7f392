"""Drops from the cache what a change made wrong, and touches the tags of the rest."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, Literal

from django.core.checks import CheckMessage
from django.db import connections
from django.db.models import Field, Model, QuerySet

from django_signal_kit.cache import configuration, counters, purging, recovery, settling, waiting
from django_signal_kit.cache.columns import differ, list_columns, list_written, names_key
from django_signal_kit.cache.following import Following
from django_signal_kit.cache.instances import make_instance, update
from django_signal_kit.cache.stale import Late, Stale, Start, list_dropped, part, part_items
from django_signal_kit.cache.templates import render
from django_signal_kit.receiver import ModelReceiver
from django_signal_kit.rows.columns import Column
from django_signal_kit.rows.database import Row
from django_signal_kit.rows.many_to_many import get_reverse_many_to_many
from django_signal_kit.rows.parents import ask_old_parents, get_old_parents
from django_signal_kit.rows.snapshots import get_new_values, get_old_row, is_written_together
from django_signal_kit.units.failures import report_failure
from django_signal_kit.units.unit import get_unit
from django_signal_kit.wiring.idle import check_idle
from django_signal_kit.wiring.registry import registry
from django_signal_kit.writes.calls import tell_links_changed
from django_signal_kit.writes.links import LinkChange


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
    #: that covers these has them. Anything but a foreign key of the row costs one query a path
    #: for all rows that are written together.
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

    _not_in_task = "until a worker has run, readers would get the old values"

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
        dropped = list_dropped(keys, tags)
        for alias in self.caches:
            counters.of(alias).count_dropped(len(keys), len(tags))
            recovery.delete_many(alias, dropped, partial(self._report, alias, keys, tags))

    def get_own_figures(self) -> Mapping[str, int]:
        """What has become of its caches in this process, whoever asked them. Of a cache that
        several have, the first of them tells."""
        counted = [counters.of(alias).read() for alias in self.caches if self._is_first(alias)]
        return {
            **super().get_own_figures(),
            "cache_hits": sum(each.hits for each in counted),
            "cache_misses": sum(each.misses for each in counted),
            "keys_dropped": sum(each.keys for each in counted),
            "tags_touched": sum(each.tags for each in counted),
        }

    def _is_first(self, alias: str) -> bool:
        sharing = (
            each
            for each in registry.receivers
            if isinstance(each, CacheInvalidation) and alias in each.caches
        )
        return next(sharing, self) is self

    def pre_save(self, instance: Model, using: str, **kwargs: Any) -> None:
        self._get_old(instance, using)
        if instance._meta.parents:
            ask_old_parents(instance, at_once=self.on_error == "log")
        if self.related:
            self._following.note_before_save(instance, kwargs.get("update_fields"), using)

    def post_save(
        self, instance: Model, created: bool, update_fields: Any, using: str, **kwargs: Any
    ) -> None:
        old = None if created else self._get_old(instance, using)
        if old is None and names_key(type(instance), update_fields):
            # An update() has given the row another key.
            old = get_old_row(instance, using)
        new = self._get_new(instance, old, update_fields, using)
        if self.fields and not created and not differ(type(instance), self.fields, old, new):
            return
        stale = self._get_stale(update(instance, new))
        if old is not None:
            stale += self._get_stale(make_instance(type(instance), instance.pk, old, using))
        for parent, row in get_old_parents(instance) if instance._meta.parents else ():
            if registry.covers(self, parent):
                key = getattr(instance, parent._meta.pk.attname)
                stale += self._get_stale(make_instance(parent, key, row, using))
        unit = get_unit()
        is_alone = (
            unit is not None
            and unit.parent is None
            and unit.instance is instance
            and self.flush_on == "after_commit"
            and not is_written_together(unit, type(instance))
        )
        starts: list[Start] = []
        if self.related:
            rows = [row for row in (old, new) if row]
            starts = self._following.list_after_save(instance, rows, using)
        if is_alone and unit is not None:
            if starts:
                for tags in self._following.follow(starts).values():
                    stale += tags
            stale = list(dict.fromkeys(stale))
            # Whoever hears the same save later may look into the cache.
            self._invalidate(stale)
            if unit.journal.connection.in_atomic_block:
                waiting.collect_again(self, stale, using)
            else:
                settling.settle(self.caches, [Late(one, using) for one in stale])
        else:
            if starts:
                tags, starts = self._following.list_known(starts)
                stale += tags
            waiting.collect(self, stale, using)
            waiting.collect_starts(self, starts, using)

    def pre_delete(self, instance: Model, using: str, **kwargs: Any) -> None:
        unit = get_unit()
        if unit is not None:
            old = self._get_old(instance, using)
            if old is not None:
                instance_then = make_instance(type(instance), instance.pk, old, using)
            else:
                instance_then = instance
            stale = self._get_stale(instance_then)
            if self.related:
                row = old or vars(instance)
                stale += self._following.list_before_delete(unit, instance, row, using)
            unit.notes[self, id(instance)] = stale

    def post_delete(self, instance: Model, using: str, **kwargs: Any) -> None:
        unit = get_unit()
        if unit is not None:
            waiting.collect(self, unit.notes.pop((self, id(instance)), ()), using)

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
                waiting.collect(self, stale, using)

    def flush(self, items: list[Any]) -> None:
        """Delete the collected keys and touch the collected tags, at once."""
        stale, late, starts = part_items(items)
        for using, tags in self._following.follow(starts).items():
            if connections[using].in_atomic_block:
                stale += tags
                waiting.collect_again(self, tags, using)
            else:
                late += [Late(tag, using) for tag in tags]
        self._invalidate([*stale, *(one.stale for one in late)])
        settling.settle(self.caches, late)

    def check(self) -> None:
        configuration.check(self)
        options = ["keys", "tags", "fragments", "related"]
        check_idle(self, CacheInvalidation, options, ["get_keys", "get_tags"])
        check_idle(self, CacheInvalidation, ["caches"], ["invalidate"])

    def get_warnings(self) -> list[CheckMessage]:
        return [*configuration.warn(self, self._is_tagged)]

    def get_old_fields(self, model: type[Model]) -> list[Field[Any, Any]]:
        """The columns that the keys are made of: all, if what makes them is not known here."""
        if model not in self._columns:
            own, known = type(self), CacheInvalidation
            is_known = (own.get_keys, own.get_tags) == (known.get_keys, known.get_tags)
            self._columns[model] = (
                list_columns(self, model) if is_known else list(model._meta.concrete_fields)
            )
        return self._columns[model]

    def get_m2m_fields(self, model: type[Model]) -> list[Any]:
        """Both sides: a page of either may show the other."""
        return [*super().get_m2m_fields(model), *get_reverse_many_to_many(model)]

    @property
    def _is_announcing(self) -> bool:
        # A covered write and the task that purges for it are committed together, in autocommit
        # too.
        is_tagging = self.tags or self.related or type(self).get_tags != CacheInvalidation.get_tags
        return bool(is_tagging) and purging.has_durable_purge()

    def _forget_models(self) -> None:
        self._columns.clear()
        self._written.clear()
        self.__dict__.pop("_following", None)

    @cached_property
    def _columns(self) -> dict[type[Model], list[Field[Any, Any]]]:
        return {}

    @cached_property
    def _written(self) -> dict[type[Model], list[Column]]:
        """What a save writes of these, and the key, unless it is told what to write."""
        return {}

    @cached_property
    def _following(self) -> Following:
        return Following(self, CacheInvalidation)

    def _get_old(self, instance: Model, using: str) -> Row | None:
        return get_old_row(instance, using) if self.get_old_fields(type(instance)) else None

    def _get_new(
        self, instance: Model, old: Row | None, update_fields: Any, using: str
    ) -> dict[str, Any]:
        """What the row holds now, by attname: what this save left alone is as it was."""
        model = type(instance)
        columns = self._written.get(model)
        if columns is None or update_fields is not None:
            columns = list_written(model, self.get_old_fields(model), update_fields)
            if update_fields is None:
                self._written[model] = columns
        new = get_new_values(instance, columns, using)
        return {**old, **new} if old else {**new}

    def _get_stale(self, instance: Model) -> list[Stale]:
        return [*self.get_keys(instance), *(("tag", tag) for tag in self.get_tags(instance))]

    def _get_stale_of_rows(
        self, model: type[Model], name: str, values: Collection[Any], using: str
    ) -> list[Stale]:
        rows: Iterable[Any]
        if self.get_old_fields(model) or not model._meta.get_field(name).primary_key:  # type: ignore[union-attr]
            rows = QuerySet(model, using=using).filter(**{f"{name}__in": values}) if values else ()
        else:
            rows = [make_instance(model, pk, {}, using) for pk in values]
        return [stale for row in rows for stale in self._get_stale(row)]

    def _invalidate(self, stale: Iterable[Stale]) -> None:
        keys, tags = part(stale)
        if keys or tags:
            self.invalidate(keys, tags)

    def _report(
        self, alias: str, keys: Sequence[str], tags: Sequence[str], error: Exception
    ) -> None:
        held = ", ".join([*keys, *(f"what is tagged {tag}" for tag in tags)])
        error.add_note(f"The cache {alias!r} may still hold {held}.")
        report_failure(self, "flush", error)

    def _is_tagged(self, model: type[Model]) -> bool:
        own = CacheInvalidation.get_tags
        return any(
            receiver.tags or type(receiver).get_tags is not own
            for receiver in self._following.list_covering(model)
        )
