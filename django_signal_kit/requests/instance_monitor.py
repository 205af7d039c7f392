"""Says when one request makes more instances of a model than it should."""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping, Sequence
from pathlib import Path
from typing import Any

import asgiref
import django
from django.core.checks import CheckMessage
from django.db.models import Model
from django.http import HttpRequest, HttpResponseBase

from django_signal_kit.exchange import Exchange, begin, get_exchange
from django_signal_kit.middleware import get_missing
from django_signal_kit.receiver import ModelReceiver
from django_signal_kit.rows.cleansing import hide_tokens
from django_signal_kit.units.loggers import get_logger

logger = get_logger("django_signal_kit.instances")

_FOREIGN = (
    os.path.dirname(django.__file__) + os.sep,
    os.path.dirname(asgiref.__file__) + os.sep,
    str(Path(__file__).parents[1]) + os.sep,
)


class Tally:
    """What one request has made so far."""

    __slots__ = ("counts", "sites")

    def __init__(self) -> None:
        self.counts: dict[type[Model], int] = {}
        self.sites: dict[type[Model], list[str]] = {}


class InstanceMonitor(ModelReceiver):
    """Counts the instances of each covered model that a request makes, and warns once when there
    are more than ``limit``: mostly a query in a loop, or a list that nobody pages.

    Counts from ``request_started`` to ``request_finished`` in the thread or task of the request,
    and nothing outside requests. Under ASGI ``RequestContextMiddleware`` has to be there: before
    Django 6.1 the signal is sent in a task of its own, whose context the request does not see.
    """

    #: How many instances of one model a request may make.
    limit: int = 1000
    #: Of how many instances to remember where they were made; some microseconds each.
    sites: int = 3

    # It asks the database nothing: a savepoint would cost a query, and tests count them.
    _savepoint = False

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._limits: dict[type[Model], int] = {}

    def get_limit(self, model: type[Model]) -> int:
        """How many instances of ``model`` a request may make. Asked once a model."""
        return self.limit

    def alert(self, model: type[Model], count: int, path: str, sites: Sequence[str]) -> None:
        """Called once for a model and request, in the middle of it, when instance ``count``, the
        first too many, is made. ``sites``: "file:line in function" outside Django and the kit, of
        the first instances and of this one. By default a warning is logged."""
        logger.warning(
            "%s makes more than %d instances of %s. Made at: %s",
            path,
            count - 1,
            model._meta.label,
            ", ".join(dict.fromkeys(sites)),
            extra={
                "receiver": self.name,
                "model": model._meta.label,
                "count": count,
                "path": path,
                "sites": list(sites),
            },
        )

    def request_started(
        self,
        environ: MutableMapping[str, Any] | None = None,
        scope: MutableMapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Begin to count. ``environ`` comes under WSGI, ``scope`` under ASGI."""
        carrier = environ if environ is not None else scope
        if carrier is not None:
            begin(carrier, self).observers[self] = Tally()

    def post_init(self, sender: type[Model], **kwargs: Any) -> None:
        exchange = get_exchange()
        tally = None if exchange is None else exchange.observers.get(self)
        if exchange is None or tally is None:
            return
        counts = tally.counts
        count = counts[sender] = counts.get(sender, 0) + 1
        if count <= self.sites:
            tally.sites.setdefault(sender, []).append(_find_site())
        limit = self._limits.get(sender)
        if limit is None:
            limit = self._limits[sender] = self.get_limit(sender)
        if count == limit + 1:
            sites = [*tally.sites.get(sender, ()), _find_site()]
            self.alert(sender, count, hide_tokens(exchange.path), sites)

    def request_finished(self, **kwargs: Any) -> None:
        """Count no longer."""
        exchange = get_exchange()
        if exchange is not None:
            self.finish(exchange)

    def see(self, exchange: Exchange, request: HttpRequest, response: HttpResponseBase) -> Any:
        """The response is ready; what it makes while it is sent counts, too."""
        return exchange.observers[self]

    def finish(self, exchange: Exchange) -> None:
        """The exchange has ended."""
        exchange.observers.pop(self, None)

    def get_warnings(self) -> list[CheckMessage]:
        if django.VERSION >= (6, 1):
            return []
        return get_missing(f"{self.name} counts nothing under ASGI")


def _find_site() -> str:
    """Where, outside Django and the kit, an instance is being made."""
    frame = sys._getframe(2)
    while frame is not None:
        code = frame.f_code
        if not code.co_filename.startswith(_FOREIGN):
            return f"{code.co_filename}:{frame.f_lineno} in {code.co_qualname}"
        frame = frame.f_back  # type: ignore[assignment]
    return "unknown"
