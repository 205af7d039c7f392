"""One alert for each kind of error."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal

from django.conf import settings
from django.core.checks import CheckMessage
from django.db import DEFAULT_DB_ALIAS
from django.http import HttpRequest

from django_signal_kit.current import get_scope
from django_signal_kit.exceptions import FlushFailedError
from django_signal_kit.exchange import get_known_user_pk, get_route
from django_signal_kit.receiver import Receiver
from django_signal_kit.requests import alert_configuration
from django_signal_kit.requests.carrying import (
    TravelledAlert,
    pack_alert,
    unpack_alert,
)
from django_signal_kit.requests.channels import Channel, tell
from django_signal_kit.requests.gate import Gate, Pass
from django_signal_kit.requests.hiding import Hider
from django_signal_kit.requests.reporting import (
    cut,
    describe_request,
    get_location,
    get_message,
    get_path,
    get_traceback,
    get_type_name,
)
from django_signal_kit.requests.waiting import Waiting
from django_signal_kit.requests.windows import Windows
from django_signal_kit.rows.values import to_text
from django_signal_kit.tasks.collecting import InContext, send_to_task
from django_signal_kit.units.failures import report_failure
from django_signal_kit.units.journal import call_flush
from django_signal_kit.wiring.idle import check_idle, overrides

# The methods by which a subclass says whether to tell of an exception.
_DECIDING = ("should_alert", "got_request_exception")

_alerting: ContextVar[bool] = ContextVar("signal_kit_alerting", default=False)


@dataclass(frozen=True, slots=True)
class Alert:
    """What there is to tell. It is made into text while the request is being answered."""

    exception: BaseException
    request: HttpRequest | None
    #: How many of the same kind were not told of since the last alert.
    suppressed: int
    #: How many of other kinds were not told of, because there were too many of all kinds.
    held_back: int


class ExceptionAlert(Receiver):
    """Tells of an uncaught exception of a request: once for each kind of it in a window of time.

    When the request has been answered, so that nobody waits for the mail server. Nothing that
    fails here reaches the request; it is logged and told by ``receiver_failed``.
    """

    on_error: Literal["raise", "log"] = "log"
    #: How to tell: ``"mail"``, ``"log"`` (an ERROR of the logger ``django_signal_kit.alerts``),
    #: ``"webhook"``. The thread of the request sends them before it takes another one.
    channels: Sequence[Channel] = ("mail",)
    #: The addresses of the mail; the ADMINS if empty.
    to: Sequence[str] = ()
    #: Where to POST JSON: an http or https URL.
    webhook_url: str = ""
    #: Seconds for the webhook, from the connection to the first line of the answer.
    timeout: float = 5.0
    #: Let the webhook be on this host or in its own network.
    allow_private: bool = False
    #: Seconds for which others of the same kind are only counted.
    window: float = 3600.0
    #: At most so many alerts of all kinds in a window.
    max_alerts: int = 20
    #: An alias of CACHES, so that all processes together send one; empty: each process counts by
    #: itself, in memory.
    cache: str = ""

    _savepoint = False

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._windows = Windows(self.window, self.max_alerts)
        self._gate = Gate(self, self._windows)
        self._waiting = Waiting(self._send)

    def should_alert(self, exception: BaseException, request: HttpRequest | None) -> bool:
        """Whether to tell of it at all. By default not if DEBUG."""
        return not settings.DEBUG

    def get_fingerprint(self, exception: BaseException, request: HttpRequest | None) -> str:
        """What makes two exceptions of one kind: by default the type, the route, and the line of
        the project's own code."""
        return " | ".join((get_type_name(exception), get_route(request), get_location(exception)))

    def get_subject(self, alert: Alert) -> str:
        """The subject of the mail, without the prefix. Line breaks become spaces."""
        route = get_route(alert.request) or "a request without a route"
        return f"{get_type_name(alert.exception)} in {route} ({get_location(alert.exception)})"

    def get_body(self, alert: Alert) -> str:
        """The text of the mail, and of the log."""
        payload = self.get_payload(alert)
        lines = [
            f"{payload['type']}: {payload['message']}",
            f"at {payload['location']}",
            f"{payload['method']} {payload['path']} (route {payload['route'] or 'unknown'})",
        ]
        if payload["user_pk"] is not None:
            lines.append(f"user {payload['user_pk']}")
        if alert.suppressed:
            lines.append(f"{alert.suppressed} more of this kind since the last alert")
        if alert.held_back:
            lines.append(f"{alert.held_back} of other kinds were not told of")
        lines += ["", payload["traceback"]]
        for name, values in payload["request"].items():
            lines += [name, *(f"    {key} = {value}" for key, value in values.items())]
        return "\n".join(lines)

    def get_payload(self, alert: Alert) -> dict[str, Any]:
        """What the webhook gets: a dict that JSON knows. ``"text"`` is what chat services show."""
        request, exception = alert.request, alert.exception
        user_pk = get_known_user_pk(request)
        hider = Hider(request)
        # First: what is hidden here must not be in the message, either.
        described = describe_request(request, hider)
        return {
            "text": self.get_subject(alert),
            "type": get_type_name(exception),
            "message": get_message(exception, hider),
            "location": get_location(exception),
            "route": get_route(request),
            "method": getattr(request, "method", None) or "",
            "path": get_path(request, hider),
            "user_pk": None if user_pk is None else str(user_pk),
            "suppressed": alert.suppressed,
            "held_back": alert.held_back,
            "traceback": get_traceback(exception, hider),
            "request": described,
        }

    def got_request_exception(self, request: HttpRequest | None = None, **kwargs: Any) -> None:
        """Have the exception told of that is being handled, unless one like it has been."""
        exception = sys.exc_info()[1]
        # What a hook does may fail in a request of its own.
        if exception is None or _alerting.get():
            return
        token = _alerting.set(True)
        try:
            if not self.should_alert(exception, request):
                return
            given = self._gate.admit(self.get_fingerprint(exception, request))
            if given is not None:
                self._tell(Alert(exception, request, given.suppressed, given.held_back), given)
        finally:
            _alerting.reset(token)

    def request_finished(self, **kwargs: Any) -> None:
        """Send the alerts of requests that have been answered."""
        if self._waiting:
            self._waiting.send()

    def flush(self, items: list[dict[str, Any]]) -> None:
        """Send the alerts. Where a channel fails, the others are used all the same. In a task,
        raises FlushFailedError for those that no channel has taken, so that it is tried again."""
        lost: list[dict[str, Any]] = []
        failure: Exception | None = None
        for item in items:
            failures = tell(self, item)
            is_lost = len(failures) == len(set(self.channels))
            if is_lost and isinstance(item, TravelledAlert):
                lost.append(item)
                failure = failure or failures[0]
                continue
            for error in failures:
                report_failure(self, "flush", error)
            self._settle(item, arrived=not is_lost)
        if lost:
            raise FlushFailedError(lost) from failure

    def serialize(self, item: dict[str, Any]) -> dict[str, Any]:
        return pack_alert(item)

    def deserialize(self, data: dict[str, Any]) -> dict[str, Any]:
        return unpack_alert(data)

    def check(self) -> None:
        alert_configuration.check(self)
        check_idle(self, ExceptionAlert, ["channels"], ["flush"])

    def get_warnings(self) -> list[CheckMessage]:
        decides = overrides(self, ExceptionAlert, _DECIDING)
        return [*alert_configuration.warn(self, decides=decides)]

    def _tell(self, alert: Alert, given: Pass) -> None:
        item: dict[str, Any] = {"pass": given}
        try:
            item["subject"] = _one_line(self.get_subject(alert))
            if {"mail", "log"} & set(self.channels):
                # No mail server takes half of a surrogate pair.
                item["body"] = to_text(self.get_body(alert))
            if "webhook" in self.channels:
                item["payload"] = self.get_payload(alert)
        except Exception:
            self._settle(item, arrived=False)
            raise
        self._waiting.add(InContext(item, get_scope()))
        if alert.request is None or settings.DEBUG_PROPAGATE_EXCEPTIONS:
            # There is no request that will have been answered, or no answer.
            self._waiting.send()

    def _send(self, alerts: list[InContext]) -> None:
        """When their requests have been answered."""
        if self.flush_on == "task":
            try:
                send_to_task(self, alerts, DEFAULT_DB_ALIAS)
            except Exception as error:
                # The queue may be what the alert is about.
                report_failure(self, "flush", error)
            else:
                return
        items = [alert.stands_for for alert in alerts]
        try:
            call_flush(self, items)
        except Exception as error:
            report_failure(self, "flush", error)
            for item in items:
                self._settle(item, arrived=False)
        except BaseException:
            # What an interrupt stops is told at the end of the process.
            for alert in alerts:
                if "pass" in alert.stands_for:
                    self._waiting.add(alert)
            raise

    def _note_lost(self, items: list[dict[str, Any]]) -> None:
        for item in items:
            self._settle(item, arrived=False)

    def _settle(self, item: dict[str, Any], *, arrived: bool) -> None:
        """Once for each alert: a subclass may fail after the alert has been sent."""
        if "pass" in item:
            self._gate.settle(item.pop("pass"), arrived=arrived)


def _one_line(text: str) -> str:
    return cut(to_text(" ".join(text.split())), 150)
