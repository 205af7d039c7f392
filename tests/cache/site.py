"""A small site that is served to the edge: views, and their addresses."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.template import engines
from django.template.response import TemplateResponse
from django.urls import path

from django_signal_kit.cache import cache_view, cached, collect_tags, note_tags, tagged
from tests.apps.testapp.models import Product

#: The paths of the views that were called.
called: list[str] = []


def respond(content: Any, control: str = "public, s-maxage=600") -> HttpResponse:
    return HttpResponse(content, headers={"Cache-Control": control})


@cache_view(tags=["product:{pk}"])
def product(request: HttpRequest, pk: int) -> HttpResponse:
    called.append(request.path)
    return respond(Product.objects.get(pk=pk).name)


def names(request: HttpRequest) -> HttpResponse:
    """Lists no tags: its rows tell them."""
    called.append(request.path)
    with collect_tags():
        return respond(",".join(Product.objects.order_by("pk").values_list("name", flat=True)))


@cached(tags=["cached"])
def get_cached() -> str:
    return "cached"


def everything(request: HttpRequest) -> HttpResponse:
    """Uses tags in each way that there is."""
    note_tags("noted")
    tagged().get_or_set("set", lambda: 1, tags=["set"])
    found = tagged().get_many({"many": ["many"]})
    tagged().set_many(dict.fromkeys(found.missing, 1), found)
    get_cached()
    template = engines["django"].from_string(
        '{% load signal_kit %}{% cachetagged 60 "a" tags="fragment" %}x{% endcachetagged %}'
    )
    return TemplateResponse(request, template, headers={"Cache-Control": "s-maxage=60"})  # type: ignore[arg-type]


async def aeverything(request: HttpRequest) -> HttpResponse:
    note_tags("noted")
    await tagged().aget_or_set("set", lambda: 1, tags=["set"])
    return respond("async")


def many(request: HttpRequest, count: int) -> HttpResponse:
    note_tags(*(f"product:{number}" for number in range(count)))
    return respond("many")


def said(request: HttpRequest) -> HttpResponse:
    """A response with a tag, as the query string says it is to be."""
    note_tags("a")
    wish = request.GET
    response: Any = HttpResponse("said")
    if "stream" in wish:
        response = StreamingHttpResponse(["said"])
    if "cookie" in wish:
        response.set_cookie("seen", "1")
    if "session" in wish:
        request.session.get("a")
    for name in ("Cache-Control", "Vary", "Surrogate-Control"):
        if name in wish:
            response[name] = wish[name]
    return response  # type: ignore[no-any-return]


def missing(request: HttpRequest) -> HttpResponse:
    note_tags("product:1")
    raise Http404


def plain(request: HttpRequest) -> HttpResponse:
    return respond("plain")


urlpatterns = [
    path("product/<int:pk>/", product),
    path("names/", names),
    path("everything/", everything),
    path("aeverything/", aeverything),
    path("many/<int:count>/", many),
    path("said/", said),
    path("missing/", missing),
    path("plain/", plain),
]
