"""Views whose responses are cached until one of their tags is touched."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeAlias, TypeVar

from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import (
    get_conditional_response,
    patch_cache_control,
    patch_vary_headers,
)
from django.utils.http import parse_http_date_safe
from django.utils.timezone import get_current_timezone_name
from django.utils.translation import get_language

from django_signal_kit.cache import recalled, steps
from django_signal_kit.cache.entry import Entry, refuse_text
from django_signal_kit.cache.freshness import check_times
from django_signal_kit.cache.steps import MAKE, NotForOthersError, Steps
from django_signal_kit.cache.tagged import tagged

V = TypeVar("V", bound=Callable[..., Any])
#: The key of a response, and its tags.
Asked: TypeAlias = tuple[str, list[str]]


class _ForOneAloneError(NotForOthersError):
    """Nobody else may get this response."""

    def __init__(self, response: HttpResponseBase) -> None:
        self.response = response


def cache_view(
    *,
    tags: Sequence[str] | Callable[..., Iterable[str]],
    timeout: float | None = DEFAULT_TIMEOUT,
    alias: str = "default",
    vary: Sequence[str] = (),
    stale: float = 0,
    early: float = 0,
    collect: bool = False,
) -> Callable[[V], V]:
    """Cache the responses of a view to GET and HEAD, for each address, language and time zone.

    ``tags`` are templates over the view's keyword arguments, ``"product:{pk}"``, or a function of
    the request and these. ``vary``: names of request headers on which the response depends.
    ``alias`` as in :func:`~django_signal_kit.cache.tagged`; ``timeout``, ``stale`` and ``early``
    as in its ``get_or_set()``. ``collect``: what the view uses adds its tags, as in
    :func:`~django_signal_kit.cache.collect_tags`; a hit is two calls of the cache then, and the
    first response is not stored.

    A response gets an ETag of its content, if it has none: who has what is cached already is
    answered with 304, which says of caching what the response does, by one call of the cache and
    without the view. Never cached are responses with another status
    than 200, streams, those that set a cookie, use the session or a CSRF token, those whose
    header ``Vary`` names what ``vary`` does not, and those to requests with ``Authorization``,
    unless ``vary`` names that. Without a ``Cache-Control`` of its own a response says
    ``no-cache``: ask each time. Its ``Vary`` names what ``vary`` does.
    """
    refuse_text(tags)
    check_times(stale, early)
    names = tuple(name.lower() for name in vary)

    def prepare(function: Any, request: HttpRequest, kwargs: dict[str, Any]) -> Asked | None:
        if request.method not in ("GET", "HEAD"):
            return None
        if "Authorization" in request.headers and "authorization" not in names:
            # Who asks is said there, and nothing of the response says that it matters.
            return None
        if callable(tags):
            own_tags = list(tags(request, **kwargs))
        else:
            own_tags = [tag.format(**kwargs) for tag in tags]
        name = f"{function.__module__}.{function.__qualname__}"
        return _get_key(name, request, names), own_tags

    def decorate(function: V) -> V:
        def plan(request: HttpRequest, *args: Any, **kwargs: Any) -> Steps:
            ask = partial(prepare, function, request, kwargs)
            # What a function for tags asks the database for blocks.
            asked = (yield ask) if callable(tags) else ask()
            if asked is None:
                return (yield MAKE)
            key, own_tags = asked
            times = (timeout, stale, early)
            finish = partial(_finish, request=request, key=key, vary=names)
            if collect:
                look_up = recalled.look_up(alias, key, own_tags, *times, finish)
            else:
                look_up = tagged(alias).look_up(Entry(alias, key, own_tags, *times), finish)
            try:
                response = yield from look_up
            except _ForOneAloneError as found:
                return found.response
            return _answer(request, response)

        return steps.decorate(function, plan)

    return decorate


def _get_key(name: str, request: HttpRequest, vary: Iterable[str]) -> str:
    said = [str(request.method), request.build_absolute_uri(), str(get_language())]
    said.append(get_current_timezone_name())
    said += [f"{header}={request.headers.get(header, '')}" for header in vary]
    digest = hashlib.blake2b("\n".join(said).encode(), digest_size=20).hexdigest()
    return f"{name}:{digest}"


def _get_etag(key: str, content: bytes) -> str:
    said = hashlib.blake2b(key.encode() + content, digest_size=16).hexdigest()
    # Weak, since it may be compressed on its way.
    return f'W/"{said}"'


def _answer(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """``response``, or what a client gets that has it already: a 304 with the headers that RFC
    9110, section 15.4.5, wants of it, as they are in ``response``."""
    modified = parse_http_date_safe(response.get("Last-Modified", ""))
    answer = get_conditional_response(
        request, etag=response.get("ETag"), last_modified=modified, response=response
    )
    return response if answer is None else answer


def _finish(
    response: Any, request: HttpRequest, key: str, vary: Sequence[str]
) -> HttpResponseBase:
    """The response, complete. Raises _ForOneAloneError if it must not be stored."""
    if hasattr(response, "render") and callable(response.render):
        response = response.render()
    is_for_others = _is_for_others(response, request, vary)
    patch_vary_headers(response, vary)
    if not is_for_others:
        raise _ForOneAloneError(response)
    if not response.has_header("ETag"):
        response["ETag"] = _get_etag(key, response.content)
    if not response.has_header("Cache-Control"):
        patch_cache_control(response, no_cache=True)
    return response  # type: ignore[no-any-return]


def _is_for_others(response: Any, request: HttpRequest, vary: Sequence[str]) -> bool:
    if response.streaming or response.status_code != 200 or response.cookies:
        return False
    control = response.get("Cache-Control", "")
    session = getattr(request, "session", None)
    is_marked = "CSRF_COOKIE_NEEDS_UPDATE" in request.META or getattr(session, "modified", False)
    if is_marked or "private" in control or "no-store" in control:
        return False
    named = {name.strip().lower() for name in response.get("Vary", "").split(",")} - {""}
    if getattr(session, "accessed", False):
        # Its middleware says so after the view.
        named.add("cookie")
    return named <= {*vary, "accept-language"}
