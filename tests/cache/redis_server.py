"""A Redis of a test's own, on a port of its own, which can be killed and started again."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache

from django_signal_kit.cache.recovery import disconnect
from tests.ports import get_free_port


class RedisServer:
    """``durable``: it keeps each write on the disk, so that it has all its keys when it comes
    back."""

    def __init__(self, folder: Path, *, durable: bool = True) -> None:
        path = shutil.which("redis-server")
        if path is None:
            if os.environ.get("SIGNAL_KIT_REQUIRE_SERVICES") == "1":
                pytest.fail("redis-server is not installed")
            pytest.skip("redis-server is not installed")
        self.port = get_free_port()
        self.command = [
            *(path, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder)),
            *("--appendonly", "yes" if durable else "no", "--appendfsync", "always"),
            *("--save", ""),
        ]
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL)
        end = time.monotonic() + 20
        while time.monotonic() < end:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1) as client:
                    client.sendall(b"PING\r\n")
                    if client.recv(16).startswith(b"+PONG"):
                        return
            except OSError:
                pass
            time.sleep(0.02)
        pytest.fail("redis-server does not answer")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def serve_redis(settings: Any, folder: Path) -> Iterator[RedisServer]:
    """The default cache is in a Redis of its own."""
    server = RedisServer(folder, durable=False)
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": f"redis://127.0.0.1:{server.port}",
        }
    }
    try:
        yield server
    finally:
        disconnect(cache)
        server.kill()
