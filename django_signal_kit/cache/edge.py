"""The middleware that tells the edge (a CDN, a Varnish) which tags a response has.

What the edge could not purge it must not keep. So a response whose tags are not all known, or are
more than a header takes, is ``private``: browsers may have it, the edge may not.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, HttpResponseBase
from django.utils.cache import patch_cache_control

from django_signal_kit.cache.collecting import collect_tags
from django_signal_kit.cache.gathering import CollectedTags, gather
from django_signal_kit.cache.headers import join_tags
from django_signal_kit.conf import conf
from django_signal_kit.exceptions import join
from django_signal_kit.exchange import get_route
from django_signal_kit.units.loggers import get_logger

logger = get_logger("django_signal_kit.cache")

#: What edges read in the place of Cache-Control.
_FOR_EDGES = ("Surrogate-Control", "CDN-Cache-Control", "Cloudflare-CDN-Cache-Control")
_FOR_ONE = {"cookie", "authorization", "*"}


class CacheTagHeaders:
    """Writes the tags of what a response was made of into the headers that
    ``SIGNAL_KIT["CACHE_TAG_HEADERS"]`` names. Works under WSGI and ASGI.

    Stands first in ``MIDDLEWARE``, so that it sees what the others say of the response. One that
    has no tags is left alone, and one that is ``private`` or ``no-store``. Made ``private`` is one
    with tags that is for one alone (it sets a cookie, uses the session, or varies on ``Cookie`` or
    ``Authorization``) unless it says ``public`` or ``s-maxage`` itself; and, whatever it says, a
    stream, one whose tags are unknown or too many, and one of which a part was touched while it
    was made.
    """

    sync_capable = True
    async_capable = True

    #: Collect the tags of the rows that are read, too, in each request: see ``collect_tags()``.
    collect = False

    def __init__(
        self,
        get_response: Callable[[HttpRequest], HttpResponseBase]
        | Callable[[HttpRequest], Awaitable[HttpResponseBase]],
    ) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        if self.is_async:
            return self.respond_async(request)
        with collect_tags() if self.collect else gather() as found:
            response: Any = self.get_response(request)
        return self.tag(request, response, found)

    async def respond_async(self, request: HttpRequest) -> Any:
        with collect_tags() if self.collect else gather() as found:
            response: Any = await self.get_response(request)  # type: ignore[misc]
        return self.tag(request, response, found)

    def tag(
        self, request: HttpRequest, response: HttpResponseBase, found: CollectedTags
    ) -> HttpResponseBase:
        """``response``, with headers that say what it was made of. Called once, at its end."""
        if not found and not found.unknown:
            return response
        said = _get_said(response)
        if not said.keys().isdisjoint(("private", "no-store")):
            return response
        if reason := self.get_refusal(request, response, found):
            route = get_route(request)
            logger.debug("%r is not for the edge: %s", route, reason, extra={"route": route})
            _make_private(response, said)
            return response
        headers = conf.CACHE_TAG_HEADERS
        values = {name: join_tags(found, header) for name, header in headers.items()}
        for name, value in values.items():
            if value is None:
                route = get_route(request)
                logger.warning(
                    "%r has %d tags, more than the header %s takes, and is not kept at the edge.",
                    route,
                    len(found),
                    name,
                    extra={"route": route, "count": len(found)},
                )
                _make_private(response, said)
                return response
        for name, value in values.items():
            if value is not None:
                response[name] = value
        return response

    def get_refusal(
        self, request: HttpRequest, response: HttpResponseBase, found: CollectedTags
    ) -> str:
        """Why the edge may not keep ``response``, or nothing. What subclasses add is made
        ``private``, too."""
        if found.unknown:
            return f"no tag stands for rows of {join(sorted(found.unknown))}"
        if found.is_late:
            return "a tag was touched while it was made"
        if response.streaming:
            return "what a stream will use is not known yet"
        if not {"public", "s-maxage"}.isdisjoint(_get_said(response)):
            return ""
        return "it is for one alone" if _is_for_one(request, response) else ""


def _get_said(response: HttpResponseBase) -> dict[str, str]:
    """The directives of ``Cache-Control``, by their names in small letters."""
    parts = [part.strip() for part in response.get("Cache-Control", "").split(",")]
    return {part.partition("=")[0].strip().lower(): part for part in parts if part}


def _is_for_one(request: HttpRequest, response: HttpResponseBase) -> bool:
    session = getattr(request, "session", None)
    named = {name.strip().lower() for name in response.get("Vary", "").split(",")}
    return bool(
        response.cookies
        or not named.isdisjoint(_FOR_ONE)
        or getattr(session, "accessed", False)
        or getattr(session, "modified", False)
        or "CSRF_COOKIE_NEEDS_UPDATE" in request.META
    )


def _make_private(response: HttpResponseBase, said: dict[str, str]) -> None:
    kept = [text for name, text in said.items() if name not in ("public", "s-maxage")]
    response["Cache-Control"] = ", ".join(kept)
    patch_cache_control(response, private=True)
    for name in _FOR_EDGES:
        if response.has_header(name):
            response[name] = "no-store"
