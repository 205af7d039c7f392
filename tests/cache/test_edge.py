"""A response tells the edge its tags, or that the edge must not keep it."""

from __future__ import annotations

import re
import threading
from functools import partial
from typing import Any

import pytest
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.test import AsyncClient, Client, RequestFactory

from django_signal_kit.cache import CacheTagHeaders, note_tags, tagged
from django_signal_kit.cache.headers import encode_tag
from django_signal_kit.receivers import CacheInvalidation
from tests.cache import site
from tests.conftest import run_async
from tests.factories import ProductFactory
from tests.serving import Visit, serve_wsgi
from tests.threads import in_threads

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def served(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.cache.site"
    settings.ALLOWED_HOSTS = ["*"]
    settings.MIDDLEWARE = ["django_signal_kit.cache.CacheTagHeaders", *settings.MIDDLEWARE]
    cache.clear()
    site.called.clear()


def get(path: str, **query: str) -> Any:
    return Client().get(path, query)


def split(response: Any, name: str = "Cache-Tag", separator: str = ",") -> list[str]:
    return str(response[name]).split(separator)


# Which tags


def test_a_response_has_the_tags_of_all_that_it_used() -> None:
    tags = ["signal_kit", "noted", "set", "many", "cached", "fragment"]
    assert split(get("/everything/")) == tags
    # Of what was cached as well.
    assert split(get("/everything/")) == tags


def test_a_cached_page_has_its_tags_and_so_has_what_says_that_it_is_the_same(wire: Any) -> None:
    pk = ProductFactory().pk
    first = get(f"/product/{pk}/")
    again = get(f"/product/{pk}/")
    same = Client().get(f"/product/{pk}/", headers={"If-None-Match": first["ETag"]})
    assert [response.status_code for response in (first, again, same)] == [200, 200, 304]
    assert site.called == [f"/product/{pk}/"]
    for response in (first, again, same):
        assert split(response) == ["signal_kit", f"product:{pk}"]


def test_a_response_without_tags_is_left_alone() -> None:
    response = get("/plain/")
    assert "Cache-Tag" not in response
    assert response["Cache-Control"] == "public, s-maxage=600"


def test_what_is_missing_has_tags_too() -> None:
    assert split(get("/missing/")) == ["signal_kit", "product:1"]


def test_tags_of_one_request_are_not_those_of_another() -> None:
    barrier, found = threading.Barrier(4), {}

    def view(request: HttpRequest) -> HttpResponse:
        name = request.GET["name"]
        note_tags(name)
        barrier.wait(30)
        note_tags(f"{name}:again")
        return HttpResponse()

    middleware = CacheTagHeaders(view)

    def visit(name: str) -> None:
        found[name] = split(middleware(RequestFactory().get("/", {"name": name})))

    in_threads(*(partial(visit, name) for name in "abcd"))
    assert found == {name: ["signal_kit", name, f"{name}:again"] for name in "abcd"}
    note_tags("after")
    assert split(get("/many/1/")) == ["signal_kit", "product:0"]


@pytest.mark.parametrize("path", ["/everything/", "/aeverything/"])
def test_under_an_event_loop(path: str) -> None:
    async def main() -> Any:
        return await AsyncClient().get(path)

    response = run_async(main())
    assert split(response)[:3] == ["signal_kit", "noted", "set"]


def test_asgi_and_wsgi_servers_send_the_header() -> None:
    from urllib.request import urlopen

    async def main() -> Visit:
        return await Visit("/aeverything/", host="testserver").run(ASGIHandler())

    assert run_async(main()).headers["cache-tag"] == "signal_kit,noted,set"
    with serve_wsgi(WSGIHandler()) as url, urlopen(f"{url}/many/2/", timeout=30) as response:
        assert response.headers["Cache-Tag"] == "signal_kit,product:0,product:1"


def test_a_middleware_may_collect_the_rows_of_each_request(wire: Any, settings: Any) -> None:
    wire((CacheInvalidation, {"models": ["testapp.Product"], "tags": ["product:{pk}", "all"]}))

    class Collecting(CacheTagHeaders):
        collect = True

    from tests.apps.testapp.models import Product

    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(Product.objects.count())

    assert split(Collecting(view)(RequestFactory().get("/"))) == ["signal_kit", "all"]
    assert "Cache-Tag" not in CacheTagHeaders(view)(RequestFactory().get("/"))


# How they are written


def test_names_and_separators_are_a_setting(settings: Any) -> None:
    settings.SIGNAL_KIT = {"CACHE_TAG_HEADERS": {"Cache-Tag": ", ", "Surrogate-Key": " "}}
    response = get("/many/2/")
    assert response["Cache-Tag"] == "signal_kit, product:0, product:1"
    assert response["Surrogate-Key"] == "signal_kit product:0 product:1"


@pytest.mark.parametrize("tag", ["a b", "a,b", "a;b", 'a"b', "a\nb", "ä", "a" * 101, "a|b"])
def test_a_tag_that_no_header_can_have_is_hashed(tag: str) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        note_tags(tag)
        return HttpResponse()

    response = CacheTagHeaders(view)(RequestFactory().get("/"))
    assert split(response) == ["signal_kit", encode_tag(tag)]
    assert re.fullmatch(r"signal_kit\.[0-9a-f]{32}", encode_tag(tag))


# What the edge must not keep


def test_too_many_tags_keep_a_response_from_the_edge(settings: Any, caplog: Any) -> None:
    response = get("/many/600/")
    assert len(split(response)) == 601
    assert response["Cache-Control"] == "public, s-maxage=600"
    response = get("/many/800/")
    assert "Cache-Tag" not in response
    assert response["Cache-Control"] == "private"
    assert "has 800 tags, more than the header Cache-Tag takes" in caplog.text
    limits = {"Cache-Tag": {"MAX_TAGS": 50}, "Other": ","}
    settings.SIGNAL_KIT = {"CACHE_TAG_HEADERS": limits}
    assert len(split(get("/many/49/"))) == 50
    response = get("/many/50/")
    assert (response.has_header("Cache-Tag"), response.has_header("Other")) == (False, False)
    assert response["Cache-Control"] == "private"


@pytest.mark.parametrize("control", ["private", "no-store", "max-age=5, private", "NO-STORE"])
def test_what_nobody_else_may_keep_has_no_tags(control: str) -> None:
    response = get("/said/", **{"Cache-Control": control, "Surrogate-Control": "x"})
    assert "Cache-Tag" not in response
    assert response["Cache-Control"] == control
    assert response["Surrogate-Control"] == "x"


@pytest.mark.parametrize(
    "query",
    [
        {"cookie": "1"},
        {"session": "1"},
        {"Vary": "Accept, Cookie"},
        {"Vary": "authorization"},
        {"Vary": "*"},
    ],
)
def test_what_is_for_one_alone_is_private_unless_it_says_otherwise(query: dict[str, str]) -> None:
    response = get("/said/", **query, **{"Cache-Control": "max-age=60"})
    assert "Cache-Tag" not in response
    assert response["Cache-Control"] == "max-age=60, private"
    assert get("/said/", **query)["Cache-Control"] == "private"
    for control in ("public", "s-maxage=60"):
        response = get("/said/", **query, **{"Cache-Control": control})
        assert split(response) == ["signal_kit", "a"]
        assert response["Cache-Control"] == control


@pytest.mark.parametrize("name", ["accessed", "modified"])
def test_a_session_that_was_used_is_seen_without_its_middleware(name: str) -> None:
    def view(request: Any) -> HttpResponse:
        note_tags("a")
        session = {"accessed": False, "modified": False, name: True}
        request.session = type("Session", (), session)()
        return HttpResponse()

    assert CacheTagHeaders(view)(RequestFactory().get("/"))["Cache-Control"] == "private"


def test_a_form_with_a_csrf_token_is_private() -> None:
    def view(request: HttpRequest) -> HttpResponse:
        note_tags("a")
        return HttpResponse(get_token(request))

    assert CacheTagHeaders(view)(RequestFactory().get("/"))["Cache-Control"] == "private"


def test_a_stream_is_private_whatever_it_says() -> None:
    said = {"Cache-Control": "public, s-maxage=60, max-age=5", "Surrogate-Control": "max-age=9"}
    response = get("/said/", stream="1", **said)
    assert "Cache-Tag" not in response
    assert response["Cache-Control"] == "max-age=5, private"
    assert response["Surrogate-Control"] == "no-store"
    assert split(get("/said/", **said)) == ["signal_kit", "a"]


def test_what_was_touched_while_it_was_made_is_private() -> None:
    def view(request: HttpRequest) -> HttpResponse:
        def make() -> str:
            thread = threading.Thread(target=tagged().touch, args=(request.GET["touched"],))
            thread.start()
            thread.join(30)
            return "old"

        made = tagged().get_or_set("page", make, tags=["a"])
        return HttpResponse(made, headers={"Cache-Control": "s-maxage=60"})

    middleware = CacheTagHeaders(view)
    response = middleware(RequestFactory().get("/", {"touched": "a"}))
    assert (response["Cache-Control"], response.has_header("Cache-Tag")) == ("private", False)
    response = middleware(RequestFactory().get("/", {"touched": "b"}))
    assert (response["Cache-Control"], split(response)) == ("s-maxage=60", ["signal_kit", "a"])


def test_rows_that_no_tag_stands_for_keep_a_response_from_the_edge(wire: Any) -> None:
    wire((CacheInvalidation, {"models": ["testapp.Product"], "tags": ["product:{pk}"]}))
    response = get("/names/")
    assert (response["Cache-Control"], response.has_header("Cache-Tag")) == ("private", False)


# Mistakes


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"Cache Tag": ","}, "That is no name of a header"),
        ({"Cache-Tag": "-"}, "where '-' would separate tags"),
        ({"Cache-Tag": 5}, "where 5 would separate tags"),
        ({"Cache-Tag": {"SEPERATOR": ","}}, "Did you mean 'SEPARATOR'?"),
        ({"Cache-Tag": {"MAX_BYTES": 0}}, "with a limit that is no number"),
        ({"Cache-Tag": {"MAX_TAGS": -1}}, "with a limit that is no number"),
        ({"Cache-Tag": {"MAX_TAGS": "1"}}, "with a limit that is no number"),
    ],
)
def test_a_header_that_cannot_be_written_is_refused(
    settings: Any, value: Any, problem: str
) -> None:
    with pytest.raises(ImproperlyConfigured, match=re.escape(problem)) as found:
        settings.SIGNAL_KIT = {"CACHE_TAG_HEADERS": value}
    assert "signal_kit.E067" in str(found.value)


def test_a_setting_of_another_type_is_refused(settings: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"signal_kit\.E002"):
        settings.SIGNAL_KIT = {"CACHE_TAG_HEADERS": ["Cache-Tag"]}
