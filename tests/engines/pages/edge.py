"""What stands in front of a site and takes purges, in a process of its own, with moods.

    python -m tests.engines.pages.edge FOLDER SEED

Appends the tags of each purge to FOLDER/purged, before it says that it is done. In bad moods it
answers 503, and drops connections, before and after it has purged: see ``tests/moods.py``.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from pathlib import Path

from tests.moods import Moods


class Edge:
    def __init__(self, moods: Moods) -> None:
        self.moods = moods

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while await self.answer(await reader.readuntil(b"\r\n\r\n"), writer):
                pass
        writer.close()

    async def answer(self, head: bytes, writer: asyncio.StreamWriter) -> bool:
        mood = await self.moods.get_mood()
        if mood == "drop":
            return False
        if mood != "503":
            [tags] = [
                line.partition(":")[2].strip()
                for line in head.decode().splitlines()
                if line.lower().startswith("cache-tag:")
            ]
            with (self.moods.folder / "purged").open("a") as file:
                print(tags, file=file)
        if mood == "drop late":
            return False
        status = "503 Not Now" if mood == "503" else "200 OK"
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()
        return True


def read_purged(folder: Path) -> list[str]:
    """The tags that have been purged, each as often as it was."""
    with suppress(FileNotFoundError):
        return [tag for line in (folder / "purged").open() for tag in line.strip().split(",")]
    return []


async def main(folder: Path, seed: int) -> None:
    moods = Moods(folder, seed, "503", "503", "drop", "drop late")
    edge = Edge(moods)
    await moods.serve(
        lambda port: asyncio.start_server(edge.serve, "127.0.0.1", port, reuse_address=True)
    )


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
