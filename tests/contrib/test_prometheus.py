"""The metrics are what prometheus_client itself writes, and reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client
from django.urls import path
from django.utils import timezone

from django_signal_kit import ModelReceiver, tally
from django_signal_kit.receivers import RequestTimer
from django_signal_kit.sight import counting
from django_signal_kit.sight.figures import BOUNDS
from django_signal_kit.sight.slots import Slot
from django_signal_kit.tasks.models import OutboxTask
from django_signal_kit.units.unit import make_id
from tests.apps.testapp.models import Tag
from tests.sight.anew import _begin_anew  # noqa: F401 a fixture

prometheus_client = pytest.importorskip("prometheus_client")
from prometheus_client.parser import text_string_to_metric_families  # noqa: E402

from django_signal_kit.contrib.prometheus import SignalKitCollector  # noqa: E402

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


class Index(ModelReceiver):
    models = ["testapp.Tag"]

    def post_save(self, instance: Any, **kwargs: Any) -> None:
        self.collect(instance.pk)
        if instance.name == "bad":
            raise ValueError("no")

    def flush(self, items: list[Any]) -> None:
        Tag.objects.filter(pk__in=items).exists()


def show(request: Any, name: str) -> HttpResponse:
    if name == "broken":
        raise ValueError
    return HttpResponse(str(Tag.objects.count()))


urlpatterns = [path("<slug:name>/", show)]


@pytest.fixture(autouse=True)
def _forget_sources() -> Iterator[None]:
    yield
    counting.sources.clear()


def scrape(**options: Any) -> dict[str, Any]:
    """Name and labels of each sample -> its value, as somebody reads them who knows the format."""
    registry = prometheus_client.CollectorRegistry()
    registry.register(SignalKitCollector(**options))
    text = prometheus_client.generate_latest(registry).decode()
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            key = f"{sample.name}{{{labels}}}"
            assert key not in found
            found[key] = sample.value
    return found


def test_receivers_are_told_as_counters_and_histograms(wire: Any) -> None:
    wire(Index, COUNTERS=True)
    for name in ("tea", "oil", "bad"):
        try:
            Tag.objects.create(name=name)
        except ValueError:
            continue
    tally.add("Index", "pages_indexed", 7)
    found = scrape()
    assert found["signal_kit_receiver_seconds_count{receiver=Index}"] == 3
    assert found["signal_kit_receiver_seconds_bucket{le=+Inf,receiver=Index}"] == 3
    assert 0 < found["signal_kit_receiver_seconds_sum{receiver=Index}"] < 60
    assert found["signal_kit_receiver_errors_total{receiver=Index}"] == 1
    assert found["signal_kit_flush_seconds_count{receiver=Index}"] == 3
    assert found["signal_kit_flush_errors_total{receiver=Index}"] == 0
    assert found["signal_kit_receiver_queries_total{receiver=Index}"] == 0
    assert found["signal_kit_flush_queries_total{receiver=Index}"] == 3
    assert found["signal_kit_items_collected_total{receiver=Index}"] == 3
    assert found["signal_kit_items_flushed_total{receiver=Index}"] == 3
    assert found["signal_kit_figure_total{figure=pages_indexed,receiver=Index}"] == 7
    assert found["signal_kit_processes{}"] == 1
    bounds = [
        found[f"signal_kit_receiver_seconds_bucket{{le={bound},receiver=Index}}"]
        for bound in BOUNDS
    ]
    assert bounds == sorted(bounds)
    assert bounds[-1] == 3


def test_without_counters_nothing_is_told_of_receivers(wire: Any) -> None:
    wire(Index)
    Tag.objects.create(name="tea")
    assert scrape() == {}


def test_requests_are_told_by_their_routes(wire: Any, settings: Any) -> None:
    settings.MIDDLEWARE = ["django_signal_kit.middleware.RequestContextMiddleware"]
    settings.ROOT_URLCONF = "tests.contrib.test_prometheus"
    wire(RequestTimer, COUNTERS=True)
    client = Client(raise_request_exception=False)
    for address in ("/tea/", "/oil/", "/broken/", "/nowhere"):
        client.get(address)
    found = scrape()
    where = "route=<slug:name>/,timer=RequestTimer"
    assert found[f"signal_kit_request_seconds_count{{{where}}}"] == 3
    assert found[f"signal_kit_request_seconds_bucket{{le=+Inf,{where}}}"] == 3
    assert found[f"signal_kit_request_errors_total{{{where}}}"] == 1
    assert found[f"signal_kit_request_queries_total{{{where}}}"] == 2
    assert found[f"signal_kit_request_query_seconds_total{{{where}}}"] > 0
    assert found["signal_kit_request_seconds_count{route=,timer=RequestTimer}"] == 1


def test_what_another_process_has_counted_is_told_too(wire: Any) -> None:
    wire(Index, RequestTimer, COUNTERS=True)
    SignalKitCollector()
    Tag.objects.create(name="tea")
    route = {
        "buckets": [0] * 11 + [2],
        "seconds": 30.0,
        "errors": 0,
        "queries": 0,
        "query_seconds": 0.0,
    }
    other = Slot()
    other.hold()
    told = counting._counting.read()
    other.write({**told, "sums": {**told["sums"], "requests": {"RequestTimer": {"a/": route}}}})
    found = scrape()
    assert found["signal_kit_processes{}"] == 2
    assert found["signal_kit_receiver_seconds_count{receiver=Index}"] == 2
    assert found["signal_kit_request_seconds_sum{route=a/,timer=RequestTimer}"] == 30


def test_tasks_are_told_where_they_wait(wire: Any) -> None:
    wire(Index)
    now = timezone.now()
    rows = [
        OutboxTask(id=make_id(), receiver=name, payload="{}", created_at=now, failed_at=failed_at)
        for name, failed_at in (("Index", None), ("Index", None), ("Index", now), ("Gone", now))
    ]
    OutboxTask.objects.bulk_create(rows)
    assert scrape() == {
        "signal_kit_tasks_waiting{receiver=Index}": 2,
        "signal_kit_tasks_failed{receiver=Index}": 1,
        "signal_kit_tasks_waiting{receiver=Gone}": 0,
        "signal_kit_tasks_failed{receiver=Gone}": 1,
    }
    assert scrape(tasks=False) == {}


def test_a_database_that_does_not_answer_leaves_the_rest(wire: Any, caplog: Any) -> None:
    wire(Index, COUNTERS=True)
    table, OutboxTask._meta.db_table = OutboxTask._meta.db_table, "no_such_table"
    try:
        found = scrape()
    finally:
        OutboxTask._meta.db_table = table
    assert found["signal_kit_processes{}"] == 1
    assert "told without the tasks" in caplog.text


class Broken(RequestTimer):
    def get_histograms(self) -> Any:
        raise KeyError("nothing")


def test_a_timer_that_cannot_tell_leaves_the_rest(wire: Any, caplog: Any) -> None:
    wire(Broken, COUNTERS=True)
    for _ in range(2):
        assert scrape()["signal_kit_processes{}"] == 1
    told = [r for r in caplog.records if "get_histograms() failed" in r.message]
    assert len(told) == 1
