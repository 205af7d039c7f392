"""A value with tags is served until one of them is touched, and never after it."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.core.cache import cache
from django.core.cache.backends.locmem import LocMemCache
from django.db import connection, connections, transaction
from django.test import TestCase

from django_signal_kit import batch
from django_signal_kit.cache import TaggedCache, cached, tagged
from django_signal_kit.receivers import CacheInvalidation
from tests.apps.testapp.models import Product
from tests.factories import CategoryFactory, ProductFactory, TagFactory
from tests.threads import in_threads

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

READS_BY_STATEMENT = connection.vendor != "sqlite"


class CountingCache(LocMemCache):
    """Remembers which calls would have been round trips."""

    calls: list[str] = []

    def get_many(self, keys: Any, version: Any = None) -> Any:
        self.calls.append("get_many")
        return super().get_many(keys, version)

    def set_many(self, data: Any, *args: Any, **kwargs: Any) -> Any:
        self.calls.append("set_many")
        return super().set_many(data, *args, **kwargs)

    def delete_many(self, keys: Any, version: Any = None) -> None:
        self.calls.append("delete_many")
        super().delete_many(keys, version)

    def add(self, *args: Any, **kwargs: Any) -> Any:
        self.calls.append("add")
        return super().add(*args, **kwargs)


class Pages(CacheInvalidation):
    """Adds to the tags of the option."""

    def get_tags(self, instance: Any) -> Any:
        yield from super().get_tags(instance)
        yield f"slug:{instance.slug}"


@pytest.fixture
def calls(settings: Any) -> list[str]:
    settings.CACHES = {"default": {"BACKEND": f"{__name__}.CountingCache", "LOCATION": "counted"}}
    CountingCache.calls.clear()
    return CountingCache.calls


@pytest.fixture(autouse=True)
def empty(by_backend: str) -> None:
    """Each test runs on each backend."""
    cache.clear()


def tags_of(model: str, *tags: str, **options: Any) -> Any:
    return CacheInvalidation, {"models": [f"testapp.{model}"], "tags": list(tags), **options}


class Made:
    """Makes values, and counts them."""

    def __init__(self, *values: Any) -> None:
        self.values = list(values)
        self.count = 0

    def __call__(self) -> Any:
        self.count += 1
        return self.values.pop(0) if self.values else f"value {self.count}"


def look(make: Any = None, *tags: str, key: str = "page") -> Any:
    return tagged().get_or_set(key, make or Made(), tags=tags or ("a",))


# Values


def test_a_value_is_made_once_and_served_until_one_of_its_tags_is_touched() -> None:
    make = Made()
    assert [look(make, "a", "b") for _ in range(3)] == ["value 1"] * 3
    tagged().touch("c")
    assert look(make, "a", "b") == "value 1"
    tagged().touch("b")
    assert look(make, "a", "b") == "value 2"


@pytest.mark.parametrize("value", [None, False, 0, "", (), {"a": [1]}])
def test_any_value_can_be_cached(value: Any) -> None:
    make = Made(value)
    assert look(make) == value
    assert look(make) == value
    assert make.count == 1


def test_a_value_without_tags_goes_when_all_that_is_tagged_is_touched() -> None:
    make = Made()
    for _ in range(2):
        assert tagged().get_or_set("page", make, tags=()) == "value 1"
    tagged().touch()
    assert tagged().get_or_set("page", make, tags=()) == "value 2"


def test_a_value_that_is_stored_late_is_not_served() -> None:
    def make_slowly() -> str:
        tagged().touch("a")
        # Another reader makes a version, so that the tag has one: another than before.
        look(None, "a", key="other page")
        return "old"

    assert look(make_slowly) == "old"
    assert look(Made("new")) == "new"


def test_a_value_that_is_stored_late_is_not_served_if_there_was_no_version_before() -> None:
    def make_slowly() -> str:
        # Another reader makes a version and takes it away again.
        look(None, "a", key="other page")
        tagged().touch("a")
        look(None, "a", key="other page")
        return "old"

    assert look(make_slowly) == "old"
    assert look(Made("new")) == "new"


def test_what_others_have_stored_under_the_key_is_no_value_of_ours() -> None:
    cache.set("page", ("signal_kit", None, "theirs"))
    assert look(Made("ours")) == "ours"
    cache.set("page", "theirs")
    assert look(Made("ours again")) == "ours again"


def test_a_version_that_the_cache_has_lost_makes_values_unknown_and_never_old() -> None:
    make = Made()
    look(make)
    cache.delete("signal_kit:tag:a")
    assert look(make) == "value 2"


def test_what_make_raises_is_raised_and_nothing_is_stored() -> None:
    def fail() -> None:
        raise LookupError("no such page")

    with pytest.raises(LookupError, match="no such page"):
        look(fail)
    assert look(Made("page")) == "page"


def test_one_text_is_no_list_of_tags() -> None:
    with pytest.raises(TypeError, match=r"Write a list of tags: \['product'\]"):
        tagged().get_or_set("page", Made(), tags="product")
    with pytest.raises(TypeError, match=r"Write a list of tags: \['product'\]"):
        cached(tags="product")


@pytest.mark.parametrize("name", ["with spaces", "x" * 300, "línea", "line\nbreak"])
@pytest.mark.filterwarnings("error::django.core.cache.CacheKeyWarning")
def test_keys_and_tags_may_be_any_text(name: str) -> None:
    make = Made()
    for _ in range(2):
        assert tagged().get_or_set(name, make, tags=[name]) == "value 1"
    tagged().touch(name)
    assert tagged().get_or_set(name, make, tags=[name]) == "value 2"


def test_a_value_that_lives_long_gets_versions_that_do() -> None:
    short, long, for_ever = Made(), Made(), Made()
    tagged().get_or_set("short", short, tags=["a"], timeout=10)
    tagged().get_or_set("long", long, tags=["a"], timeout=100_000)
    tagged().get_or_set("for ever", for_ever, tags=["a"], timeout=None)
    tagged().get_or_set("long", long, tags=["a"], timeout=100_000)
    tagged().get_or_set("short", short, tags=["a"], timeout=10)
    for _ in range(2):
        tagged().get_or_set("for ever", for_ever, tags=["a"], timeout=None)
        tagged().get_or_set("long", long, tags=["a"], timeout=100_000)
        tagged().get_or_set("short", short, tags=["a"], timeout=10)
    assert (short.count, long.count, for_ever.count) == (2, 2, 1)


def test_a_value_of_no_time_is_not_kept() -> None:
    make = Made()
    tagged().get_or_set("page", make, tags=["a"], timeout=0)
    assert tagged().get_or_set("page", make, tags=["a"], timeout=0) == "value 2"


# Round trips


def test_a_hit_is_one_call_of_the_cache(calls: list[str]) -> None:
    look(None, "a", "b", "c")
    calls.clear()
    look(None, "a", "b", "c")
    assert calls == ["get_many"]


def test_many_hits_are_one_call_of_the_cache(calls: list[str]) -> None:
    pages = {f"card:{n}": [f"product:{n}", "products"] for n in range(40)}
    found = tagged().get_many(pages)
    assert (found, list(found.missing)) == ({}, [*pages])
    tagged().set_many({key: key.upper() for key in found.missing}, found)
    assert calls == ["get_many", "set_many", "get_many", "set_many"]
    calls.clear()
    assert tagged().get_many(pages) == {key: key.upper() for key in pages}
    assert calls == ["get_many"]
    tagged().touch("product:7")
    assert [*tagged().get_many(pages).missing] == ["card:7"]


def test_of_many_values_too_none_that_is_stored_late_is_served() -> None:
    found = tagged().get_many({"x": ["a"], "y": ["b"]})
    tagged().touch("a")
    look(None, "a", key="other page")
    tagged().set_many({"x": "old", "y": "good"}, found)
    assert tagged().get_many({"x": ["a"], "y": ["b"]}) == {"y": "good"}


def test_a_value_that_nobody_asked_for_is_refused() -> None:
    found = tagged().get_many({"x": ["a"]})
    with pytest.raises(KeyError, match="'y' is not missing"):
        tagged().set_many({"y": 1}, found)


# One makes it, others wait


def test_many_who_come_at_once_make_a_value_once(by_backend: str) -> None:
    begun, go_on, made = threading.Event(), threading.Event(), []

    def make() -> str:
        made.append(1)
        begun.set()
        go_on.wait(10)
        return "page"

    threading.Timer(0.2, go_on.set).start()
    assert in_threads(*[lambda: look(make)] * 8) == ["page"] * 8
    # A table of SQLite takes no value while somebody else writes: then the next makes it. Of files
    # add() looks first, and then writes: two may do so at once. The other database is SQLite.
    is_sqlite = by_backend == "other database" or connection.vendor == "sqlite"
    is_loose = by_backend == "files" or ("database" in by_backend and is_sqlite)
    assert 1 <= len(made) <= (8 if is_loose else 1)


def test_who_has_waited_long_enough_makes_it_himself() -> None:
    impatient = TaggedCache(lock=1)
    cache.add("page:lock", 1, 60)
    assert impatient.get_or_set("page", Made("mine"), tags=["a"]) == "mine"


def test_a_maker_that_fails_lets_the_next_one_try() -> None:
    def fail() -> None:
        raise LookupError

    for _ in range(2):
        with pytest.raises(LookupError):
            look(fail)
    assert cache.get("page:lock") is None


def test_who_waits_does_not_get_what_was_made_before_the_tag_was_touched() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def make_slowly() -> str:
        begun.set()
        go_on.wait(10)
        return "old"

    slow = threading.Thread(target=in_threads, args=(lambda: look(make_slowly),))
    slow.start()
    begun.wait(10)
    tagged().touch("a")
    threading.Timer(0.1, go_on.set).start()
    assert look(Made("new")) == "new"
    slow.join()
    assert look(Made("newer")) == "new"


# Receivers touch tags


def test_a_saved_row_touches_its_tags_of_before_and_of_now(wire: Any) -> None:
    wire(tags_of("Product", "product:{pk}", "category:{category_id}"))
    hot, cold = CategoryFactory(), CategoryFactory()
    product = ProductFactory(category=hot)
    pages = {
        "product": [f"product:{product.pk}"],
        "hot": [f"category:{hot.pk}"],
        "cold": [f"category:{cold.pk}"],
        "other": ["product:0"],
    }
    fill(pages)
    product.category = cold
    product.save()
    assert tagged().get_many(pages) == {"other": "other"}


def fill(pages: dict[str, list[str]]) -> None:
    found = tagged().get_many(pages)
    tagged().set_many({key: key for key in found.missing}, found)
    assert len(tagged().get_many(pages)) == len(pages)


@pytest.mark.parametrize(
    "write",
    [
        lambda product: product.save(),
        lambda product: product.delete(),
        lambda product: Product.objects.filter(pk=product.pk).update(stock=9),
        lambda product: Product.objects.bulk_update([product], ["stock"]),
        lambda product: Product.objects.filter(pk=product.pk).delete(),
        lambda product: product.category.delete(),
        lambda product: product.tags.add(TagFactory()),
        lambda product: TagFactory().products.add(product),
    ],
    ids=["save", "delete", "update", "bulk_update", "delete many", "cascade", "add", "reverse"],
)
def test_each_way_to_write_touches_the_tags(wire: Any, write: Any) -> None:
    wire(tags_of("Product", "product:{pk}"))
    product = ProductFactory(category=CategoryFactory())
    pages = {"page": [f"product:{product.pk}"]}
    fill(pages)
    write(product)
    assert tagged().get_many(pages) == {}


def test_tags_may_be_made_by_a_subclass(wire: Any) -> None:
    wire((Pages, {"models": ["testapp.Product"], "tags": ["products"]}))
    product = ProductFactory(slug="tea")
    pages = {"old": ["slug:tea"], "new": ["slug:pot"], "all": ["products"]}
    fill(pages)
    product.slug = "pot"
    product.save()
    assert tagged().get_many(pages) == {}


def test_a_thousand_saves_in_a_batch_are_two_calls_of_the_cache(
    wire: Any, calls: list[str]
) -> None:
    wire(tags_of("Product", "product:{pk}", "products", keys=["page:{pk}"]))
    products = [ProductFactory() for _ in range(50)]
    calls.clear()
    with batch():
        for product in products:
            product.save()
    assert calls == ["delete_many", "delete_many"]


def test_what_is_rolled_back_touches_nothing_after_it(wire: Any) -> None:
    wire(tags_of("Product", "product:{pk}"))
    product = ProductFactory()
    pages = {"page": [f"product:{product.pk}"]}
    with transaction.atomic():
        product.save()
        transaction.set_rollback(True)
    fill(pages)
    with transaction.atomic():
        pass
    assert tagged().get_many(pages) == {"page": "page"}


# In a transaction


def read_name(product: Product) -> str:
    return tagged().get_or_set(
        f"name:{product.pk}",
        lambda: Product.objects.get(pk=product.pk).name,
        tags=[f"product:{product.pk}"],
    )


def test_the_writer_reads_what_he_wrote_and_others_what_is_committed(wire: Any) -> None:
    wire(tags_of("Product", "product:{pk}"))
    product = ProductFactory(name="old")
    assert read_name(product) == "old"
    with transaction.atomic():
        product.name = "new"
        product.save()
        assert read_name(product) == "new"
        assert in_threads(lambda: read_name(product)) == ["old"]
        assert read_name(product) == "new"
        transaction.set_rollback(True)
    assert read_name(product) == "old"
    with transaction.atomic():
        product.save()
        assert in_threads(lambda: read_name(product)) == ["old"]
    assert read_name(product) == "new"


def test_of_many_values_the_writer_makes_those_himself_that_he_has_touched(
    wire: Any, by_backend: str
) -> None:
    wire(tags_of("Product", "product:{pk}"))
    product = ProductFactory()
    pages = {"mine": [f"product:{product.pk}"], "other": ["product:0"]}
    fill(pages)
    with transaction.atomic():
        product.save()
        found = tagged().get_many(pages)
        assert found == {"other": "other"}
        tagged().set_many({"mine": "not committed"}, found)
        # Where the cache is a table beside the rows, what is touched is not committed either.
        theirs = {"mine": "mine"} if by_backend == "database" else {}
        assert in_threads(lambda: tagged().get_many(pages)) == [{"other": "other", **theirs}]


def test_a_savepoint_that_is_rolled_back_lets_the_cache_be_read_again(
    wire: Any, by_backend: str
) -> None:
    wire(tags_of("Product", "product:{pk}"))
    product = ProductFactory(name="old")
    with transaction.atomic():
        with transaction.atomic():
            product.name = "new"
            product.save()
            assert read_name(product) == "new"
            transaction.set_rollback(True)
        read_name(product)
        # What a transaction of the cache's own database holds, nobody else sees yet.
        is_stored = READS_BY_STATEMENT and by_backend != "database"
        assert (f"name:{product.pk}" in cache) is is_stored
        assert read_name(product) == "old"


@pytest.mark.skipif(READS_BY_STATEMENT, reason="each statement reads what is committed by then")
def test_what_a_transaction_read_as_it_was_when_it_began_is_not_stored(wire: Any) -> None:
    product = ProductFactory(name="old")
    with transaction.atomic():
        assert read_name(product) == "old"
    assert f"name:{product.pk}" not in cache
    read_name(product)
    with transaction.atomic():
        product.name = "changed"
        assert read_name(product) == "old", "and what others have stored is served"


def test_touching_by_hand_is_done_again_after_the_commit(by_backend: str) -> None:
    if by_backend == "database" and not READS_BY_STATEMENT:
        pytest.skip("nobody can store anything while another writes")
    with transaction.atomic():
        tagged().touch("a")
        in_threads(lambda: look(Made("old")))
    assert look(Made("new")) == "new"


class CachedInTests(TestCase):
    """In a TestCase a value is cached as it is elsewhere, and goes when a row is saved."""

    # Nothing is wired yet.
    __test__ = False

    def test_it(self) -> None:
        product = ProductFactory(name="old")
        for _ in range(2):
            assert read_name(product) == "old"
        assert f"name:{product.pk}" in cache
        for name in ("new", "newer"):
            product.name = name
            product.save()
            assert read_name(product) == name
            assert read_name(product) == name


def test_a_testcase_caches_too(wire: Any) -> None:
    wire(tags_of("Product", "product:{pk}"))
    result = CachedInTests("test_it").run()
    assert result is not None
    assert (result.errors, result.failures) == ([], [])


# Functions


def test_a_function_is_called_once_for_each_set_of_arguments(wire: Any) -> None:
    wire(tags_of("Product", "product:{pk}"))
    called: list[Any] = []

    @cached(tags=["product:{product.pk}", "static"])
    def card(product: Product, language: str = "en", *, sizes: Any = (1, 2)) -> str:
        called.append((product.pk, language))
        return f"{product.name} {language}"

    one, two = ProductFactory(name="one"), ProductFactory(name="two")
    for _ in range(2):
        assert [card(one), card(two), card(one, "es"), card(one, language="en")] == [
            *("one en", "two en", "one es", "one en"),
        ]
    assert called == [(one.pk, "en"), (two.pk, "en"), (one.pk, "es")]
    one.name = "uno"
    one.save()
    assert card(one, "es") == "uno es"
    assert card(two) == "two en"
    assert len(called) == 4
    assert card.__name__ == "card"


def test_a_function_may_name_its_key_and_make_its_tags() -> None:
    made = Made()

    @cached(tags=lambda slug: [slug.lower()], key="page:{slug}", timeout=60)
    def page(slug: str) -> str:
        return made()

    page("Tea")
    assert "page:Tea" in cache
    tagged().touch("tea")
    assert page("Tea") == "value 2"


def test_arguments_that_read_alike_and_differ_are_told_apart() -> None:
    @cached(tags=[])
    def say(value: Any) -> Any:
        return value

    values: list[Any] = [1, "1", True, None, "None", [1, 2], ["1", 2], {"a": 1}, {1, 2}, b"1", 1.0]
    for value in values:
        result = say(value)
        assert (result, type(result)) == (value, type(value))


def test_an_argument_that_no_key_can_be_made_of_is_said() -> None:
    @cached(tags=[])
    def page(request: Any) -> str:
        return "page"

    with pytest.raises(TypeError, match=r"The argument 'request' of .*page is a object"):
        page(object())


# Under an event loop


def test_asynchronous_callers_wait_for_one_another_too(wire: Any) -> None:
    made: list[int] = []

    async def make() -> str:
        made.append(1)
        await asyncio.sleep(0.05)
        return "page"

    async def read(_: int) -> str:
        return await tagged().aget_or_set("page", make, tags=["a"])

    async def all_at_once() -> list[str]:
        return await asyncio.gather(*map(read, range(5)))

    assert asyncio.run(all_at_once()) == ["page"] * 5
    assert made == [1]
    assert look(Made("other")) == "page"


def test_a_value_that_is_stored_late_is_not_served_under_an_event_loop() -> None:
    async def make_slowly() -> str:
        tagged().touch("a")
        # Another reader makes a version, so that the tag has one: another than before.
        await tagged().aget_or_set("other page", Made(), tags=["a"])
        return "old"

    async def check() -> None:
        assert await tagged().aget_or_set("page", make_slowly, tags=["a"]) == "old"
        assert await tagged().aget_or_set("page", Made("new"), tags=["a"]) == "new"

    asyncio.run(check())


def test_an_asynchronous_function_can_be_cached(wire: Any) -> None:
    wire(tags_of("Product", "product:{pk}"))
    product = ProductFactory(name="old")

    @cached(tags=["product:{pk}"])
    async def name(pk: int) -> str:
        return (await Product.objects.aget(pk=pk)).name

    async def check() -> None:
        assert await name(product.pk) == "old"
        product.name = "new"
        await product.asave()
        assert await name(product.pk) == "new"
        await sync_to_async(connections.close_all)()

    asyncio.run(check())
