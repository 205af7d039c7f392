"""A request that makes too many instances is named, once, with the place."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import django
import pytest
from django.contrib.auth.models import User
from django.contrib.auth.tokens import default_token_generator
from django.core.handlers.asgi import ASGIHandler
from django.core.signals import request_finished, request_started
from django.db import connection
from django.http import HttpResponse, StreamingHttpResponse
from django.test import AsyncClient, Client
from django.test.utils import CaptureQueriesContext, override_settings
from django.urls import path

from django_signal_kit.receivers import InstanceMonitor
from tests.apps.testapp.models import Product, Tag
from tests.conftest import run_async
from tests.factories import TagFactory
from tests.serving import Visit
from tests.threads import in_threads

pytestmark = pytest.mark.django_db(transaction=True)

LOGGER = "django_signal_kit.instances"


def get_records(caplog: Any) -> list[Any]:
    """What the monitor has logged; a busy event loop logs, too."""
    return [record for record in caplog.records if record.name == LOGGER]


def one_by_one(request: Any) -> HttpResponse:
    for pk in Tag.objects.values_list("pk", flat=True):
        Tag.objects.get(pk=pk)
    return HttpResponse("done")


async def slowly(request: Any) -> HttpResponse:
    async for _ in Tag.objects.all():
        await asyncio.sleep(0)
    return HttpResponse("done")


def streamed(request: Any) -> StreamingHttpResponse:
    return StreamingHttpResponse(f"{tag.pk} " for tag in Tag.objects.all())


def made(request: Any, token: str = "") -> HttpResponse:
    return HttpResponse([Tag(name="a"), Tag(name="b")])


urlpatterns = [
    path("made/", made),
    path("made/<token>/", made),
    path("one-by-one/", one_by_one),
    path("slowly/", slowly),
    path("streamed/", streamed),
]


@pytest.fixture(autouse=True)
def _urls() -> Any:
    with override_settings(ROOT_URLCONF=__name__):
        yield


@pytest.fixture
def monitor(wire: Any) -> Any:
    receiver = wire((InstanceMonitor, {"models": ["testapp.*"], "limit": 5}))
    TagFactory.create_batch(12)
    return receiver


def test_a_request_that_makes_too_many_is_named_once(monitor: Any, caplog: Any) -> None:
    Client().get("/one-by-one/")
    (record,) = get_records(caplog)
    assert record.name == LOGGER
    assert record.levelno == logging.WARNING
    assert "/one-by-one/ makes more than 5 instances of testapp.Tag" in record.getMessage()
    assert (record.model, record.count, record.path) == ("testapp.Tag", 6, "/one-by-one/")
    assert len(record.sites) == 4
    (site,) = set(record.sites)
    assert site.endswith(" in one_by_one")
    assert "test_instance_monitor.py:" in site


def test_each_request_is_counted_by_itself(monitor: Any, caplog: Any) -> None:
    Tag.objects.exclude(pk__in=list(Tag.objects.values_list("pk", flat=True)[:4])).delete()
    for _ in range(3):
        Client().get("/one-by-one/")
    assert get_records(caplog) == []


def by_asgi(url: str) -> None:
    run_async(Visit(url).run(ASGIHandler()))


def by_async_client(url: str) -> None:
    run_async(AsyncClient().get(url))


@pytest.mark.parametrize("fetch", [by_asgi, by_async_client])
@pytest.mark.parametrize("url", ["/slowly/", "/one-by-one/"])
def test_requests_under_asgi_are_counted_too(
    monitor: Any, caplog: Any, fetch: Any, url: str
) -> None:
    for _ in range(2):
        fetch(url)
    assert [record.path for record in get_records(caplog)] == [url, url]


def test_without_the_middleware_asgi_tells_it_since_6_1(
    monitor: Any, caplog: Any, settings: Any
) -> None:
    settings.MIDDLEWARE = []
    by_asgi("/slowly/")
    assert len(get_records(caplog)) == (1 if django.VERSION >= (6, 1) else 0)
    assert [message.id for message in monitor.get_warnings()] == (
        [] if django.VERSION >= (6, 1) else ["signal_kit.W004"]
    )


def test_what_is_made_while_the_response_is_sent_counts(monitor: Any, caplog: Any) -> None:
    Client().get("/streamed/").getvalue()
    (record,) = get_records(caplog)
    assert (record.path, record.count) == ("/streamed/", 6)


def test_outside_requests_nothing_is_counted(monitor: Any, caplog: Any) -> None:
    list(Tag.objects.all())
    Client().get("/nowhere/")
    list(Tag.objects.all())
    assert get_records(caplog) == []


def test_a_server_that_never_finishes_a_request_begins_the_next_afresh(
    monitor: Any, caplog: Any
) -> None:
    for _ in range(4):
        request_started.send(sender=None, environ={"PATH_INFO": "/a/"})
        list(Tag.objects.all()[:3])
    assert get_records(caplog) == []
    request_finished.send(sender=None)
    list(Tag.objects.all())
    assert get_records(caplog) == []


def test_threads_do_not_count_for_each_other(monitor: Any, caplog: Any) -> None:
    def work() -> None:
        request_started.send(sender=None, environ={"PATH_INFO": "/thread/"})
        for _ in range(4):
            Tag()
        request_finished.send(sender=None)

    in_threads(*[work] * 4)
    assert get_records(caplog) == []


class Strict(InstanceMonitor):
    def get_limit(self, model: Any) -> int:
        return 2 if model is Product else super().get_limit(model)

    def alert(self, model: Any, count: int, path: str, sites: Any) -> None:
        ALERTS.append((model, count, path))


ALERTS: list[Any] = []


def test_limits_and_alerts_can_be_overridden(wire: Any, caplog: Any) -> None:
    ALERTS.clear()
    wire((Strict, {"models": ["testapp.*"], "limit": 4, "sites": 0}))
    request_started.send(sender=None, scope={"path": "/x/"})
    for _ in range(9):
        Product(), Tag()
    request_finished.send(sender=None)
    assert [(Product, 3, "/x/"), (Tag, 5, "/x/")] == ALERTS
    assert get_records(caplog) == []


@pytest.mark.django_db(transaction=False)
@pytest.mark.parametrize("on_error", ["raise", "log"])
def test_no_query_is_made_inside_a_test_case(wire: Any, on_error: str) -> None:
    wire((InstanceMonitor, {"models": ["testapp.*"], "on_error": on_error}))
    with CaptureQueriesContext(connection) as queries:
        Client().get("/made/")
    assert [query["sql"] for query in queries] == []


def test_a_token_in_the_path_is_not_told(wire: Any, caplog: Any) -> None:
    monitor = wire((InstanceMonitor, {"models": ["testapp.*"], "limit": 1}))
    token = default_token_generator.make_token(User(pk=1))
    with caplog.at_level(logging.WARNING, LOGGER):
        Client().get(f"/made/{token}/")
    (record,) = get_records(caplog)
    assert record.__dict__["path"] == "/made/[redacted]/"
    assert token not in caplog.text
    assert monitor.limit == 1
