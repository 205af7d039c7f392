"""Posts JSON to an address of the settings, and only there.

The name is resolved once, and the connection goes to an address that has been looked at: another
answer of the name server a moment later changes nothing. Redirects are not followed, and proxies
of the environment are not used.
"""

from __future__ import annotations

import json
import re
import socket
import ssl
from contextlib import closing
from http.client import HTTPConnection, HTTPSConnection
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from time import monotonic
from typing import Any
from urllib.parse import SplitResult

from django_signal_kit.endpoints import parse_endpoint

_STATUS = re.compile(rb"HTTP/1\.\d (\d{3})")
_LONGEST_LINE = 4096
_NAT64 = IPv6Network("64:ff9b::/96")


class WebhookError(Exception):
    """The webhook was not told. Says which host, and nothing more: the path may be a secret."""


def is_public(text: str) -> bool:
    """Is this an address of the public internet, not one of this host or its networks?"""
    address: IPv4Address | IPv6Address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address):
        # An IPv4 address in the clothes of an IPv6 one leads to the former.
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if address.teredo is not None or address.is_site_local:
            return False
    return address.is_global and not (
        address.is_multicast or address.is_reserved or address.is_unspecified
    )


def find_problem(url: str, *, allow_private: bool) -> str:
    """Why a URL of the settings will not do, as the end of a sentence; empty if it will. No name
    server is asked."""
    try:
        host = parse_endpoint(url).hostname or ""
    except ValueError as error:
        return str(error)
    if not allow_private and _is_private(host):
        return "is on this host or in its own network"
    return ""


def post_json(url: str, data: Any, *, timeout: float, allow_private: bool = False) -> None:
    """POST ``data`` as JSON within ``timeout`` seconds (the look-up of the name apart).

    Raises WebhookError if it was not taken with a status of 200 to 299.
    """
    parts = parse_endpoint(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    body = json.dumps(data, default=str).encode()
    try:
        addresses = resolve(host, port, allow_private=allow_private)
        deadline = monotonic() + timeout
        with closing(_connect(addresses, deadline)) as plain:
            status = _post(parts, plain, body, deadline)
    except (OSError, ValueError) as error:
        raise WebhookError(f"{host}: {type(error).__name__}: {error}") from None
    if not 200 <= status < 300:
        raise WebhookError(f"{host} answered {status}.")


def resolve(host: str, port: int, *, allow_private: bool) -> list[Any]:
    """Socket addresses of ``host``. Raises WebhookError if none of them is public."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [
        (family, address)
        for family, _, _, _, address in found
        if allow_private or is_public(str(address[0]))
    ]
    if not addresses:
        raise WebhookError(f"{host} has a private address only.")
    return addresses


def _is_private(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return host == "localhost"
    return not is_public(host)


def _connect(addresses: list[Any], deadline: float) -> socket.socket:
    failure: OSError | None = None
    for family, address in addresses:
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(_left(deadline))
            sock.connect(address)
        except OSError as error:
            sock.close()
            failure = error
        else:
            return sock
    raise failure or OSError("no address")


def _post(parts: SplitResult, plain: socket.socket, body: bytes, deadline: float) -> int:
    host = parts.hostname or ""
    connection: HTTPConnection
    sock = plain
    if parts.scheme == "https":
        context = ssl.create_default_context()
        connection = HTTPSConnection(host, parts.port, context=context)
        plain.settimeout(_left(deadline))
        sock = context.wrap_socket(plain, server_hostname=host)
    else:
        connection = HTTPConnection(host, parts.port)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    with closing(sock):
        sock.settimeout(_left(deadline))
        connection.sock = sock
        connection.request(
            "POST",
            target,
            body,
            {
                "Content-Type": "application/json",
                "User-Agent": "django-signal-kit",
                "Connection": "close",
            },
        )
        return _read_status(sock, deadline)


def _read_status(sock: socket.socket, deadline: float) -> int:
    """The number in the first line of the answer; nobody needs the rest."""
    line = b""
    while b"\n" not in line and len(line) < _LONGEST_LINE:
        # Not once for all: a server may send a byte now and a byte then.
        sock.settimeout(_left(deadline))
        received = sock.recv(_LONGEST_LINE)
        if not received:
            break
        line += received
    match = _STATUS.match(line)
    if match is None:
        raise ValueError("the answer is not HTTP")
    return int(match[1])


def _left(deadline: float) -> float:
    left = deadline - monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left
