"""What receivers did and what it cost: counted in each process, read for all of them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from time import time
from typing import Any

from django_signal_kit import tally
from django_signal_kit.receiver import Receiver
from django_signal_kit.sight import queries, records
from django_signal_kit.sight.failures import Failures
from django_signal_kit.sight.figures import Counters, Failure, Figures, Histogram, Process, Tasks
from django_signal_kit.sight.publishing import Publisher
from django_signal_kit.sight.slots import KEPT, Slot, is_alive, is_shared, read_others
from django_signal_kit.sight.tallies import Tally
from django_signal_kit.tasks import relaying, stuck
from django_signal_kit.tasks.places import list_outboxes
from django_signal_kit.units.failures import report_once
from django_signal_kit.wiring import measuring
from django_signal_kit.wiring.registry import registry

#: Name -> what else is told to the other processes: a tree of numbers that only grow.
sources: dict[str, Callable[[], Any]] = {}


class Counting:
    """What this process has counted, and its place among the others."""

    def __init__(self) -> None:
        self.failures = Failures()
        self.publisher = Publisher(self.publish)
        # Name of a receiver -> its tally. One that is wired again goes on counting.
        self._tallies: dict[str, Tally] = {}
        self._begin_anew()

    def _begin_anew(self) -> None:
        self.failures.begin_anew()
        for each in self._tallies.values():
            each.begin_anew()
        self.slot = Slot()
        # What has been told, and what another process tells now.
        self._told: dict[str, Any] = {}
        self._gone: dict[str, Any] = {}

    def wrap(
        self, receiver: Receiver, name: str, method: measuring.Function
    ) -> measuring.Function:
        """As one of the wrappers that are there when receivers are wired."""
        found = self._tallies.get(receiver.name)
        if found is None:
            note = partial(self.failures.note, receiver.name)
            found = self._tallies.setdefault(receiver.name, Tally(self.publisher.wake, note))
        return found.wrap(name, method)

    def publish(self, is_due: bool, is_last: bool) -> None:
        """Tell the other processes, if it is due or there is something new. Raises what the cache
        raises."""
        sums = self._read_sums()
        if not (is_due or is_last) and sums == self._told:
            return
        if not self.slot.hold():
            # Another process goes on with what this one had told.
            self._gone = self._told
            self.failures.begin_anew()
            self.slot = Slot()
            self.slot.hold()
        wired, day_ago = {receiver.name for receiver in registry.receivers}, time() - KEPT
        self.slot.inherited = [
            records.leave_out_gone(each, wired, day_ago) for each in self.slot.inherited
        ]
        self.slot.write(self._make_record(sums), is_last=is_last)
        self._told = sums

    def read(self) -> dict[str, Any]:
        """What this process has counted, and what it has taken over from those that ended."""
        return self._make_record(self._read_sums())

    def _make_record(self, sums: dict[str, Any]) -> dict[str, Any]:
        ran = {name: each.ran_at for name, each in list(self._tallies.items())}
        own = {
            "sums": records.add_up(sums, self._gone, -1),
            "ran": {name: at for name, at in ran.items() if at},
            "errors": self.failures.read(),
            "since": self.slot.began,
        }
        return records.combine([own, *self.slot.inherited])

    def _read_sums(self) -> dict[str, Any]:
        receivers = {
            name: each.read() for name, each in list(self._tallies.items()) if each.has_run
        }
        for receiver in registry.receivers:
            if own := _read_own(receiver):
                receivers.setdefault(receiver.name, {})["own"] = own
        more = {name: read() for name, read in list(sources.items())}
        return {"receivers": receivers, **more}

    def rest(self) -> None:
        """Nothing is counted for a while. The next call that is wakes the thread again."""
        self.publisher.stop()
        for each in self._tallies.values():
            each.rest()

    def forget(self) -> None:
        """For tests: nothing has been counted yet."""
        self.publisher.stop()
        tally.forget()
        self._begin_anew()

    def start_anew_in_child(self) -> None:
        """What the parent has counted is the parent's, and so are its threads."""
        self.publisher.begin_anew()
        self._begin_anew()


_counting = Counting()
forget = _counting.forget

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_counting.start_anew_in_child)


def start() -> None:
    """Count what the receivers do that are wired from now on."""
    if _counting.wrap not in measuring.wrappers:
        # Next to the method: what others do round it is no time of its own.
        measuring.wrappers.insert(0, _counting.wrap)
        queries.wrapping.start()


def stop() -> None:
    """Count nothing of receivers that are wired from now on."""
    if _counting.wrap in measuring.wrappers:
        measuring.wrappers.remove(_counting.wrap)
        queries.wrapping.stop()
        _counting.rest()


def is_on() -> bool:
    return _counting.wrap in measuring.wrappers


def read_sums(source: str) -> Any:
    """What all processes tell under this name of ``sources``; only this one with ``COUNTERS``
    off, or if the cache does not answer."""
    found, _ = _read_all()
    return records.combine(found)["sums"].get(source)


def get_counters() -> Counters:
    """What all processes have counted, summed. Asks the default cache, and no database. Never
    raises: if the cache does not answer it is what this process has counted, and ``problem`` says
    so. With ``COUNTERS`` off nothing has been counted."""
    wired = {receiver.name: Figures() for receiver in registry.receivers}
    if not is_on():
        return Counters(False, wired, [], [], _is_shared(), None, "")
    found, problem = _read_all()
    told = records.combine(found)
    receivers = told["sums"]["receivers"]
    figures = {name: _make_figures(receivers[name], told["ran"].get(name)) for name in receivers}
    errors = [_make_failure(id, error) for id, error in told["errors"].items()]
    return Counters(
        is_on=True,
        receivers=wired | figures,
        errors=errors,
        processes=[_make_process(record) for record in found],
        is_shared=_is_shared(),
        since=_make_moment(told["since"]),
        problem=problem,
    )


def get_tasks() -> dict[str, Tasks]:
    """Name of a receiver -> its tasks that wait and that have failed, as the outboxes of all
    databases say, and the queue of django-tasks-db; what other queues hold is not known here.
    Raises what a database raises."""
    waiting: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    outboxes = list_outboxes()
    for using in outboxes:
        waiting += relaying.count_waiting(using)
        failed += relaying.count_failed(using)
    for model, using in stuck.get_queues():
        waiting += stuck.count_waiting(model, using)
        if not outboxes:
            # With one it is kept there as well.
            failed += stuck.count_failed(model, using)
    return {name: Tasks(waiting[name], failed[name]) for name in [*(waiting | failed)]}


def _read_all() -> tuple[list[dict[str, Any]], str]:
    """What each process tells, this one first, and why others may be missing."""
    slot = _counting.slot
    own = slot.sign(_counting.read())
    if not is_on():
        return [own], ""
    try:
        return [own, *read_others(slot)], ""
    except Exception as error:
        return [own], f"{type(error).__name__}: {error}"


def _is_shared() -> bool:
    try:
        return is_shared()
    except Exception:
        return False


def _read_own(receiver: Receiver) -> dict[str, int]:
    try:
        figures = dict(receiver.get_own_figures())
    except Exception as error:
        report_once(receiver, "get_own_figures", error)
        return {}
    return {str(name): number for name, number in figures.items() if type(number) is int}


def _make_figures(numbers: dict[str, Any], ran_at: float | None) -> Figures:
    return Figures(
        calls=_make_histogram(numbers, "calls", "seconds"),
        errors=numbers.get("errors", 0),
        queries=numbers.get("queries", 0),
        flushes=_make_histogram(numbers, "flushes", "flush_seconds"),
        flush_errors=numbers.get("flush_errors", 0),
        flush_queries=numbers.get("flush_queries", 0),
        collected=numbers.get("collected", 0),
        flushed=numbers.get("flushed", 0),
        ran_at=_make_moment(ran_at),
        own=numbers.get("own", {}),
    )


def _make_histogram(numbers: dict[str, Any], buckets: str, seconds: str) -> Histogram:
    found = tuple(numbers.get(buckets, ())) or Histogram.buckets
    return Histogram(sum(found), numbers.get(seconds, 0.0), found)


def _make_failure(id: str, told: dict[str, Any]) -> Failure:
    return Failure(**{**told, "id": id, "at": _make_moment(told["at"])})


def _make_process(record: dict[str, Any]) -> Process:
    began, seen = (datetime.fromtimestamp(record[key], UTC) for key in ("began", "seen"))
    return Process(record["name"], began, seen, is_alive(record))


def _make_moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
