"""A proxy in front of a database server that counts round trips, and may make them slow.

A round trip is a burst of the client's bytes that follows upon an answer: however many packets or
statements are sent at once, the client waits once.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any

#: By vendor of a Django connection.
DEFAULT_PORTS = {"postgresql": 5432, "mysql": 3306}


class Proxy:
    """Listens on a port of the loopback interface while the ``with`` block is open."""

    def __init__(self, host: str, port: int, *, delay: float = 0.0) -> None:
        self.target = (host, port)
        #: Seconds that each direction of a round trip takes more.
        self.delay = delay
        self.round_trips = 0
        self._sockets: list[socket.socket] = []

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def __enter__(self) -> Proxy:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets.append(self._listener)
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for each in self._sockets:
            _close(each)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(self.target)
            for each in (client, server):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._sockets.append(each)
            link = _Link(self)
            for source, sink, note in (
                (client, server, link.note_question),
                (server, client, link.note_answer),
            ):
                pump = threading.Thread(target=self._pump, args=(source, sink, note), daemon=True)
                pump.start()

    def _pump(self, source: socket.socket, sink: socket.socket, note: Any) -> None:
        try:
            while data := source.recv(1 << 16):
                # Before the bytes go on, so that whoever has received them finds them counted.
                note()
                if self.delay:
                    time.sleep(self.delay)
                sink.sendall(data)
        except OSError:
            pass
        finally:
            _close(source)
            _close(sink)


class _Link:
    """Who spoke last on one connection."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.is_asking = False

    def note_question(self) -> None:
        if not self.is_asking:
            self.is_asking = True
            self.proxy.round_trips += 1

    def note_answer(self) -> None:
        self.is_asking = False


def _close(each: socket.socket) -> None:
    with suppress(OSError):
        # Wakes the thread that waits for it, which closing alone does not.
        each.shutdown(socket.SHUT_RDWR)
    each.close()


@contextmanager
def through_proxy(connection: Any, *, delay: float = 0.0) -> Iterator[Proxy]:
    """Lead a Django connection to its server through a proxy for the length of the block."""
    settings = connection.settings_dict
    host, port = settings["HOST"] or "127.0.0.1", settings["PORT"]
    connection.close()
    target = int(port or DEFAULT_PORTS[connection.vendor])
    with Proxy(host, target, delay=delay) as proxy:
        settings.update(HOST="127.0.0.1", PORT=proxy.port)
        try:
            connection.ensure_connection()
            yield proxy
        finally:
            connection.close()
            settings.update(HOST=host, PORT=port)
