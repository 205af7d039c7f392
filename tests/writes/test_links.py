"""A call of a manager and the rows that it writes are one change."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models.fields import related_descriptors
from django.db.models.signals import m2m_changed, post_delete
from django.test.utils import CaptureQueriesContext

from django_signal_kit import muted
from django_signal_kit.receivers import AuditLog, CacheInvalidation, M2MCount
from tests.apps.relations.models import Article, Contract, LongArticle, Player, Team, Topic
from tests.relations.linking import AUTOMATIC, SYMMETRICAL, TO_FIELD, Told
from tests.relations.told import entries, forget

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def told(wire: Any) -> Any:
    return wire(Told)


def get_bare_manager(article: Article) -> Any:
    """One that somebody made with Django's own function, before the kit wrapped it."""
    make = related_descriptors.create_forward_many_to_many_manager.__wrapped__
    manager = make(type(Topic._default_manager), Article.topics.rel, reverse=False)
    return manager(instance=article)


def test_calls_of_a_manager_that_is_not_wrapped_are_told_once(told: Any) -> None:
    article, topic = AUTOMATIC.make_ends()
    link = (article.pk, topic.pk)
    manager = get_bare_manager(article)
    with transaction.atomic():
        manager.add(topic)
        assert told.take(AUTOMATIC) == [("add", link)]
        AUTOMATIC.find(article, topic).delete()
        assert told.take(AUTOMATIC) == [("remove", link)]
        AUTOMATIC.through.objects.bulk_create([AUTOMATIC.row(article, topic)])
        assert told.take(AUTOMATIC) == [("add", link)]
    manager.clear()
    assert told.take(AUTOMATIC) == [("remove", link)]
    AUTOMATIC.row(article, topic).save()
    manager.remove(topic)
    manager.add(topic)
    assert told.take(AUTOMATIC) == [("add", link), ("remove", link), ("add", link)]


def test_a_call_that_was_rolled_back_hides_nothing_of_what_comes_after_it(told: Any) -> None:
    article, topic = AUTOMATIC.make_ends()
    manager = get_bare_manager(article)

    def refuse(action: str, **kwargs: Any) -> None:
        if action == "pre_add":
            raise ZeroDivisionError

    m2m_changed.connect(refuse, sender=AUTOMATIC.through)
    try:
        with transaction.atomic():
            with pytest.raises(ZeroDivisionError), transaction.atomic():
                manager.add(topic)
            AUTOMATIC.through.objects.bulk_create([AUTOMATIC.row(article, topic)])
    finally:
        m2m_changed.disconnect(refuse, sender=AUTOMATIC.through)
    assert told.take(AUTOMATIC) == [("add", (article.pk, topic.pk))]


def test_rows_that_a_receiver_writes_in_the_midst_of_a_call_are_told(told: Any) -> None:
    article, topic = AUTOMATIC.make_ends()
    other, gone = AUTOMATIC.make_ends()
    AUTOMATIC.row(other, gone).save()
    told.take(AUTOMATIC)
    key = gone.pk

    def write(action: str, **kwargs: Any) -> None:
        if action == "pre_add":
            AUTOMATIC.row(other, topic).save()
        elif action == "post_remove":
            gone.delete()

    m2m_changed.connect(write, sender=AUTOMATIC.through)
    try:
        article.topics.add(topic)
        article.topics.remove(topic)
    finally:
        m2m_changed.disconnect(write, sender=AUTOMATIC.through)
    assert sorted(told.take(AUTOMATIC)) == sorted(
        [
            ("add", (other.pk, topic.pk)),
            ("add", (article.pk, topic.pk)),
            ("remove", (article.pk, topic.pk)),
            ("remove", (other.pk, key)),
        ]
    )


def test_half_of_a_symmetrical_link_is_told_as_half(told: Any) -> None:
    one, other = SYMMETRICAL.make_ends()
    SYMMETRICAL.row(one, other).save()
    told.take(SYMMETRICAL)
    # The half that is there already is no news.
    other.friends.add(one)
    assert told.take(SYMMETRICAL) == [("add", (other.pk, one.pk))]
    SYMMETRICAL.find(other, one).get().delete()
    told.take(SYMMETRICAL)
    one.friends.add(other)
    assert told.take(SYMMETRICAL) == [("add", (other.pk, one.pk))]


def test_of_two_rows_that_hold_the_same_link_the_last_one_ends_it(told: Any) -> None:
    player, team = TO_FIELD.make_ends()
    link = TO_FIELD.get_link(player, team)
    TO_FIELD.row(player, team).save()
    assert told.take(TO_FIELD) == [("add", link)]
    Contract.objects.bulk_create([TO_FIELD.row(player, team)])
    first, second = Contract.objects.all()
    first.delete()
    assert told.take(TO_FIELD) == []
    second.salary = 5
    second.save()
    assert told.take(TO_FIELD) == []
    second.player = None
    second.save()
    assert told.take(TO_FIELD) == [("remove", link)]


def test_rows_that_come_to_hold_the_same_link_are_counted_each(wire: Any) -> None:
    wire((M2MCount, {"models": [Team], "relation": "players", "field": "player_count"}), Told)
    player, team = TO_FIELD.make_ends()
    player.teams.add(team, TO_FIELD.make(1))
    # Nothing is new, but there are two rows of it.
    Contract.objects.update(team=team)
    team.refresh_from_db()
    assert team.player_count == team.players.count() == 2


def test_a_row_that_moves_may_take_the_place_of_another(wire: Any) -> None:
    wire(
        {
            "RECEIVER": "django_signal_kit.receivers.M2MLimit",
            "OPTIONS": {"models": [Article], "relation": "topics", "maximum": 1, "minimum": 1},
        }
    )
    article, topic = AUTOMATIC.make_ends()
    article.topics.add(topic)
    link = AUTOMATIC.through.objects.get()
    link.topic = AUTOMATIC.make(1)
    link.save()
    AUTOMATIC.through.objects.update(topic=AUTOMATIC.make(1))
    assert article.topics.count() == 1


def test_fixtures_are_told_to_those_who_hear_them(wire: Any) -> None:
    article, topic = AUTOMATIC.make_ends()
    receiver = wire(Told)
    AUTOMATIC.row(article, topic).save_base(raw=True)
    assert receiver.take(AUTOMATIC) == []
    receiver = wire((Told, {"raw": True}))
    AUTOMATIC.row(article, AUTOMATIC.make(1)).save_base(raw=True)
    assert len(receiver.take(AUTOMATIC)) == 1


def test_who_hears_no_bulk_write_hears_calls_and_single_rows(wire: Any) -> None:
    receiver = wire((Told, {"bulk": False}))
    article, topic = AUTOMATIC.make_ends()
    AUTOMATIC.through.objects.bulk_create([AUTOMATIC.row(article, topic)])
    assert receiver.take(AUTOMATIC) == []
    article.topics.add(AUTOMATIC.make(1))
    AUTOMATIC.row(article, AUTOMATIC.make(1)).save()
    assert len(receiver.take(AUTOMATIC)) == 2


def test_without_the_signals_of_bulk_writes_a_call_is_told_as_django_tells_it(wire: Any) -> None:
    receiver = wire(Told, BULK_SIGNALS=False)
    article, topic = AUTOMATIC.make_ends()
    article.topics.add(topic)
    assert receiver.take(AUTOMATIC) == [("add", (article.pk, topic.pk))]


def test_who_is_muted_is_not_told(told: Any) -> None:
    article, topic = AUTOMATIC.make_ends()
    with muted("Told"):
        article.topics.add(topic)
        AUTOMATIC.row(article, AUTOMATIC.make(1)).save()
        topic.delete()
    assert told.take(AUTOMATIC) == []


def test_links_of_a_covered_child_are_told_of_the_child(wire: Any) -> None:
    wire((AuditLog, {"models": [LongArticle]}))
    topic = AUTOMATIC.make(1)
    long, plain = LongArticle.objects.create(), Article.objects.create()
    forget()
    for article in (long.article_ptr, plain):
        AUTOMATIC.row(article, topic).save()
    topic.delete()
    assert [action for action, _ in entries()] == ["m2m_add", "m2m_remove"]
    assert [action for action, _ in entries(long)] == ["m2m_add", "m2m_remove"]


def test_links_are_told_before_what_takes_them_along(wire: Any) -> None:
    wire((AuditLog, {"models": [Article, Topic]}))
    article, topic = AUTOMATIC.make_ends()
    article.topics.add(topic)
    forget()
    topic.delete()
    # So that undoing the entries, the last one first, makes the row before its links.
    assert [action for action, _ in entries()] == ["m2m_remove", "delete"]


# What it costs


def count_queries(function: Any) -> list[str]:
    with CaptureQueriesContext(connection) as queries:
        function()
    return [query["sql"] for query in queries]


def test_links_that_go_with_a_row_that_is_told_itself_are_not_read(wire: Any) -> None:
    wire((AuditLog, {"models": [Article]}))
    article, topic = AUTOMATIC.make_ends()
    article.topics.add(topic)
    queries = count_queries(article.delete)
    about = [sql for sql in queries if "article_topics" in sql]
    assert [sql.split()[0] for sql in about] == ["DELETE"]


def test_a_thousand_links_that_end_with_one_row_are_read_in_one_query(wire: Any) -> None:
    wire((CacheInvalidation, {"models": [Article], "keys": ["article:{pk}"]}))
    topic = AUTOMATIC.make(1)
    topic.articles.set(Article.objects.bulk_create(Article() for _ in range(1000)))
    queries = count_queries(lambda: Topic.objects.filter(pk=topic.pk).delete())
    about = [sql.split()[0] for sql in queries if "article_topics" in sql]
    # On SQLite one that says at once that a write follows.
    assert [verb for verb in about if verb != "UPDATE"] == ["SELECT", "DELETE"]


def test_an_addition_is_told_without_a_query_more(wire: Any) -> None:
    article, topics = AUTOMATIC.make(0), [AUTOMATIC.make(1) for _ in range(2)]
    wire(Bare)
    bare = count_queries(lambda: article.topics.add(topics[0]))
    wire(Told)
    assert len(count_queries(lambda: article.topics.add(topics[1]))) == len(bare)


class Bare(Told):
    """Is sent the signal, so that Django looks at what is there, and reads nothing of it."""

    def m2m_changed(self, **kwargs: Any) -> None:
        pass


def test_deletions_of_links_that_nobody_hears_of_stay_fast(wire: Any) -> None:
    wire((M2MCount, {"models": [Team], "relation": "players", "field": "player_count"}))
    article, topic = AUTOMATIC.make_ends()
    article.topics.add(topic)
    queries = count_queries(article.delete)
    wire()
    article, topic = AUTOMATIC.make_ends()
    article.topics.add(topic)
    assert len(queries) == len(count_queries(article.delete))


def test_no_signal_of_rows_is_connected_for_an_automatic_through_model(told: Any) -> None:
    # Django would fetch the links of each row that it deletes, one by one.
    assert not post_delete.has_listeners(AUTOMATIC.through)
    player = Player.objects.create()
    player.friends.add(Player.objects.create())
    queries = count_queries(player.delete)
    deleted = [sql for sql in queries if "player_friends" in sql and sql.startswith("DELETE")]
    assert len(deleted) in (1, 2)
