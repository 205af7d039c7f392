"""A purge that a worker makes is kept with what it is about, whatever dies after the COMMIT."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from django.core.cache import cache, caches
from django.core.cache.backends.locmem import LocMemCache
from django.db import connection, transaction
from django.test import TestCase

from django_signal_kit import batch, muted
from django_signal_kit.cache import Purge, tagged
from django_signal_kit.cache.headers import encode_tag
from django_signal_kit.receivers import CacheInvalidation
from django_signal_kit.tasks.models import OutboxTask
from tests.apps.testapp.models import Category, Product
from tests.factories import CategoryFactory, ProductFactory
from tests.tasks.queues import BROKER, Broker, get_messages, work

pytestmark = pytest.mark.django_db(transaction=True)

MODELS = {"models": ["testapp.Product"], "tags": ["product:{pk}"]}


class Touching(CacheInvalidation):
    """Notes what waits in the outbox when it touches tags after the commit: who dies there leaves
    that."""

    waiting: list[int] = []

    def invalidate(self, keys: Sequence[str], tags: Sequence[str]) -> None:
        if not connection.in_atomic_block:
            self.waiting.append(OutboxTask.objects.count())
        super().invalidate(keys, tags)


class Noted(Purge):
    """Notes what it is told, and what is cached under "page" by then."""

    told: list[list[str]] = []
    cached: list[Any] = []

    def purge(self, tags: Sequence[str]) -> None:
        self.told.append([*tags])
        self.cached.append(tagged("default").get_or_set("page", lambda: "new", tags=["product:1"]))


class Refusing(LocMemCache):
    """Down if it is told so."""

    is_down = False

    def delete_many(self, *args: Any, **kwargs: Any) -> None:
        if Refusing.is_down:
            raise ConnectionError("The cache is down.")
        super().delete_many(*args, **kwargs)


@pytest.fixture(autouse=True)
def _queue(settings: Any) -> None:
    settings.TASKS = BROKER
    Broker.messages.clear()
    Broker.is_down = False


@pytest.fixture
def noted(wire: Any) -> Any:
    """The receiver that purges in a task."""
    touching = (Touching, {**MODELS, "waiting": []})
    purging = (Noted, {"flush_on": "task", "told": [], "cached": []})
    _, noted = wire(touching, purging)
    return noted


def get_waiting() -> list[int]:
    from django_signal_kit.wiring.registry import registry

    (touching,) = [each for each in registry.receivers if isinstance(each, Touching)]
    return touching.waiting


def in_autocommit() -> None:
    ProductFactory()


def in_a_transaction() -> None:
    with transaction.atomic():
        ProductFactory()


def in_a_batch() -> None:
    with batch():
        ProductFactory()


def in_bulk() -> None:
    Product.objects.bulk_create([ProductFactory.build(category=None)])


@pytest.mark.parametrize("write", [in_autocommit, in_a_transaction, in_a_batch, in_bulk])
def test_the_task_is_committed_with_the_write(noted: Any, write: Any) -> None:
    write()
    assert get_waiting() == [1]
    assert work() == []
    assert noted.told == [[f"product:{Product.objects.get().pk}"]]
    assert not OutboxTask.objects.exists()


@pytest.mark.parametrize("change", ["save", "update", "delete"])
def test_of_a_change_as_well(noted: Any, change: str) -> None:
    with muted("Noted"):
        product = ProductFactory()
    get_waiting().clear()
    if change == "save":
        product.save()
    elif change == "update":
        Product.objects.update(name="new")
    else:
        Product.objects.all().delete()
    assert get_waiting() == [1]
    assert work() == []
    assert len(noted.told) == 1


def test_what_is_related_is_purged_too(wire: Any) -> None:
    _, _, noted = wire(
        (Touching, {**MODELS, "related": ["category"], "waiting": []}),
        (CacheInvalidation, {"models": ["testapp.Category"], "tags": ["category:{name}"]}),
        (Noted, {"flush_on": "task", "told": [], "cached": []}),
    )
    with muted("Noted"):
        category = CategoryFactory(name="tea")
    get_waiting().clear()
    product = ProductFactory(category=category)
    assert set(get_waiting()) == {1}
    assert work() == []
    assert [sorted(tags) for tags in noted.told] == [["category:tea", f"product:{product.pk}"]]
    assert Category.objects.count() == 1


def test_a_rollback_leaves_no_task_and_a_savepoint_takes_its_own_back(noted: Any) -> None:
    with transaction.atomic():
        kept = ProductFactory()
        with transaction.atomic():
            ProductFactory()
            transaction.set_rollback(True)
    with transaction.atomic():
        ProductFactory()
        transaction.set_rollback(True)
    assert work() == []
    assert noted.told == [[f"product:{kept.pk}"]]


def test_one_that_is_muted_has_no_task(noted: Any) -> None:
    with muted("Noted"), transaction.atomic():
        ProductFactory()
    assert get_messages() == []
    assert not OutboxTask.objects.exists()


def test_touching_by_hand_in_a_transaction_is_told_in_it(noted: Any) -> None:
    waiting = []
    with transaction.atomic():
        # Right after the COMMIT.
        transaction.on_commit(lambda: waiting.append(OutboxTask.objects.count()))
        tagged("default").touch("all products")
    tagged("default").touch("at once")
    assert waiting == [1]
    assert work() == []
    assert noted.told == [[encode_tag("all products")], [encode_tag("at once")]]


def test_the_worker_touches_before_it_purges(noted: Any) -> None:
    """Whoever has committed may have died before he touched; then the edge would be filled again
    with what he left in the cache."""
    product = ProductFactory(pk=1)
    key = ["page", lambda: "old"]
    tagged("default").get_or_set(*key, tags=[f"product:{product.pk}"])
    assert cache.get("page") is not None
    assert work() == []
    assert noted.cached == ["new"]


def test_a_cache_that_cannot_be_touched_keeps_the_purge_waiting(noted: Any, settings: Any) -> None:
    settings.CACHES = {"default": {"BACKEND": f"{__name__}.Refusing", "LOCATION": __name__}}
    ProductFactory()
    Refusing.is_down = True
    assert work() == []
    assert noted.told == []
    assert [row.attempt for row in OutboxTask.objects.all()] == [2]
    Refusing.is_down = False
    caches["default"].clear()


def test_a_tag_may_be_any_text(wire: Any) -> None:
    _, noted = wire(
        (CacheInvalidation, {"models": ["testapp.Product"], "tags": ["name:{name}"]}),
        (Noted, {"flush_on": "task", "told": [], "cached": []}),
    )
    product = ProductFactory(name="a, b é " + "long " * 10)
    assert get_messages()[0]["items"][0]["tag"] == encode_tag(f"name:{product.name}")
    assert work() == []
    assert noted.told == [[encode_tag(f"name:{product.name}")]]


def test_without_an_outbox_it_is_told_after_the_commit_as_ever(wire: Any) -> None:
    _, noted = wire(
        (CacheInvalidation, MODELS),
        (Noted, {"flush_on": "task", "told": [], "cached": []}),
        TASKS={"OUTBOX": False},
    )
    product = ProductFactory()
    assert [message["items"] for message in get_messages()] == [[f"product:{product.pk}"]]
    assert work() == []
    assert noted.told == [[f"product:{product.pk}"]]


class InATestCase(TestCase):
    @pytest.fixture(autouse=True)
    def _noted(self, noted: Any) -> None:
        self.noted = noted

    def test_the_task_is_made_where_commit_hooks_are_captured(self) -> None:
        with self.captureOnCommitCallbacks(execute=True):
            product = ProductFactory()
            assert get_messages() == []
        assert work() == []
        assert self.noted.told == [[f"product:{product.pk}"]]
