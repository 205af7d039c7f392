"""Writes of each kind to products, in each kind of transaction.

Every writer saves and updates any product. Many-to-many changes, bulk updates and deletions are
made to its own only: what two of them do to one link at once is another matter than being killed.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import nullcontext, suppress
from typing import Any

from django.db import DatabaseError, transaction
from django.db.models import F

from django_signal_kit import batch
from tests.apps.testapp.models import Product, Tag
from tests.faults.nursery import WRITERS

_LEAST = 6


class _ChangedMindError(Exception):
    """Rolls a block back."""


class Writing:
    """One random write, or a few of them in one block."""

    def __init__(self, slot: int, seed: int) -> None:
        self.slot = slot
        self.chance = random.Random(seed)

    def run(self) -> None:
        block = self.chance.choice((nullcontext, transaction.atomic, batch))
        with block():
            for _ in range(1 if block is nullcontext else self.chance.randint(1, 4)):
                self.write_one()
            if block is not nullcontext and self.chance.random() < 0.2:
                raise _ChangedMindError

    def write_one(self) -> None:
        if self.chance.random() < 0.15:
            with suppress(_ChangedMindError), transaction.atomic():
                self.chance.choice(WRITES)(self)
                raise _ChangedMindError
        else:
            self.chance.choice(WRITES)(self)

    def pick(self, count: int = 1, *, own: bool = False) -> list[Any]:
        keys = list(Product.objects.order_by("pk").values_list("pk", flat=True))
        if own:
            keys = [key for key in keys if key % WRITERS == self.slot]
        chosen = self.chance.sample(keys, min(count, len(keys)))
        return list(Product.objects.filter(pk__in=chosen))

    def make(self) -> Product:
        return Product(name=self.word(), stock=self.number(), price=f"{self.number()}.5")

    def word(self) -> str:
        return self.chance.choice(("saw", "hammer", "nail", "None", "ñandú"))

    def number(self) -> int:
        return self.chance.randint(0, 9)

    def change(self, product: Product) -> None:
        product.name = self.word()
        product.price = f"{self.number()}.25"
        product.data["n"] = self.number()

    # The writes

    def create(self) -> None:
        self.make().save()

    def create_many(self) -> None:
        Product.objects.bulk_create([self.make() for _ in range(3)])

    def save(self) -> None:
        for product in self.pick():
            self.change(product)
            product.save()

    def save_a_part(self) -> None:
        for product in self.pick():
            self.change(product)
            product.stock = F("stock") + self.number()
            product.save(update_fields=["name", "stock"])

    def update_many(self) -> None:
        products = self.pick(3, own=True)
        for product in products:
            self.change(product)
        Product.objects.bulk_update(products, ["name", "data"])

    def update(self) -> None:
        Product.objects.filter(stock__gt=self.number()).update(
            stock=self.number(), name=self.word()
        )

    def update_by_expression(self) -> None:
        Product.objects.filter(name=self.word()).update(stock=(F("stock") + 1) % 50)

    def delete(self) -> None:
        if Product.objects.count() > _LEAST:
            for product in self.pick(own=True):
                product.delete()

    def delete_many(self) -> None:
        if Product.objects.count() > _LEAST:
            keys = [product.pk for product in self.pick(3, own=True)]
            Product.objects.filter(pk__in=keys).delete()

    def link(self) -> None:
        for product in self.pick(own=True):
            tags = self.chance.sample(list(Tag.objects.all()), 2)
            act = self.chance.choice(("add", "remove", "set", "clear"))
            manager: Any = getattr(product.tags, act)
            manager(*{"set": (tags,), "clear": ()}.get(act, tags))

    def link_from_the_other_side(self) -> None:
        [tag] = self.chance.sample(list(Tag.objects.all()), 1)
        products = self.pick(2, own=True)
        self.chance.choice((tag.products.add, tag.products.remove))(*products)


WRITES: tuple[Callable[[Writing], None], ...] = (
    Writing.create,
    Writing.create_many,
    Writing.save,
    Writing.save,
    Writing.save_a_part,
    Writing.update_many,
    Writing.update,
    Writing.update_by_expression,
    Writing.delete,
    Writing.delete_many,
    Writing.link,
    Writing.link,
    Writing.link_from_the_other_side,
)


def write(slot: int, seed: int) -> None:
    """One write. What the database refuses (a deadlock, a row that is gone) is rolled back."""
    with suppress(_ChangedMindError, DatabaseError):
        Writing(slot, seed).run()
