"""Kinds of many-to-many relations, and the ways in which their links are made and end."""

from __future__ import annotations

from itertools import count
from typing import Any

from django.db.models import Model

from django_signal_kit import ModelReceiver
from django_signal_kit.writes.calls import read_call
from django_signal_kit.writes.links import LinkChange
from tests.apps.relations.models import Article, Meeting, Player, Team, Topic

_numbers = count()


class Kind:
    """A relation, by the field that declares it, and the columns that count it at both ends."""

    def __init__(self, model: Any, name: str, *counts: str) -> None:
        self.name = name
        self.field: Any = model._meta.get_field(name)
        self.models: tuple[Any, Any] = (model, self.field.related_model)
        self.through: Any = self.field.remote_field.through
        self.fks = (self.field.m2m_field_name(), self.field.m2m_reverse_field_name())
        self.names = (name, self.field.remote_field.get_accessor_name() or name)
        self.symmetrical = self.field.remote_field.symmetrical
        self.counts = counts

    @property
    def label(self) -> str:
        """How a receiver calls that by which links keep the other end."""
        if self.through._meta.auto_created:
            return str(self.names[1])
        return f"{self.through._meta.label}.{self.fks[1]}"

    def __repr__(self) -> str:
        return f"{self.models[0].__name__}.{self.name}"

    def make(self, end: int) -> Any:
        model = self.models[end]
        return model.objects.create(**({"code": str(next(_numbers))} if model is Team else {}))

    def make_ends(self) -> tuple[Any, Any]:
        # So that no key of the one end is a key of the other.
        for _ in range(3):
            self.make(0)
        return self.make(0), self.make(1)

    def get_manager(self, row: Any, end: int) -> Any:
        return getattr(row, self.names[end])

    def row(self, source: Model, target: Model) -> Any:
        return self.through(**dict(zip(self.fks, (source, target), strict=True)))

    def find(self, source: Model, target: Model) -> Any:
        return self.through.objects.filter(**dict(zip(self.fks, (source, target), strict=True)))

    def get_value(self, row: Any, end: int) -> Any:
        return getattr(row, self.through._meta.get_field(self.fks[end]).target_field.attname)

    def get_link(self, source: Model, target: Model) -> tuple[Any, Any]:
        return self.get_value(source, 0), self.get_value(target, 1)

    def list_links(self) -> list[tuple[Any, Any]]:
        """What the table holds."""
        attnames = [f"{name}_id" for name in self.fks]
        rows = self.through.objects.values_list(*attnames)
        return [link for link in rows if None not in link]

    # Ways to make a link, and to end it

    def add(self, way: str, source: Any, target: Any) -> None:
        if way == "call":
            self.get_manager(source, 0).add(target)
        elif way == "call of the other side":
            self.get_manager(target, 1).add(source)
        elif way == "set":
            self.get_manager(source, 0).set([target])
        elif way == "row":
            self.row(source, target).save()
        elif way == "bulk":
            self.through.objects.bulk_create([self.row(source, target)])
        elif way == "bulk that ignores":
            self.through.objects.bulk_create([self.row(source, target)], ignore_conflicts=True)
        else:
            raise AssertionError(way)

    def end(self, way: str, source: Any, target: Any) -> None:
        if way == "call":
            self.get_manager(source, 0).remove(target)
        elif way == "call of the other side":
            self.get_manager(target, 1).remove(source)
        elif way == "clear":
            self.get_manager(source, 0).clear()
        elif way == "clear of the other side":
            self.get_manager(target, 1).clear()
        elif way == "row":
            self.find(source, target).get().delete()
        elif way == "bulk":
            self.find(source, target).delete()
        elif way == "end deleted":
            source.delete()
        elif way == "other end deleted":
            target.delete()
        elif way == "other ends deleted in bulk":
            type(target).objects.filter(pk=target.pk).delete()
        else:
            raise AssertionError(way)


AUTOMATIC = Kind(Article, "topics", "topic_count", "article_count")
THROUGH = Kind(Meeting, "guests", "guest_count", "meeting_count")
TO_FIELD = Kind(Player, "teams", "team_count", "player_count")
DIRECTED = Kind(Player, "follows", "follow_count", "follower_count")
SYMMETRICAL = Kind(Player, "friends", "friend_count")
#: Shares its through model with another one.
BESIDE = Kind(Meeting, "hosts")

KINDS = [AUTOMATIC, THROUGH, TO_FIELD, DIRECTED, SYMMETRICAL]
ADDING = ["call", "call of the other side", "set", "row", "bulk", "bulk that ignores"]
DELETED = ["end deleted", "other end deleted", "other ends deleted in bulk"]
ENDING = ["call", "call of the other side", "clear", "clear of the other side", "row", "bulk"]
ENDING += DELETED


class Told(ModelReceiver):
    """Keeps what it is told of links."""

    models = [Article, Topic, Meeting, Player, Team]
    flush_on = "before_commit"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.changes: list[LinkChange] = []
        self.told: list[tuple[str, str, tuple[Any, Any]]] = []

    def m2m_changed(
        self,
        sender: Any,
        instance: Any,
        action: str,
        reverse: bool,
        model: Any,
        pk_set: Any,
        using: str,
        **kwargs: Any,
    ) -> None:
        change = read_call(sender, instance, action, reverse, model, pk_set, using)
        if change is not None:
            self.links_changed(change, using)

    def links_changed(self, change: LinkChange, using: str, **kwargs: Any) -> None:
        if change.action != "pre_add":
            self.changes.append(change)
            self.told += [
                (change.relation.field.name, change.action, link) for link in change.links
            ]

    def take(self, kind: Kind) -> list[tuple[str, tuple[Any, Any]]]:
        """``(action, link)`` of all that has been told of a relation since the last call."""
        taken = [(action, link) for name, action, link in self.told if name == kind.name]
        self.told.clear()
        return taken
