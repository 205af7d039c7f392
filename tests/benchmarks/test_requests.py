"""What a request costs with and without the timer."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.db import connection
from django.http import HttpResponse
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import path

from django_signal_kit.receivers import ExceptionAlert, RequestTimer
from django_signal_kit.wiring.registry import registry
from tests.apps.testapp.models import Tag
from tests.benchmarks.interleave import compare, show
from tests.serving import call_wsgi

pytestmark = pytest.mark.django_db(transaction=True)

MIDDLEWARE = ["django_signal_kit.middleware.RequestContextMiddleware"]


def plain_view(request: Any) -> HttpResponse:
    return HttpResponse(b"plain")


def query_view(request: Any) -> HttpResponse:
    for _ in range(10):
        Tag.objects.count()
    return HttpResponse(b"query")


urlpatterns = [path("plain/", plain_view), path("query/", query_view)]


@pytest.mark.parametrize("url", ["/plain/", "/query/"])
def test_a_request_through_the_wsgi_handler(wired: Any, url: str) -> None:
    with override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=[]):
        bare = WSGIHandler()
    with override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=MIDDLEWARE):
        handler = WSGIHandler()

        def ask(handler: WSGIHandler) -> None:
            response = call_wsgi(handler, url)
            assert response.content == url.strip("/").encode()
            response.close()

        with wired(RequestTimer), CaptureQueriesContext(connection) as queries:
            ask(handler)
            (timer,) = registry.receivers
            assert isinstance(timer, RequestTimer)
            (histogram,) = timer.get_histograms().values()
            count = len(queries)
            assert (histogram.count, histogram.query_count) == (1, count)
        result = compare(
            {
                "bare": (wired(), lambda: ask(bare)),
                "middleware": (wired(), lambda: ask(handler)),
                "middleware and ExceptionAlert": (
                    wired((ExceptionAlert, {"channels": ["log"]})),
                    lambda: ask(handler),
                ),
                "middleware and RequestTimer, queries=False": (
                    wired((RequestTimer, {"queries": False})),
                    lambda: ask(handler),
                ),
                "middleware and RequestTimer": (wired(RequestTimer), lambda: ask(handler)),
            },
            rounds=21,
            number=100,
        )
    show(f"GET {url}, {count} queries", result)
