"""What collecting the tags of rows costs: outside of a block, and in one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from django.db.models import QuerySet
from django.db.models.sql.compiler import SQLCompiler

from django_signal_kit.cache import collect_tags, collecting
from tests.apps.testapp.models import Category, Product
from tests.benchmarks.interleave import compare, show
from tests.cache.test_related import covering

pytestmark = pytest.mark.django_db(transaction=True)

ROWS = 1000


class Anew:
    """A context manager for each round."""

    def __init__(self, make: Callable[[], AbstractContextManager[Any]]) -> None:
        self.make = make

    def __enter__(self) -> None:
        self.entered = self.make()
        self.entered.__enter__()

    def __exit__(self, *args: Any) -> None:
        self.entered.__exit__(*args)


@pytest.fixture(autouse=True)
def shop(wire: Any) -> None:
    wire(
        covering("Product", "product:{pk}", "in:{category_id}", "products"),
        covering("Category", "category:{pk}", "categories"),
    )
    with collect_tags():
        pass
    category = Category.objects.create(pk=1, name="Hot")
    Product.objects.bulk_create(
        Product(name=str(pk), pk=pk, category=category) for pk in range(1, ROWS + 1)
    )


@pytest.mark.parametrize(
    ("title", "make"),
    [
        ("a row by its key", lambda: Product.objects.filter(pk=1)),
        ("a list", lambda: Product.objects.filter(stock__gt=1).order_by("name")),
        ("with select_related()", lambda: Product.objects.select_related("category")),
    ],
)
def test_a_query(title: str, make: Callable[[], QuerySet[Any]]) -> None:
    """What is wrapped is called once for each query: that call alone is timed."""
    compiler = make().query.get_compiler("default")
    compiler.as_sql()
    query, original = compiler.query, SQLCompiler.get_from_clause.__wrapped__  # type: ignore[attr-defined]
    for alias in query.alias_map:
        # As they are while the query is compiled.
        query.alias_refcount[alias] = 1
    result = compare(
        {
            "Django's own": lambda: original(compiler),
            "outside of a block": compiler.get_from_clause,
            "in a block": (Anew(collect_tags), compiler.get_from_clause),
        },
        number=1000,
        rounds=15,
    )
    show(f"One query of {title}", result)
    assert query.alias_map


def test_rows_that_are_joined() -> None:
    def load() -> list[Product]:
        return list(Product.objects.select_related("category"))

    rows = load()

    def tell() -> None:
        with collect_tags() as found:
            for _ in collecting._tell_rows(iter(rows), found):
                pass

    result = compare({"loaded": load, "told": tell}, rounds=9, number=3)
    show(f"{ROWS:,} rows with select_related()", result)
    assert len(rows) == ROWS


def test_a_block() -> None:
    def enter() -> None:
        with collect_tags():
            pass

    result = compare(
        {"nothing": lambda: None, "with collect_tags()": enter}, number=1000, rounds=15
    )
    show("A block", result)
    assert result.ratio("with collect_tags()") > 1
