"""A trace has what ran: signals, receivers of everybody, flushes, with place, time and queries."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import threading
from pathlib import Path
from typing import Any
from unittest.mock import Mock, patch
from xml.etree import ElementTree

import pytest
from asgiref.sync import sync_to_async
from django.db import connection, connections, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models.signals import post_save
from django.dispatch import Signal
from django.test import override_settings
from hypothesis import given
from hypothesis import strategies as st

from django_signal_kit import ModelReceiver, Receiver, batch, muted, trace
from django_signal_kit.sight import observing
from django_signal_kit.sight.flame import draw
from django_signal_kit.sight.spans import Key, Span
from django_signal_kit.sight.text import render
from django_signal_kit.units import journal, unit
from django_signal_kit.wiring.others import find_paths
from tests.apps.testapp.models import Product, Tag

pytestmark = pytest.mark.django_db(transaction=True)

order_paid = Signal()

HERE = "tests/sight/test_tracing.py"


def line() -> int:
    """The line of the caller."""
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


class Index(ModelReceiver):
    models = ["testapp.Tag"]
    done: list[Any] = []

    def post_save(self, instance: Any, **kwargs: Any) -> None:
        self.collect(instance.pk)

    def flush(self, items: list[Any]) -> None:
        Tag.objects.filter(pk__in=items).count()


class Chain(ModelReceiver):
    """Each product has a tag of its name."""

    models = ["testapp.Product"]

    def post_save(self, instance: Any, **kwargs: Any) -> None:
        Tag.objects.create(name=instance.name)


class Fails(ModelReceiver):
    models = ["testapp.Tag"]

    def pre_save(self, instance: Any, **kwargs: Any) -> None:
        if instance.name == "bad":
            raise ValueError("no such name")


class Slow(ModelReceiver):
    models = ["testapp.Tag"]

    async def post_save(self, instance: Any, **kwargs: Any) -> None:
        await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def _connected() -> None:
    # What a backend asks of a new connection would be counted, too.
    connection.ensure_connection()


def run(coroutine: Any) -> Any:
    """Its result, with no connection left open in the thread of its synchronous parts."""

    async def work() -> Any:
        try:
            return await coroutine
        finally:
            await sync_to_async(connections.close_all)()

    return asyncio.run(work())


def shape(span: Span) -> Any:
    """Names and counts, without places and times."""
    return [(child.key.kind, child.key.name, child.count, shape(child)) for child in span.children]


def originals() -> list[Any]:
    names = ["_live_receivers", "send", "send_robust", "asend", "asend_robust"]
    return [
        *(vars(Signal)[name] for name in names),
        CursorWrapper.execute,
        CursorWrapper.executemany,
        unit.collect,
        journal.flush_now,
    ]


def test_a_receiver_that_saves_shows_what_that_set_off(wire: Any) -> None:
    wire(Chain, Index)
    with trace() as found:
        Product.objects.create(name="tea"), line()
        here = line() - 1
    product = next(found.find("post_save"))
    assert product.key == Key("signal", "post_save", "testapp.Product", f"{HERE}:{here}")
    assert shape(product) == [
        (
            "receiver",
            "Chain",
            1,
            [("signal", "post_save", 1, [("receiver", "Index", 1, [])])],
        )
    ]
    # When the write is committed that began it all.
    assert shape(found.root)[-1] == ("flush", "Index", 1, [])


def test_a_flush_is_where_it_ran_with_its_queries_and_items(wire: Any) -> None:
    wire(Index)
    with trace() as found, transaction.atomic():
        for name in ("tea", "oil", "salt"):
            Tag.objects.create(name=name)
    saves, flush = found.root.children
    assert saves.count == 3
    (index,) = saves.children
    assert (index.count, index.collected) == (3, 3)
    assert index.path == "tests.sight.test_tracing.Index"
    assert flush.key == Key("flush", "Index", "after commit")
    assert (flush.count, flush.collected, flush.queries) == (1, 3, 1)
    # On SQLite BEGIN is a statement like others.
    inserts = 3 + (connection.vendor == "sqlite")
    assert (found.root.queries, found.root.all_queries) == (inserts, inserts + 1)


def test_what_a_receiver_sends_is_its_own_and_not_its_parents(wire: Any) -> None:
    wire(Chain)
    with trace() as found:
        Product.objects.create(name="tea")
    (receiver,) = found.find("Chain")
    assert receiver.queries == 1
    assert next(found.find("post_save")).queries == 0


def test_plain_functions_and_foreign_signals_are_there(wire: Any) -> None:
    wire()

    def on_paid(**kwargs: Any) -> str:
        return "heard"

    order_paid.connect(on_paid)
    with trace() as found:
        answers = order_paid.send(sender=Tag)
    assert answers == [(on_paid, "heard")]
    (signal,) = found.root.children
    assert signal.key[:3] == ("signal", f"{__name__}.order_paid", "testapp.Tag")
    (receiver,) = signal.children
    assert receiver.key.name.endswith(
        "test_plain_functions_and_foreign_signals_are_there.<locals>.on_paid"
    )
    order_paid.disconnect(on_paid)


def test_answers_of_all_four_ways_to_send_name_the_receivers_themselves(wire: Any) -> None:
    wire()
    signal = Signal()

    def first(**kwargs: Any) -> int:
        return 1

    async def second(**kwargs: Any) -> int:
        return 2

    signal.connect(first)
    signal.connect(second)

    async def send_all() -> list[Any]:
        return [await signal.asend(None), await signal.asend_robust(None)]

    with trace() as found:
        answers = [signal.send(None), signal.send_robust(None), *asyncio.run(send_all())]
    assert answers == [[(first, 1), (second, 2)]] * 4
    assert sum(span.count for span in found.find(f"{__name__}.{first.__qualname__}")) == 4
    assert sum(span.count for span in found.find(f"{__name__}.{second.__qualname__}")) == 4


def test_a_robust_failure_is_noted_and_stays_what_it_is(wire: Any) -> None:
    wire()
    signal = Signal()

    def breaks(**kwargs: Any) -> None:
        raise KeyError("x")

    signal.connect(breaks)
    with trace() as found:
        ((receiver, error),) = signal.send_robust(None)
    assert receiver is breaks
    assert isinstance(error, KeyError)
    (span,) = found.find(f"{__name__}.{breaks.__qualname__}")
    assert (span.failed, span.errors) == (1, ["KeyError: 'x'"])
    assert span.parent is not None
    assert span.parent.failed == 0


def test_an_error_gets_out_and_stands_in_the_tree(wire: Any) -> None:
    wire(Fails)
    found = trace()
    with pytest.raises(ValueError, match="no such name"), found:
        Tag(name="bad").save()
    (span,) = found.find("Fails")
    assert span.errors == ["ValueError: no such name"]
    assert "! ValueError: no such name" in str(found)
    assert "failed" in str(found)


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_an_error_that_cannot_be_told_gets_out_as_it_is(wire: Any) -> None:
    wire()
    error = UnspeakableError()

    def breaks(**kwargs: Any) -> None:
        raise error

    order_paid.connect(breaks)
    found = trace()
    try:
        with pytest.raises(UnspeakableError) as caught, found:
            order_paid.send(None)
    finally:
        order_paid.disconnect(breaks)
    assert caught.value is error
    assert found.root.errors == ["UnspeakableError: (what it says cannot be told)"]


def test_an_error_is_told_without_secrets_and_not_endlessly(wire: Any) -> None:
    wire()
    found = trace()
    with pytest.raises(ValueError, match="token"), found:
        raise ValueError("token=a9c1e4 " + "x" * 100_000)
    assert "a9c1e4" not in found.as_json() + found.as_svg() + str(found)
    assert "ValueError: token=" in str(found)
    assert len(found.as_json()) < 2000


def test_a_key_of_several_lines_has_one(wire: Any) -> None:
    wire(Index)
    with trace() as found:
        outer = found.root.get_child(Key("receiver", "Chain"))
        span = outer.get_child(Key("signal", "post_save", "testapp.Tag"))
        span.object, span.count = "first\nsecond", 1
    assert "\n   └─ post_save testapp.Tag first second " in str(found)


class Textless:
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_a_key_without_a_text_harms_no_write(wire: Any) -> None:
    wire(Index)
    tag = Tag.objects.create(name="tea")
    tag.pk = Textless()
    with trace() as found, muted("Index"):
        post_save.send(Tag, instance=tag, created=False, using="default", update_fields=None)
    assert next(found.find("post_save")).object == ""


@override_settings(DEBUG=False)
def test_receivers_may_have_attributes_that_no_function_has() -> None:
    class Anything:
        def __getattr__(self, name: str) -> str:
            if name in ("__self__", "__func__"):
                raise AttributeError(name)
            return f"<{name}>"

        def __call__(self, **kwargs: Any) -> str:
            return "told"

    heard = Anything()
    order_paid.connect(heard)
    try:
        with trace() as found:
            assert order_paid.send("till") == [(heard, "told")]
    finally:
        order_paid.disconnect(heard)
    assert "<__qualname__>" in str(found)


def test_a_failure_is_logged_under_the_name_of_the_function(caplog: Any) -> None:
    def breaks(**kwargs: Any) -> None:
        raise KeyError("x")

    signal = Signal()
    signal.connect(breaks)
    with trace():
        signal.send_robust(None)
    assert f"Error calling {breaks.__qualname__} in Signal.send_robust()" in caplog.text


def test_a_signal_without_a_name_is_looked_for_once() -> None:
    """To look for it goes through all modules."""
    signal, receiver = [Signal()], Mock()
    signal[0].connect(receiver)
    with (
        patch("django_signal_kit.sight.names.find_paths", wraps=find_paths) as look,
        trace() as found,
    ):
        for _ in range(5):
            signal[0].send(None)
    assert look.call_count == 1
    assert "a signal x5" in str(found)


def test_a_muted_receiver_is_shown_as_muted(wire: Any) -> None:
    wire(Index)
    with trace() as found, muted("Index"):
        Tag.objects.create(name="tea")
    (span,) = found.find("Index")
    assert (span.key.about, span.collected) == ("muted", 0)


def test_async_receivers_are_there(wire: Any) -> None:
    wire(Slow)
    with trace() as found:
        Tag.objects.create(name="tea")
    assert [span.count for span in found.find("Slow")] == [1]


def test_a_trace_in_a_coroutine_has_what_its_threads_and_tasks_do(wire: Any) -> None:
    wire(Index)

    @sync_to_async
    def save(name: str) -> None:
        Tag.objects.create(name=name)

    async def work() -> trace:
        with trace() as found:
            await asyncio.gather(save("tea"), save("oil"))
            await Tag.objects.acreate(name="salt")
        return found

    found = run(work())
    assert sum(span.count for span in found.find("Index") if span.key.kind == "receiver") == 3
    flushes = [span for span in found.find("Index") if span.key.kind == "flush"]
    assert sum(span.queries for span in flushes) == 3


def test_seven_hundred_saves_are_a_line(wire: Any) -> None:
    wire(Index)
    with trace() as found, batch():
        for number in range(700):
            Tag.objects.create(name=str(number))
    assert sum(1 for _ in found.root.walk()) == 4
    text = str(found)
    assert "post_save testapp.Tag x700" in text
    assert "Index x700: collected 700 items" in text


def test_traces_nest_and_the_outer_one_has_the_inner_one(wire: Any) -> None:
    wire(Index)
    inner = []
    with trace() as outer:
        for name in ("tea", "oil"):
            with trace() as found:
                Tag.objects.create(name=name)
            inner.append(found)
    assert [found.root.all_queries for found in inner] == [2, 2]
    (span,) = outer.root.children
    assert (span.key.kind, span.count, span.all_queries) == ("trace", 2, 4)
    assert [s.count for s in outer.find("Index")] == [2, 2]


@pytest.mark.parametrize("first", [0, 1])
def test_traces_of_generators_may_end_in_either_order(wire: Any, first: int) -> None:
    wire(Index)
    traces = [trace(), trace()]

    def stream(found: trace) -> Any:
        with found:
            yield

    rows = [stream(found) for found in traces]
    for row in rows:
        next(row)
    rows[first].close()
    Tag.objects.create(name="tea")
    rows[1 - first].close()
    Tag.objects.create(name="oil")
    assert [len(list(found.find("post_save"))) for found in traces] == [first, 1 - first]
    with trace() as found:
        Tag.objects.create(name="salt")
    assert len(list(found.find("post_save"))) == 1
    # What has ended stays as it is.
    assert [len(list(found.find("post_save"))) for found in traces] == [first, 1 - first]


def test_other_threads_are_not_seen(wire: Any) -> None:
    wire(Index)

    def save() -> None:
        Tag.objects.create(name="tea")
        connection.close()

    with trace() as found:
        thread = threading.Thread(target=save)
        thread.start()
        thread.join()
    assert Tag.objects.count() == 1
    assert found.root.children == []
    assert found.root.all_queries == 0


def test_without_a_trace_the_functions_are_the_very_same(wire: Any) -> None:
    wire(Index)
    before = originals()
    with trace():
        with trace():
            during = originals()
        still = originals()
    assert all(one is not other for one, other in zip(before, during, strict=True))
    assert still == during
    assert all(one is other for one, other in zip(before, originals(), strict=True))
    with pytest.raises(KeyError), trace():
        raise KeyError
    assert all(one is other for one, other in zip(before, originals(), strict=True))
    assert observing._open == 0


def test_traces_of_several_threads_end_in_any_order(wire: Any) -> None:
    wire()
    before = originals()
    first, second = threading.Event(), threading.Event()

    def long() -> None:
        with trace():
            first.set()
            second.wait(30)

    thread = threading.Thread(target=long)
    with trace():
        thread.start()
        assert first.wait(30)
    assert originals() != before
    second.set()
    thread.join()
    assert originals() == before


def test_a_decorated_function_logs_each_call(wire: Any, caplog: Any) -> None:
    wire(Index)
    caplog.set_level(logging.INFO, "django_signal_kit.trace")

    @trace()
    def work(name: str, *, again: bool = False) -> str:
        Tag.objects.create(name=name)
        return name.upper()

    @trace()
    async def awork() -> int:
        await Tag.objects.acreate(name="salt")
        return 7

    assert work("tea") == "TEA"
    assert work("oil", again=True) == "OIL"
    assert run(awork()) == 7
    records = [r for r in caplog.records if r.name == "django_signal_kit.trace"]
    assert [r.trace["children"][0]["count"] for r in records] == [1, 1, 1]
    assert all("post_save testapp.Tag" in r.getMessage() for r in records)


def test_what_is_no_function_is_refused() -> None:
    def generate() -> Any:
        yield 1

    for thing in (generate, Index, 5):
        with pytest.raises(TypeError, match="trace\\(\\) decorates functions"):
            trace()(thing)  # type: ignore[type-var]


def test_a_report_comes_after_an_error_too_and_not_of_what_was_fast(wire: Any) -> None:
    wire()
    told: list[trace] = []
    with pytest.raises(KeyError), trace(report=told.append):
        raise KeyError
    with trace(report=told.append, slower_than=3_600_000):
        pass
    assert [found.root.errors for found in told] == [["KeyError: "]]


def test_a_share_is_traced(wire: Any) -> None:
    wire(Index)
    told: list[trace] = []
    before = originals()
    with trace(sample=0, report=told.append) as none:
        assert originals() == before
        Tag.objects.create(name="tea")
    assert none.root.children == []
    assert told == []
    for _ in range(200):
        with trace(sample=0.5, report=told.append):
            pass
    assert 40 < len(told) < 160
    for share in (-0.1, 1.1):
        with pytest.raises(ValueError, match=r"from 0\.0 to 1\.0"):
            trace(sample=share)


def test_one_trace_is_one_block() -> None:
    found = trace()
    with found, pytest.raises(RuntimeError, match="open already"):
        found.__enter__()
    assert observing._open == 0


def test_json_has_the_tree(wire: Any) -> None:
    wire(Chain, Index)
    with trace() as found:
        product = Product.objects.create(name="tea")
    data = json.loads(found.as_json())
    assert data["kind"] == "trace"
    signal = next(child for child in data["children"] if child["name"] == "post_save")
    assert signal["about"] == "testapp.Product"
    assert signal["object"] == str(product.pk)
    assert signal["ms"] > 0
    assert signal["children"][0]["path"] == "tests.sight.test_tracing.Chain"


def test_a_flame_graph_is_whole_and_escaped(wire: Any) -> None:
    wire(Fails)
    found = trace()
    with pytest.raises(ValueError, match="no such name"), found:
        Tag(name="bad").save()
    found.root.children[0].children[0].errors[:] = ["ValueError: <script>alert(1)</script> & more"]
    tree = ElementTree.fromstring(found.as_svg())
    titles = [node.text or "" for node in tree.iter("{http://www.w3.org/2000/svg}title")]
    assert any("<script>alert(1)</script> & more" in title for title in titles)
    assert "<script" not in found.as_svg()
    boxes = [node.attrib for node in tree.iter("{http://www.w3.org/2000/svg}rect")]
    assert all(0 <= float(b["x"]) <= 1200 and float(b["width"]) <= 1200.1 for b in boxes)


def test_a_flame_graph_counts_the_queries_of_each_box() -> None:
    root = Span(Key("trace", "trace"))
    root.get_child(Key("receiver", "Chain")).queries = 1
    root.get_child(Key("receiver", "Index")).queries = 2
    titles = [
        (node.text or "").rpartition(", ")[2]
        for node in ElementTree.fromstring(draw(root)).iter("{http://www.w3.org/2000/svg}title")
    ]
    assert titles == ["3 queries", "1 query", "2 queries"]


def test_what_is_quick_beside_the_rest_is_drawn_all_the_same() -> None:
    root = Span(Key("trace", "trace"))
    root.seconds = 60.0
    quick = root.get_child(Key("signal", "post_save", "shop.Product"))
    quick.seconds = quick.get_child(Key("receiver", "Chain")).seconds = 0.0001
    root.get_child(Key("signal", "paid")).seconds = 30.0
    drawn = draw(root)
    for name in ("post_save", "Chain", "paid"):
        assert name in drawn
    boxes = [
        (float(node.attrib["x"]), float(node.attrib["width"]))
        for node in ElementTree.fromstring(drawn).iter("{http://www.w3.org/2000/svg}rect")
    ]
    assert boxes == [(0, 1200), (0, 3), (0, 3), (3, 600)]


def test_lines_keep_to_the_width(wire: Any) -> None:
    wire(Chain, Index)
    with trace() as found:
        Product.objects.create(name="tea")
    for width in (60, 80, 200):
        assert max(map(len, found.as_text(width).splitlines())) <= width


keys = st.builds(
    Key, st.sampled_from(["signal", "receiver", "flush"]), st.sampled_from("abc"), st.just("")
)


def test_the_line_of_the_code_stays_where_there_is_room() -> None:
    root = Span(Key("trace", "trace"))
    root.get_child(Key("signal", "post_save", "shop.ProductOfTheWeek", "shop/views/week.py:42"))
    root.get_child(Key("signal", "paid", "shop.payments.Gateway", "pay.py:7"))

    def line(number: int, width: int) -> str:
        return render(root, width).splitlines()[2 + number].rpartition(" 0.00")[0].rstrip()

    assert line(0, 100) == "├─ post_save shop.ProductOfTheWeek (shop/views/week.py:42)"
    assert line(0, 76) == "├─ post_save shop.ProductOfTheWeek (…/week.py:42)"
    assert line(0, 66) == "├─ post_save shop.ProductO… (…/week.py:42)"
    assert line(0, 50) == "├─ post_save shop.ProductOfTh…"
    # Of the class of a sender its name is enough.
    assert line(1, 100) == "└─ paid Gateway (pay.py:7)"
    assert root.children[1].as_dict()["about"] == "shop.payments.Gateway"
    assert all(
        len(text) <= max(width, 54) for width in range(20, 120) for text in lines(root, width)
    )


def lines(root: Span, width: int) -> list[str]:
    return render(root, width).splitlines()


@given(st.lists(st.tuples(keys, st.integers(0, 3), st.booleans()), max_size=20))
def test_adding_a_tree_adds_its_figures(runs: list[tuple[Key, int, bool]]) -> None:
    def build() -> Span:
        root = Span(Key("trace", "trace"))
        at = root
        for key, queries, goes_down in runs:
            span = at.get_child(key)
            span.count += 1
            span.queries += queries
            at = span if goes_down else root
        return root

    total, one = Span(Key("trace", "trace")), build()
    for _ in range(3):
        total.add(build())
    assert total.all_queries == 3 * one.all_queries
    assert [(s.key, s.count) for s in total.walk()] == [(s.key, 3 * s.count) for s in one.walk()]


def test_a_place_is_a_path_that_opens_from_here(wire: Any) -> None:
    wire(Index)
    with trace() as found:
        Tag.objects.create(name="tea")
    place, _, number = found.root.children[0].key.place.rpartition(":")
    assert Path(place).is_file()
    text = Path(place).read_text(encoding="utf-8").splitlines()[int(number) - 1]
    assert text.strip() == 'Tag.objects.create(name="tea")'


class Greets(Receiver):
    def user_logged_in(self, **kwargs: Any) -> None: ...


def test_signals_of_classes_and_of_nobody_are_named(wire: Any) -> None:
    from django.contrib.auth.models import User
    from django.contrib.auth.signals import user_logged_in

    wire(Greets)
    with trace() as found:
        user_logged_in.send(sender=User, request=None, user=User.objects.create_user("ann"))
        order_paid.send(sender=None)
    assert next(found.find("user_logged_in")).key.about == "auth.User"
    assert list(found.find(f"{__name__}.order_paid")) == []


def test_a_mock_is_a_receiver_like_others() -> None:
    heard = Mock(return_value="told")
    order_paid.connect(heard)
    try:
        with trace() as found:
            assert order_paid.send("till") == [(heard, "told")]
    finally:
        order_paid.disconnect(heard)
    assert "unittest.mock.Mock()" in str(found)


def test_an_async_generator_may_be_closed_in_another_task() -> None:
    found = trace()

    async def stream() -> Any:
        with found:
            yield 1

    async def work() -> None:
        rows = stream()
        await anext(rows)
        await asyncio.create_task(rows.aclose())

    before = originals()
    asyncio.run(work())
    assert found.root.count == 1
    assert originals() == before


def test_async_generators_are_not_decorated() -> None:
    async def stream() -> Any:
        yield 1

    with pytest.raises(TypeError, match="Use it as a block"):
        trace()(stream)


def test_what_somebody_puts_in_the_place_meanwhile_stays(wire: Any) -> None:
    wire(Index)
    before = originals()
    original = vars(Signal)["send"]

    def theirs(self: Any, *args: Any, **kwargs: Any) -> Any:
        return original(self, *args, **kwargs)

    with trace():
        wrapped = vars(Signal)["send"]
        Signal.send = theirs  # type: ignore[method-assign]
    try:
        assert vars(Signal)["send"] is theirs
        with trace() as found:
            Tag.objects.create(name="tea")
        assert vars(Signal)["send"] is theirs
        assert next(found.find("Index")).collected in (0, 1)
    finally:
        Signal.send = wrapped  # type: ignore[method-assign]
    # What is left of ours does nothing, and the next trace puts back what was there.
    Tag.objects.create(name="oil")
    with trace() as found:
        Tag.objects.create(name="salt")
    assert next(found.find("post_save")).count == 1
    assert originals() == before


@pytest.mark.parametrize("options", [{"slower_than": "200"}, {"sample": "a"}, {"sample": True}])
def test_what_is_no_number_is_told(options: Any) -> None:
    with pytest.raises(TypeError, match="it has to be a number"):
        trace(**options)
