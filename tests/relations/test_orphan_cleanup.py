"""What nobody points to any more goes, and nothing else."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from django_signal_kit import ModelReceiver, batch
from django_signal_kit.receivers import M2MCount, OrphanCleanup
from tests.apps.rarities.models import Label
from tests.apps.relations.models import (
    Article,
    Chapter,
    Contract,
    Guarded,
    LongArticle,
    Player,
    Remark,
    Team,
    Topic,
)

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def topics(wire: Any) -> Any:
    return wire((OrphanCleanup, {"models": ["relations.Topic"]}))


def make_topics(number: int = 3) -> list[Topic]:
    return [Topic.objects.create(name=f"t{position}") for position in range(number)]


def make_article(*topics: Topic, **values: Any) -> Article:
    article = Article.objects.create(**values)
    article.topics.set(topics)
    return article


def get_names(model: Any = Topic) -> list[str]:
    return list(model.objects.order_by("name").values_list("name", flat=True))


# Links


def test_a_row_goes_with_its_last_link(topics: Any) -> None:
    first, second, _ = make_topics()
    one, other = make_article(first, second), make_article(first)
    one.topics.remove(first, second)
    assert get_names() == ["t0", "t2"]
    first.articles.remove(other)
    assert get_names() == ["t2"]


def test_a_row_goes_when_it_is_cleared_or_replaced(topics: Any) -> None:
    first, second, third = make_topics()
    article = make_article(first)
    article.topics.set([second])
    assert get_names() == ["t1", "t2"]
    article.topics.clear()
    assert get_names() == ["t2"]
    third.articles.add(article)
    third.articles.clear()
    assert get_names() == []


def test_a_row_goes_when_what_is_linked_is_deleted(topics: Any) -> None:
    first, second, _ = make_topics()
    one = make_article(first, second)
    two = make_article(second)
    one.delete()
    assert get_names() == ["t1", "t2"]
    Article.objects.filter(pk=two.pk).delete()
    assert get_names() == ["t2"]


@pytest.mark.parametrize("is_first", [True, False])
def test_a_row_goes_if_another_receiver_looks_at_the_same_links(wire: Any, is_first: bool) -> None:
    count = (
        M2MCount,
        {"models": [Topic], "relation": "articles", "field": "article_count"},
    )
    cleanup = (OrphanCleanup, {"models": [Topic]})
    wire(*((cleanup, count) if is_first else (count, cleanup)))
    first, second, _ = make_topics()
    one, two = make_article(first, second), make_article(second)
    one.delete()
    assert get_names() == ["t1", "t2"]
    second.refresh_from_db()
    assert second.article_count == 1
    with batch():
        make_article(second).delete()
        two.delete()
    assert get_names() == ["t2"]


def test_a_chain_of_links_goes_link_by_link(wire: Any) -> None:
    wire((OrphanCleanup, {"models": [Player], "relations": ["followers"]}))
    first, second, third, _ = (Player.objects.create(name=f"p{n}") for n in range(4))
    first.follows.add(second)
    second.follows.add(third)
    first.delete()
    assert get_names(Player) == ["p3"]


def test_what_was_never_pointed_to_stays(topics: Any) -> None:
    first, *_ = make_topics()
    article = make_article()
    article.topics.remove(first)
    first.articles.clear()
    first.articles.set([])
    first.save()
    article.delete()
    assert get_names() == ["t0", "t1", "t2"]


def test_what_is_pointed_to_again_before_the_end_stays(topics: Any) -> None:
    first, second, _ = make_topics()
    one, two = make_article(first), make_article()
    with batch():
        one.topics.clear()
        two.topics.add(first)
    one.topics.set([second])
    two.topics.set([first], clear=True)
    assert get_names() == ["t0", "t1", "t2"]


def test_what_is_rolled_back_was_not_lost(topics: Any) -> None:
    first, second, _ = make_topics()
    article = make_article(first, second)
    with batch():
        article.topics.remove(first)
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            article.topics.remove(second)
            raise ZeroDivisionError
    assert get_names() == ["t1", "t2"]
    with pytest.raises(ZeroDivisionError), batch():
        article.delete()
        raise ZeroDivisionError
    assert get_names() == ["t1", "t2"]


def test_a_row_that_links_to_others_itself_is_no_orphan_without_links(wire: Any) -> None:
    wire((OrphanCleanup, {"models": [Player], "relations": ["followers"]}))
    one, two, three = [Player.objects.create(name=name) for name in "abc"]
    one.follows.add(two)
    two.follows.add(three)
    one.follows.clear()
    # Whom nobody follows any more goes, and then whom nobody but he has followed.
    assert get_names(Player) == ["a"]


# Foreign keys


def test_a_parent_goes_with_its_last_child(wire: Any) -> None:
    wire((OrphanCleanup, {"models": [Chapter]}))
    one, two = Chapter.objects.create(name="one"), Chapter.objects.create(name="two")
    first, second = make_article(chapter=one), make_article(chapter=one)
    first.delete()
    assert get_names(Chapter) == ["one", "two"]
    second.chapter = two
    second.save(update_fields=["title"])
    assert get_names(Chapter) == ["one", "two"]
    second.save()
    assert get_names(Chapter) == ["two"]
    Article.objects.filter(pk=second.pk).update(chapter=None)
    assert get_names(Chapter) == []


def test_a_parent_goes_after_a_bulk_update(wire: Any) -> None:
    wire((OrphanCleanup, {"models": [Chapter]}))
    one, two = Chapter.objects.create(name="one"), Chapter.objects.create(name="two")
    articles = [make_article(chapter=one) for _ in range(3)]
    for article in articles:
        article.chapter = two
    Article.objects.bulk_update(articles[:2], ["chapter"])
    assert get_names(Chapter) == ["one", "two"]
    Article.objects.bulk_update(articles, ["chapter"])
    assert get_names(Chapter) == ["two"]


def test_a_child_of_several_tables_is_a_pointer_too(wire: Any) -> None:
    wire((OrphanCleanup, {"models": [Chapter]}))
    chapter = Chapter.objects.create(name="one")
    long, _ = LongArticle.objects.create(chapter=chapter), LongArticle.objects.create()
    long.chapter = None
    long.save()
    assert get_names(Chapter) == []
    other = Chapter.objects.create(name="two")
    LongArticle.objects.update(chapter=other)
    LongArticle.objects.all().delete()
    assert get_names(Chapter) == []


def test_a_chain_goes_link_by_link(wire: Any) -> None:
    wire((OrphanCleanup, {"models": [Chapter]}))
    chain = [Chapter.objects.create(name="c0")]
    for number in range(1, 6):
        chain.append(Chapter.objects.create(name=f"c{number}", parent=chain[-1]))
    article = make_article(chapter=chain[-1])
    alone = Chapter.objects.create(name="z")
    alone.parent = alone
    alone.save()
    article.delete()
    assert get_names(Chapter) == ["z"]
    Article.objects.create(chapter=alone).delete()
    assert get_names(Chapter) == []


def test_a_row_that_is_named_by_another_field_goes_too(wire: Any) -> None:
    wire((OrphanCleanup, {"models": [Team]}))
    team, other = Team.objects.create(code="a"), Team.objects.create(code="b")
    player = Player.objects.create()
    player.teams.add(team)
    contract = Contract.objects.get()
    contract.team = other
    contract.save()
    assert Team.objects.get() == other
    player.teams.clear()
    assert not Team.objects.exists()


def test_the_parent_part_of_a_row_is_no_orphan(wire: Any) -> None:
    wire((OrphanCleanup, {"models": [Article]}))
    topic, *_ = make_topics()
    long = LongArticle.objects.create()
    plain = make_article()
    for article in (long, plain):
        Remark.objects.create(target=article)
    topic.articles.add(long, plain)
    topic.articles.clear()
    assert Article.objects.count() == 2


# What keeps a row


def test_all_relations_count_unless_some_are_named(wire: Any, caplog: Any) -> None:
    receiver = {"models": [Chapter], "relations": ["article_set"]}
    wire((OrphanCleanup, receiver))
    parent = Chapter.objects.create(name="parent")
    Chapter.objects.create(name="child", parent=parent)
    make_article(chapter=parent).delete()
    assert get_names(Chapter) == []
    wire((OrphanCleanup, {**receiver, "relations": ["relations.Article.chapter"]}))
    make_article(chapter=Chapter.objects.create(name="other")).delete()
    assert get_names(Chapter) == []
    wire((OrphanCleanup, {**receiver, "relations": []}))
    parent = Chapter.objects.create(name="parent")
    child = Chapter.objects.create(name="child", parent=parent)
    make_article(chapter=parent).delete()
    assert get_names(Chapter) == ["child", "parent"]
    child.delete()
    assert get_names(Chapter) == []


def test_a_row_that_is_protected_stays(wire: Any) -> None:
    wire((OrphanCleanup, {"models": [Topic], "relations": ["articles"]}))
    first, *_ = make_topics(1)
    guard = Guarded.objects.create(topic=first)
    make_article(first).delete()
    assert get_names() == ["t0"]
    guard.delete()
    assert get_names() == []


def test_a_row_that_a_generic_foreign_key_names_stays(topics: Any) -> None:
    first, second, _ = make_topics()
    Remark.objects.create(target=first)
    Label.objects.create(target=second)
    make_article(first, second).delete()
    assert get_names() == ["t0", "t1", "t2"]


# Generic foreign keys that lead nowhere


def test_what_was_about_a_row_goes_with_it(wire: Any) -> None:
    options = {"models": [Remark], "generic": {"target": ["relations.Article", Topic]}}
    wire((OrphanCleanup, options))
    topic, *_ = make_topics(1)
    articles = [make_article() for _ in range(3)]
    for target in (topic, *articles, LongArticle.objects.create(), Team.objects.create()):
        Remark.objects.create(target=target)
    articles[0].delete()
    assert Remark.objects.count() == 5
    Article.objects.filter(pk__gte=articles[1].pk).delete()
    assert {type(remark.target) for remark in Remark.objects.all()} == {Topic, Team}
    Team.objects.all().delete()
    topic.delete()
    assert [remark.target for remark in Remark.objects.all()] == [None]


def test_what_is_about_a_row_that_came_back_stays(wire: Any) -> None:
    wire((OrphanCleanup, {"models": [Remark], "generic": {"target": [Topic]}}))
    topic, *_ = make_topics(1)
    Remark.objects.create(target=topic)
    pk = topic.pk
    with batch():
        topic.delete()
        Topic.objects.create(pk=pk)
    assert Remark.objects.count() == 1


# How much, and whether at all


def test_what_is_beyond_the_limit_stays_with_an_error_in_the_log(wire: Any, caplog: Any) -> None:
    wire((OrphanCleanup, {"models": [Topic], "limit": 2}))
    topics = make_topics(4)
    article = make_article(*topics)
    with caplog.at_level(logging.INFO, "django_signal_kit"):
        article.topics.clear()
    assert get_names() == ["t2", "t3"]
    gone, left = [topic.pk for topic in topics[:2]], [topic.pk for topic in topics[2:]]
    assert [(record.levelname, record.message) for record in caplog.records] == [
        (
            "ERROR",
            f"OrphanCleanup leaves 2 orphans of relations.Topic, for its limit is 2 in a unit of "
            f"work: {left[0]}, {left[1]}",
        ),
        ("INFO", f"OrphanCleanup deleted 2 of relations.Topic: {gone[0]}, {gone[1]}"),
    ]
    # What stayed goes another time, if it loses a pointer again.
    article.topics.set(Topic.objects.all())
    article.topics.clear()
    assert get_names() == []


def test_what_is_spared_does_not_count_towards_the_limit(wire: Any) -> None:
    wire((Careful, {"models": [Topic], "limit": 2}))
    make_article(*make_topics(4)).delete()
    assert get_names() == ["t0", "t3"]


def test_the_limit_is_one_for_all_writes_and_models_of_a_unit(wire: Any, caplog: Any) -> None:
    wire((OrphanCleanup, {"models": [Topic, Chapter], "limit": 3}))
    first, second = make_article(*make_topics(2)), make_article()
    chapter = Chapter.objects.create(name="c")
    last = make_article(chapter=chapter)
    second.topics.add(Topic.objects.create(name="t2"), Topic.objects.create(name="t3"))
    with batch():
        first.delete()
        second.topics.clear()
        last.delete()
    assert Topic.objects.count() + Chapter.objects.count() == 2
    assert "for its limit is 3 in a unit of work" in caplog.text


def test_a_rolled_back_unit_deletes_nothing_and_the_next_has_its_own_limit(wire: Any) -> None:
    wire((OrphanCleanup, {"models": [Topic], "limit": 2}))
    article = make_article(*make_topics(3))
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        article.topics.clear()
        raise ZeroDivisionError
    assert len(get_names()) == 3
    article.topics.clear()
    assert get_names() == ["t2"]


def test_a_dry_run_tells_what_the_limit_would_leave(wire: Any, caplog: Any) -> None:
    wire((OrphanCleanup, {"models": [Topic], "dry_run": True, "limit": 2}))
    topics = make_topics(3)
    with caplog.at_level(logging.INFO, "django_signal_kit"):
        make_article(*topics).delete()
    assert len(get_names()) == 3
    assert [message.split(",")[0].split(":")[0] for message in caplog.messages] == [
        "OrphanCleanup would leave 1 orphans of relations.Topic",
        "OrphanCleanup would delete 2 of relations.Topic",
    ]


def test_the_limit_is_that_of_the_whole_unit(wire: Any) -> None:
    wire((OrphanCleanup, {"models": [Chapter], "limit": 3}))
    chain = [Chapter.objects.create(name="c0")]
    for number in range(1, 5):
        chain.append(Chapter.objects.create(name=f"c{number}", parent=chain[-1]))
    make_article(chapter=chain[-1]).delete()
    assert get_names(Chapter) == ["c0", "c1"]


def test_a_dry_run_only_tells(wire: Any, caplog: Any) -> None:
    wire((OrphanCleanup, {"models": [Topic], "dry_run": True}))
    topic, *_ = make_topics()
    with caplog.at_level(logging.INFO, "django_signal_kit"):
        make_article(topic).delete()
    assert get_names() == ["t0", "t1", "t2"]
    assert caplog.messages == [f"OrphanCleanup would delete 1 of relations.Topic: {topic.pk}"]


class Careful(OrphanCleanup):
    def should_delete(self, instance: Any) -> bool:
        return instance.name != "t0"


def test_a_row_may_be_spared(wire: Any, caplog: Any) -> None:
    wire((Careful, {"models": [Topic]}))
    with caplog.at_level(logging.INFO, "django_signal_kit"):
        make_article(*make_topics(2)).delete()
    assert get_names() == ["t0"]
    assert [message.split(":")[0] for message in caplog.messages] == [
        "Careful deleted 1 of relations.Topic"
    ]


class Mourner(ModelReceiver):
    models = [Topic]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.names: list[str] = []

    def post_delete(self, instance: Any, **kwargs: Any) -> None:
        self.names.append(instance.name)


def test_other_receivers_hear_what_goes(wire: Any) -> None:
    _, mourner = wire((OrphanCleanup, {"models": [Topic]}), Mourner)
    make_article(*make_topics(2)).topics.clear()
    assert sorted(mourner.names) == ["t0", "t1"]


def test_a_row_that_keeps_others_costs_one_query(topics: Any) -> None:
    first, *_ = make_topics()
    one, _ = make_article(first), make_article(first)
    with CaptureQueriesContext(connection) as queries:
        one.topics.remove(first)
    looked = [query for query in queries if "EXISTS" in query["sql"]]
    assert len(looked) == 1
    assert len(queries) <= 7


def test_a_thousand_deletions_take_few_queries(wire: Any) -> None:
    wire((OrphanCleanup, {"models": [Topic], "limit": 1000}))
    first, second, _ = make_topics()
    Article.objects.bulk_create(Article() for _ in range(1000))
    first.articles.set(Article.objects.all())
    second.articles.set(Article.objects.all()[:10])
    with CaptureQueriesContext(connection) as queries:
        Article.objects.all().delete()
    assert get_names() == ["t2"]
    assert len([query for query in queries if "relations_topic" in query["sql"]]) < 25


# What cannot work


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"models": ["relations.*"]}, "E023"),
        ({"models": ["__all__"]}, "E023"),
        ({"models": ["relations.Tpoic"]}, "E008"),
        ({"relations": ["artciles"]}, "Did you mean 'articles'"),
        ({"models": [Guarded]}, "cannot cover relations.Guarded"),
        ({"generic": {"target": [Topic]}}, "no such generic foreign key"),
        ({"models": [Remark], "generic": {"target": ["relations.*"]}}, "E023"),
        ({"limit": 0}, "E024"),
    ],
)
def test_a_wrong_option_is_told_at_the_start(wire: Any, options: Any, told: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=told):
        wire((OrphanCleanup, {"models": [Topic], **options}))
