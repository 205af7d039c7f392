"""The operations: what is prepared, what is timed, and what a true log tells of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from itertools import count
from typing import Any

from django.db import connection

from tests.benchmarks.peers.models import Category, Item, Tag
from tests.benchmarks.peers.packages import Package, Story

_numbers = count(1)
_OLD, _NEW = ("9.50", "3"), ("12.25", "4")


@dataclass(frozen=True)
class Operation:
    """``prepare(times)`` makes what ``act`` is given; each act is one operation.

    ``tell(given)`` is the story that a true log has after it.
    """

    prepare: Callable[[int], list[Any]]
    act: Callable[[Package, Any], object]
    tell: Callable[[Any], Story]
    #: How many acts are one sample; a single row is too quick for the clock alone.
    times: int = 20


def make(number: int) -> list[Item]:
    """Items that are not stored yet."""
    category = Category.objects.get()
    return [
        Item(
            name=f"Item {index}",
            slug=f"item-{index}",
            description="What is said of an item. " * 4,
            price=Decimal(_OLD[0]),
            stock=int(_OLD[1]),
            data={"colours": ["red", "green"], "weight": index},
            category=category,
        )
        for index in (next(_numbers) for _ in range(number))
    ]


def store(number: int) -> list[Item]:
    """Items as they are read from the database, in the order of their keys."""
    made = Item.objects.bulk_create(make(number))
    stored = list(Item.objects.filter(pk__in=[item.pk for item in made]).order_by("pk"))
    for item in stored:
        # Deleting it takes the key.
        item.stored_pk = item.pk
    return stored


def store_thousand(times: int) -> list[list[Item]]:
    return [store(1000) for _ in range(times)]


def change(items: list[Item]) -> None:
    for item in items:
        item.price, item.stock = Decimal(_NEW[0]), int(_NEW[1])


def told(items: list[Item], *values: tuple[str, str]) -> Story:
    fields = dict(zip(("price", "stock"), values, strict=True)) if values else {}
    return {str(getattr(item, "stored_pk", item.pk)): fields for item in items}


def _create(package: Package, item: Item) -> None:
    with package.writing():
        package.save(item)


def _update(package: Package, item: Item) -> None:
    change([item])
    with package.writing():
        package.save(item)


def _save(package: Package, item: Item) -> None:
    with package.writing():
        package.save(item)


def _delete(package: Package, item: Item) -> None:
    with package.writing():
        item.delete()


def _add(package: Package, item: Item) -> None:
    with package.writing():
        item.tags.add(*_get_tag_keys())


def _bulk_create(package: Package, items: list[Item]) -> None:
    with package.writing():
        package.bulk_create(Item, items)


def _bulk_update(package: Package, items: list[Item]) -> None:
    change(items)
    with package.writing():
        package.bulk_update(Item, items, ["price", "stock"])


def _queryset_update(package: Package, items: list[Item]) -> None:
    with package.writing():
        package.update(_range(items), price=Decimal(_NEW[0]), stock=int(_NEW[1]))


def _queryset_delete(package: Package, items: list[Item]) -> None:
    with package.writing():
        _range(items).delete()


def _update_raw(package: Package, item: Item) -> None:
    with package.writing(), connection.cursor() as cursor:
        cursor.execute(
            "UPDATE peers_item SET price = %s, stock = %s WHERE id = %s",
            [Decimal(_NEW[0]), int(_NEW[1]), item.pk],
        )


def _load(package: Package, items: list[Item]) -> None:
    if len(list(_range(items))) != len(items):
        raise RuntimeError("rows are missing")


def _range(items: list[Item]) -> Any:
    return Item.objects.filter(pk__gte=items[0].pk, pk__lte=items[-1].pk)


_tag_keys: list[int] = []


def _get_tag_keys() -> list[int]:
    if not _tag_keys:
        _tag_keys.extend(Tag.objects.values_list("pk", flat=True))
    return _tag_keys


_CREATED = [("None", value) for value in _OLD]
_CHANGED = list(zip(_OLD, _NEW, strict=True))
_NOTHING: Callable[[Any], Story] = lambda given: {}  # noqa: E731

OPERATIONS: dict[str, Operation] = {
    "create": Operation(make, _create, lambda item: told([item], *_CREATED)),
    "update": Operation(store, _update, lambda item: told([item], *_CHANGED)),
    "unchanged save": Operation(store, _save, _NOTHING),
    "delete": Operation(store, _delete, lambda item: told([item])),
    "m2m.add 10": Operation(
        store, _add, lambda item: {str(item.pk): {"tags": set(map(str, _get_tag_keys()))}}
    ),
    "bulk_create 1,000": Operation(
        lambda times: [make(1000) for _ in range(times)],
        _bulk_create,
        lambda items: told(items, *_CREATED),
        times=1,
    ),
    "bulk_update 1,000": Operation(
        store_thousand, _bulk_update, lambda items: told(items, *_CHANGED), times=1
    ),
    "queryset.update 1,000": Operation(
        store_thousand, _queryset_update, lambda items: told(items, *_CHANGED), times=1
    ),
    "queryset.delete 1,000": Operation(store_thousand, _queryset_delete, told, times=1),
    "raw UPDATE": Operation(store, _update_raw, lambda item: told([item], *_CHANGED)),
    "load 1,000": Operation(store_thousand, _load, _NOTHING, times=1),
}
