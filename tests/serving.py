"""Serves Django by hand: as an ASGI server does, and by a WSGI server in a thread."""

from __future__ import annotations

import asyncio
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.db import connections
from django.test import RequestFactory

TIMEOUT = 30


class Visit:
    """One ASGI request, message by message."""

    def __init__(self, path: str = "/", **headers: str) -> None:
        self.scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "path": path,
            "query_string": b"",
            "headers": [(k.encode(), v.encode()) for k, v in headers.items()],
            "client": ["127.0.0.1", 1],
            "server": ["testserver", 80],
        }
        self.sent: list[dict[str, Any]] = []
        self.gone = asyncio.Event()
        self.first_chunk = asyncio.Event()
        self._has_body = False

    async def receive(self) -> dict[str, Any]:
        if not self._has_body:
            self._has_body = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)
        if message["type"] == "http.response.body" and message.get("body"):
            self.first_chunk.set()

    async def run(self, handler: ASGIHandler) -> Visit:
        async with asyncio.timeout(TIMEOUT):
            await handler(self.scope, self.receive, self.send)
        return self

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[str, str]:
        return {k.decode().lower(): v.decode() for k, v in self.sent[0]["headers"]}

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent[1:])


def call_wsgi(handler: WSGIHandler, path: str = "/", **environ: Any) -> Any:
    """The response, not closed yet, as a WSGI server has it."""
    return handler(RequestFactory().get(path, **environ).environ, lambda *args: None)


class _Quiet(WSGIRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass


class _Threaded(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = False

    def process_request_thread(self, *args: Any) -> None:
        try:
            super().process_request_thread(*args)
        finally:
            connections.close_all()


@contextmanager
def serve_wsgi(handler: WSGIHandler) -> Iterator[str]:
    """The address of a server that has a thread for each connection."""
    with make_server("127.0.0.1", 0, handler, _Threaded, _Quiet) as server:
        yield from _run(server)


class _Plain(socketserver.ThreadingTCPServer):
    def handle_error(self, *args: Any) -> None:
        """A client that leaves is nothing to tell of."""


@contextmanager
def serve(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The address of a plain HTTP server with a thread for each connection."""
    with _Plain(("127.0.0.1", 0), handler) as server:
        yield from _run(server)


def _run(server: Any) -> Iterator[str]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield "http://{}:{}".format(*server.server_address[:2])
    finally:
        server.shutdown()
        thread.join(TIMEOUT)
