"""The course of a run: writers write, workers are killed, and in the end accounts are settled."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Sequence

from django.core.management import call_command

from tests.engines.engines import Engine
from tests.engines.place import Broker
from tests.engines.scenario import Scenario, Tally
from tests.engines.worker import Worker
from tests.engines.writers import Writers

PATIENCE = 90
#: So long a worker may take to end.
ENDING = 20
WRITERS = 2
#: Of each writer.
THREADS = 4


class Course:
    def __init__(
        self,
        engine: Engine,
        scenario: Scenario,
        worker: Worker,
        broker: Broker | None,
        *,
        faults: Sequence[str],
        seed: int,
    ) -> None:
        self.engine = engine
        self.scenario = scenario
        self.worker = worker
        self.broker = broker
        self.chance = random.Random(seed)
        self.writers = Writers(scenario, WRITERS, THREADS, seed)
        self.faults = faults
        self.kills: dict[str, int] = {}

    def run(self, rounds: int, units: int) -> Tally:
        """Do harm in each round, with so many ``units`` of writes before it."""
        try:
            self.worker.start()
            for number in range(rounds):
                before = self.scenario.count()
                self.writers.tell(units)
                self.await_progress(before)
                self.harm(number)
            self.writers.tell(units)
            self.await_written()
            self.writers.end()
            self.scenario.calm_down()
            self.drain()
            return self.scenario.judge()
        finally:
            self.writers.kill()
            self.worker.kill()

    def harm(self, number: int) -> None:
        """What goes wrong in the round of this number, at a moment that nobody has chosen."""
        time.sleep(self.chance.uniform(0, 0.3))
        for fault in self.faults:
            period, act = self.FAULTS[fault]
            # Alone, it comes each time.
            if len(self.faults) == 1 or number % period == period - 1:
                act(self)

    def kill_writers(self) -> None:
        self.writers.kill_one()
        self.writers.kill_one_after_commit()
        self.count("writer", 2)

    def kill_worker(self) -> None:
        """All of it, or one of the processes that it has started."""
        if self.chance.random() < 0.4 and self.worker.kill_child(self.chance):
            self.count("child")
        else:
            self.worker.kill()
            self.count("worker")
            self.worker.start()

    def take_broker_away(self) -> None:
        """Let the writers commit without it."""
        if self.broker is not None:
            self.broker.kill()
            self.writers.tell(WRITERS * THREADS)
            self.await_written()
            self.broker.start()
            self.count("broker")

    #: Every how many rounds they come, and what they do.
    FAULTS = {
        "writer": (2, kill_writers),
        "broker": (4, take_broker_away),
        "worker": (1, kill_worker),
    }

    def count(self, kind: str, more: int = 1) -> None:
        self.kills[kind] = self.kills.get(kind, 0) + more

    def await_progress(self, before: int) -> None:
        def has_come() -> bool:
            self.keep_worker()
            return self.scenario.count() > before

        self.wait(has_come, "The worker does nothing.")

    def await_written(self) -> None:
        self.wait(lambda: self.writers.are_idle, "The writers do not write.")

    def drain(self) -> None:
        """Have all done that can be, and let the worker end."""
        self.wait(self.has_ended_with_all, "The queue does not become empty.")
        if self.scenario.recovers:
            self.wait(self.is_done_after_an_hour, "What was committed is not flushed.")
            self.wait(self.has_ended_with_all, "The queue does not become empty.")

    def is_done_after_an_hour(self) -> bool:
        """What no worker does any more is left to cron."""
        if self.scenario.is_done():
            return True
        if self.has_ended_with_all():
            self.engine.let_time_pass()
            call_command("relaytasks", verbosity=0)
            self.scenario.keep_house()
        return False

    def has_ended_with_all(self) -> bool:
        """A worker that ends may give back what it had taken from the queue."""
        self.keep_worker()
        if self.engine.pending() or not self.is_quiet():
            return False
        self.worker.stop(ENDING)
        return not self.engine.pending()

    def is_quiet(self) -> bool:
        """Does nothing come any more, for longer than any task takes? What is taken from a queue
        and not yet done, no queue tells."""
        before, end = self.scenario.count(), time.monotonic() + 1
        while time.monotonic() < end:
            if self.scenario.count() > before or not self.worker.is_alive:
                return False
            time.sleep(0.05)
        return True

    def keep_worker(self) -> None:
        """Start it again if it has ended, as a process manager would."""
        if not self.worker.is_alive:
            self.worker.start()

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """For as long as anything comes."""
        count, end = -1, 0.0
        while not condition():
            if (now := self.scenario.count()) > count:
                count, end = now, time.monotonic() + PATIENCE
            if time.monotonic() > end:
                self.scenario.calm_down()
                sys.exit(f"{what} {self.scenario.judge()}")
            time.sleep(0.02)
