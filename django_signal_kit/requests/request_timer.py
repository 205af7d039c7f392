"""How long requests take."""

from __future__ import annotations

from collections.abc import MutableMapping
from time import perf_counter
from typing import Any, Literal

from django.core.checks import CheckMessage
from django.db.backends.base.base import BaseDatabaseWrapper
from django.http import HttpRequest, HttpResponseBase

from django_signal_kit import exchange as exchanges
from django_signal_kit.exceptions import Misconfigured
from django_signal_kit.exchange import Exchange, get_exchange
from django_signal_kit.middleware import get_missing
from django_signal_kit.receiver import Receiver
from django_signal_kit.requests.histograms import Histogram, Histograms, Timing
from django_signal_kit.requests.querycount import wrapping
from django_signal_kit.rows.cleansing import hide_tokens
from django_signal_kit.units.loggers import get_logger

logger = get_logger("django_signal_kit.requests")


class RequestTimer(Receiver):
    """Measures each request from ``request_started`` to ``request_finished``, and logs slow ones.

    ``RequestContextMiddleware`` tells it the status, the route and the user. Nothing that fails
    here reaches the request.
    """

    on_error: Literal["raise", "log"] = "log"
    #: Seconds from which on a request is logged as slow: a WARNING of the logger
    #: ``django_signal_kit.requests``. 0 logs each request, None none.
    slow_after: float | None = 1.0
    #: Count the queries and their time. Costs about a microsecond a query.
    queries: bool = True
    #: Tell the client in a ``Server-Timing`` header. Anybody can read it there.
    server_timing: bool = False
    #: How many routes have a histogram of their own. Each takes about a kilobyte.
    max_routes: int = 500

    _savepoint = False

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._histograms = Histograms(self.max_routes)

    def get_route(self, request: HttpRequest) -> str:
        """Under which name the request is counted. By default the pattern of its URL, as
        ``"shop/<slug:slug>/"``; empty if none matched. Called when the response is ready."""
        return exchanges.get_route(request)

    def should_record(self, timing: Timing) -> bool:
        """Whether this request counts. By default each. Called after the response was sent."""
        return True

    def record(self, timing: Timing) -> None:
        """Count the request, and log it if it was slow. Called after the response was sent, in
        whichever thread sent it."""
        self._histograms.add(timing)
        if self.slow_after is not None and timing.duration >= self.slow_after:
            self.log_slow(timing)

    def log_slow(self, timing: Timing) -> None:
        """Log one slow request; the parts are attributes of the log record, too."""
        logger.warning(
            "Slow request: %s %s took %.3f s%s%s%s",
            ascii(timing.method)[1:-1][:20],
            # A path may carry a token, and whatever a stranger wrote into it.
            timing.route or ascii(hide_tokens(timing.path)[:200]),
            timing.duration,
            f", status {timing.status}" if timing.status is not None else "",
            _say_queries(timing),
            f", user {timing.user_pk}" if timing.user_pk is not None else "",
            extra={
                "receiver": self.name,
                "route": timing.route,
                "status": timing.status,
                "user_pk": timing.user_pk,
                "duration": timing.duration,
                "response_duration": timing.response_duration,
                "query_count": timing.query_count,
                "query_duration": timing.query_duration,
            },
        )

    def get_histograms(self) -> dict[str, Histogram]:
        """Route -> what has been counted in this process since it started; a copy."""
        return self._histograms.copy()

    def request_started(
        self,
        environ: MutableMapping[str, Any] | None = None,
        scope: MutableMapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Start the clock. ``environ`` comes under WSGI, ``scope`` under ASGI."""
        carrier = environ if environ is not None else scope
        if carrier is None:
            return
        if self.queries:
            wrapping.put_on_open_ones()
        exchanges.begin(carrier, self)

    def connection_created(self, connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
        """A request opens a connection: its queries count, too."""
        if self.queries and get_exchange() is not None:
            wrapping.put_on(connection)

    def request_finished(self, **kwargs: Any) -> None:
        """Stop the clock and record, unless that has been done already."""
        exchange = get_exchange()
        if exchange is not None:
            self.finish(exchange)

    def see(self, exchange: Exchange, request: HttpRequest, response: HttpResponseBase) -> Any:
        """The middleware shows the response before it is sent."""
        if self.server_timing and exchange.responded is not None:
            entry = f"total;dur={(exchange.responded - exchange.started) * 1000:.1f}"
            if self.queries:
                entry += f", db;dur={exchange.query_duration * 1000:.1f}"
                entry += f';desc="{exchange.query_count} queries"'
            others = response.get("Server-Timing")
            response["Server-Timing"] = f"{others}, {entry}" if others else entry
        return self.get_route(request), exchanges.get_known_user_pk(request)

    def finish(self, exchange: Exchange) -> None:
        """The exchange has ended."""
        if self not in exchange.observers:
            return
        now = perf_counter()
        route, user_pk = exchange.observers.pop(self) or ("", None)
        responded = exchange.responded
        timing = Timing(
            method=exchange.method,
            path=exchange.path,
            route=route,
            status=exchange.status,
            user_pk=user_pk,
            duration=now - exchange.started,
            response_duration=None if responded is None else responded - exchange.started,
            query_count=exchange.query_count if self.queries else None,
            query_duration=exchange.query_duration if self.queries else None,
        )
        if self.should_record(timing):
            self.record(timing)

    def check(self) -> None:
        if self.slow_after is not None and not self.slow_after >= 0:
            raise Misconfigured(
                "E027",
                f"The option 'slow_after' of {self.name} is {self.slow_after!r}.",
                "It has to be a number of seconds: 0 or more, or None.",
            )
        if self.max_routes < 1:
            raise Misconfigured(
                "E027",
                f"The option 'max_routes' of {self.name} is {self.max_routes!r}.",
                "It has to be 1 or more.",
            )

    def get_warnings(self) -> list[CheckMessage]:
        return get_missing(
            f"{self.name} is told neither status nor route nor user, and under ASGI hardly "
            f"anything"
        )


def _say_queries(timing: Timing) -> str:
    if timing.query_count is None or timing.query_duration is None:
        return ""
    return f", {timing.query_count} queries in {timing.query_duration:.3f} s"
