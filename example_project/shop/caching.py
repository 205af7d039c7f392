"""What the shop caches with tags; and with ``?debug=cache``, what a page was made of.

    /product/<slug>/?debug=cache

shows at the end of a page, as long as DEBUG is True, what was asked of the cache for it, with
which tags, and whether they were there.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, TypeVar

from django.conf import settings
from django.core.cache.backends.filebased import FileBasedCache
from django.http import HttpRequest, HttpResponse, QueryDict
from django.template.loader import render_to_string

from django_signal_kit.cache import cache_view, tagged

T = TypeVar("T")
TIMEOUT = 3600


class FileCache(FileBasedCache):
    """Django's lists all its files each time it stores one, to see whether there are too many."""

    def _cull(self) -> None:
        if random.random() < 0.01:
            super()._cull()


@dataclass
class Look:
    """Something that a page asked the cache for."""

    what: str
    tags: list[str]
    was_hit: bool


@dataclass
class Looks:
    """All of them, of one request, and the fragments that had to be made."""

    looks: list[Look] = field(default_factory=list)
    fragments: dict[str, list[str]] = field(default_factory=dict)
    made: set[str] = field(default_factory=set)

    def __iter__(self) -> Any:
        yield from self.looks
        for name, tags in self.fragments.items():
            yield Look(f"the fragment {name}", tags, name not in self.made)


_looks: ContextVar[Looks | None] = ContextVar("shop_looks", default=None)


def note(what: str, tags: Iterable[str], was_hit: bool) -> None:
    if (looks := _looks.get()) is not None:
        looks.looks.append(Look(what, [*tags], was_hit))


def note_fragment(name: str, tags: list[str]) -> list[str]:
    """The page is going to ask for the fragment. Returns its tags."""
    if (looks := _looks.get()) is not None:
        looks.fragments[name] = tags
    return tags


def note_made(name: str) -> None:
    """The fragment is being made: it was not in the cache."""
    if (looks := _looks.get()) is not None:
        looks.made.add(name)


def remember(key: str, make: Callable[[], T], *, tags: list[str]) -> T:
    """What is cached under ``key``, or what ``make()`` returns, until a tag is touched."""
    made: list[bool] = []

    def make_it() -> T:
        made.append(True)
        return make()

    value = tagged().get_or_set(key, make_it, tags=tags, timeout=TIMEOUT)
    note(key, tags, not made)
    return value


def cache_page(tags: list[str]) -> Callable[[Any], Any]:
    """Cache a page for visitors who have not logged in, until one of its tags is touched. Those
    who have, see what is theirs."""

    def decorate(view: Any) -> Any:
        @wraps(view)
        def make(request: Any, **kwargs: Any) -> HttpResponse:
            request.page_was_made = True
            return view(request, **kwargs)

        # Whether somebody has logged in is asked of the session, which a cookie names.
        cached = cache_view(tags=tags, timeout=TIMEOUT, vary=["Cookie"])(make)

        @wraps(view)
        def show(request: Any, **kwargs: Any) -> HttpResponse:
            if request.user.is_authenticated:
                return view(request, **kwargs)
            request.page_was_made = False
            response = cached(request, **kwargs)
            named = [tag.format(**kwargs) for tag in tags]
            note("the page", named, not request.page_was_made)
            return response

        return show

    return decorate


class ShowCache:
    """Middleware, for ``?debug=cache``. The page is the one that others get: its address has no
    such question any more when the view sees it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not settings.DEBUG or request.GET.get("debug") != "cache":
            return self.get_response(request)
        query = QueryDict(request.META["QUERY_STRING"], mutable=True)
        del query["debug"]
        request.META["QUERY_STRING"] = query.urlencode()
        request.GET = query
        # The browser has the page of an earlier time, with what stood below it then.
        request.META.pop("HTTP_IF_NONE_MATCH", None)
        looks = Looks()
        token = _looks.set(looks)
        try:
            response = self.get_response(request)
        finally:
            _looks.reset(token)
        return show_looks(response, looks)


def show_looks(response: HttpResponse, looks: Looks) -> HttpResponse:
    """The response with what was asked of the cache: at the end of a page, or in a header."""
    if response.streaming:
        return response
    if response.get("Content-Type", "").startswith("text/html"):
        text = render_to_string("shop/_looks.html", {"looks": list(looks)})
        response.content = response.content.replace(b"</main>", text.encode() + b"</main>", 1)
    else:
        said = (f"{look.what} {'hit' if look.was_hit else 'made'}" for look in looks)
        response["X-Cache"] = ", ".join(said)
        response["X-Cache-Tags"] = " ".join(tag for look in looks for tag in look.tags)
    del response["ETag"]
    response["Cache-Control"] = "no-store"
    return response
