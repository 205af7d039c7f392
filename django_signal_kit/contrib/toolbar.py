"""A panel of django-debug-toolbar: which signals a request sent, and what they set off."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from asgiref.sync import iscoroutinefunction
from debug_toolbar.panels import Panel
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from django_signal_kit.sight.text import list_lines
from django_signal_kit.sight.tracing import trace


class SignalKitPanel(Panel):
    """Add ``"django_signal_kit.contrib.toolbar.SignalKitPanel"`` to ``DEBUG_TOOLBAR_PANELS``.

    Shows what a :class:`~django_signal_kit.sight.tracing.trace` round the view and the middleware
    inside of the toolbar's own shows, under WSGI and ASGI. The panel that is not enabled costs
    nothing. Values of rows are not kept: their primary keys are.
    """

    is_async = True
    title = _("Signals and receivers")
    nav_title = _("Receivers")
    template = "signal_kit/sight/panel.html"

    @property
    def nav_subtitle(self) -> str:
        stats = self.get_stats()
        if not stats:
            return ""
        count = stats["receivers"]
        told = ngettext("%(count)d call", "%(count)d calls", count) % {"count": count}
        return f"{told}, {stats['ms']:.1f} ms"

    def process_request(self, request: HttpRequest) -> HttpResponse | Awaitable[HttpResponse]:
        self._trace = trace()
        if iscoroutinefunction(self.get_response):
            return self._process_async(request)
        with self._trace:
            response: HttpResponse = super().process_request(request)
        return response

    async def _process_async(self, request: HttpRequest) -> HttpResponse:
        with self._trace:
            response: HttpResponse = await super().process_request(request)
        return response

    def generate_stats(self, request: HttpRequest, response: HttpResponse) -> None:
        spans = list(self._trace.root.walk())
        called = [span for span in spans if span.key.kind in ("receiver", "flush")]
        outermost = [span for span in called if not _is_within(span)]
        self.record_stats(
            {
                "receivers": sum(span.count for span in called),
                "failed": sum(span.failed for span in called),
                "ms": sum(span.seconds for span in outermost) * 1000,
                "lines": [_as_row(*line) for line in list_lines(self._trace.root)][1:],
            }
        )


def _is_within(span: Any) -> bool:
    """Is it in the time of another receiver or flush?"""
    parent = span.parent
    while parent is not None and parent.key.kind not in ("receiver", "flush"):
        parent = parent.parent
    return parent is not None


def _as_row(branch: str, label: str, span: Any) -> dict[str, Any]:
    return {
        "branch": branch,
        "label": label,
        "kind": span.key.kind,
        "path": span.path,
        "ms": span.seconds * 1000,
        "queries": span.all_queries,
        "errors": span.errors,
    }
