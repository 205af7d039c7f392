"""Stands in front of a server, so that it can be gone: ``python -m tests.engines.gate PORT TO``.

While the process lives it passes on what comes to PORT; when it is killed, all its connections end
and nobody answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.ports import get_free_port

_ROOT = Path(__file__).parents[2]
_PATIENCE = 20


class Gate:
    """A gate in a process of its own, which can be killed and started again."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = get_free_port()
        self.start()

    def start(self) -> None:
        arguments = [sys.executable, "-m", __name__, str(self.port), str(self.target)]
        self.process = subprocess.Popen(arguments, cwd=_ROOT)
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            time.sleep(0.02)
        raise TimeoutError(f"Nobody answers on port {self.port}.")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


async def main(port: int, target: int) -> None:
    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(1 << 16):
                sink.write(data)
                await sink.drain()
        sink.close()

    async def let_in(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", target)
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    server = await asyncio.start_server(let_in, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
