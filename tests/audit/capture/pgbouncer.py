"""A pgbouncer of one's own in front of the test database, in transaction mode."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
_PATIENCE = 30  # seconds


@contextmanager
def pgbouncer(folder: Path, settings: dict[str, Any], *, size: int = 1) -> Iterator[int]:
    """Its port. ``size``: how many connections to the server all clients share."""
    assert PROGRAM is not None
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    users = folder / "users.txt"
    users.write_text(f'"{settings["USER"]}" ""\n')
    config = folder / "pgbouncer.ini"
    config.write_text(
        f"[databases]\n* = host={settings['HOST']} port={settings['PORT'] or 5432}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = trust\nauth_file = {users}\npool_mode = transaction\n"
        f"default_pool_size = {size}\nignore_startup_parameters = options\n"
        f"logfile = {folder / 'pgbouncer.log'}\n"
    )
    command = [PROGRAM, str(config)]
    if getpass.getuser() == "root":
        # It refuses to run as root.
        for path in (folder, users, config):
            path.chmod(0o777)
        for parent in folder.parents:
            if parent.owner() == "root" and parent.stat().st_mode & 0o005 != 0o005:
                parent.chmod(parent.stat().st_mode | 0o055)
        command += ["-u", "nobody"]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={"PATH": os.defpath}
    )
    try:
        _wait_for(port, process)
        yield port
    finally:
        process.terminate()
        process.wait(_PATIENCE)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
