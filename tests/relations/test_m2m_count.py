"""The column says how many links there are, whatever is done."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from django_signal_kit import batch
from django_signal_kit.receivers import M2MCount
from tests.apps.relations.models import (
    Article,
    Contract,
    LongArticle,
    Player,
    Team,
    Topic,
    TopicProxy,
)

pytestmark = pytest.mark.django_db(transaction=True)

TOPICS = (M2MCount, {"models": [Topic], "relation": "articles", "field": "article_count"})
TEAMS = (M2MCount, {"models": [Team], "relation": "players", "field": "player_count"})


@pytest.fixture
def topics(wire: Any) -> Any:
    return wire(TOPICS)


@pytest.fixture
def teams(wire: Any) -> Any:
    return wire(TEAMS)


def make_topics(number: int = 3) -> list[Topic]:
    return [Topic.objects.create(name=str(position)) for position in range(number)]


def get_counts() -> list[int]:
    return list(Topic.objects.order_by("pk").values_list("article_count", flat=True))


def assert_true() -> None:
    assert get_counts() == [topic.articles.count() for topic in Topic.objects.order_by("pk")]


def get_team_counts() -> list[int]:
    counts = list(Team.objects.order_by("pk").values_list("player_count", flat=True))
    assert counts == [team.players.count() for team in Team.objects.order_by("pk")]
    return counts


# Calls of the relation, from both sides


def test_links_are_counted_from_the_side_that_declares_the_relation(topics: Any) -> None:
    first, second, third = make_topics()
    article = Article.objects.create()
    article.topics.add(first, second)
    assert get_counts() == [1, 1, 0]
    article.topics.add(first)
    assert get_counts() == [1, 1, 0]
    article.topics.remove(first, third)
    assert get_counts() == [0, 1, 0]
    article.topics.set([first, third])
    assert get_counts() == [1, 0, 1]
    article.topics.clear()
    assert get_counts() == [0, 0, 0]


def test_links_are_counted_from_the_other_side(topics: Any) -> None:
    first, second, _ = make_topics()
    articles = [Article.objects.create() for _ in range(3)]
    first.articles.add(*articles)
    assert get_counts() == [3, 0, 0]
    first.articles.remove(articles[0])
    assert get_counts() == [2, 0, 0]
    first.articles.set(articles[:2])
    second.articles.create()
    assert get_counts() == [2, 1, 0]
    first.articles.clear()
    assert get_counts() == [0, 1, 0]


def test_a_column_of_the_declaring_side_that_is_null_is_filled(wire: Any) -> None:
    wire((M2MCount, {"models": [Article], "relation": "topics", "field": "topic_count"}))
    first, second, _ = make_topics()
    article = Article.objects.create()
    Article.objects.update(topic_count=None)
    article.topics.add(first, second)
    article.refresh_from_db()
    assert article.topic_count == 2
    first.delete()
    second.articles.clear()
    article.refresh_from_db()
    assert article.topic_count == 0


def test_a_new_row_without_a_count_gets_zero(wire: Any) -> None:
    wire((M2MCount, {"models": [Article], "relation": "topics", "field": "topic_count"}))
    article = Article.objects.create()
    article.refresh_from_db()
    assert article.topic_count == 0


def test_a_relation_with_itself_is_counted_on_the_side_that_is_named(wire: Any) -> None:
    wire((M2MCount, {"models": [Player], "relation": "followers", "field": "follower_count"}))
    one, two = Player.objects.create(), Player.objects.create()
    one.follows.add(two)
    two.refresh_from_db()
    one.refresh_from_db()
    assert (one.follower_count, two.follower_count) == (0, 1)
    one.followers.add(two)
    one.refresh_from_db()
    assert one.follower_count == 1
    two.delete()
    one.refresh_from_db()
    assert one.follower_count == 0


def test_a_symmetrical_relation_is_counted_on_both_sides(wire: Any) -> None:
    wire((M2MCount, {"models": [Player], "relation": "friends", "field": "friend_count"}))
    players = [Player.objects.create() for _ in range(3)]

    def get() -> list[int]:
        return list(Player.objects.order_by("pk").values_list("friend_count", flat=True))

    players[0].friends.add(*players[1:])
    assert get() == [2, 1, 1]
    players[2].friends.remove(players[0])
    assert get() == [1, 1, 0]
    players[0].friends.clear()
    assert get() == [0, 0, 0]
    players[0].friends.set(players)
    assert get() == [3, 1, 1]
    players[1].delete()
    assert get() == [2, 1]


# Deletions


def test_deleting_what_is_linked_is_counted(topics: Any) -> None:
    first, second, _ = make_topics()
    articles = [Article.objects.create() for _ in range(3)]
    first.articles.set(articles)
    second.articles.set(articles[:1])
    articles[0].delete()
    assert get_counts() == [2, 0, 0]
    Article.objects.filter(pk=articles[1].pk).delete()
    assert get_counts() == [1, 0, 0]
    second.delete()
    assert get_counts() == [1, 0]


def test_deleting_a_multi_table_child_is_counted(topics: Any) -> None:
    topic, *_ = make_topics(1)
    long, other = LongArticle.objects.create(), LongArticle.objects.create()
    topic.articles.set([long, other])
    long.delete()
    assert get_counts() == [1]
    LongArticle.objects.all().delete()
    assert get_counts() == [0]


def test_deleting_a_thousand_rows_takes_few_queries(topics: Any) -> None:
    first, second, _ = make_topics()
    Article.objects.bulk_create(Article() for _ in range(1000))
    articles = list(Article.objects.all())
    first.articles.set(articles)
    second.articles.set(articles[:10])
    with CaptureQueriesContext(
        connection,
    ) as queries:
        Article.objects.filter(pk__in=[article.pk for article in articles[:999]]).delete()
    assert get_counts() == [1, 0, 0]
    about = [query for query in queries if "article_count" in query["sql"]]
    read = ("SELECT", "article_topics")
    links = [query for query in queries if all(word in query["sql"][:150] for word in read)]
    assert len(about) == 1
    # As Django deletes them: so many keys a query.
    assert len(links) <= 3


def test_a_proxy_is_counted_as_well(topics: Any) -> None:
    make_topics(1)
    topic = TopicProxy.objects.get()
    topic.articles.add(Article.objects.create())
    assert get_counts() == [1]
    topic.save()
    assert get_counts() == [1]


# Rows of the counted side


def test_an_instance_with_an_old_count_does_not_bring_it_back(topics: Any) -> None:
    topic, *_ = make_topics(1)
    topic.articles.add(Article.objects.create())
    assert topic.article_count == 0
    topic.name = "renamed"
    topic.save()
    assert get_counts() == [1]
    Topic.objects.bulk_update([Topic(pk=topic.pk, article_count=7)], ["article_count"])
    assert get_counts() == [1]
    topic.save(update_fields=["article_count"])
    assert get_counts() == [1]


def test_a_new_row_cannot_claim_links_that_it_has_not(topics: Any) -> None:
    Topic.objects.create(article_count=7)
    Topic.objects.bulk_create([Topic(article_count=8), Topic()])
    assert get_counts() == [0, 0, 0]


def test_a_save_that_leaves_the_column_out_costs_nothing(topics: Any) -> None:
    topic, *_ = make_topics(1)
    with CaptureQueriesContext(connection) as queries:
        topic.save(update_fields=["name"])
    assert len([query for query in queries if "COUNT" in query["sql"]]) == 0
    with CaptureQueriesContext(connection) as queries:
        Topic.objects.defer("article_count").get().save()
        Topic.objects.create()
    assert len([query for query in queries if "COUNT" in query["sql"]]) == 0


# Rows of an explicit through model


def make_teams() -> tuple[Team, Team, list[Player]]:
    players = [Player.objects.create(name=str(number)) for number in range(4)]
    return Team.objects.create(code="a"), Team.objects.create(code="b"), players


def test_links_that_are_written_as_rows_are_counted(teams: Any) -> None:
    a, b, players = make_teams()
    contract = Contract.objects.create(team=a, player=players[0])
    assert get_team_counts() == [1, 0]
    contract.team = b
    contract.save()
    assert get_team_counts() == [0, 1]
    contract.salary = 5
    contract.team = a
    contract.save(update_fields=["salary"])
    assert get_team_counts() == [0, 1]
    contract.delete()
    assert get_team_counts() == [0, 0]


def test_links_that_are_written_in_bulk_are_counted(teams: Any) -> None:
    a, b, players = make_teams()
    Contract.objects.bulk_create(Contract(team=a, player=player) for player in players)
    assert get_team_counts() == [4, 0]
    Contract.objects.filter(player__in=players[:2]).update(team=b)
    assert get_team_counts() == [2, 2]
    contracts = list(Contract.objects.all())
    for contract in contracts:
        contract.team = b
    Contract.objects.bulk_update(contracts, ["team"])
    assert get_team_counts() == [0, 4]
    Contract.objects.filter(team=b, player__in=players[:3]).delete()
    assert get_team_counts() == [0, 1]


def test_a_link_that_leads_nowhere_does_not_count(teams: Any) -> None:
    a, _, players = make_teams()
    a.players.add(*players)
    players[0].delete()
    assert get_team_counts() == [3, 0]
    Contract.objects.filter(player=players[1]).update(player=None)
    assert get_team_counts() == [2, 0]
    contract = Contract.objects.get(player=players[2])
    contract.player = None
    contract.save()
    assert get_team_counts() == [1, 0]
    Contract.objects.create(team=a)
    assert get_team_counts() == [1, 0]


def test_calls_of_a_relation_with_an_explicit_through_model_are_counted(teams: Any) -> None:
    a, b, players = make_teams()
    a.players.set(players)
    players[0].teams.add(b)
    assert get_team_counts() == [4, 1]
    players[0].teams.clear()
    a.players.remove(players[1])
    assert get_team_counts() == [2, 0]
    a.delete()
    assert get_team_counts() == [0]


# Units of work


def test_a_unit_of_work_counts_once(topics: Any) -> None:
    first, second, _ = make_topics()
    with CaptureQueriesContext(connection) as queries, batch():
        for _ in range(5):
            article = Article.objects.create()
            article.topics.add(first, second)
    assert get_counts() == [5, 5, 0]
    assert len([query for query in queries if "UPDATE" in query["sql"][:6]]) == 1


def test_what_is_rolled_back_was_not_counted(topics: Any) -> None:
    first, second, _ = make_topics()
    article = Article.objects.create()
    with batch():
        article.topics.add(first)
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            article.topics.add(second)
            raise ZeroDivisionError
    assert get_counts() == [1, 0, 0]
    with pytest.raises(ZeroDivisionError), batch():
        article.topics.add(second)
        raise ZeroDivisionError
    assert get_counts() == [1, 0, 0]


# What cannot work


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"relation": ""}, "'relation' of M2MCount is empty"),
        ({"field": ""}, "'field' of M2MCount is empty"),
        ({"relation": "chapters"}, "no many-to-many relation 'chapters'"),
        ({"field": "article_cuont"}, "no field 'article_cuont'"),
        ({"field": "name"}, "no whole-number field 'name'"),
    ],
)
def test_a_wrong_option_is_told_at_the_start(wire: Any, options: Any, told: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=told):
        wire((M2MCount, {**TOPICS[1], **options}))
