"""Spans of receivers and flushes, as OpenTelemetry's own exporter gets them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction

from django_signal_kit import ModelReceiver, get_context
from django_signal_kit.sight import counting
from django_signal_kit.tasks import context as travelling
from django_signal_kit.wiring import measuring
from django_signal_kit.wiring.registry import registry
from tests.apps.testapp.models import Product, Tag
from tests.conftest import run_async
from tests.projects import KIT, SHOP, Project
from tests.tasks.queues import IMMEDIATE

pytest.importorskip("opentelemetry.sdk")
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import (
    InMemorySpanExporter,
)
from opentelemetry.trace import StatusCode

from django_signal_kit.contrib import otel

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = "swordfish"

# In the settings, before anything is wired.
SETTINGS = """
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
TASKS = {"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}}

import spans
from django_signal_kit.contrib import otel

otel.instrument()
"""

EXPORTING = """
import json
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter

class Lines(SpanExporter):
    def export(self, spans):
        with open("spans.jsonl", "a") as file:
            for span in spans:
                links = [[link.context.trace_id, link.context.span_id] for link in span.links]
                told = {"name": span.name, "trace": span.context.trace_id, "links": links}
                file.write(json.dumps(told) + chr(10))

provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(Lines()))
trace.set_tracer_provider(provider)
"""

SIGNALS = """
from django_signal_kit import ModelReceiver, register

@register(models=["shop.Product"], flush_on="task")
class Index(ModelReceiver):
    def post_save(self, instance, **kwargs):
        self.collect(instance.pk)

    def flush(self, items):
        pass
"""

SEND = """
import json
from django.core.management import call_command
from django.db import connection
from opentelemetry import trace
from shop.models import Product

call_command("migrate", verbosity=0)
with connection.schema_editor() as editor:
    editor.create_model(Product)
with trace.get_tracer("shop").start_as_current_span("GET /") as span:
    Product.objects.create(name="tea")
found = span.get_span_context()
print(json.dumps({"trace": found.trace_id, "span": found.span_id}))
"""

WORK = """
from django.core.management import call_command
call_command("db_worker", batch=True, interval=0.1, verbosity=0)
"""


class Index(ModelReceiver):
    models = ["testapp.Tag"]

    def post_save(self, instance: Any, **kwargs: Any) -> None:
        self.collect(instance.pk)

    def flush(self, items: list[Any]) -> None:
        if Tag.objects.filter(pk__in=items, name="bad flush").exists():
            raise LookupError("no such index")


class Chain(ModelReceiver):
    models = ["testapp.Product"]

    def post_save(self, instance: Any, **kwargs: Any) -> None:
        Tag.objects.create(name=instance.name)


class Fails(ModelReceiver):
    models = ["testapp.Tag"]

    def pre_save(self, instance: Any, **kwargs: Any) -> None:
        if instance.name == "bad":
            raise ValueError(f"password={SECRET}")


class Slow(ModelReceiver):
    models = ["testapp.Tag"]

    async def post_save(self, instance: Any, **kwargs: Any) -> None:
        await asyncio.sleep(0.02)
        self.collect(instance.pk)

    async def flush(self, items: list[Any]) -> None:
        await asyncio.sleep(0)


class Spans:
    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("tests")

    def instrument(self, **options: Any) -> None:
        otel.instrument(tracer_provider=self.provider, **options)

    def get(self) -> list[Any]:
        return sorted(self.exporter.get_finished_spans(), key=lambda span: span.start_time)

    @property
    def names(self) -> list[str]:
        return [span.name for span in self.get()]

    def find(self, name: str) -> Any:
        (span,) = [span for span in self.get() if span.name == name]
        return span


@pytest.fixture
def spans() -> Iterator[Spans]:
    connection.ensure_connection()
    yield Spans()
    otel.uninstrument()


def is_below(span: Any, other: Any) -> bool:
    return span.parent is not None and span.parent.span_id == other.context.span_id


def test_receivers_and_flushes_are_below_the_span_of_the_request(wire: Any, spans: Spans) -> None:
    spans.instrument()
    wire(Chain, Index)
    with spans.tracer.start_as_current_span("GET /"), transaction.atomic():
        Product.objects.create(name="tea")
    assert spans.names == ["GET /", "Chain post_save", "Index post_save", "Index flush"]
    request, chain, index, flush = spans.get()
    assert is_below(chain, request)
    # What it sets off is below it.
    assert is_below(index, chain)
    assert is_below(flush, request)
    path = "tests.contrib.test_otel.Chain.post_save"
    assert dict(chain.attributes) == {
        "code.function.name": path,
        "signal_kit.receiver": "Chain",
        "signal_kit.signal": "post_save",
        "signal_kit.sender": "testapp.Product",
    }
    assert dict(flush.attributes) == {
        "code.function.name": "tests.contrib.test_otel.Index.flush",
        "signal_kit.receiver": "Index",
        "signal_kit.items": 1,
    }
    assert flush.links == ()
    assert {span.status.status_code for span in spans.get()} == {StatusCode.UNSET}


def test_what_is_wired_already_has_spans_too(wire: Any, spans: Spans) -> None:
    wire(Index)
    spans.instrument()
    Tag.objects.create(name="tea")
    assert spans.names == ["Index post_save", "Index flush"]
    otel.uninstrument()
    Tag.objects.create(name="tea")
    assert len(spans.names) == 2
    assert measuring.wrappers == []
    assert travelling.carriers == {}


def test_async_receivers_have_spans(wire: Any, spans: Spans) -> None:
    spans.instrument()
    wire(Slow)

    async def work() -> None:
        with spans.tracer.start_as_current_span("GET /"):
            await Tag.objects.acreate(name="tea")

    run_async(work())
    request = spans.find("GET /")
    assert is_below(spans.find("Slow post_save"), request)
    assert is_below(spans.find("Slow flush"), request)


def test_what_fails_says_so_without_secrets(wire: Any, spans: Spans) -> None:
    spans.instrument()
    wire(Fails, Index)
    with pytest.raises(ValueError):
        Tag.objects.create(name="bad")
    Tag.objects.create(name="bad flush")
    failed = spans.get()[0]
    assert failed.status.status_code is StatusCode.ERROR
    assert failed.status.description == "ValueError"
    assert failed.attributes["error.type"] == "ValueError"
    (event,) = failed.events
    assert event.name == "exception"
    assert event.attributes["exception.type"] == "ValueError"
    assert event.attributes["exception.message"] == "password=[redacted]"
    assert "in pre_save" in event.attributes["exception.stacktrace"]
    assert "swordfish" not in failed.to_json()
    assert spans.find("Index flush").attributes["error.type"] == "LookupError"


def test_what_is_not_slow_has_no_span_unless_it_fails(wire: Any, spans: Spans) -> None:
    spans.instrument(slower_than=1e9)
    wire(Fails, Slow)
    with spans.tracer.start_as_current_span("GET /") as request:
        Tag.objects.create(name="tea")
        with pytest.raises(ValueError):
            Tag.objects.create(name="bad")
    assert sorted(spans.names) == ["Fails pre_save", "GET /"]
    failed = spans.find("Fails pre_save")
    assert failed.status.status_code is StatusCode.ERROR
    assert failed.parent.span_id == request.get_span_context().span_id


def test_what_is_slow_has_a_span_when_it_has_ended(wire: Any, spans: Spans) -> None:
    spans.instrument(slower_than=1e-6)
    wire(Chain, Slow)
    with spans.tracer.start_as_current_span("GET /"):
        Product.objects.create(name="tea")
    request, chain, slow = map(spans.find, ("GET /", "Chain post_save", "Slow post_save"))
    # It is made too late to have anything below it.
    assert is_below(chain, request)
    assert is_below(slow, request)
    assert request.start_time <= chain.start_time <= slow.start_time
    assert slow.end_time - slow.start_time >= 10_000_000


@pytest.mark.parametrize("slower_than", ["5", None, True])
def test_a_threshold_is_a_number(slower_than: Any) -> None:
    with pytest.raises(TypeError, match="it has to be a number"):
        otel.instrument(slower_than=slower_than)


def test_counters_do_not_count_the_making_of_spans(wire: Any, spans: Spans) -> None:
    spans.instrument()
    wire(Index, COUNTERS=True)
    Tag.objects.create(name="tea")
    assert counting.get_counters().receivers["Index"].calls.count == 1
    assert spans.names == ["Index post_save", "Index flush"]
    (function,) = [c.function for c in registry.connections if c.signal_name == "post_save"]
    assert function.__wrapped__.__wrapped__.__globals__["__name__"].endswith("stopwatches")
    counting.forget()


# Tasks


class InTask(Index):
    flush_on = "task"
    told: list[Any] = []

    def flush(self, items: list[Any]) -> None:
        self.told.append(get_context())


def test_a_flush_in_a_task_links_to_what_has_sent_it(
    wire: Any, spans: Spans, settings: Any
) -> None:
    InTask.told.clear()
    settings.TASKS = IMMEDIATE
    spans.instrument()
    wire(InTask)
    with spans.tracer.start_as_current_span("GET /"):
        Tag.objects.create(name="tea")
    request, flush = spans.find("GET /"), spans.find("InTask flush")
    assert [link.context.span_id for link in flush.links] == [request.context.span_id]
    # The context says nothing of it.
    assert InTask.told == [{"actor": None}]


def test_a_worker_in_a_process_of_its_own_links_to_the_trace(tmp_path: Path) -> None:
    pytest.importorskip("django_tasks_db")
    project = Project(
        tmp_path,
        {**SHOP, "shop/signals.py": SIGNALS, "spans.py": EXPORTING},
        ["shop", "django_tasks_db", KIT],
        SETTINGS,
    )
    sent = json.loads(project.run(SEND).splitlines()[-1])
    project.run(WORK)
    spans = [json.loads(line) for line in (tmp_path / "spans.jsonl").read_text().splitlines()]
    (flush,) = [span for span in spans if span["name"] == "Index flush"]
    (heard,) = [span for span in spans if span["name"] == "Index post_save"]
    assert heard["trace"] == sent["trace"]
    assert flush["trace"] != sent["trace"]
    assert flush["links"] == [[sent["trace"], sent["span"]]]


def test_what_another_version_has_packed_harms_nobody(spans: Spans) -> None:
    spans.instrument()
    for packed in ({"signal_kit_carried": {"trace": 5, "other": {}}}, {"signal_kit_carried": 5}):
        with travelling.unpack(packed):
            assert get_context() == {"actor": None}
    otel.uninstrument()
    with travelling.unpack({"signal_kit_carried": {"trace": {"traceparent": "x"}}, "reason": "a"}):
        assert get_context() == {"actor": None, "reason": "a"}


def test_without_a_trace_nothing_is_taken_along(spans: Spans) -> None:
    spans.instrument()
    assert travelling.pack() is None


def test_a_carrier_that_fails_loses_no_task(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    class Broken:
        def pack(self) -> Any:
            raise RuntimeError("no")

    monkeypatch.setitem(travelling.carriers, "broken", Broken())
    assert travelling.pack() is None
    assert "A task is sent without its broken" in caplog.text
