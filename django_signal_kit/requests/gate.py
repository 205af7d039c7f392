"""Which alerts are let through: one of a kind in a window, whoever counts them."""

from __future__ import annotations

import uuid
from typing import Any, NamedTuple, Protocol

from django_signal_kit.requests.windows import Admission, SharedWindows, Windows
from django_signal_kit.units.failures import report_failure

_SHARED = "cache"


class Pass(NamedTuple):
    """With which an alert was let through. JSON, as it may go to a worker with the alert."""

    kind: str
    #: See :class:`~.windows.Admission`.
    suppressed: int
    held_back: int
    #: Who has counted: ``"cache"``, or the id of the windows of one process.
    windows: str


class Gated(Protocol):
    """The options that say how many alerts there may be."""

    window: float
    max_alerts: int
    cache: str

    @property
    def name(self) -> str: ...


class Gate:
    """Counts in the cache of the receiver, and in memory if it has none, or it does not answer."""

    def __init__(self, receiver: Gated, own: Windows) -> None:
        self.receiver = receiver
        self.own = own
        self._id = uuid.uuid4().hex

    def admit(self, kind: str) -> Pass | None:
        """None if an alert of this kind is held back."""
        if self.receiver.cache:
            try:
                admission = self._get_shared().admit(kind)
            except Exception as error:
                report_failure(self.receiver, "got_request_exception", error)
            else:
                return self._make_pass(kind, admission, _SHARED)
        return self._make_pass(kind, self.own.admit(kind), self._id)

    def settle(self, given: Pass, *, arrived: bool) -> None:
        """Say what has become of an alert. If nobody has taken it, the next error of its kind is
        told of. What the memory of another process has counted is its own. Never raises."""
        windows: Any = {_SHARED: self._get_shared, self._id: self._get_own}.get(given.windows)
        if windows is None:
            return
        try:
            admission = Admission(given.suppressed, given.held_back)
            windows().settle(given.kind, admission, arrived=arrived)
        except Exception as error:
            report_failure(self.receiver, "flush", error)

    def _make_pass(self, kind: str, admission: Admission | None, windows: str) -> Pass | None:
        if admission is None:
            return None
        return Pass(kind, admission.suppressed, admission.held_back, windows)

    def _get_own(self) -> Windows:
        return self.own

    def _get_shared(self) -> SharedWindows:
        receiver = self.receiver
        return SharedWindows(receiver.cache, receiver.name, receiver.window, receiver.max_alerts)
