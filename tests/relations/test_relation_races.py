"""Limits, counts and clean-ups hold when several connections write at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, OperationalError, connection, connections, transaction
from django.db.models.signals import m2m_changed

from django_signal_kit.receivers import AuditLog, M2MCount, M2MLimit, OrphanCleanup
from tests.apps.relations.models import Article, Chapter, Contract, Player, Team, Topic
from tests.relations.told import entries, forget

pytestmark = pytest.mark.django_db(transaction=True)

THREADS = 4
PATIENCE = 60

# SQLite has one writer, who would keep the others waiting for good.
several_writers = pytest.mark.skipif(
    connection.vendor == "sqlite", reason="SQLite has one writer at a time."
)


def run_together(*functions: Callable[[], Any]) -> list[Any]:
    """Run each in a thread, all at once; return what they return."""
    barrier = threading.Barrier(len(functions), timeout=PATIENCE)

    def run(function: Callable[[], Any]) -> Any:
        try:
            barrier.wait()
            return function()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(functions)) as pool:
        futures = [pool.submit(run, function) for function in functions]
        return [future.result(PATIENCE) for future in futures]


class Other:
    """Another connection, in a transaction of its own, that does one thing after the other."""

    def __init__(self) -> None:
        self.pool = ThreadPoolExecutor(1)

    def do(self, function: Callable[[], Any]) -> Any:
        return self.pool.submit(function).result(PATIENCE)

    def begin(self) -> None:
        self.atomic = transaction.atomic()
        self.do(self.atomic.__enter__)

    def commit(self) -> None:
        self.do(lambda: self.atomic.__exit__(None, None, None))

    def roll_back(self) -> None:
        error = ZeroDivisionError()
        self.do(lambda: self.atomic.__exit__(ZeroDivisionError, error, None))


@contextmanager
def other() -> Iterator[Other]:
    found = Other()
    try:
        found.begin()
        yield found
    finally:
        found.do(connections.close_all)
        found.pool.shutdown()


def retry(function: Callable[[], Any]) -> Any:
    """Until no deadlock comes in between."""
    for _ in range(20):
        try:
            return function()
        except OperationalError:
            continue
    raise AssertionError("No attempt succeeded.")


# AuditLog

ADDITIONS = {
    "add": lambda article, topic: article.topics.add(topic),
    "add of the other side": lambda article, topic: topic.articles.add(article),
    "bulk": lambda article, topic: Article.topics.through.objects.bulk_create(
        [Article.topics.through(article=article, topic=topic)], ignore_conflicts=True
    ),
}
ENDINGS = {
    "remove": lambda article, topic: article.topics.remove(topic),
    "clear of the other side": lambda article, topic: topic.articles.clear(),
    "row": lambda article, topic: [
        link.delete() for link in Article.topics.through.objects.filter(topic=topic)
    ],
    "bulk": lambda article, topic: Article.topics.through.objects.filter(topic=topic).delete(),
    "deletion": lambda article, topic: Topic.objects.filter(pk=topic.pk).delete(),
}


@pytest.mark.parametrize("first", ADDITIONS)
@pytest.mark.parametrize("second", ADDITIONS)
def test_a_link_that_two_make_at_once_is_told_once(wire: Any, first: str, second: str) -> None:
    wire((AuditLog, {"models": [Article, Topic]}))
    article, topic = Article.objects.create(), Topic.objects.create()
    forget()
    # Both have seen by then that there is no such link, where two may write at once.
    both = threading.Barrier(2, timeout=2)

    def meet(action: str, **kwargs: Any) -> None:
        if action == "pre_add" and connection.vendor != "sqlite" and "bulk" not in (first, second):
            both.wait()

    def make(way: str) -> Callable[[], Any]:
        return lambda: ADDITIONS[way](
            Article.objects.get(pk=article.pk), Topic.objects.get(pk=topic.pk)
        )

    m2m_changed.connect(meet, sender=Article.topics.through)
    try:
        run_together(make(first), make(second))
    finally:
        m2m_changed.disconnect(meet, sender=Article.topics.through)
    assert article.topics.count() == 1
    assert entries(Article) == [("m2m_add", {"topics": {"added": [topic.pk]}})]


@several_writers
@pytest.mark.parametrize("first", ENDINGS)
@pytest.mark.parametrize("second", ENDINGS)
def test_a_link_that_two_end_at_once_is_told_once(wire: Any, first: str, second: str) -> None:
    wire((AuditLog, {"models": [Article]}))
    article, topic = Article.objects.create(), Topic.objects.create()
    article.topics.add(topic)
    forget()
    started = threading.Event()

    def end() -> None:
        started.set()
        retry(lambda: ENDINGS[second](article, topic))

    with ThreadPoolExecutor(1) as pool:
        with other() as someone:
            someone.do(lambda: ENDINGS[first](article, Topic.objects.get(pk=topic.pk)))
            waiting = pool.submit(lambda: (end(), connections.close_all()))
            started.wait(PATIENCE)
            # Long enough to come to where it has to wait.
            time.sleep(0.2)
            someone.commit()
        waiting.result(PATIENCE)
    told = [changes for _, changes in entries(Article)]
    assert told == [{"topics": {"removed": [topic.pk]}}]


# M2MLimit


def test_concurrent_additions_cannot_exceed_the_maximum(wire: Any) -> None:
    wire((M2MLimit, {"models": [Article], "relation": "topics", "maximum": 3}))
    article = Article.objects.create()
    topics = [Topic.objects.create() for _ in range(3 * THREADS)]

    def add(some: list[Topic], is_reverse: bool) -> int:
        refused = 0
        for topic in some:
            try:
                if is_reverse:
                    topic.articles.add(article)
                else:
                    Article.objects.get(pk=article.pk).topics.add(topic)
            except ValidationError:
                refused += 1
        return refused

    def make(number: int) -> Callable[[], int]:
        return lambda: add(topics[number::THREADS], bool(number % 2))

    refused = run_together(*(make(number) for number in range(THREADS)))
    assert article.topics.count() == 3
    assert sum(refused) == len(topics) - 3


def test_concurrent_removals_cannot_go_below_the_minimum(wire: Any) -> None:
    wire((M2MLimit, {"models": [Article], "relation": "topics", "minimum": 2}))
    article = Article.objects.create()
    topics = [Topic.objects.create() for _ in range(2 * THREADS)]
    article.topics.set(topics)

    def remove(some: list[Topic]) -> int:
        refused = 0
        for topic in some:
            try:
                Article.objects.get(pk=article.pk).topics.remove(topic)
            except ValidationError:
                refused += 1
        return refused

    def make(number: int) -> Callable[[], int]:
        return lambda: remove(topics[number::THREADS])

    refused = run_together(*(make(number) for number in range(THREADS)))
    assert article.topics.count() == 2
    assert sum(refused) == 2


@several_writers
def test_who_adds_waits_for_whom_he_cannot_see_yet(wire: Any) -> None:
    wire((M2MLimit, {"models": [Article], "relation": "topics", "maximum": 1}))
    article = Article.objects.create()
    first, second = Topic.objects.create(), Topic.objects.create()
    started = threading.Event()

    def add() -> str:
        try:
            started.set()
            article.topics.add(second)
            return "added"
        except ValidationError:
            return "refused"
        finally:
            connections.close_all()

    with other() as writer, ThreadPoolExecutor(1) as pool:
        writer.do(lambda: article.topics.add(first))
        future = pool.submit(add)
        assert started.wait(PATIENCE)
        writer.commit()
        assert future.result(PATIENCE) == "refused"
    assert article.topics.get() == first


# M2MCount


def test_concurrent_links_are_all_counted(wire: Any) -> None:
    wire((M2MCount, {"models": [Topic], "relation": "articles", "field": "article_count"}))
    topics = [Topic.objects.create() for _ in range(3)]

    def write() -> None:
        for number in range(5):
            article = Article.objects.create()
            retry(lambda article=article: article.topics.add(*topics))  # type: ignore[misc]
            if number % 2:
                retry(lambda article=article: article.topics.remove(topics[0]))  # type: ignore[misc]
            if number == 3:
                retry(lambda article=article: Article.objects.filter(pk=article.pk).delete())  # type: ignore[misc]
            topic = Topic.objects.get(pk=topics[1].pk)
            retry(topic.save)

    run_together(*[write] * THREADS)
    for topic in Topic.objects.all():
        assert topic.article_count == topic.articles.count()
    assert Topic.objects.get(pk=topics[0].pk).article_count == 3 * THREADS
    assert Topic.objects.get(pk=topics[1].pk).article_count == 4 * THREADS


def test_concurrent_rows_of_a_through_model_are_all_counted(wire: Any) -> None:
    wire((M2MCount, {"models": [Team], "relation": "players", "field": "player_count"}))
    team = Team.objects.create(code="a")
    player = Player.objects.create()

    def write() -> None:
        for _ in range(4):
            retry(lambda: Contract.objects.create(team=team, player=player))
            retry(
                lambda: Contract.objects.bulk_create(
                    Contract(team=team, player=player) for _ in range(2)
                )
            )

    run_together(*[write] * THREADS)
    team.refresh_from_db()
    assert team.player_count == Contract.objects.count() == 12 * THREADS


@several_writers
def test_a_link_made_beside_a_deletion_is_counted_or_refused(wire: Any) -> None:
    wire((M2MCount, {"models": [Topic], "relation": "articles", "field": "article_count"}))
    topic = Topic.objects.create()
    article = Article.objects.create()
    started = threading.Event()

    def delete() -> None:
        try:
            started.set()
            Article.objects.filter(pk=article.pk).delete()
        finally:
            connections.close_all()

    with other() as writer, ThreadPoolExecutor(1) as pool:
        writer.do(lambda: article.topics.add(topic))
        future = pool.submit(delete)
        assert started.wait(PATIENCE)
        writer.commit()
        future.result(PATIENCE)
    topic.refresh_from_db()
    assert topic.article_count == topic.articles.count() == 0


# OrphanCleanup


@several_writers
@pytest.mark.parametrize("is_committed", [True, False])
def test_what_gains_a_link_meanwhile_stays(wire: Any, is_committed: bool) -> None:
    wire((OrphanCleanup, {"models": [Topic]}))
    topic = Topic.objects.create()
    one, two = Article.objects.create(), Article.objects.create()
    one.topics.add(topic)
    started = threading.Event()

    def remove() -> None:
        try:
            started.set()
            one.topics.remove(topic)
        finally:
            connections.close_all()

    with other() as writer, ThreadPoolExecutor(1) as pool:
        writer.do(lambda: two.topics.add(topic))
        future = pool.submit(remove)
        assert started.wait(PATIENCE)
        if connection.features.has_select_for_update_skip_locked:
            # He need not wait to know that the topic is wanted.
            future.result(PATIENCE)
        if is_committed:
            writer.commit()
        else:
            writer.roll_back()
        future.result(PATIENCE)
    assert Topic.objects.filter(pk=topic.pk).exists() is True
    assert two.topics.exists() is is_committed


@several_writers
def test_what_is_being_deleted_cannot_gain_a_pointer(wire: Any) -> None:
    wire((OrphanCleanup, {"models": [Chapter]}))
    chapter = Chapter.objects.create()
    article = Article.objects.create(chapter=chapter)
    started = threading.Event()

    def point() -> str:
        try:
            started.set()
            Article.objects.create(chapter=chapter)
            return "written"
        except Exception as error:
            return type(error).__name__
        finally:
            connections.close_all()

    with other() as writer, ThreadPoolExecutor(1) as pool:
        writer.do(article.delete)
        future = pool.submit(point)
        assert started.wait(PATIENCE)
        writer.commit()
        assert future.result(PATIENCE) == "IntegrityError"
    assert not Chapter.objects.exists()
    assert not Article.objects.exists()


def test_no_row_is_deleted_that_somebody_points_to(wire: Any) -> None:
    wire((OrphanCleanup, {"models": [Topic], "limit": 1000}))
    topics = [Topic.objects.create() for _ in range(4)]
    articles = [Article.objects.create() for _ in range(THREADS)]

    def make(number: int) -> Callable[[], int]:
        def write() -> int:
            article, links = articles[number], 0
            for position in range(10):
                topic = topics[(number + position) % len(topics)]
                try:
                    article.topics.set([topic])
                except (IntegrityError, OperationalError):
                    # Deleted by another, or a deadlock: in either case nothing is written.
                    pass
                else:
                    links += 1
            return links

        return write

    run_together(*(make(number) for number in range(THREADS)))
    # Each link leads to a row that is there.
    for article in articles:
        linked = set(article.topics.through.objects.values_list("topic_id", flat=True))
        assert linked <= set(Topic.objects.values_list("pk", flat=True))
    assert Article.topics.through.objects.count() == sum(a.topics.count() for a in articles)
