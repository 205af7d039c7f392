"""Ports of this machine."""

from __future__ import annotations

import socket


def get_free_port() -> int:
    """One at which nobody listens, and nobody else has listened of late."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
