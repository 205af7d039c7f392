"""Views whose responses are cached until one of their tags is touched."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.http import HttpRequest, HttpResponse, HttpResponseNotModified
from django.http.response import HttpResponseBase
from django.utils.cache import patch_cache_control, patch_vary_headers
from django.utils.http import parse_etags
from django.utils.timezone import get_current_timezone_name
from django.utils.translation import get_language

from django_signal_kit.cache import own_writes, steps
from django_signal_kit.cache.access import get_many
from django_signal_kit.cache.entry import Entry, refuse_text
from django_signal_kit.cache.steps import MAKE, NotForOthersError, Steps
from django_signal_kit.cache.tagged import tagged

V = TypeVar("V", bound=Callable[..., Any])


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
) -> Callable[[V], V]:
    """Cache the responses of a view to GET and HEAD, for each address, language and time zone.

    ``tags`` are templates over the view's keyword arguments, ``"product:{pk}"``, or a function of
    the request and these. ``vary``: names of request headers on which the response depends.
    ``timeout`` and ``alias`` as in :func:`~django_signal_kit.cache.tagged`.

    A response gets an ETag of the versions of its tags: who has it already is answered with 304
    by one call of the cache, without the view. Never cached are responses with another status
    than 200, streams, those that set a cookie, use the session or a CSRF token, those whose
    header ``Vary`` names what ``vary`` does not, and those to requests with ``Authorization``,
    unless ``vary`` names that. Without a ``Cache-Control`` of its own a response says
    ``no-cache``: ask each time. Its ``Vary`` names what ``vary`` does.
    """
    refuse_text(tags)
    names = tuple(name.lower() for name in vary)

    def prepare(function: Any, request: HttpRequest, kwargs: dict[str, Any]) -> Entry | None:
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
        return Entry(alias, _get_key(name, request, names), own_tags, timeout)

    def decorate(function: V) -> V:
        def plan(request: HttpRequest, *args: Any, **kwargs: Any) -> Steps:
            entry = prepare(function, request, kwargs)
            if entry is None:
                return (yield MAKE)
            known = yield partial(_get_not_modified, alias, request, entry)
            if known is not None:
                return known
            finish = partial(_finish, request=request, entry=entry, vary=names)
            try:
                return (yield from tagged(alias).look_up(entry, finish))
            except _ForOneAloneError as found:
                return found.response

        return steps.decorate(function, plan)

    return decorate


def _get_key(name: str, request: HttpRequest, vary: Iterable[str]) -> str:
    said = [str(request.method), request.build_absolute_uri(), str(get_language())]
    said.append(get_current_timezone_name())
    said += [f"{header}={request.headers.get(header, '')}" for header in vary]
    digest = hashlib.blake2b("\n".join(said).encode(), digest_size=20).hexdigest()
    return f"{name}:{digest}"


def _get_etag(entry: Entry, versions: Sequence[int]) -> str:
    said = "\n".join((entry.key, *map(str, versions))).encode()
    return f'W/"{hashlib.blake2b(said, digest_size=16).hexdigest()}"'


def _get_not_modified(alias: str, request: HttpRequest, entry: Entry) -> HttpResponse | None:
    """The answer to a client that has the response already, or None."""
    known = parse_etags(request.headers.get("If-None-Match", ""))
    if not known or own_writes.has_touched(entry.tags):
        return None
    found = get_many(alias, entry.version_keys) or {}
    versions = [found[key] for key in entry.version_keys if key in found]
    etag = _get_etag(entry, versions)
    if len(versions) < len(entry.version_keys) or etag not in known:
        return None
    response = HttpResponseNotModified(headers={"ETag": etag})
    patch_cache_control(response, no_cache=True)
    return response


def _finish(
    response: Any, request: HttpRequest, entry: Entry, vary: Sequence[str]
) -> HttpResponseBase:
    """The response, complete. Raises _ForOneAloneError if it must not be stored."""
    if hasattr(response, "render") and callable(response.render):
        response = response.render()
    is_for_others = _is_for_others(response, request, vary)
    patch_vary_headers(response, vary)
    if not is_for_others:
        raise _ForOneAloneError(response)
    if entry.versions is not None and not response.has_header("ETag"):
        response["ETag"] = _get_etag(entry, entry.versions)
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
