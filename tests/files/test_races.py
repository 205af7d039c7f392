"""Two who name, replace and delete files at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models.signals import pre_save

from tests.apps.testapp.models import Gallery, Product
from tests.factories import ProductFactory
from tests.files.uploads import exist, get_kept, upload, with_image
from tests.threads import in_threads

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


@contextmanager
def meeting(model: Any = Product) -> Iterator[None]:
    """Two saves wait for each other after they have read, if they can."""
    barrier = threading.Barrier(2)

    def wait(**kwargs: Any) -> None:
        with suppress(threading.BrokenBarrierError):
            barrier.wait(timeout=1)

    pre_save.connect(wait, sender=model)
    try:
        yield
    finally:
        pre_save.disconnect(wait, sender=model)


def replace(row: Any, name: str) -> Callable[[], None]:
    mine = type(row).objects.get(pk=row.pk)

    def save() -> None:
        mine.image = upload(name) if name else ""
        mine.save()

    return save


@pytest.mark.parametrize("names", [("b.txt", "c.txt"), ("b.txt", "")], ids=["both", "cleared"])
def test_two_replacements_in_autocommit_leave_one_file(cleanup: Any, names: Any) -> None:
    product, old = with_image()
    with meeting():
        in_threads(*(replace(product, name) for name in names))
    product.refresh_from_db()
    uploaded = [f"products/{name}" for name in names if name]
    assert exist(old, *uploaded) == [name for name in [product.image.name] if name]
    assert set(get_kept()) == {old, *uploaded} - {product.image.name}


def test_two_transactions_that_exchange_a_file_leave_it_in_its_place(cleanup: Any) -> None:
    """One gives it up while another takes it over, in all orders of their commits."""
    for first in ("giver", "taker"):
        giver, name = with_image()
        taker = ProductFactory()
        has_written, may_commit = threading.Event(), threading.Event()

        def give(giver: Any = giver) -> None:
            giver.image = ""
            giver.save()

        def take(taker: Any = taker, name: str = name) -> None:
            taker.image = name
            taker.save()

        def early(act: Any, done: Any = has_written, may: Any = may_commit) -> None:
            with transaction.atomic():
                act()
                done.set()
                may.wait(10)

        def late(act: Any, done: Any = has_written, may: Any = may_commit) -> None:
            done.wait(10)
            if connection.vendor == "sqlite":
                # It has one writer at a time.
                may.set()
            with transaction.atomic():
                act()
            may.set()

        acts = (give, take) if first == "giver" else (take, give)
        in_threads(lambda act=acts[0]: early(act), lambda act=acts[1]: late(act))
        taker.refresh_from_db()
        assert taker.image.name == name
        assert exist(name) == [name]
        assert get_kept() == {}
        Product.objects.all().delete()
        for place in list(get_kept().values()):
            giver.image.storage.delete(place)


def test_a_transaction_that_is_rolled_back_takes_no_file_of_another_along(cleanup: Any) -> None:
    name = with_image()[1]
    gallery = Gallery.objects.create(cover=name)
    with transaction.atomic():
        Product.objects.all().delete()
        gallery.cover = ""
        gallery.save()
        transaction.set_rollback(True)
    Product.objects.all().delete()
    assert exist(name) == [name]
