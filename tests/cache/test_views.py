"""A view is called once for each address until one of its tags is touched."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.cache import cache
from django.db import transaction
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.template.response import SimpleTemplateResponse
from django.test import RequestFactory
from django.utils import translation

from django_signal_kit.cache import cache_view, tagged
from django_signal_kit.receivers import CacheInvalidation
from tests.apps.testapp.models import Product
from tests.factories import ProductFactory

pytestmark = pytest.mark.django_db(transaction=True)

called: list[str] = []


@pytest.fixture(autouse=True)
def empty() -> None:
    cache.clear()
    called.clear()


@cache_view(tags=["product:{pk}"])
def page(request: HttpRequest, pk: int) -> HttpResponse:
    called.append(request.get_full_path())
    return HttpResponse(Product.objects.get(pk=pk).name)


def get(path: str = "/", view: Any = page, method: str = "GET", **kwargs: Any) -> Any:
    headers = kwargs.pop("headers", {})
    request = RequestFactory().generic(method, path, headers=headers)
    return view(request, **kwargs)


@pytest.fixture
def product(wire: Any) -> Product:
    options = {"models": ["testapp.Product"], "tags": ["product:{pk}"]}
    wire((CacheInvalidation, options))
    return ProductFactory(name="old")


def test_a_response_is_made_once_for_each_address_until_the_row_is_saved(product: Product) -> None:
    for _ in range(2):
        assert get("/", pk=product.pk).content == b"old"
        assert get("/?page=2", pk=product.pk).content == b"old"
    assert called == ["/", "/?page=2"]
    product.name = "new"
    product.save()
    assert get("/", pk=product.pk).content == b"new"


def test_who_has_the_response_already_gets_304_without_the_database(
    product: Product, django_assert_num_queries: Any
) -> None:
    etag = get("/", pk=product.pk)["ETag"]
    headers = {"If-None-Match": f'"other", {etag}'}
    with django_assert_num_queries(0):
        response = get("/", pk=product.pk, headers=headers)
    assert (response.status_code, response.content, response["ETag"]) == (304, b"", etag)
    assert response["Cache-Control"] == "no-cache"
    product.name = "new"
    product.save()
    response = get("/", pk=product.pk, headers=headers)
    assert (response.status_code, response.content) == (200, b"new")
    assert response["ETag"] != etag
    assert get("/?other", pk=product.pk, headers={"If-None-Match": response["ETag"]}).content


KEPT = {
    "Cache-Control": "max-age=60, public",
    "Content-Location": "/en/",
    "Date": "Thu, 01 Jan 2026 00:00:00 GMT",
    "ETag": '"mine"',
    "Expires": "Thu, 01 Jan 2026 00:01:00 GMT",
    "Last-Modified": "Wed, 31 Dec 2025 00:00:00 GMT",
    "Vary": "Accept-Language, X-Currency",
}


def make_kept(request: HttpRequest) -> HttpResponse:
    called.append("")
    return HttpResponse("page", headers={**KEPT, "X-Other": "1", "Content-Language": "en"})


async def amake_kept(request: HttpRequest) -> HttpResponse:
    return make_kept(request)


@pytest.mark.parametrize("make", [make_kept, amake_kept])
@pytest.mark.parametrize(
    "asked", [{"If-None-Match": '"mine"'}, {"If-Modified-Since": KEPT["Last-Modified"]}]
)
def test_who_has_it_is_told_of_caching_what_the_response_says(
    make: Any, asked: dict[str, str], django_assert_num_queries: Any
) -> None:
    view = cache_view(tags=["a"], vary=["X-Currency"])(make)
    if iscoroutinefunction(make):
        view = async_to_sync(view)
    get(view=view)
    with django_assert_num_queries(0):
        response = get(view=view, headers=asked)
    assert (response.status_code, response.content) == (304, b"")
    assert {**response.headers} == KEPT
    assert len(called) == 1
    assert get(view=view, headers={"If-None-Match": '"other"'}).status_code == 200


def test_who_has_what_is_made_anew_and_is_the_same_needs_it_no_more() -> None:
    @cache_view(tags=["a"])
    def view(request: HttpRequest) -> HttpResponse:
        called.append("")
        return HttpResponse("page" if len(called) < 3 else "other")

    etag = get(view=view)["ETag"]
    tagged().touch("a")
    assert get(view=view, headers={"If-None-Match": etag}).status_code == 304
    assert get(view=view, headers={"If-None-Match": etag}).status_code == 304
    assert len(called) == 2
    tagged().touch("a")
    assert get(view=view, headers={"If-None-Match": etag}).content == b"other"


def test_who_has_what_is_out_of_time_gets_what_is_made_anew() -> None:
    @cache_view(tags=["a"], timeout=0)
    def view(request: HttpRequest) -> HttpResponse:
        called.append("")
        return HttpResponse(str(len(called)))

    etag = get(view=view)["ETag"]
    assert get(view=view, headers={"If-None-Match": etag}).content == b"2"


def test_languages_methods_and_headers_that_matter_are_kept_apart() -> None:
    @cache_view(tags=["a"], vary=["X-Currency"])
    def prices(request: HttpRequest) -> HttpResponse:
        said = f"{translation.get_language()} {request.headers.get('X-Currency')}"
        return HttpResponse(said if request.method == "GET" else "")

    for _ in range(2):
        for language in ("en", "es"):
            for currency in ("EUR", "USD"):
                with translation.override(language):
                    response = get(view=prices, headers={"X-Currency": currency})
                assert response.content.decode() == f"{language} {currency}"
        assert get(view=prices, method="HEAD").content == b""
        assert get(view=prices).content == b"en-us None"


def test_tags_may_be_made_of_the_request() -> None:
    @cache_view(tags=lambda request, **kwargs: [request.GET["tag"]])
    def view(request: HttpRequest) -> HttpResponse:
        called.append("")
        return HttpResponse()

    get("/?tag=a", view=view)
    tagged().touch("b")
    get("/?tag=a", view=view)
    assert len(called) == 1
    tagged().touch("a")
    get("/?tag=a", view=view)
    assert len(called) == 2


def use_session(request: HttpRequest) -> HttpResponse:
    request.session = type("Session", (), {"accessed": True, "modified": False})()  # type: ignore[assignment]
    return HttpResponse()


def set_cookie(request: HttpRequest) -> HttpResponse:
    response = HttpResponse()
    response.set_cookie("seen", "1")
    return response


def use_token(request: HttpRequest) -> HttpResponse:
    return HttpResponse(get_token(request))


@pytest.mark.parametrize(
    "view",
    [
        use_session,
        set_cookie,
        use_token,
        lambda request: HttpResponse(headers={"Vary": "Accept-Language, X-Who"}),
        lambda request: HttpResponse(headers={"Cache-Control": "private"}),
        lambda request: HttpResponse(headers={"Cache-Control": "no-store"}),
        lambda request: HttpResponse(status=404),
        lambda request: StreamingHttpResponse(iter([b"a"])),
    ],
    ids=["session", "cookie", "token", "vary", "private", "no store", "404", "stream"],
)
def test_what_is_for_one_alone_is_never_cached(view: Callable[..., Any]) -> None:
    def count(request: HttpRequest) -> HttpResponse:
        called.append("")
        return view(request)

    both = cache_view(tags=["a"])(count)
    for _ in range(2):
        response = get(view=both)
        assert not response.has_header("ETag")
    assert len(called) == 2


def test_a_page_of_each_user_varies_on_the_cookie() -> None:
    @cache_view(tags=["a"], vary=["Cookie"])
    def account(request: HttpRequest) -> HttpResponse:
        use_session(request)
        called.append(request.headers["Cookie"])
        return HttpResponse(request.headers["Cookie"])

    for _ in range(2):
        for name in ("sessionid=ann", "sessionid=bob"):
            assert get(view=account, headers={"Cookie": name}).content.decode() == name
    assert called == ["sessionid=ann", "sessionid=bob"]


def test_what_is_posted_is_not_cached(product: Product) -> None:
    for _ in range(2):
        get("/", pk=product.pk, method="POST")
    assert len(called) == 2


def test_a_response_that_is_not_rendered_yet_is_rendered_and_its_header_kept() -> None:
    @cache_view(tags=["a"])
    def view(request: HttpRequest) -> HttpResponse:
        called.append("")
        return SimpleTemplateResponse(
            "admin/404.html", headers={"Cache-Control": "max-age=60", "X-Kept": "yes"}
        )

    first, second = get(view=view), get(view=view)
    assert first.content == second.content
    assert (second["Cache-Control"], second["X-Kept"]) == ("max-age=60", "yes")
    assert len(called) == 1


def test_the_writer_sees_his_own_page(product: Product) -> None:
    get("/", pk=product.pk)
    with transaction.atomic():
        product.name = "new"
        product.save()
        assert get("/", pk=product.pk).content == b"new"
        transaction.set_rollback(True)
    assert get("/", pk=product.pk).content == b"old"


def test_an_asynchronous_view_is_cached_too(product: Product) -> None:
    @cache_view(tags=["product:{pk}"])
    async def apage(request: HttpRequest, pk: int) -> HttpResponse:
        called.append("")
        await asyncio.sleep(0)
        return HttpResponse("page")

    @cache_view(tags=["a"])
    async def private(request: HttpRequest) -> HttpResponse:
        return HttpResponse(headers={"Cache-Control": "private"})

    async def check() -> None:
        first = await get(view=apage, pk=1)
        assert (await get(view=apage, pk=1)).content == b"page"
        headers = {"If-None-Match": first["ETag"]}
        assert (await get(view=apage, pk=1, headers=headers)).status_code == 304
        assert (await get(view=apage, pk=1, method="POST")).status_code == 200
        assert not (await get(view=private)).has_header("ETag")

    asyncio.run(check())
    assert len(called) == 2


def test_one_text_is_no_list_of_tags() -> None:
    with pytest.raises(TypeError, match=r"Write a list of tags"):
        cache_view(tags="product")
