"""A memcached of a test's own, on a port of its own."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time

import pytest

from tests.ports import get_free_port


class MemcachedServer:
    """``megabytes``: what it holds before it throws out what is old."""

    def __init__(self, megabytes: int = 64) -> None:
        path = shutil.which("memcached")
        if path is None:
            if os.environ.get("SIGNAL_KIT_REQUIRE_SERVICES") == "1":
                pytest.fail("memcached is not installed")
            pytest.skip("memcached is not installed")
        self.port = get_free_port()
        self.process = subprocess.Popen(
            [
                *(path, "-l", "127.0.0.1", "-p", str(self.port), "-U", "0"),
                # It refuses to run as root unless it is told to.
                *("-m", str(megabytes), "-u", getpass.getuser()),
            ],
            stdout=subprocess.DEVNULL,
        )
        end = time.monotonic() + 20
        while time.monotonic() < end:
            try:
                self.ask("version")
                return
            except OSError:
                time.sleep(0.02)
        pytest.fail("memcached does not answer")

    def ask(self, command: str) -> str:
        """What it answers to a command that ends with a line."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as client:
            client.sendall(f"{command}\r\nquit\r\n".encode())
            answer = b""
            while data := client.recv(65536):
                answer += data
            return answer.decode()

    def get_figure(self, name: str) -> int:
        """One of those that it keeps of itself, such as ``evictions``."""
        found = (line.split() for line in self.ask("stats").splitlines())
        return int({parts[1]: parts[2] for parts in found if len(parts) == 3}[name])

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
