"""No call breaks a limit, and none is refused that keeps it."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import connection, transaction
from django.db.models import Q
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import path

from django_signal_kit import batch
from django_signal_kit.forms import LimitedModelForm
from django_signal_kit.receivers import M2MLimit
from tests.apps.relations.models import Article, LongArticle, Player, Team, Topic

pytestmark = pytest.mark.django_db(transaction=True)

TWO = {"models": [Article], "relation": "topics", "maximum": 2}
ONE_AT_LEAST = {"models": [Article], "relation": "topics", "minimum": 1}


@pytest.fixture
def at_most_two(wire: Any) -> Any:
    return wire((M2MLimit, TWO))


@pytest.fixture
def at_least_one(wire: Any) -> Any:
    return wire((M2MLimit, ONE_AT_LEAST))


def make_topics(number: int = 4) -> list[Topic]:
    return [Topic.objects.create(name=f"t{position}") for position in range(number)]


def make_article(*topics: Topic) -> Article:
    article = Article.objects.create(title="news")
    article.topics.set(topics)
    return article


def get_names(article: Article) -> list[str]:
    return sorted(topic.name for topic in article.topics.all())


# At most


def test_what_goes_beyond_the_maximum_is_refused_as_a_whole(at_most_two: Any) -> None:
    topics = make_topics()
    article = make_article(topics[0])
    with pytest.raises(ValidationError) as caught:
        article.topics.add(*topics[1:3])
    assert caught.value.messages == ["news may have at most 2 topics, not 3."]
    assert caught.value.code == "m2m_maximum"
    assert get_names(article) == ["t0"]
    article.topics.add(topics[1])
    assert get_names(article) == ["t0", "t1"]


def test_what_is_linked_already_does_not_count_anew(at_most_two: Any) -> None:
    topics = make_topics()
    article = make_article(*topics[:2])
    article.topics.add(*topics[:2])
    topics[0].articles.add(article)
    article.topics.set(topics[:2])
    assert get_names(article) == ["t0", "t1"]


def test_set_may_swap_within_the_limit(at_most_two: Any) -> None:
    topics = make_topics()
    article = make_article(*topics[:2])
    article.topics.set(topics[2:])
    assert get_names(article) == ["t2", "t3"]
    article.topics.set(topics[:2], clear=True)
    assert get_names(article) == ["t0", "t1"]
    with pytest.raises(ValidationError):
        article.topics.set(topics)
    assert get_names(article) == ["t0", "t1"]


def test_the_limit_counts_for_each_row_of_its_side_from_the_other_side(at_most_two: Any) -> None:
    topics = make_topics()
    full, free = make_article(*topics[:2]), make_article(topics[0])
    topics[3].articles.add(free)
    with pytest.raises(ValidationError, match="at most 2 topics"):
        topics[2].articles.add(full)
    other = make_article()
    with pytest.raises(ValidationError):
        topics[2].articles.set([full, other])
    assert get_names(full) == ["t0", "t1"]
    assert get_names(other) == []
    # A topic may have as many articles as there are.
    topics[0].articles.set([full, free, other])


def test_a_limit_of_the_other_side_counts_for_its_rows(wire: Any) -> None:
    wire((M2MLimit, {"models": [Topic], "relation": "articles", "maximum": 1}))
    topic, other, *_ = make_topics()
    article = make_article(topic, other)
    with pytest.raises(ValidationError, match="t0 may have at most 1 articles, not 2"):
        Article.objects.create().topics.add(topic)
    with pytest.raises(ValidationError):
        topic.articles.create()
    topic.articles.remove(article)
    topic.articles.create()


def test_a_symmetrical_relation_is_limited_on_both_sides(wire: Any) -> None:
    wire((M2MLimit, {"models": [Player], "relation": "friends", "maximum": 2, "minimum": 1}))
    players = [Player.objects.create() for _ in range(4)]
    players[0].friends.add(players[1], players[2])
    with pytest.raises(ValidationError):
        players[3].friends.add(players[0])
    with pytest.raises(ValidationError):
        players[0].friends.add(players[3])
    players[3].friends.add(players[1], players[2])
    players[0].friends.remove(players[1])
    with pytest.raises(ValidationError):
        players[0].friends.remove(players[2])
    with pytest.raises(ValidationError):
        players[2].friends.clear()
    assert players[2].friends.count() == 2


def test_an_explicit_through_model_with_another_key_is_limited(wire: Any) -> None:
    wire((M2MLimit, {"models": [Team], "relation": "players", "maximum": 1, "minimum": 1}))
    team = Team.objects.create(code="a")
    one, two = Player.objects.create(), Player.objects.create()
    one.teams.add(team)
    with pytest.raises(ValidationError):
        two.teams.add(team)
    team.players.set([two])
    with pytest.raises(ValidationError):
        team.players.clear()
    with pytest.raises(ValidationError):
        two.teams.remove(team)
    assert list(team.players.all()) == [two]


def test_only_covered_children_are_limited(wire: Any) -> None:
    wire((M2MLimit, {**TWO, "models": [LongArticle]}))
    topics = make_topics()
    make_article(*topics)
    long = LongArticle.objects.create()
    with pytest.raises(ValidationError):
        long.topics.set(topics)
    with pytest.raises(ValidationError):
        Article.objects.get(pk=long.pk).topics.set(topics)


def test_a_refusal_can_be_caught_round_a_savepoint(at_most_two: Any) -> None:
    topics = make_topics()
    article = make_article()
    with transaction.atomic():
        with pytest.raises(ValidationError), transaction.atomic():
            article.topics.add(*topics)
        article.topics.add(topics[0])
    assert get_names(article) == ["t0"]


def test_an_addition_costs_two_queries(at_most_two: Any) -> None:
    topics = make_topics()
    article = make_article()
    with CaptureQueriesContext(connection) as queries:
        article.topics.add(topics[0])
    selects = [query for query in queries if query["sql"].startswith("SELECT")]
    # The third is Django's own: what is linked already?
    assert len(selects) == 3


# At least


def test_the_last_link_stays(at_least_one: Any) -> None:
    topics = make_topics()
    article = make_article(*topics[:2])
    topics[1].articles.remove(article)
    for call in (
        article.topics.clear,
        lambda: article.topics.remove(topics[0]),
        lambda: article.topics.set([]),
        lambda: topics[0].articles.clear(),
        lambda: topics[0].articles.set([]),
        lambda: topics[0].articles.remove(article),
    ):
        with pytest.raises(ValidationError) as caught:
            call()
        assert caught.value.messages == ["news has to have at least 1 topics, not 0."]
    assert get_names(article) == ["t0"]


def test_set_may_replace_the_last_link(at_least_one: Any) -> None:
    topics = make_topics()
    article = make_article(topics[0])
    article.topics.set([topics[1]])
    article.topics.set([topics[2]], clear=True)
    assert get_names(article) == ["t2"]


def test_a_batch_is_looked_at_when_it_ends(at_least_one: Any) -> None:
    topics = make_topics()
    article = make_article(topics[0])
    with batch():
        article.topics.clear()
        article.topics.add(topics[1])
    with pytest.raises(ValidationError), batch():
        article.topics.add(topics[2])
        article.topics.clear()
    assert get_names(article) == ["t1"]
    with batch():
        article.topics.clear()
        article.delete()


def test_who_has_no_links_may_lose_none(at_least_one: Any) -> None:
    topics = make_topics()
    article = make_article()
    article.topics.remove(topics[0])
    article.topics.clear()
    with batch():
        article.topics.remove(topics[0])
        article.topics.set([])
    assert get_names(article) == []


def test_a_refused_removal_can_be_caught_round_a_savepoint(at_least_one: Any) -> None:
    topics = make_topics()
    article = make_article(topics[0])
    with transaction.atomic():
        with pytest.raises(ValidationError), transaction.atomic():
            article.topics.clear()
        article.topics.add(topics[1])
    assert get_names(article) == ["t0", "t1"]


# What is allowed


def test_what_does_not_meet_the_conditions_is_refused(wire: Any) -> None:
    options = {"models": [Article], "relation": "topics", "allowed": {"name__in": ["t0", "t1"]}}
    wire((M2MLimit, options))
    topics = make_topics()
    article = make_article(*topics[:2])
    with pytest.raises(ValidationError) as caught:
        article.topics.add(*topics[1:])
    assert caught.value.messages == ["news may not have these topics: t2, t3."]
    with pytest.raises(ValidationError, match="may not have these topics: t2"):
        topics[2].articles.add(article)
    assert get_names(article) == ["t0", "t1"]


class ByTitle(M2MLimit):
    """Each article has limits of its own."""

    def get_maximum(self, instance: Any) -> int:
        return len(instance.title)

    def get_allowed(self, instance: Any) -> Q | None:
        return None if instance.title == "free" else ~Q(name="t3")


def test_each_row_may_have_limits_of_its_own(wire: Any) -> None:
    wire((ByTitle, {"models": [Article], "relation": "topics"}))
    topics = make_topics()
    free, two = Article.objects.create(title="free"), Article.objects.create(title="ab")
    free.topics.set(topics)
    with pytest.raises(ValidationError, match="at most 2"):
        two.topics.set(topics[:3])
    with pytest.raises(ValidationError, match="may not have these topics: t3"):
        topics[3].articles.add(free, two)


# Forms and the admin


class ArticleForm(LimitedModelForm):
    class Meta:
        model = Article
        fields = ("title", "topics")


def test_a_form_shows_the_refusal_at_its_field(wire: Any) -> None:
    wire((M2MLimit, {**TWO, "minimum": 1}))
    topics = [topic.pk for topic in make_topics()]
    form = ArticleForm({"title": "news", "topics": topics[:3]})
    assert form.errors == {"topics": ["Article may have at most 2 topics, not 3."]}
    form = ArticleForm({"title": "news", "topics": []})
    assert form.errors == {"topics": ["Article has to have at least 1 topics, not 0."]}
    article = ArticleForm({"title": "news", "topics": topics[:2]}).save()
    form = ArticleForm({"title": "new", "topics": topics[1:4]}, instance=article)
    assert form.errors == {"topics": ["new may have at most 2 topics, not 3."]}
    form = ArticleForm({"title": "new", "topics": topics[2:4]}, instance=article)
    assert form.is_valid()
    form.save()
    assert get_names(article) == ["t2", "t3"]


def test_a_form_lets_be_what_broke_the_limit_before(wire: Any) -> None:
    article = make_article(*make_topics())
    wire((M2MLimit, {**TWO, "allowed": {"name": "t0"}}))
    chosen = [topic.pk for topic in article.topics.all()]
    form = ArticleForm({"title": "new", "topics": chosen}, instance=article)
    assert form.is_valid()
    form.save()
    assert ArticleForm({"title": "new", "topics": chosen[:3]}, instance=article).is_valid()


class ArticleAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    form = LimitedModelForm
    fields = ("title", "topics")


site = admin.AdminSite(name="relations")
site.register(Article, ArticleAdmin)
urlpatterns = [path("admin/", site.urls)]


@override_settings(ROOT_URLCONF=__name__)
def test_the_admin_shows_the_refusal_at_the_field(wire: Any) -> None:
    wire((M2MLimit, {**TWO, "minimum": 1, "allowed": {"name__lt": "t3"}}))
    topics = make_topics()
    client = Client()
    client.force_login(User.objects.create_superuser("keeper"))
    urls = ["/admin/relations/article/add/"]

    def post(*chosen: Topic) -> str:
        data = {"title": "news", "topics": [topic.pk for topic in chosen]}
        response = client.post(urls[-1], data)
        if response.status_code == 302:
            return "saved"
        assert response.status_code == 200
        return str(response.context["adminform"].form.errors["topics"].data[0].code)

    assert post(*topics[:3]) == "m2m_maximum"
    assert post(topics[3]) == "m2m_not_allowed"
    assert Article.objects.count() == 0
    assert post(*topics[:2]) == "saved"
    article = Article.objects.get()
    urls.append(f"/admin/relations/article/{article.pk}/change/")
    assert post(*topics[:3]) == "m2m_maximum"
    assert get_names(article) == ["t0", "t1"]
    assert post(*topics[1:3]) == "saved"
    assert get_names(article) == ["t1", "t2"]


# What cannot work


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"relation": ""}, "'relation' of M2MLimit is empty"),
        ({"relation": "topisc"}, "no many-to-many relation 'topisc'"),
        ({"maximum": -1}, "E024"),
        ({"minimum": 3}, "E024"),
        ({"flush_on": "after_commit"}, "E025"),
        ({"allowed": {"nmae": "x"}}, "'allowed' of M2MLimit does not fit relations.Topic"),
    ],
)
def test_a_wrong_option_is_told_at_the_start(wire: Any, options: Any, told: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=told):
        wire((M2MLimit, {**TWO, **options}))
