"""What shows a changed row, at the other end of a relation, is touched as well."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, ClassVar

import pytest
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, models, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_signal_kit import batch
from django_signal_kit.cache import tagged
from django_signal_kit.cache.related import get_path
from django_signal_kit.checks import check_signal_kit
from django_signal_kit.receivers import CacheInvalidation
from tests.apps.testapp.models import Category, Line, Product, Tag
from tests.factories import CategoryFactory, ProductFactory, TagFactory
from tests.threads import in_threads

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def empty() -> None:
    cache.clear()


def covering(model: str, *tags: str, **options: Any) -> Any:
    entry = {"models": [f"testapp.{model}"], "tags": list(tags), **options}
    return {
        "RECEIVER": "django_signal_kit.receivers.CacheInvalidation",
        "NAME": f"{model}Pages",
        "OPTIONS": entry,
    }


def fill(*tags: str) -> None:
    found = tagged().get_many({tag: [tag] for tag in tags})
    tagged().set_many(dict.fromkeys(found.missing, "page"), found)


def left(*tags: str) -> list[str]:
    return [*tagged().get_many({tag: [tag] for tag in tags})]


def test_a_row_that_moves_touches_the_tags_of_where_it_was_and_of_where_it_is(wire: Any) -> None:
    wire(
        covering("Product", "product:{pk}", related=["category"]),
        covering("Category", "category:{pk}"),
    )
    hot, cold, other = (CategoryFactory() for _ in range(3))
    tags = [f"category:{category.pk}" for category in (hot, cold, other)]
    product = ProductFactory(category=hot)
    fill(*tags)
    product.category = cold
    product.save()
    assert left(*tags) == tags[2:]
    fill(*tags)
    product.delete()
    assert left(*tags) == [tags[0], tags[2]]


def test_a_foreign_key_of_the_row_costs_one_query_for_what_it_was(
    wire: Any, django_assert_num_queries: Any
) -> None:
    wire(
        covering("Product", "product:{pk}", related=["category"]),
        covering("Category", "category:{pk}"),
    )
    product = ProductFactory(category=CategoryFactory())
    with django_assert_num_queries(2):
        product.save()


def test_relations_backwards_and_over_links_are_followed(wire: Any) -> None:
    wire(
        covering("Category", related=["product", "product__tags"]),
        covering("Product", "product:{pk}"),
        covering("Tag", "tag:{pk}"),
    )
    category, tag, other = CategoryFactory(), TagFactory(), TagFactory()
    product, second = ProductFactory(category=category), ProductFactory()
    product.tags.add(tag)
    tags = [f"product:{product.pk}", f"product:{second.pk}", f"tag:{tag.pk}", f"tag:{other.pk}"]
    fill(*tags)
    category.name = "New"
    category.save()
    assert left(*tags) == [tags[1], tags[3]]


@pytest.mark.parametrize("how", ["update", "bulk_update", "bulk_create"])
def test_bulk_writes_are_followed_too(wire: Any, how: str) -> None:
    wire(
        covering("Product", related=["category"]),
        covering("Category", "category:{pk}"),
    )
    hot, cold = CategoryFactory(), CategoryFactory()
    tags = [f"category:{hot.pk}", f"category:{cold.pk}"]
    product = ProductFactory(category=hot)
    fill(*tags)
    if how == "update":
        Product.objects.update(category=cold)
    elif how == "bulk_update":
        product.category = cold
        Product.objects.bulk_update([product], ["category"])
    else:
        Product.objects.bulk_create([ProductFactory.build(category=cold)])
    assert left(*tags) == (tags[:1] if how == "bulk_create" else [])


def test_a_relation_that_is_none_is_said(wire: Any) -> None:
    with pytest.raises(
        ImproperlyConfigured, match=r"'categry', and testapp.Product has no relation 'categry'"
    ):
        wire(covering("Product", related=["categry"]))
    with pytest.raises(ImproperlyConfigured, match=r"testapp\.Product has no relation 'name'"):
        wire(covering("Product", related=["name"]))


def test_an_end_without_tags_is_warned_of(wire: Any) -> None:
    wire(covering("Product", related=["category"]))
    said = [str(message) for message in check_signal_kit() if message.id == "signal_kit.W015"]
    assert len(said) == 1
    assert "touches the tags of testapp.Category ('category' in its option 'related')" in said[0]
    wire(covering("Product", related=["category"]), covering("Category", "category:{pk}"))
    assert not [message for message in check_signal_kit() if message.id == "signal_kit.W015"]


# What it costs, and for how many rows


def count_queries(run: Callable[[], object], table: str) -> int:
    with CaptureQueriesContext(connection) as queries:
        run()
    return len([query for query in queries if table in query["sql"]])


def make_lines(count: int) -> list[Line]:
    products = [ProductFactory(category=CategoryFactory()) for _ in range(3)]
    return [Line.objects.create(product=products[n % 3]) for n in range(count)]


def wire_lines(wire: Any) -> None:
    wire(covering("Line", related=["product__category"]), covering("Category", "category:{pk}"))


def update_all(lines: list[Line]) -> None:
    Line.objects.update(text="new")


def bulk_update_all(lines: list[Line]) -> None:
    Line.objects.bulk_update(lines, ["text"])


def create_more(lines: list[Line]) -> None:
    Line.objects.bulk_create([Line(product=line.product) for line in lines])


def delete_all(lines: list[Line]) -> None:
    Line.objects.all().delete()


def save_in_a_batch(lines: list[Line]) -> None:
    with batch():
        for line in lines:
            line.save()


def save_in_a_transaction(lines: list[Line]) -> None:
    with transaction.atomic(), batch():
        for line in lines:
            line.save()


@pytest.mark.parametrize(
    "write",
    [
        update_all,
        bulk_update_all,
        create_more,
        delete_all,
        save_in_a_batch,
        save_in_a_transaction,
    ],
)
def test_a_path_costs_one_query_for_all_rows_that_are_written_together(
    wire: Any, write: Any
) -> None:
    wire_lines(wire)
    lines = make_lines(30)
    tags = [f"category:{line.product.category_id}" for line in lines[:3]]
    fill(*tags, "other")
    assert count_queries(lambda: write(lines), "testapp_product") == 1
    assert left(*tags, "other") == ["other"]


def test_a_thousand_saves_in_a_batch_follow_a_path_by_one_query(wire: Any) -> None:
    wire_lines(wire)
    Line.objects.bulk_create([Line(product=line.product) for line in make_lines(3)] * 333)
    lines = list(Line.objects.all())
    assert len(lines) > 1000
    assert count_queries(lambda: save_in_a_batch(lines), "testapp_product") == 1


def test_a_save_costs_one_query_a_path(wire: Any) -> None:
    wire_lines(wire)
    (line,) = make_lines(1)
    assert count_queries(line.save, "testapp_product") == 1


def test_tags_of_more_than_the_key_cost_one_query_for_all_ends(wire: Any) -> None:
    wire(
        covering("Line", related=["product"]),
        covering("Product", "slug:{slug}"),
    )
    lines = make_lines(30)
    tags = [f"slug:{line.product.slug}" for line in lines]
    fill(*tags)
    assert count_queries(lambda: bulk_update_all(lines), "testapp_product") == 1
    assert left(*tags) == []


def test_a_path_that_turns_back_is_followed_before_and_after(wire: Any) -> None:
    wire(
        covering("Product", related=["category__product__lines"]),
        covering("Line", "line:{pk}"),
    )
    hot, cold = CategoryFactory(), CategoryFactory()
    mine, old, new, other = (ProductFactory(category=c) for c in (hot, hot, cold, None))
    lines = [Line.objects.create(product=product) for product in (mine, old, new, other)]
    tags = [f"line:{line.pk}" for line in lines]
    for move in (
        mine.save,
        lambda: Product.objects.filter(pk=mine.pk).update(category=mine.category),
        lambda: Product.objects.bulk_update([mine], ["category"]),
    ):
        for there, stay in ((cold, tags[3:]), (None, tags[2:])):
            Product.objects.filter(pk=mine.pk).update(category=hot)
            mine.category = there
            fill(*tags)
            move()
            assert left(*tags) == stay


def test_more_rows_than_are_held_in_memory_are_followed(wire: Any) -> None:
    wire(
        covering("Product", related=["category__product", "tags"]),
        covering("Product", "product:{pk}") | {"NAME": "Siblings"},
        covering("Tag", "tag:{pk}"),
    )
    hot, cold, tag = CategoryFactory(), CategoryFactory(), TagFactory()
    there = [ProductFactory.build(category=hot) for _ in range(1001)]
    Product.objects.bulk_create(there)
    sibling, last = ProductFactory(category=hot), Product.objects.order_by("-pk")[1]
    last.tags.add(tag)
    tags = [f"product:{sibling.pk}", f"tag:{tag.pk}"]
    fill(*tags)
    Product.objects.exclude(pk=sibling.pk).update(category=cold)
    assert left(*tags) == []


def test_while_tags_are_not_known_yet_nothing_is_read_from_the_cache_nor_stored(wire: Any) -> None:
    wire_lines(wire)
    (line,) = make_lines(1)
    tag = f"category:{line.product.category_id}"

    def read() -> str:
        return tagged().get_or_set("text", lambda: Line.objects.get().text, tags=[tag])

    assert read() == ""
    with pytest.raises(LookupError), batch():
        line.text = "new"
        line.save()
        assert read() == "new"
        raise LookupError
    assert read() == ""
    with batch():
        line.save()
        assert read() == "new"
        assert in_threads(read) == [""]
    assert read() == "new"


def test_what_a_savepoint_has_undone_is_not_followed(wire: Any) -> None:
    wire_lines(wire)
    lines = make_lines(3)
    tags = [f"category:{line.product.category_id}" for line in lines]
    fill(*tags)
    with batch():
        lines[0].save()
        with transaction.atomic():
            lines[1].save()
            transaction.set_rollback(True)
        lines[2].save()
    assert left(*tags) == [tags[1]]


# Whatever is written


class World:
    """Rows and relations between them; says which tags a write makes wrong."""

    PATHS: ClassVar = {
        Line: ["product", "product__category", "product__tags", "product__lines"],
        Product: ["category", "category__product__lines", "tags", "lines__product"],
        Tag: ["products", "products__category"],
        Category: ["product__tags"],
    }

    def __init__(self) -> None:
        self.categories = [CategoryFactory() for _ in range(2)]
        self.tags = [TagFactory() for _ in range(2)]
        self.products = [ProductFactory(category=self.categories[0]) for _ in range(3)]
        self.products[0].tags.set(self.tags)
        self.products[1].tags.add(self.tags[0])
        self.lines = [Line.objects.create(product=product) for product in self.products[:2]]

    def find(self, rows: list[models.Model]) -> set[str]:
        """The tags at the ends of all paths from ``rows``, and their own, as the rows are now."""
        found = set()
        for row in rows:
            model = type(row)
            found |= {get_tag(row)} if model.objects.filter(pk=row.pk).exists() else set()
            for path in self.PATHS[model]:
                end = get_path(model, path).end
                keys = model.objects.filter(pk=row.pk).values_list(f"{path}__pk", flat=True)
                found |= {f"{end.__name__}:{key}" for key in keys if key is not None}
        return found

    def change(self, row: Any, other: int) -> None:
        if isinstance(row, Line):
            row.product = self.products[other]
        elif isinstance(row, Product):
            row.category = [*self.categories, None][other]


def get_tag(row: models.Model) -> str:
    return f"{type(row).__name__}:{row.pk}"


KINDS = ["lines", "products", "tags", "categories"]


@settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.tuples(
            st.sampled_from(KINDS),
            st.integers(0, 1),
            st.integers(0, 2),
            st.sampled_from(["save", "update", "bulk_update", "batch", "delete"]),
        ),
        max_size=4,
    )
)
def test_whatever_is_written_each_end_is_touched(wired: None, steps: Any) -> None:
    with transaction.atomic():
        for kind, number, other, how in steps:
            world = World()
            rows = (
                getattr(world, kind)[: number + 1] if how != "save" else getattr(world, kind)[:1]
            )
            before = world.find(rows)
            for row in rows:
                world.change(row, other)
            touched: list[str] = []
            with watch(touched):
                write(rows, how)
            assert (before | world.find(rows)) - set(touched) == set()
        transaction.set_rollback(True)


def write(rows: list[Any], how: str) -> None:
    model = type(rows[0])
    field = {Line: "product", Product: "category", Tag: "name", Category: "name"}[model]
    if how == "update":
        found = model.objects.filter(pk__in=[row.pk for row in rows])
        found.update(**{field: getattr(rows[0], field)})
    elif how == "bulk_update":
        model.objects.bulk_update(rows, [field])
    elif how == "delete":
        model.objects.filter(pk__in=[row.pk for row in rows]).delete()
    else:
        with batch() if how == "batch" else nullcontext():
            for row in rows:
                row.save()


@contextmanager
def watch(touched: list[str]) -> Iterator[None]:
    original = CacheInvalidation.invalidate

    def note(self: Any, keys: Any, tags: Any) -> None:
        touched.extend(tags)
        original(self, keys, tags)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CacheInvalidation, "invalidate", note)
        yield


@pytest.fixture
def wired(wire: Any) -> None:
    wire(
        *(
            covering(model.__name__, f"{model.__name__}:{{pk}}", related=paths)
            for model, paths in World.PATHS.items()
        )
    )
