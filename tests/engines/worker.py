"""A worker of the engine, as its documentation starts it, and the ways in which it ends."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

from tests.engines.engines import Engine

ROOT = Path(__file__).parents[2]


class Worker:
    def __init__(self, engine: Engine, log: Path) -> None:
        self.engine = engine
        self.log = log

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self.engine.worker],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # A group of its own, which can be killed as one.
                start_new_session=True,
            )

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        """All its processes at once, as when its container is killed."""
        if self.is_alive:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def kill_child(self, chance: random.Random) -> bool:
        """One of the processes that it has started, as when that took too much memory. Returns
        whether there was one."""
        children = self._get_children()
        if not children:
            return False
        try:
            os.kill(chance.choice(children), signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True

    def _get_children(self) -> list[int]:
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in path.read_text().split()] if path.exists() else []

    def stop(self, patience: float) -> None:
        """Let it end what it does."""
        if self.is_alive:
            self.process.send_signal(self.engine.stop)
            try:
                self.process.wait(patience)
            except subprocess.TimeoutExpired:
                # Not even its container would wait any longer. That of huey never ends if it is
                # told to while it starts its processes: it waits for them, and they never hear.
                self.kill()
