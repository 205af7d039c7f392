"""One look at some rows, and at what the log says of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from django.db.models import QuerySet

from django_signal_kit.audit.comparing.finding import Difference, Finding, LinkDifference
from django_signal_kit.audit.comparing.following import Following
from django_signal_kit.audit.comparing.links import Links
from django_signal_kit.audit.comparing.scope import Scope
from django_signal_kit.audit.comparing.trails import Statements, Trails
from django_signal_kit.audit.kin import KeyLostError, Kin, Target
from django_signal_kit.audit.told import Told
from django_signal_kit.audit.upkeep.covered import read_links


class Look:
    """At the rows of these ``keys``. ``findings`` and ``unknown`` are by key.

    The rows are read before the entries, and, if this ``is_last``, after that once more: what is
    written later is told by entries that :meth:`find_moving` sees.
    """

    def __init__(self, scope: Scope, keys: Sequence[Any], *, is_last: bool = False) -> None:
        self.scope = scope
        self.rows = self._read_rows(keys)
        self.kins = dict(self._find_kins(keys))
        self.keys = list(self.kins)
        self.trails = self._read_trails()
        self.statements = self._read_statements()
        if is_last:
            self.rows = self._read_rows(keys)
        self._present = self._read_links()
        self.findings: dict[Any, Finding] = {}
        #: No entry is about them, and nobody knows whether one should be.
        self.unknown: list[Any] = []
        self._followings = [Following(scope.fields, self.rows.get(key)) for key in self.keys]
        names = [field.name for field in scope.links]
        self._links = [Links(names) for _ in self.keys]
        #: Positions of the rows that an entry is about.
        self._told: set[int] = set()
        self._follow()
        if any(key not in self.rows for key in self.keys):
            scope.moves.read()
        for position, key in enumerate(self.keys):
            finding = self._judge(position, key)
            if finding is not None:
                self.findings[key] = finding

    def find_moving(self) -> set[Any]:
        """The rows about which there are other entries by now."""
        if self._read_statements().newest != self.statements.newest:
            return set(self.keys)
        pairs = zip(self.keys, self.trails.trails, self._read_trails().trails, strict=True)
        return {key for key, before, now in pairs if before != now}

    def _read_rows(self, keys: Sequence[Any]) -> dict[Any, dict[str, Any]]:
        model, using = self.scope.model, self.scope.using
        names = [field.attname for field in model._meta.concrete_fields]
        rows: QuerySet[Any, Any] = QuerySet(model, using=using)
        found = rows.filter(pk__in=keys).values_list("pk", *names)
        return {pk: dict(zip(names, values, strict=True)) for pk, *values in found}

    def _find_kins(self, keys: Sequence[Any]) -> Iterator[tuple[Any, Kin]]:
        scope = self.scope
        for key in keys:
            target = Target(scope.model, key, scope.using)
            try:
                yield (
                    key,
                    Kin(scope.entries, target, self.rows.get(key), scope.family),
                )
            except KeyLostError:
                # Nothing tells which entries are about it.
                continue

    def _read_trails(self) -> Trails:
        return Trails(self.scope.entries, list(self.kins.values()))

    def _read_statements(self) -> Statements:
        kin = next(iter(self.kins.values()), None)
        return Statements(self.scope.entries, self.scope.family, kin)

    def _read_links(self) -> dict[str, dict[Any, set[Any]]]:
        using = self.scope.using
        return {field.name: read_links(field, self.rows, using) for field in self.scope.links}

    def _follow(self) -> None:
        done = [False] * len(self.keys)
        later = [iter(self.statements.told) for _ in self.keys] if self.statements.told else []
        waiting = [next(told, None) for told in later]
        for position, told, entry in self.trails.read(done):
            id, _, _, kind, changes, _ = entry
            relation = self.kins[self.keys[position]].get_relation(kind)
            if relation in ("own", "child"):
                self._told.add(position)
            if told is None:
                if relation != "sibling":
                    self._links[position].follow(id, changes)
                continue
            following = self._followings[position]
            while waiting and (statement := waiting[position]) and statement.pk > id:
                following.follow(statement)
                waiting[position] = next(later[position], None)
            done[position] = following.follow(told)
        for position, following in enumerate(self._followings):
            if not done[position]:
                for statement in [waiting[position], *later[position]] if waiting else ():
                    if statement is not None:
                        following.follow(statement)
                following.finish()

    def _judge(self, position: int, key: Any) -> Finding | None:
        scope, following = self.scope, self._followings[position]
        text, trail = scope.to_key(key), self.trails.trails[position]
        make = partial(Finding, label=scope.model._meta.label, key=text)
        last = following.last
        if key not in self.rows:
            is_missed = last is not None and last.action != "delete" and not self._left(last, text)
            return make("gone", entry=last.pk) if is_missed else None  # type: ignore[union-attr]
        newest = trail[0] if trail else None
        if position not in self._told or (scope.evidence.is_complete and not following.came):
            if self.statements.creates or not scope.evidence.has_baseline():
                self.unknown.append(key)
            else:
                return make("unrecorded", entry=newest)
        elif following.is_back and not self.statements.creates:
            return make("returned", entry=newest)
        differences: list[Difference | LinkDifference] = [*self._compare_fields(following)]
        differences += self._compare_links(position, key)
        return make("changed", entry=newest, differences=differences) if differences else None

    def _left(self, last: Told, text: str) -> bool:
        """Has the row got another key since?"""
        moved = self.scope.moves.get_last(text)
        return moved is not None and moved > last.pk

    def _compare_fields(self, following: Following) -> Iterator[Difference]:
        for field, entry, told in following.find_differences():
            found = (following.today or {})[field.attname]
            if field.name in following.implied and not self.scope.evidence.tells_of(
                field.name, entry
            ):
                # It may have been added since, with a value.
                continue
            yield Difference(field.name, *self.scope.showing.show(field.name, told, found), entry)

    def _compare_links(self, position: int, key: Any) -> Iterator[LinkDifference]:
        begin = self._followings[position].begin
        for field in self.scope.links:
            present = self.scope.to_members(field, self._present[field.name].get(key, ()))

            def knows_all(name: str = field.name) -> bool:
                return begin is not None and self.scope.evidence.tells_of(name, begin.pk)

            links = self._links[position]
            yield from links.find_differences(field.name, present, knows_all)
