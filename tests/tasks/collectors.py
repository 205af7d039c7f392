"""Receivers of the tests of tasks."""

from __future__ import annotations

from typing import Any

from django.db import connections

from django_signal_kit import ModelReceiver
from django_signal_kit.exceptions import FlushFailedError
from tests.apps.testapp.models import Category

#: What has been flushed: (name of the receiver, items).
FLUSHED: list[tuple[str, list[Any]]] = []
#: Was a transaction open then?
IN_TRANSACTION: list[bool] = []


class Names(ModelReceiver):
    """Collects what each tag is called."""

    models = ["testapp.Tag"]
    flush_on = "task"

    def post_save(self, instance: Any, **kwargs: Any) -> None:
        self.collect(instance.name)

    def flush(self, items: list[Any]) -> None:
        FLUSHED.append((self.name, items))
        IN_TRANSACTION.append(connections["default"].in_atomic_block)


class Counts(Names):
    """Counts, in one item a name, how often a tag was saved."""

    def post_save(self, instance: Any, **kwargs: Any) -> None:
        found = self.collect({"name": instance.name, "count": 0}, key=instance.name)
        found["count"] += 1


class Instances(Names):
    def post_save(self, instance: Any, **kwargs: Any) -> None:
        self.collect({"tag": instance})


class Pairs(Names):
    """Its items are tuples, made lists and back."""

    def post_save(self, instance: Any, **kwargs: Any) -> None:
        self.collect((instance.pk, instance))

    def serialize(self, item: Any) -> Any:
        return [item[0], item[1].name]

    def deserialize(self, data: Any) -> Any:
        return tuple(data)


class Fails(Names):
    def flush(self, items: list[Any]) -> None:
        super().flush(items)
        raise ValueError("not today")


class FailsInPart(Names):
    """Fails for names that begin with a "b"."""

    def flush(self, items: list[Any]) -> None:
        super().flush(items)
        bad = [item for item in items if item.startswith("b")]
        if bad:
            raise FlushFailedError(bad) from ValueError("not today")


class Empties(Names):
    """Takes its items out of the list, and fails for names that begin with a "b"."""

    def flush(self, items: list[Any]) -> None:
        while items:
            super().flush([items.pop(0)])
            if FLUSHED[-1][1][0].startswith("b"):
                raise ValueError("not today")


class Awaits(Names):
    async def flush(self, items: list[Any]) -> None:
        FLUSHED.append((self.name, items))


class Rows(Names):
    """Its flush writes what it flushes."""

    def flush(self, items: list[Any]) -> None:
        super().flush(items)
        Category.objects.bulk_create([Category(name=item) for item in items])


class Everything(Names):
    """Hears all models there are."""

    models = ["__all__"]

    def post_save(self, instance: Any, **kwargs: Any) -> None:
        self.collect(f"{instance._meta.label}")


class Logged(Names):
    on_error = "log"

    def post_save(self, instance: Any, **kwargs: Any) -> None:
        self.collect(instance.name)
        if instance.name == "bad":
            raise ValueError("no more of this")
