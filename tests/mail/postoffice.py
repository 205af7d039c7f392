"""A mail server in a process of its own, with moods.

    python -m tests.mail.postoffice FOLDER SEED

Writes its port to FOLDER/port, and each mail that it accepts to FOLDER/accepted, before it says
so.
While FOLDER/stormy is there it is closed half of the time, late, drops connections, and answers
421, 450 and 550.
"""

from __future__ import annotations

import asyncio
import email
import json
import random
import socket
import sys
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP

_OPEN = (0.2, 0.5)
_CLOSED = (0.1, 0.3)


class Moods:
    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.chance = random.Random(seed)

    @property
    def is_stormy(self) -> bool:
        return (self.folder / "stormy").exists()

    async def get_mood(self) -> str:
        if not self.is_stormy:
            return ""
        await asyncio.sleep(self.chance.choice((0, 0, 0, 0.02)))
        return self.chance.choice(("", "", "", "", "", "421", "450", "550", "drop"))

    async def handle_RCPT(  # noqa: N802
        self, server: Any, session: Any, envelope: Any, address: str, options: Any
    ) -> str:
        mood = await self.get_mood()
        if mood == "drop":
            server.transport.abort()
            return "421 gone"
        if mood:
            return f"{mood} not now"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        mood = await self.get_mood()
        if mood == "drop":
            server.transport.abort()
            return "421 gone"
        if mood:
            return f"{mood} not now"
        parsed = email.message_from_bytes(envelope.content)
        with (self.folder / "accepted").open("a") as file:
            for address in envelope.rcpt_tos:
                print(json.dumps([address, parsed["Message-ID"]]), file=file)
        return "250 OK"


async def serve(folder: Path, seed: int) -> None:
    moods = Moods(folder, seed)
    loop = asyncio.get_running_loop()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    while True:
        server = await loop.create_server(
            lambda: SMTP(moods, hostname="localhost"), "127.0.0.1", port, reuse_address=True
        )
        (folder / "port.new").write_text(str(port))
        (folder / "port.new").rename(folder / "port")
        await asyncio.sleep(moods.chance.uniform(*_OPEN))
        while not moods.is_stormy:  # noqa: ASYNC110 another process makes the weather
            await asyncio.sleep(0.05)
        server.close()
        await asyncio.sleep(moods.chance.uniform(*_CLOSED))


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2])))
