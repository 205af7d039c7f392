"""A unit of work of any size is flushed, and told of, in parts that fit into memory."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.db.models import Subquery, Value
from django.db.models.functions import Concat
from django.test.utils import CaptureQueriesContext

from django_signal_kit import ModelReceiver, batch
from django_signal_kit.units.journal import CHUNK, get_journal
from django_signal_kit.wiring.registry import registry
from tests.apps.testapp.models import Category, Product, Tag

pytestmark = pytest.mark.django_db(transaction=True)


class Writing(ModelReceiver):
    """Keeps in the database what it flushed, so that a rollback takes it back."""

    models = ["testapp.Tag"]
    flush_on = "before_commit"
    bulk = "all"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.sizes: list[int] = []
        self.waiting = 0

    def post_save(self, instance: Any, **kwargs: Any) -> None:
        self.collect(instance.name)
        self.waiting = max(self.waiting, len(get_journal(connections["default"]).before.items))

    def flush(self, items: list[str]) -> None:
        self.sizes.append(len(items))
        Category.objects.bulk_create(Category(name=name) for name in items)


class After(Writing):
    flush_on = "after_commit"


def tags(count: int, name: str = "a") -> list[Tag]:
    return [Tag(name=name) for _ in range(count)]


def flushed(name: str = "a") -> int:
    return Category.objects.filter(name=name).count()


def test_what_piles_up_in_a_batch_is_flushed_part_by_part(wire: Any) -> None:
    receiver = wire(Writing)
    with batch():
        for _ in range(5):
            Tag.objects.bulk_create(tags(1000))
        assert flushed() > 0
    assert flushed() == 5000
    assert max(receiver.sizes) <= CHUNK
    assert receiver.waiting <= CHUNK


def test_one_large_bulk_write_is_flushed_part_by_part(wire: Any) -> None:
    receiver = wire(Writing)
    Tag.objects.bulk_create(tags(2 * CHUNK + 7))
    assert receiver.sizes == [CHUNK, CHUNK, 7]
    assert receiver.waiting <= CHUNK


def test_parts_that_were_flushed_are_rolled_back_with_the_batch(wire: Any) -> None:
    receiver = wire(Writing)
    with pytest.raises(KeyError), batch():
        Tag.objects.bulk_create(tags(CHUNK + 1))
        assert receiver.sizes == [CHUNK]
        raise KeyError
    assert (Tag.objects.count(), flushed()) == (0, 0)


def test_a_savepoint_takes_back_its_own_parts_and_nothing_older(wire: Any) -> None:
    wire(Writing)
    with batch():
        Tag.objects.create(name="older")
        with pytest.raises(KeyError), transaction.atomic():
            Tag.objects.bulk_create(tags(CHUNK + 1))
            assert flushed() == CHUNK
            assert flushed("older") == 0
            raise KeyError
    assert (flushed("older"), flushed()) == (1, 0)
    assert Tag.objects.count() == 1


def test_many_savepoints_one_after_the_other_do_not_pile_up(wire: Any) -> None:
    receiver = wire(Writing)
    with batch():
        for _ in range(3):
            for _ in range(10):
                with transaction.atomic():
                    Tag.objects.bulk_create(tags(CHUNK // 10))
    assert receiver.waiting <= CHUNK + CHUNK // 10
    assert flushed() == 3 * CHUNK == Tag.objects.count()


def test_what_waits_for_the_commit_is_given_in_parts(wire: Any) -> None:
    receiver = wire(After)
    with transaction.atomic():
        Tag.objects.bulk_create(tags(CHUNK + 5))
        assert receiver.sizes == []
    assert receiver.sizes == [CHUNK, 5]


def test_a_write_in_progress_is_not_flushed_before_its_time(wire: Any) -> None:
    receiver = wire(Writing)

    class Nested(ModelReceiver):
        models = ["testapp.Product"]
        flush_on = "before_commit"

        def pre_save(self, **kwargs: Any) -> None:
            Tag.objects.bulk_create(tags(CHUNK + 1))
            assert receiver.sizes == []

    nested = Nested()
    registry.connect([receiver, nested])
    Product.objects.create(name="a")
    assert receiver.sizes == [CHUNK, 1]


class TestUpdate:
    """``QuerySet.update()`` of more rows than are kept in memory."""

    @pytest.fixture
    def many(self) -> int:
        Tag.objects.bulk_create(Tag(name=str(n)) for n in range(2 * CHUNK + 3))
        return Tag.objects.count()

    def count_updates(self, queries: Any) -> int:
        return len([query for query in queries if query["sql"].startswith("UPDATE")])

    def test_is_one_statement_that_is_told_in_parts(self, wire: Any, many: int) -> None:
        receiver = wire(Writing)
        with CaptureQueriesContext(connection) as queries:
            assert Tag.objects.update(name="a") == many
        assert self.count_updates(queries) == 1
        assert receiver.sizes == [CHUNK, CHUNK, 3]
        assert receiver.waiting <= CHUNK
        assert set(Tag.objects.values_list("name", flat=True)) == {"a"}
        assert flushed() == many

    def test_updates_those_that_matched_at_first(self, wire: Any, many: int) -> None:
        wire(Writing)
        Tag.objects.filter(name="0").update(name="x")
        assert Tag.objects.exclude(name="x").update(name="x") == many - 1
        assert flushed("x") == many

    def test_looks_at_the_rows_as_they_were_before_it(self, wire: Any, many: int) -> None:
        if connection.vendor == "mysql":
            pytest.skip("MariaDB does not update a table that the same statement reads")
        wire(Writing)
        greatest = Tag.objects.order_by("-name").values("name")[:1]
        Tag.objects.update(name=Concat(Subquery(greatest), Value("!")))
        assert flushed("999!") == many

    def test_is_taken_back_as_a_whole(self, wire: Any, many: int) -> None:
        wire(Writing)
        with pytest.raises(KeyError), transaction.atomic():
            Tag.objects.update(name="a")
            raise KeyError
        assert not Tag.objects.filter(name="a").exists()
        assert flushed() == 0
