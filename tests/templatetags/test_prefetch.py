"""The fragments of a loop are read from the cache at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.core.cache.backends.locmem import LocMemCache
from django.db import transaction
from django.template import Context, Engine, TemplateSyntaxError
from redis.connection import Connection

from django_signal_kit.cache import tagged
from django_signal_kit.receivers import CacheInvalidation
from tests.apps.testapp.models import Product
from tests.cache.redis_server import serve_redis
from tests.factories import ProductFactory

pytestmark = pytest.mark.django_db(transaction=True)

AHEAD = '{% prefetchtagged "card" n tags="card:{n},cards" for n in numbers %}'
CARD = (
    '{% cachetagged 600 "card" n tags="card:{n},cards" %}<b>{{ n }} {{ word }}</b>'
    "{% endcachetagged %}"
)
LOOP = "{% for n in numbers %}" + CARD + "{% endfor %}"
INCLUDING = '{% for n in numbers %}{% include "card" %}{% endfor %}'
ALONE = '{% for n in numbers %}{% include "card" with n=n word=word only %}{% endfor %}'


class BrokenCache(LocMemCache):
    """Cannot be read, and counts who tries."""

    asked: list[int] = []

    def get_many(self, keys: Any, version: Any = None) -> Any:
        self.asked.append(1)
        raise OSError("it is down")


@pytest.fixture(autouse=True)
def empty() -> None:
    cache.clear()


def render(source: str, word: str = "old", numbers: Any = range(40), **context: Any) -> str:
    loaders: Any = [
        (
            "django.template.loaders.locmem.Loader",
            {
                "card": "{% load signal_kit %}" + CARD,
                "base": "<main>{% block main %}{% endblock %}</main>",
                "page": source if "extends" in source else "{% load signal_kit %}" + source,
            },
        )
    ]
    engine = Engine(
        loaders=loaders, libraries={"signal_kit": "django_signal_kit.templatetags.signal_kit"}
    )
    values = {"word": word, "numbers": numbers, **context}
    return str(engine.get_template("page").render(Context(values)))


@pytest.fixture
def redis(settings: Any, tmp_path: Path) -> Iterator[None]:
    with serve_redis(settings, tmp_path):
        yield


@pytest.fixture
def count(redis: None, monkeypatch: Any) -> Callable[[Callable[[], str]], tuple[int, str]]:
    """How many round trips a call makes, and what it returns."""
    sent: list[int] = []
    send = Connection.send_packed_command

    def note(self: Any, command: Any, check_health: bool = True) -> None:
        sent.append(1)
        send(self, command, check_health)

    monkeypatch.setattr(Connection, "send_packed_command", note)

    def run(function: Callable[[], str]) -> tuple[int, str]:
        # The connection is there by then.
        cache.get("nothing")
        sent.clear()
        text = function()
        return len(sent), text

    return run


@pytest.mark.parametrize(
    "page",
    [
        AHEAD + LOOP,
        AHEAD + INCLUDING,
        AHEAD + ALONE,
        '{% extends "base" %}{% load signal_kit %}{% block main %}'
        + AHEAD
        + LOOP
        + "{% endblock %}",
    ],
    ids=["loop", "include", "include only", "extends"],
)
def test_forty_fragments_that_are_there_are_one_round_trip(count: Any, page: str) -> None:
    first = render(page, "old")
    trips, text = count(lambda: render(page, "new"))
    assert (trips, text) == (1, first)
    assert text.count("old") == 40


def test_without_it_each_is_one(count: Any) -> None:
    render(LOOP)
    assert count(lambda: render(LOOP))[0] == 40


def test_a_fragment_that_is_missing_is_made_and_found_when_it_is_needed_again(
    count: Any,
) -> None:
    render(AHEAD + LOOP)
    tagged().touch("card:7")
    trips, text = count(lambda: render(AHEAD + LOOP + LOOP, "new"))
    # The lock, a second look, a version, the versions again, the value and the lock, and once more
    # the value.
    assert trips == 1 + 6 + 1
    assert text.count("new") == 2
    assert text.count("<b>7 new</b>") == 2
    assert render(LOOP, "newer") * 2 == text


@pytest.mark.parametrize(
    "other",
    [
        '{% prefetchtagged "card" n tags="card:{n}" for n in numbers %}',
        '{% prefetchtagged "other" n tags="card:{n},cards" for n in numbers %}',
        '{% prefetchtagged "card" n tags="card:{n},cards" using="second" for n in numbers %}',
        '{% prefetchtagged "card" n tags="card:{n},cards" for n in nothing %}',
    ],
    ids=["tags", "name", "cache", "no loop"],
)
def test_what_was_read_of_other_fragments_is_not_taken_for_it(
    settings: Any, count: Any, other: str
) -> None:
    locmem = "django.core.cache.backends.locmem.LocMemCache"
    settings.CACHES = {**settings.CACHES, "second": {"BACKEND": locmem, "LOCATION": "other"}}
    assert render(other + LOOP) == render(LOOP)
    trips, text = count(lambda: render(other + LOOP, "new"))
    assert text == render(LOOP)
    assert trips in (40, 41)
    tagged().touch("cards")
    assert render(other + LOOP, "new").count("new") == 40


def test_what_an_included_template_has_read_is_its_own() -> None:
    source = AHEAD + CARD + '{% include "card" %}'
    assert render(source, n=1) == "<b>1 old</b>" * 2


def test_who_has_written_in_his_transaction_is_shown_what_he_wrote(wire: Any) -> None:
    wire((CacheInvalidation, {"models": ["testapp.Product"], "tags": ["cards"]}))
    product = ProductFactory(name="old")
    source = (
        '{% prefetchtagged "p" p.pk tags="cards" for p in products %}{{ write }}'
        '{% for p in products %}{% cachetagged 60 "p" p.pk tags="cards" %}{{ p.name }}'
        "{% endcachetagged %}{% endfor %}"
    )

    def write() -> str:
        product.name = "new"
        product.save()
        return ""

    products = [product]
    assert render(source, products=products) == "old"
    with transaction.atomic():
        assert render(source, products=products, write=write) == "new"
        transaction.set_rollback(True)
    assert render(source, products=[Product.objects.get()]) == "old"


def test_a_cache_that_cannot_be_read_is_asked_once(settings: Any) -> None:
    settings.CACHES = {"default": {"BACKEND": f"{__name__}.BrokenCache", "LOCATION": "broken"}}
    BrokenCache.asked.clear()
    assert render(AHEAD + LOOP).count("old") == 40
    assert BrokenCache.asked == [1]


def test_a_loop_may_have_several_variables() -> None:
    source = (
        '{% prefetchtagged "card" n tags="card:{n},cards" for n, word in pairs %}'
        "{% for n, word in pairs %}" + CARD + "{% endfor %}"
    )
    text = render(source, pairs=[(1, "one"), (2, "two")])
    assert text == "<b>1 one</b><b>2 two</b>"
    assert render(source, pairs=[(1, "x"), (2, "y")]) == text


def test_a_fragment_that_is_stale_is_made_anew_by_one() -> None:
    source = (
        '{% prefetchtagged "s" n tags="s" for n in numbers %}{% for n in numbers %}'
        '{% cachetagged 0 "s" n tags="s" stale=60 %}{{ word }}{% endcachetagged %}{% endfor %}'
    )
    assert render(source, "old", [1, 2]) == "oldold"
    assert render(source, "new", [1, 2]) == "newnew"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ('"card" n tags="a"', "needs the loop that comes after it: write {% prefetchtagged"),
        ('"card" n tags="a" for n of numbers', "needs the loop that comes after it"),
        ('"card" n for n in numbers', "needs a name, tags and a loop"),
        ('tags="a" for n in numbers', "needs a name, tags and a loop"),
        ('"card" n tags="a" for n in numbers reversed', "needs a name, tags and a loop"),
        ('"card" n tags="a" for in numbers', "needs a name, tags and a loop"),
        ('"card" n tags="a" stale=5 for n in numbers', "has no option 'stale', only 'tags' and"),
        ('"card" n tags="a" for n in once', "can be gone through only once"),
        ('"card" n tags="a:{m}" for n in numbers', "and there is no 'm' in the template"),
        ('"card" n tags="a:{n" for n in numbers', "which cannot be read: expected '}'"),
        ('"card" n tags="a:{}" for n in numbers', "which cannot be read"),
        ('"card" n tags=7 for n in numbers', "Give it a list of tags"),
    ],
)
def test_what_cannot_be_read_ahead_is_said(arguments: str, words: str) -> None:
    with pytest.raises(TemplateSyntaxError) as caught:
        render(f"{{% prefetchtagged {arguments} %}}", once=iter([1]))
    assert words in str(caught.value)
