"""invalidatecache drops what a write would have dropped."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from django.core.cache import cache, caches
from django.core.management import CommandError, call_command

from django_signal_kit.cache import tagged
from django_signal_kit.receivers import CacheInvalidation
from tests.factories import ProductFactory

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def wired(wire: Any) -> None:
    cache.clear()
    caches["second"].clear()
    wire(
        (
            CacheInvalidation,
            {"models": ["testapp.Product"], "keys": ["page:{pk}"], "tags": ["product:{pk}"]},
        )
    )


def run(*args: Any, **options: Any) -> str:
    out = StringIO()
    call_command("invalidatecache", *args, stdout=out, **options)
    return out.getvalue()


def fill(*pks: int, alias: str = "default") -> None:
    caches[alias].set_many({f"page:{pk}": "page" for pk in pks})
    found = tagged(alias).get_many({f"card:{pk}": [f"product:{pk}"] for pk in pks})
    tagged(alias).set_many(dict.fromkeys(found.missing, "card"), found)


def left(*pks: int, alias: str = "default") -> list[str]:
    cards = tagged(alias).get_many({f"card:{pk}": [f"product:{pk}"] for pk in pks})
    return [*caches[alias].get_many([f"page:{pk}" for pk in pks]), *cards]


def test_keys_and_tags_of_one_row_go_and_no_others() -> None:
    one, two = ProductFactory().pk, ProductFactory().pk
    fill(one, two)
    assert run(f"testapp.Product:{one}") == "testapp.Product: 1 rows, 2 keys and tags dropped.\n"
    assert left(one, two) == [f"page:{two}", f"card:{two}"]


def test_of_all_rows_of_a_model() -> None:
    pks = [ProductFactory().pk for _ in range(3)]
    fill(*pks)
    run("testapp.Product")
    assert left(*pks) == []


def test_what_is_named_goes_from_the_caches_that_are_named() -> None:
    for alias in ("default", "second"):
        fill(1, 2, alias=alias)
    assert run(tag=["product:1"], key=["page:2"], cache=["second"]) == "Dropped 2 by name.\n"
    assert left(1, 2) == ["page:1", "page:2", "card:1", "card:2"]
    assert left(1, 2, alias="second") == ["page:1", "card:2"]


def test_all_that_is_tagged_goes_at_once() -> None:
    fill(1, 2)
    assert run(all_tags=True) == "Dropped all that is tagged.\n"
    assert left(1, 2) == ["page:1", "page:2"]


@pytest.mark.parametrize(
    ("args", "options", "words"),
    [
        ([], {}, "Say what to drop"),
        (["testapp.Prodct"], {}, "There is no model 'testapp.Prodct'. Did you mean"),
        (["testapp.Tag"], {}, "No CacheInvalidation covers testapp.Tag"),
        (["testapp.Product:x"], {}, "'x', which is no key of testapp.Product"),
        (["testapp.Product:0"], {}, "There is no testapp.Product with the key '0'"),
        ([], {"all_tags": True, "cache": ["secnd"]}, "Did you mean 'second'"),
    ],
    ids=["nothing", "no model", "not covered", "no key", "no row", "no cache"],
)
def test_what_makes_no_sense_is_said_and_drops_nothing(
    args: list[str], options: dict[str, Any], words: str
) -> None:
    pk = ProductFactory().pk
    fill(pk)
    with pytest.raises(CommandError, match=words):
        run("testapp.Product", *args, **options) if args else run(**options)
    assert left(pk) == [f"page:{pk}", f"card:{pk}"]


def test_a_cache_that_is_down_is_said(settings: Any) -> None:
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": "redis://127.0.0.1:1",
        }
    }
    with pytest.raises(CommandError, match="The cache 'default' does not answer"):
        run(all_tags=True)
