"""A mail server in a process of its own, with moods.

    python -m tests.mail.postoffice FOLDER SEED

Writes each mail that it accepts to FOLDER/accepted, before it says so. In bad moods it answers
421, 450 and 550, and drops connections: see ``tests/moods.py``.
"""

from __future__ import annotations

import asyncio
import email
import json
import sys
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP

from tests.moods import Moods


class PostOffice:
    def __init__(self, moods: Moods) -> None:
        self.moods = moods

    async def handle_RCPT(  # noqa: N802
        self, server: Any, session: Any, envelope: Any, address: str, options: Any
    ) -> str:
        mood = await self.moods.get_mood()
        if mood == "drop":
            server.transport.abort()
            return "421 gone"
        if mood:
            return f"{mood} not now"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        mood = await self.moods.get_mood()
        if mood == "drop":
            server.transport.abort()
            return "421 gone"
        if mood:
            return f"{mood} not now"
        parsed = email.message_from_bytes(envelope.content)
        with (self.moods.folder / "accepted").open("a") as file:
            for address in envelope.rcpt_tos:
                print(json.dumps([address, parsed["Message-ID"]]), file=file)
        return "250 OK"


def read_accepted(folder: Path) -> dict[str, list[str]]:
    """Address -> the Message-IDs of the mails to it that the server has accepted."""
    found = defaultdict(list)
    with suppress(FileNotFoundError):
        for line in (folder / "accepted").read_text().splitlines():
            address, message_id = json.loads(line)
            found[address].append(message_id)
    return found


async def serve(folder: Path, seed: int) -> None:
    moods = Moods(folder, seed, "421", "450", "550", "drop")
    loop = asyncio.get_running_loop()

    async def listen(port: int) -> asyncio.Server:
        return await loop.create_server(
            lambda: SMTP(PostOffice(moods), hostname="localhost"),
            "127.0.0.1",
            port,
            reuse_address=True,
        )

    await moods.serve(listen)


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2])))
