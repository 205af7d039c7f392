"""What is read inside a block tells its tags, and whatever changes it touches one of them."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.core.cache import cache, caches
from django.db import connection, transaction
from django.db.models import Count, Exists, F, OuterRef, Prefetch, Q, QuerySet
from django.db.models.query import ModelIterable
from django.db.models.sql.compiler import SQLCompiler
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.template.response import SimpleTemplateResponse
from django.test import RequestFactory
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from django_signal_kit.cache import (
    cache_view,
    cached,
    collect_tags,
    collecting,
    gathering,
    get_counters,
    note_tags,
    tagged,
)
from django_signal_kit.receivers import CacheInvalidation
from tests.apps.testapp.models import Category, Club, Line, Person, Product, Tag, Token
from tests.cache.test_related import covering
from tests.conftest import run_async
from tests.factories import CategoryFactory, PersonFactory, ProductFactory, TagFactory

pytestmark = pytest.mark.django_db(transaction=True)

LOCK = "signal_kit:lock:count"


@pytest.fixture(autouse=True)
def empty() -> None:
    cache.clear()
    gathering._told.clear()


@pytest.fixture
def shop(wire: Any) -> None:
    """Every template that a query may fix, and one that names no column."""
    wire(
        covering("Product", "product:{pk}", "in:{category_id}", "products"),
        covering("Category", "category:{pk}", "categories"),
        covering("Tag", "tag:{pk}", "tags"),
        covering("Token", "token:{pk}", "tokens"),
    )


def tags_of(read: Callable[[], Any]) -> list[str]:
    with collect_tags() as tags:
        read()
    assert not tags.unknown
    return sorted(tags)


# What is told


def test_a_row_by_its_key_tells_its_own_tag_whether_it_is_there_or_not(shop: None) -> None:
    pk = ProductFactory().pk
    own = [f"product:{pk}"]
    assert tags_of(lambda: Product.objects.get(pk=pk)) == own
    assert tags_of(lambda: Product.objects.get(id=str(pk), name__startswith="P")) == own
    assert tags_of(lambda: Product.objects.filter(pk=pk).values_list("name").first()) == own
    assert tags_of(lambda: Product.objects.filter(pk=pk).exists()) == own
    assert tags_of(lambda: Product.objects.get(pk=pk).refresh_from_db()) == own
    assert tags_of(lambda: Product.objects.only("pk").get(pk=pk).name) == own
    assert tags_of(lambda: Product.objects.filter(pk=0).first()) == ["product:0"]
    several = sorted({f"product:{pk}", "product:0"})
    assert tags_of(lambda: Product.objects.in_bulk([pk, 0])) == several
    token = Token.objects.create()
    assert tags_of(lambda: Token.objects.get(pk=str(token.pk))) == [f"token:{token.pk}"]


def test_a_list_tells_what_falls_when_a_row_comes(shop: None) -> None:
    category = CategoryFactory()
    ProductFactory(category=category)
    own = [f"in:{category.pk}"]
    assert tags_of(lambda: list(category.product_set.all())) == own
    assert tags_of(lambda: list(Product.objects.filter(category=category, stock__gt=5))) == own
    assert tags_of(lambda: Product.objects.filter(category_id=category.pk).count()) == own
    for read in (
        lambda: list(Product.objects.all()),
        lambda: Product.objects.count(),
        lambda: Product.objects.filter(name="none").exists(),
        lambda: list(Product.objects.values("name").iterator()),
        lambda: Product.objects.aggregate(n=Count("pk")),
        lambda: list(Product.objects.filter(Q(category=category) | Q(stock=1))),
        lambda: list(Product.objects.exclude(category=category)),
        lambda: list(Product.objects.filter(category_id=F("pk"))),
        lambda: list(Product.objects.filter(stock=category.pk)),
        lambda: list(Product.objects.filter(category_id__gte=category.pk)),
        lambda: list(Product.objects.filter(pk=1).union(Product.objects.filter(stock=2)))[:0],
    ):
        assert "products" in tags_of(read)
    assert tags_of(lambda: list(Product.objects.none())) == []
    assert tags_of(lambda: list(Product.objects.filter(pk__in=[]))) == []


def test_what_is_joined_tells_its_own(shop: None) -> None:
    category = CategoryFactory()
    product = ProductFactory(category=category)
    pk, key = product.pk, category.pk
    both = [f"category:{key}", f"product:{pk}"]
    assert tags_of(lambda: Product.objects.select_related("category").get(pk=pk)) == both
    assert tags_of(lambda: Product.objects.get(pk=pk).category) == both
    assert tags_of(lambda: list(Product.objects.filter(pk=pk).prefetch_related("category"))) == (
        both
    )
    assert tags_of(lambda: list(Product.objects.filter(pk=pk, category__name="x"))) == [
        "categories",
        f"product:{pk}",
    ]
    assert tags_of(
        lambda: list(Product.objects.select_related("category").filter(category__name="x"))
    ) == ["categories", "products"]
    assert tags_of(
        lambda: list(Product.objects.select_related("category").order_by("category__name")[:1])
    ) == ["categories", f"category:{key}", "products"]
    assert tags_of(lambda: list(Product.objects.values("category__name"))) == [
        "categories",
        "products",
    ]
    assert tags_of(lambda: list(Category.objects.filter(pk=key).annotate(Count("product")))) == [
        f"category:{key}",
        "products",
    ]
    inner = Product.objects.filter(category=OuterRef("pk"))
    assert tags_of(lambda: list(Category.objects.filter(Exists(inner), pk=key))) == [
        f"category:{key}",
        "products",
    ]
    prefetch = Prefetch("product_set", Product.objects.order_by("name"))
    assert tags_of(lambda: list(Category.objects.filter(pk=key).prefetch_related(prefetch))) == [
        f"category:{key}",
        f"in:{key}",
    ]


def test_links_are_told_by_the_row_from_which_they_go(shop: None) -> None:
    product, tag = ProductFactory(), TagFactory()
    assert tags_of(lambda: list(product.tags.all())) == [f"product:{product.pk}", "tags"]
    assert tags_of(lambda: list(tag.products.all())) == ["products", f"tag:{tag.pk}"]
    assert "tags" in tags_of(lambda: list(Product.objects.filter(pk=product.pk, tags__name="a")))


def test_a_value_that_is_cached_and_what_is_noted_tell_theirs(shop: None) -> None:
    def read() -> None:
        note_tags("noted", "twice")
        tagged().get_or_set("page", lambda: Product.objects.count(), tags=["page", "twice"])

    assert tags_of(read) == ["noted", "page", "products", "twice"]
    assert tags_of(read) == ["noted", "page", "twice"]


def test_blocks_in_blocks_tell_those_round_them(shop: None) -> None:
    with collect_tags() as outer:
        with collect_tags() as inner:
            Product.objects.count()
        with pytest.raises(ZeroDivisionError), collect_tags():
            note_tags("failed")
            raise ZeroDivisionError
        note_tags("after")
    note_tags("outside")
    assert [*inner] == ["products"]
    assert [*outer] == ["products", "failed", "after"]
    assert "products" in outer
    assert len(outer) == 3
    assert repr(inner) == "<CollectedTags ['products']>"


def test_other_threads_and_tasks_tell_nothing_and_its_own_do(shop: None) -> None:
    with collect_tags() as tags:
        thread = threading.Thread(target=lambda: (Product.objects.count(), connection.close()))
        thread.start()
        thread.join(30)
    assert [*tags] == []

    async def one(pk: int) -> list[str]:
        with collect_tags() as tags:
            await asyncio.sleep(0)
            await sync_to_async(Product.objects.filter(pk=pk).exists)()
            async for _ in Product.objects.filter(pk=pk + 10):
                pass
        return [*tags]

    async def main() -> Any:
        return await asyncio.gather(*(one(pk) for pk in range(3)))

    assert run_async(main()) == [[f"product:{pk}", f"product:{pk + 10}"] for pk in range(3)]


# What is not known


def test_rows_for_which_there_is_no_tag_are_named_and_logged_once(wire: Any, caplog: Any) -> None:
    wire(covering("Product", "product:{pk}", "slug:{slug}"))
    ProductFactory(slug="tea")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            with collect_tags() as tags:
                list(Product.objects.filter(slug="tea"))
            assert ([*tags], tags.unknown) == ([], {"testapp.Product"})
    (record,) = caplog.records
    assert "'products', which each change of a row touches" in record.getMessage()
    with collect_tags() as tags:
        list(Category.objects.all())
        list(Tag.objects.filter(products__pk=1))
    assert ([*tags], tags.unknown) == (["product:1"], set())


def test_links_of_rows_for_which_there_is_no_tag_are_not_known_either(wire: Any) -> None:
    wire(covering("Product", "slug:{slug}"))
    with collect_tags() as tags:
        list(TagFactory().products.through.objects.all())
    assert ([*tags], tags.unknown) == ([], {"testapp.Product"})


def test_a_query_whose_conditions_are_of_its_groups_alone(shop: None) -> None:
    product = ProductFactory(category=CategoryFactory())
    counted = Product.objects.select_related("category").annotate(n=Count("tags")).filter(n=0)
    found = tags_of(lambda: list(counted))
    assert found == [f"category:{product.category_id}", "products"]


def test_raw_sql_is_not_seen(shop: None) -> None:
    with collect_tags() as tags, connection.cursor() as cursor:
        cursor.execute("SELECT name FROM testapp_product")
        list(Product.objects.raw("SELECT * FROM testapp_product"))
    assert [*tags] == []


def test_a_text_is_no_key_since_another_may_be_equal_to_it(wire: Any) -> None:
    wire(covering("Product", "slug:{slug}", "products"))
    assert tags_of(lambda: list(Product.objects.filter(slug="tea"))) == ["products"]


def test_what_a_query_names_is_not_told_without_end(shop: None) -> None:
    assert len(tags_of(lambda: list(Product.objects.filter(pk__in=range(200))))) == 200
    assert tags_of(lambda: list(Product.objects.filter(pk__in=range(201)))) == ["products"]


def test_the_receivers_that_are_connected_now_are_asked(wire: Any) -> None:
    wire(covering("Product", "a"))
    assert tags_of(Product.objects.count) == ["a"]
    wire(covering("Product", "b"))
    assert tags_of(Product.objects.count) == ["b"]
    wire()
    assert tags_of(Product.objects.count) == []


class Tagging(CacheInvalidation):
    def get_tags(self, instance: Any) -> Any:
        yield from super().get_tags(instance)
        yield f"own:{instance.pk}"


def test_tags_that_a_method_makes_are_those_of_rows_that_are_joined(wire: Any) -> None:
    wire((Tagging, {"models": ["testapp.Category"]}))
    product = ProductFactory(category=CategoryFactory())
    own = f"own:{product.category_id}"
    assert tags_of(lambda: Product.objects.select_related("category").get(pk=product.pk)) == [own]
    with collect_tags() as tags:
        product.category.refresh_from_db()
    assert tags.unknown == {"testapp.Category"}


# Whatever changes what was read touches one of its tags

READS: dict[str, Callable[[], Any]] = {
    "names": lambda: [*Product.objects.order_by("pk").values_list("name", flat=True)],
    "one": lambda: Product.objects.filter(pk=1).values("name", "category__name").first(),
    "joined": lambda: [
        (p.name, p.category and p.category.name)
        for p in Product.objects.select_related("category").order_by("pk")
    ],
    "in category": lambda: [
        *Product.objects.filter(category_id=1).order_by("pk").values_list("name", "stock")
    ],
    "count": lambda: [*Category.objects.order_by("pk").annotate(n=Count("product")).values()],
    "tags": lambda: [
        *Tag.objects.filter(products__pk=1).order_by("pk").values_list("name", flat=True)
    ],
    "tagged": lambda: [*Product.objects.filter(tags__pk=1).order_by("pk").values_list("pk")],
    "prefetched": lambda: [
        (c.name, [p.name for p in c.product_set.all()])
        for c in Category.objects.filter(pk__in=[1, 2])
        .order_by("pk")
        .prefetch_related(Prefetch("product_set", Product.objects.order_by("pk")))
    ],
    "first of": lambda: [
        *Product.objects.order_by("category__name", "pk").values_list("pk", flat=True)[:1]
    ],
    "by name": lambda: [*Product.objects.filter(category__name="b").order_by("pk").values("pk")],
}

WRITES: dict[str, Callable[[int, int], Any]] = {
    "create": lambda a, b: Product.objects.get_or_create(pk=a, defaults={"category_id": b}),
    "delete": lambda a, b: Product.objects.filter(pk=a).delete(),
    "rename": lambda a, b: Product.objects.filter(pk=a).update(name=f"{b}"),
    "move": lambda a, b: [
        (setattr(p, "category_id", b), p.save()) for p in Product.objects.filter(pk=a)
    ],
    "stock": lambda a, b: Product.objects.filter(category_id=a).update(stock=F("stock") + b),
    "name category": lambda a, b: Category.objects.filter(pk=a).update(name="ab"[b % 2]),
    "delete category": lambda a, b: a == 3 and Category.objects.filter(pk=3).delete(),
    "link": lambda a, b: [p.tags.add(b) for p in Product.objects.filter(pk=a)],
    "unlink": lambda a, b: [t.products.remove(a) for t in Tag.objects.filter(pk=b)],
    "clear": lambda a, b: [t.products.clear() for t in Tag.objects.filter(pk=b)],
    "name tag": lambda a, b: Tag.objects.filter(pk=a).update(name=f"{b}"),
}


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    writes=st.lists(
        st.tuples(st.sampled_from([*WRITES]), st.integers(1, 3), st.integers(1, 2)), max_size=5
    )
)
def test_whatever_is_cached_with_collected_tags_is_never_old(shop: None, writes: Any) -> None:
    for model in (Product, Category, Tag):
        QuerySet(model).delete()
    cache.clear()
    for key in (1, 2, 3):
        Category.objects.create(pk=key, name="ab"[key % 2])
        Tag.objects.create(pk=key, name="t")
    functions = {
        name: cached(tags=[], collect=True, key=f"read:{name}", timeout=60)(read)
        for name, read in READS.items()
    }
    for write in [None, *writes]:
        if write is not None:
            name, a, b = write
            WRITES[name](a, b)
        for name, read in READS.items():
            for _ in range(2):
                assert functions[name]() == read(), (name, write)


# Values whose tags are collected


def test_a_function_is_stored_from_the_second_time_on(shop: None, wire: Any) -> None:
    product = ProductFactory(name="old")
    called: list[int] = []

    @cached(tags=[], collect=True)
    def describe(pk: int) -> str:
        called.append(pk)
        return Product.objects.get(pk=pk).name

    for _ in range(5):
        assert describe(product.pk) == "old"
    assert len(called) == 2
    product.name = "new"
    product.save()
    for _ in range(5):
        assert describe(product.pk) == "new"
    # The tags are known by now.
    assert len(called) == 3
    ProductFactory()
    assert describe(product.pk) == "new"
    assert len(called) == 3


def test_a_coroutine_function_too(shop: None) -> None:
    called: list[int] = []

    @cached(tags=["own"], collect=True)
    async def count() -> int:
        called.append(1)
        return await Product.objects.acount()

    async def main() -> None:
        for _ in range(4):
            assert await count() == 0
        await Product.objects.acreate(name="a")
        for _ in range(4):
            assert await count() == 1

    run_async(main())
    assert len(called) == 3
    tagged().touch("own")
    run_async(count())
    assert len(called) == 4


def test_a_hit_is_two_calls_of_the_cache(shop: None, monkeypatch: Any) -> None:
    @cached(tags=[], collect=True)
    def count() -> int:
        return Product.objects.count()

    count()
    count()
    calls: list[str] = []
    backend = type(caches["default"])
    for name in ("get_many", "set_many", "add", "delete", "delete_many"):
        original = getattr(backend, name)

        def note(self: Any, *args: Any, _name: str = name, _of: Any = original, **kw: Any) -> Any:
            calls.append(_name)
            return _of(self, *args, **kw)

        monkeypatch.setattr(backend, name, note)
    count()
    assert calls == ["get_many", "get_many"]


def test_what_reads_nothing_or_what_no_tag_stands_for_is_not_stored(wire: Any) -> None:
    wire(covering("Product", "product:{pk}"))
    called: list[str] = []

    @cached(tags=[], collect=True)
    def nothing() -> None:
        called.append("nothing")

    @cached(tags=["own"], collect=True)
    def unknown() -> int:
        called.append("unknown")
        return Product.objects.count()

    for _ in range(3):
        nothing()
        unknown()
    assert (called.count("nothing"), called.count("unknown")) == (3, 3)


def test_what_is_touched_in_another_cache_alone_is_not_stored(wire: Any, caplog: Any) -> None:
    wire(covering("Product", "products", caches=["second"]))
    called: list[str] = []

    def count(alias: str) -> int:
        @cached(tags=[], collect=True, alias=alias, key="count")
        def get() -> int:
            called.append(alias)
            return Product.objects.count()

        return get()

    for _ in range(3):
        count("default")
        count("second")
    assert (called.count("default"), called.count("second")) == (3, 2)
    assert "Add 'default' to its option 'caches'" in caplog.text


def test_a_value_that_was_touched_while_it_was_made_is_not_stored(shop: None) -> None:
    product, called = ProductFactory(name="old"), []

    @cached(tags=[], collect=True)
    def get_name() -> str:
        name = Product.objects.get(pk=product.pk).name
        called.append(name)
        if len(called) == 2:
            thread = threading.Thread(target=rename)
            thread.start()
            thread.join(30)
        return name

    def rename() -> None:
        Product.objects.filter(pk=product.pk).update(name="new")
        connection.close()

    assert [get_name() for _ in range(4)] == ["old", "old", "new", "new"]
    assert called == ["old", "old", "new"]
    assert get_counters()["default"].late


def test_a_page_is_not_modified_as_long_as_its_content_is_not(shop: None) -> None:
    called: list[str] = []

    @cache_view(tags=[], collect=True)
    def page(request: HttpRequest) -> HttpResponse:
        called.append("")
        return HttpResponse(",".join(Product.objects.values_list("name", flat=True)))

    def get(**headers: str) -> Any:
        return page(RequestFactory().get("/", headers=headers))

    etag = get()["ETag"]
    # That one was not stored, this one is.
    assert get(**{"If-None-Match": etag}).status_code == 304
    assert len(called) == 2
    assert get(**{"If-None-Match": etag}).status_code == 304
    assert len(called) == 2
    ProductFactory(name="tea")
    response = get(**{"If-None-Match": etag})
    assert (response.status_code, response.content) == (200, b"tea")
    assert len(called) == 3
    # The tags that were remembered are lost.
    cache.clear()
    assert get(**{"If-None-Match": response["ETag"]}).status_code == 304
    assert len(called) == 4


def test_an_asynchronous_page_too(shop: None) -> None:
    called: list[str] = []

    @cache_view(tags=[], collect=True)
    async def page(request: HttpRequest) -> HttpResponse:
        called.append("")
        return HttpResponse(str(await Product.objects.acount()))

    async def main() -> list[bytes]:
        found = [(await page(RequestFactory().get("/"))).content for _ in range(3)]
        await Product.objects.acreate(name="a")
        return [*found, (await page(RequestFactory().get("/"))).content]

    assert run_async(main()) == [b"0", b"0", b"0", b"1"]
    assert len(called) == 3


@pytest.mark.parametrize("is_async", [False, True])
def test_a_page_tells_the_tags_of_what_is_read_while_it_is_rendered(
    shop: None, is_async: bool
) -> None:
    template = engines["django"].from_string("{{ products.count }}")

    def render(request: HttpRequest) -> Any:
        return SimpleTemplateResponse(template, {"products": Product.objects})

    async def arender(request: HttpRequest) -> Any:
        return render(request)

    function: Any = arender if is_async else render
    page = cache_view(tags=lambda request: [f"count:{Tag.objects.count()}"], collect=True)(
        function
    )

    def get() -> Any:
        request = RequestFactory().get("/")
        with gathering.gather() as found:
            response = async_to_sync(page)(request) if is_async else page(request)
        return response.content, sorted(found)

    for _ in range(3):
        assert get() == (b"0", ["count:0", "products"])
    ProductFactory()
    assert get()[0] == b"1"


def test_a_collected_value_whose_time_is_over_is_served_while_one_makes_it_anew(
    shop: None,
) -> None:
    made: list[int] = []
    served: list[int] = []

    @cached(tags=[], key="count", timeout=0, stale=60, collect=True)
    def count() -> int:
        made.append(Product.objects.count())
        if len(made) == 3:
            thread = threading.Thread(target=serve)
            thread.start()
            thread.join(30)
        return made[-1]

    def serve() -> None:
        try:
            served.append(count())
        finally:
            connection.close()

    # The first is not stored, the second is, and is over at once.
    assert [count(), count()] == [0, 0]
    assert not cache.add(LOCK, 1), "who made the first said for a while that nobody is to wait"
    cache.delete(LOCK)
    assert count() == 0
    assert (made, served) == ([0, 0, 0], [0])
    ProductFactory()
    assert count() == 1


def test_a_collected_value_is_made_anew_before_its_time_under_an_event_loop(shop: None) -> None:
    made: list[int] = []

    @cached(tags=[], key="count", timeout=3600, early=1e18, collect=True)
    async def count() -> int:
        made.append(await Product.objects.acount())
        return made[-1]

    async def main() -> list[int]:
        found = [await count(), await count()]
        await cache.adelete(LOCK)
        found.append(await count())
        await Product.objects.acreate(name="a")
        return [*found, await count()]

    assert run_async(main()) == [0, 0, 0, 1]
    assert made == [0, 0, 0, 1]


def test_what_a_transaction_has_touched_is_made_anew_in_it(shop: None) -> None:
    @cached(tags=[], collect=True)
    def count() -> int:
        return Product.objects.count()

    count()
    count()
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        ProductFactory()
        assert count() == 1
        raise ZeroDivisionError
    assert count() == 0


# Django's own


def test_djangos_methods_are_its_own_until_the_first_block() -> None:
    """In a process of its own: here others have opened blocks."""
    code = """
import django
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django_signal_kit"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    SIGNAL_KIT={"RECEIVERS": [{"RECEIVER": "django_signal_kit.receivers.CacheInvalidation",
        "OPTIONS": {"models": ["contenttypes.*"], "tags": ["types"]}}]},
)
from django.db.models.query import ModelIterable
from django.db.models.sql.compiler import SQLCompiler
own = SQLCompiler.get_from_clause, ModelIterable.__iter__
django.setup()
from django_signal_kit.cache import cache_view, cached, collect_tags, edge, tagged
cached(tags=[], collect=True)(len)
cache_view(tags=[], collect=True)(len)
edge.CacheTagHeaders(lambda request: None)
assert (SQLCompiler.get_from_clause, ModelIterable.__iter__) == own
for _ in range(2):
    with collect_tags():
        pass
assert SQLCompiler.get_from_clause.__wrapped__ is own[0]
assert ModelIterable.__iter__.__wrapped__ is own[1]
"""
    import subprocess
    import sys

    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_what_others_have_put_in_the_place_of_djangos_is_called(shop: None) -> None:
    with collect_tags():
        assert collecting._is_installed
    assert hasattr(SQLCompiler.get_from_clause, "__wrapped__")
    assert hasattr(ModelIterable.__iter__, "__wrapped__")
    assert not hasattr(SQLCompiler.get_from_clause.__wrapped__, "__wrapped__")


def test_through_models_of_ones_own(wire: Any) -> None:
    wire(covering("Person", "person:{pk}", "persons"))
    person, club = PersonFactory(), Club.objects.create(name="a")
    assert tags_of(lambda: list(person.clubs.all())) == [f"person:{person.pk}"]
    assert tags_of(lambda: list(club.members.all())) == ["persons"]
    assert tags_of(lambda: list(person.friends.all())) == [f"person:{person.pk}", "persons"]
    assert tags_of(lambda: list(Line.objects.filter(product__name="a"))) == []
    assert Person.objects.count() == 1
