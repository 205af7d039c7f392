"""Servers of tests in a process of their own, with moods.

``python -m MODULE FOLDER SEED`` writes its port to FOLDER/port. While FOLDER/stormy is there it is
closed half of the time, and late, and fails, and drops connections.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.ports import get_free_port

_ROOT = Path(__file__).parents[1]
_PATIENCE = 30
_OPEN = (0.2, 0.5)
_CLOSED = (0.1, 0.3)


class Moods:
    """Those of the server that works in ``folder``. In five of nine it does what it is asked."""

    def __init__(self, folder: Path, seed: int, *bad: str) -> None:
        self.folder = folder
        self.chance = random.Random(seed)
        self.bad = bad

    @property
    def is_stormy(self) -> bool:
        return (self.folder / "stormy").exists()

    async def get_mood(self) -> str:
        """One of the bad ones, or nothing."""
        if not self.is_stormy:
            return ""
        await asyncio.sleep(self.chance.choice((0, 0, 0, 0.02)))
        return self.chance.choice(("", "", "", "", "", *self.bad))

    async def serve(self, listen: Callable[[int], Awaitable[asyncio.Server]]) -> None:
        """For ever, by the server that listens at a port when it is asked to."""
        port = get_free_port()
        while True:
            server = await listen(port)
            (self.folder / "port.new").write_text(str(port))
            (self.folder / "port.new").rename(self.folder / "port")
            await asyncio.sleep(self.chance.uniform(*_OPEN))
            while not self.is_stormy:  # noqa: ASYNC110 another process makes the weather
                await asyncio.sleep(0.05)
            server.close()
            await asyncio.sleep(self.chance.uniform(*_CLOSED))


@contextmanager
def start(module: str, folder: Path, seed: int = 1) -> Iterator[None]:
    """The server of this module, in a storm. It is over when FOLDER/stormy is gone."""
    (folder / "stormy").touch()
    command = [sys.executable, "-m", module, str(folder), str(seed)]
    with subprocess.Popen(command, cwd=_ROOT) as server:
        try:
            end = time.monotonic() + _PATIENCE
            while not (folder / "port").exists():
                if time.monotonic() > end:
                    raise TimeoutError(f"{module} does not serve.")
                time.sleep(0.01)
            yield
        finally:
            server.kill()
