"""Fills the context with what the request says, and tells how it is answered."""

from __future__ import annotations

import re
import uuid
from collections.abc import Awaitable, Callable
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.core.checks import CheckMessage, Warning
from django.http import HttpRequest, HttpResponseBase
from django.utils.module_loading import import_string

from django_signal_kit.conf import conf
from django_signal_kit.current import context
from django_signal_kit.exchange import keep_context, resume
from django_signal_kit.rows.cleansing import hide_tokens
from django_signal_kit.units.views import no_request_unit as no_request_unit
from django_signal_kit.units.views import request_unit as request_unit

#: How MIDDLEWARE names it.
MIDDLEWARE = "django_signal_kit.middleware.RequestContextMiddleware"

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,128}")
_PATH_LENGTH = 2048
_WITH_PORT = re.compile(r"\[(?P<v6>[^][]+)\](?::\d{1,5})?|(?P<v4>[0-9.]+):\d{1,5}", re.ASCII)
_MAPPED = IPv6Network("::ffff:0:0/96")


class RequestContextMiddleware:
    """Gives receivers the request's actor, id, address, method and path through ``get_context()``,
    and those that measure requests the status and the route.

    Works under WSGI and ASGI, and while a response is streamed. The actor is looked up when first
    asked for, so that it may be authenticated late (by a token, in a view). ``X-Request-ID`` is
    taken if it has 8 to 128 letters, digits, dots, dashes or underscores, else an id is made;
    ``X-Forwarded-For`` is believed only from ``SIGNAL_KIT["TRUSTED_PROXIES"]``. No header, however
    forged, raises.
    """

    sync_capable = True
    async_capable = True

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
        exchange = resume(request)
        with context(**get_request_context(request)):
            response: Any = self.get_response(request)
            keep_context(response)
        if exchange is not None:
            exchange.respond(request, response)
        return response

    async def respond_async(self, request: HttpRequest) -> Any:
        exchange = resume(request)
        try:
            with context(**get_request_context(request)):
                response: Any = await self.get_response(request)  # type: ignore[misc]
                keep_context(response)
        except BaseException:
            # The client has gone, and no response will tell of the end.
            if exchange is not None:
                exchange.abandon()
            raise
        if exchange is not None:
            exchange.respond(request, response)
        return response


def is_in_settings() -> bool:
    """Is the kit's middleware, or a subclass of it, among those of ``MIDDLEWARE``?"""
    if MIDDLEWARE in settings.MIDDLEWARE:
        return True
    for path in settings.MIDDLEWARE:
        try:
            found = import_string(path)
        except ImportError:
            continue
        if isinstance(found, type) and issubclass(found, RequestContextMiddleware):
            return True
    return False


def get_missing(loss: str) -> list[CheckMessage]:
    """A warning if it is not there: ``loss`` is what is lost without it."""
    if is_in_settings():
        return []
    return [
        Warning(
            f"{loss}, because RequestContextMiddleware is not in MIDDLEWARE.",
            hint=(
                f"Add {MIDDLEWARE!r} to MIDDLEWARE. A project without requests adds "
                f"'signal_kit.W004' to SILENCED_SYSTEM_CHECKS."
            ),
            id="signal_kit.W004",
        )
    ]


def get_request_context(request: HttpRequest) -> dict[str, Any]:
    """What a request tells of itself: actor (a callable), request_id, ip, method, path."""

    def get_actor() -> Any:
        # What "await request.auser()" has found is kept apart from "request.user".
        user = getattr(request, "_acached_user", None) or getattr(request, "user", None)
        return user if user is not None and user.is_authenticated else None

    return {
        "actor": get_actor,
        "request_id": get_request_id(request),
        "ip": get_ip(request),
        "method": request.method,
        # What resets a password is no place, but a secret.
        "path": hide_tokens(request.path)[:_PATH_LENGTH],
    }


def get_request_id(request: HttpRequest) -> str:
    given = request.META.get("HTTP_X_REQUEST_ID", "")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def get_ip(request: HttpRequest) -> str | None:
    """The client's address: the last hop that is not one of the trusted proxies."""
    address = _parse(request.META.get("REMOTE_ADDR") or "")
    trusted = [_parse_network(proxy) for proxy in conf.TRUSTED_PROXIES]
    hops = request.META.get("HTTP_X_FORWARDED_FOR", "").split(",") if trusted else []
    while hops and address is not None and any(address in network for network in trusted):
        hop = _parse(hops.pop())
        if hop is None:
            break
        address = hop
    return None if address is None else str(address)


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    """Of ``address``, ``IPv4:port``, ``[IPv6]`` and ``[IPv6]:port``. None for anything else."""
    match = _WITH_PORT.fullmatch(text.strip())
    text = (match["v6"] or match["v4"]) if match is not None else text.strip()
    try:
        # The zone of an IPv6 address may be any text, and names an interface of that host only.
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        # So a socket that listens to both calls who comes by IPv4.
        return address.ipv4_mapped or address
    # Brackets are for IPv6.
    return None if match is not None and match["v6"] else address


def _parse_network(text: str) -> IPv4Network | IPv6Network:
    network = ip_network(text, strict=False)
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        first, length = int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96
        return IPv4Network((first, length))
    return network
