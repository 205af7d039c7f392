"""What falls is told to the edge: once, after the commit, and after Django's own caches."""

from __future__ import annotations

import json
import logging
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from http.server import BaseHTTPRequestHandler
from itertools import chain
from typing import Any

import pytest
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import connection, transaction
from django.test import TestCase
from hypothesis import given
from hypothesis import strategies as st

from django_signal_kit import batch, muted
from django_signal_kit.cache import CacheTagHeaders, HTTPPurge, Purge, tagged
from django_signal_kit.cache.headers import encode_tag
from django_signal_kit.checks import check_signal_kit
from django_signal_kit.exceptions import FlushFailedError
from django_signal_kit.receivers import CacheInvalidation
from tests.apps.testapp.models import Line, Product
from tests.cache.test_related import covering
from tests.factories import CategoryFactory, ProductFactory
from tests.ports import get_free_port
from tests.serving import serve
from tests.tasks.queues import LATER, Broker, get_messages, work

pytestmark = pytest.mark.django_db(transaction=True)

TAGS = (CacheInvalidation, {"models": ["testapp.Product"], "tags": ["product:{pk}"]})


class Edge:
    """A server that notes what it is asked to purge, and answers with ``status``."""

    def __init__(self, url: str, requests: list[Any], answer: dict[str, Any]) -> None:
        self.url = url
        self.requests = requests
        self.answer = answer

    @property
    def tags(self) -> list[list[str]]:
        return [headers["Cache-Tag"].split(",") for _, headers, _ in self.requests]


@pytest.fixture
def make_edge() -> Iterator[Callable[[], Edge]]:
    with ExitStack() as stack:

        def make() -> Edge:
            requests: list[Any] = []
            answer: dict[str, Any] = {"status": 200, "then": lambda: None}

            class Handler(BaseHTTPRequestHandler):
                protocol_version = "HTTP/1.1"

                def handle_purge(self) -> None:
                    body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                    requests.append((f"{self.command} {self.path}", dict(self.headers), body))
                    answer["then"]()
                    self.send_response(answer["status"])
                    self.send_header("Content-Length", "2")
                    self.end_headers()
                    self.wfile.write(b"ok")

                do_PURGE = do_BAN = do_POST = handle_purge  # noqa: N815

                def log_message(self, *args: Any) -> None:
                    pass

            url = stack.enter_context(serve(Handler))
            return Edge(f"{url}/", requests, answer)

        yield make


@pytest.fixture
def edge(make_edge: Callable[[], Edge], wire: Any) -> Edge:
    edge = make_edge()
    wire(TAGS, (HTTPPurge, {"urls": [edge.url]}))
    return edge


class Noted(Purge):
    """Keeps what it is told."""

    told: list[list[str]] = []
    failing: set[str] = set()

    def purge(self, tags: Any) -> None:
        self.told.append([*tags])
        if failed := [tag for tag in tags if tag in self.failing]:
            raise FlushFailedError(failed)


@pytest.fixture
def noted(wire: Any) -> list[list[str]]:
    told: list[list[str]] = []
    wire(TAGS, (Noted, {"told": told}))
    return told


# When


def test_a_save_in_autocommit_is_one_request(edge: Edge) -> None:
    product = ProductFactory()
    edge.requests.clear()
    product.save()
    ((line, headers, body),) = edge.requests
    assert (line, headers["Cache-Tag"], body) == ("PURGE /", f"product:{product.pk}", b"")


def test_nothing_is_told_before_the_commit_and_all_of_it_at_once_then(edge: Edge) -> None:
    with transaction.atomic():
        first, second = ProductFactory(), ProductFactory()
        first.save()
        Product.objects.update(name="new")
        assert edge.requests == []
    assert edge.tags == [[f"product:{first.pk}", f"product:{second.pk}"]]


def test_a_batch_is_one_request(edge: Edge) -> None:
    with batch():
        products = [ProductFactory() for _ in range(5)]
        assert edge.requests == []
    assert edge.tags == [[f"product:{product.pk}" for product in products]]


def test_a_rollback_tells_nothing_and_a_savepoint_takes_its_own_back(edge: Edge) -> None:
    product, other = ProductFactory(), ProductFactory()
    edge.requests.clear()
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        product.save()
        tagged().touch("by hand")
        raise ZeroDivisionError
    assert edge.requests == []
    with transaction.atomic():
        product.save()
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            other.save()
            tagged().touch("by-hand")
            raise ZeroDivisionError
    assert edge.tags == [[f"product:{product.pk}"]]


def test_djangos_own_cache_is_touched_before_the_edge_is_purged(edge: Edge) -> None:
    product = ProductFactory()
    tags = [f"product:{product.pk}"]
    found: list[Any] = []
    edge.answer["then"] = lambda: found.append(dict(tagged().get_many({"page": tags})))
    for save in (product.save, transaction.atomic(product.save)):
        tagged().get_or_set("page", lambda: "old", tags=tags)
        save()
    with transaction.atomic():
        tagged().touch(*tags)
        # Another reads the old row, and caches it before the commit.
        thread = threading.Thread(
            target=tagged().get_or_set, args=("page", lambda: "old"), kwargs={"tags": tags}
        )
        thread.start()
        thread.join(30)
    assert found == [{}, {}, {}]


def test_what_is_touched_by_hand_is_purged(noted: list[list[str]]) -> None:
    tagged().touch("a")
    assert noted == [["a"]]
    with transaction.atomic():
        tagged().touch("b", "c")
        assert noted == [["a"]]
    assert [sorted(tags) for tags in noted] == [["a"], ["b", "c"]]
    tagged().touch()
    assert noted[-1] == ["signal_kit"]


def test_what_the_command_drops_is_purged(noted: list[list[str]]) -> None:
    product, _ = ProductFactory(), ProductFactory()
    noted.clear()
    call_command("invalidatecache", f"testapp.Product:{product.pk}", verbosity=0)
    call_command("invalidatecache", tag=["a"], verbosity=0)
    call_command("invalidatecache", all_tags=True, verbosity=0)
    assert noted == [[f"product:{product.pk}"], ["a"], ["signal_kit"]]


def test_a_deletion_and_a_link_are_purged_too(noted: list[list[str]]) -> None:
    product = ProductFactory()
    pk = product.pk
    tag = product.tags.create(name="hot")
    assert noted[-1] == [f"product:{pk}"]
    noted.clear()
    tag.delete()
    assert noted == [[f"product:{pk}"]]
    noted.clear()
    product.delete()
    assert noted == [[f"product:{pk}"]]


class Looking(Noted):
    """Notes too what Django's own cache has, and whether a transaction is open."""

    seen: list[Any] = []

    def purge(self, tags: Any) -> None:
        super().purge(tags)
        found = dict(tagged().get_many({tag: [tag] for tag in tags}))
        self.seen.append((found, connection.in_atomic_block))


def save_in(block: Callable[[], Any]) -> Callable[[Line], None]:
    def write(line: Line) -> None:
        with block():
            line.save()

    return write


def move_by_update(line: Line) -> None:
    Line.objects.update(text="new")


def move_by_bulk_update(line: Line) -> None:
    Line.objects.bulk_update([line], ["text"])


def add_by_bulk_create(line: Line) -> None:
    Line.objects.bulk_create([Line(product=line.product) for _ in range(3)])


@pytest.mark.parametrize(
    "write",
    [
        save_in(nullcontext),
        save_in(transaction.atomic),
        save_in(batch),
        lambda line: transaction.atomic(save_in(batch))(line),
        move_by_update,
        move_by_bulk_update,
        add_by_bulk_create,
        lambda line: line.delete(),
        lambda line: transaction.atomic(line.delete)(),
    ],
    ids=[
        "save",
        "atomic",
        "batch",
        "batch in atomic",
        "update",
        "bulk_update",
        "bulk_create",
        "delete",
        "delete in atomic",
    ],
)
@pytest.mark.parametrize("path", ["product__category", "product__category__product"])
def test_what_relations_lead_to_is_purged_after_it_was_touched(
    path: str, write: Callable[[Line], None], wire: Any
) -> None:
    told: list[list[str]] = []
    seen: list[Any] = []
    wire(
        covering("Line", related=[path]),
        covering("Category", "category:{pk}"),
        # Its tags are made of a column, for which it is asked.
        covering("Product", "name:{name}"),
        (Looking, {"told": told, "seen": seen}),
    )
    product = ProductFactory(name="tea", category=CategoryFactory())
    line = Line.objects.create(product=product)
    tag = f"category:{product.category_id}" if path.endswith("category") else "name:tea"
    told.clear()
    seen.clear()
    tagged().get_or_set(tag, lambda: "old", tags=[tag])
    write(line)
    assert told == [[tag]]
    assert seen == [({}, False)]


@pytest.mark.parametrize("block", [nullcontext, batch])
def test_what_relations_lead_to_is_not_purged_by_a_rollback(block: Any, wire: Any) -> None:
    told: list[list[str]] = []
    wire(
        covering("Line", related=["product__category"]),
        covering("Category", "category:{pk}"),
        (Noted, {"told": told}),
    )
    line = Line.objects.create(product=ProductFactory(category=CategoryFactory()))
    told.clear()
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        with block():
            line.save()
        raise ZeroDivisionError
    assert told == []


def test_keys_alone_purge_nothing(wire: Any) -> None:
    told: list[list[str]] = []
    options = {"models": ["testapp.Product"], "keys": ["product:{pk}"]}
    wire((CacheInvalidation, options), (Noted, {"told": told}))
    with transaction.atomic():
        ProductFactory().save()
    assert told == []


def test_in_a_task_an_edge_that_was_down_is_told_again(
    make_edge: Callable[[], Edge], wire: Any, settings: Any
) -> None:
    settings.TASKS = LATER
    Broker.messages.clear()
    edge = make_edge()
    wire(TAGS, (HTTPPurge, {"urls": [edge.url], "flush_on": "task"}), TASKS={"OUTBOX": False})
    product = ProductFactory()
    tag = f"product:{product.pk}"
    assert [message["items"] for message in get_messages()] == [[tag]]
    assert edge.requests == []
    edge.answer["status"] = 503
    assert work() == []
    assert [message["attempt"] for message in get_messages()] == [2]
    edge.answer["status"] = 200
    assert work() == []
    assert edge.tags == [[encode_tag(tag)]] * 2
    assert get_messages() == []


def test_one_that_is_muted_is_not_told(noted: list[list[str]]) -> None:
    with muted("Noted"):
        ProductFactory()
    assert noted == []
    ProductFactory()
    assert len(noted) == 1


@pytest.mark.django_db(transaction=False)
class InTestCase(TestCase):
    def test_what_would_be_committed_is_told(self) -> None:
        told: list[list[str]] = []
        purge = {"RECEIVER": f"{__name__}.Noted", "OPTIONS": {"told": told}}
        receivers = [{"RECEIVER": get_path(TAGS[0]), "OPTIONS": TAGS[1]}, purge]
        with self.settings(SIGNAL_KIT={"RECEIVERS": receivers}):
            with self.captureOnCommitCallbacks(execute=True):
                product = ProductFactory()
                assert told == []
            assert told == [[f"product:{product.pk}"]]


def get_path(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


# How many


def test_many_tags_are_a_request_for_each_hundred_and_very_many_are_one(
    edge: Edge, wire: Any
) -> None:
    with batch():
        products = Product.objects.bulk_create(Product(name="a") for _ in range(250))
    assert [len(tags) for tags in edge.tags] == [100, 100, 50]
    assert [*chain(*edge.tags)] == [f"product:{product.pk}" for product in products]
    edge.requests.clear()
    wire(TAGS, (HTTPPurge, {"urls": [edge.url], "per_request": 7, "limit": 14}))
    tagged().touch(*(str(number) for number in range(14)))
    assert [len(tags) for tags in edge.tags] == [7, 7]
    edge.requests.clear()
    tagged().touch(*(str(number) for number in range(15)))
    assert edge.tags == [["signal_kit"]]


def test_no_header_is_longer_than_servers_take(edge: Edge) -> None:
    tagged().touch(*(f"{number:0>100}" for number in range(100)))
    assert sum(map(len, edge.tags)) == 100
    assert max(len(headers["Cache-Tag"]) for _, headers, _ in edge.requests) < 4100


# What is sent


def test_method_path_headers_and_separator_are_options(edge: Edge, wire: Any) -> None:
    options = {
        "urls": [f"{edge.url}service/7/purge?soft=1"],
        "method": "POST",
        "header": "Surrogate-Key",
        "separator": " ",
        "headers": {"Fastly-Key": "secret"},
    }
    wire((HTTPPurge, options))
    tagged().touch("a", "b")
    ((line, headers, _),) = edge.requests
    assert line == "POST /service/7/purge?soft=1"
    assert sorted(headers["Surrogate-Key"].split(" ")) == ["a", "b"]
    assert headers["Fastly-Key"] == "secret"


class JSONPurge(HTTPPurge):
    method = "POST"
    per_request = 2

    def get_headers(self, tags: Any) -> Any:
        return {"Content-Type": "application/json", **self.headers}

    def get_body(self, tags: Any) -> bytes:
        return json.dumps({"tags": [*tags]}).encode()


def test_a_subclass_may_send_a_body(edge: Edge, wire: Any) -> None:
    wire((JSONPurge, {"urls": [edge.url]}))
    tagged().touch("a", "b", "c")
    bodies = [json.loads(body)["tags"] for _, _, body in edge.requests]
    assert [len(tags) for tags in bodies] == [2, 1]
    assert sorted(chain(*bodies)) == ["a", "b", "c"]
    assert all("Cache-Tag" not in headers for _, headers, _ in edge.requests)


@given(tags=st.lists(st.text(max_size=120), min_size=1, max_size=5), other=st.text(max_size=10))
def test_the_expression_finds_each_of_its_tags_and_no_other(tags: list[str], other: str) -> None:
    encoded = [encode_tag(tag) for tag in tags]
    said = HTTPPurge(regex=True).get_headers(encoded)["Cache-Tag"]
    assert re.fullmatch(r"[!-~]+", said)
    assert '"' not in said
    for separator in (",", " ", ", "):
        for tag in encoded:
            assert re.search(said, separator.join(["first", tag, "last"]))
            assert re.search(said, tag)
        if encode_tag(other) not in encoded:
            assert not re.search(said, separator.join([encode_tag(other), "signal"]))


def test_a_dot_in_a_tag_stands_for_itself() -> None:
    said = HTTPPurge(regex=True).get_headers(["a.b"])["Cache-Tag"]
    assert re.search(said, "x,a.b")
    assert not re.search(said, "x,a-b")


@given(tag=st.text())
def test_a_tag_has_one_spelling_that_each_header_can_have(tag: str) -> None:
    encoded = encode_tag(tag)
    assert re.fullmatch(r"[A-Za-z0-9_:./=@~-]{1,100}", encoded)
    assert encode_tag(encoded) == encoded


# What fails


def test_a_host_that_fails_is_told_with_its_tags_and_the_others_get_theirs(
    make_edge: Callable[[], Edge], wire: Any, caplog: Any, failures: Any
) -> None:
    broken, good = make_edge(), make_edge()
    gone = f"http://127.0.0.1:{get_free_port()}/"
    broken.answer["status"] = 503
    wire(TAGS, (HTTPPurge, {"urls": [broken.url, gone, good.url], "per_request": 2}))
    with caplog.at_level(logging.ERROR), batch():
        products = [ProductFactory() for _ in range(3)]
    tags = [f"product:{product.pk}" for product in products]
    assert good.tags == broken.tags == [tags[:2], tags[2:]]
    [failure] = failures
    error = failure["exception"]
    assert (failure["receiver"].name, failure["signal_name"]) == ("HTTPPurge", "flush")
    assert isinstance(error, FlushFailedError)
    assert error.items == tags
    assert "it answered 503 to PURGE" in str(error)
    assert "ConnectionRefusedError" in str(error)
    assert tags[0] in caplog.text
    assert Product.objects.count() == 3


def test_a_host_that_says_nothing_is_waited_for_once(wire: Any) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(10)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        purge = HTTPPurge(urls=[url], timeout=0.2, per_request=1)
        with pytest.raises(FlushFailedError, match="TimeoutError") as found:
            purge.flush(["a", "b", "c"])
        assert found.value.items == ["a", "b", "c"]
        silent.settimeout(30)
        silent.accept()[0].close()
        silent.setblocking(False)
        with pytest.raises(BlockingIOError):
            silent.accept()


def test_items_are_text_and_those_that_failed_are_told_as_they_came() -> None:
    told: list[list[str]] = []
    purge = Noted(told=told, failing={"b"})
    with pytest.raises(FlushFailedError) as found:
        purge.flush(json.loads(json.dumps(["a", "b", "a"])))
    assert (found.value.items, told) == (["b"], [["a", "b"]])
    purge = Noted(told=told, failing={"signal_kit"}, limit=1)
    with pytest.raises(FlushFailedError) as found:
        purge.flush(["a", "b"])
    assert (found.value.items, told[-1]) == (["a", "b"], ["signal_kit"])


def test_a_base_without_purge_says_so() -> None:
    with pytest.raises(NotImplementedError, match=r"has no purge\(tags\)"):
        Purge().flush(["a"])


# Mistakes


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({}, "HTTPPurge has no urls, and purges nothing"),
        ({"urls": ["localhost:80"]}, "begins neither with http"),
        ({"urls": ["http://"]}, "names no host"),
        ({"urls": ["http://a:0/"]}, "names no host"),
        ({"urls": ["http://a:b/"]}, "is no URL"),
        ({"urls": ["http://me:secret@a/"]}, "has a name or a password"),
        ({"urls": ["http://a/ä"]}, "has a character that a URL cannot have"),
        ({"urls": ["http://a/"], "method": "PURGE\r\n"}, "The option 'method' of HTTPPurge is"),
        ({"urls": ["http://a/"], "header": "a b"}, "The option 'header' of HTTPPurge is 'a b'"),
        ({"urls": ["http://a/"], "per_request": 0}, "'per_request' of HTTPPurge is 0"),
        ({"urls": ["http://a/"], "timeout": 0}, "'timeout' of HTTPPurge is 0"),
    ],
)
def test_what_cannot_be_sent_is_refused(wire: Any, options: Any, problem: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=re.escape(problem)) as found:
        wire((HTTPPurge, options))
    assert "signal_kit.E066" in str(found.value)
    assert "secret" not in str(found.value)


@pytest.mark.parametrize("options", [{"flush_on": "before_commit"}, {"limit": 0}])
def test_what_would_purge_nothing_or_too_early_is_refused(wire: Any, options: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"signal_kit\.E065"):
        wire((Noted, options))


def get_ids() -> list[str]:
    return [
        str(message.id)
        for message in check_signal_kit()
        if str(message.id)[-4:] in ("W024", "W025")
    ]


class Own(CacheTagHeaders):
    pass


@pytest.mark.parametrize("path", ["django_signal_kit.cache.CacheTagHeaders", f"{__name__}.Own"])
def test_a_middleware_that_is_missing_or_too_low_is_warned_of(
    wire: Any, settings: Any, path: str
) -> None:
    wire(Noted)
    assert get_ids() == ["signal_kit.W025"]
    others = [*settings.MIDDLEWARE, "not.there"]
    settings.MIDDLEWARE = [*others, path]
    assert get_ids() == ["signal_kit.W024"]
    settings.MIDDLEWARE = [path, *others]
    assert get_ids() == []


@pytest.fixture(autouse=True)
def empty() -> None:
    cache.clear()
