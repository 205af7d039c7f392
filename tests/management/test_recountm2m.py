"""The command finds what is wrong, and corrects it."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from django_signal_kit.receivers import M2MCount
from tests.apps.relations.models import Article, Contract, Player, Team, Topic

pytestmark = pytest.mark.django_db(transaction=True)

TOPICS = (M2MCount, {"models": [Topic], "relation": "articles", "field": "article_count"})
TEAMS = {
    "RECEIVER": "django_signal_kit.receivers.M2MCount",
    "NAME": "Teams",
    "OPTIONS": {"models": [Team], "relation": "players", "field": "player_count"},
}
ARTICLES = {
    "RECEIVER": "django_signal_kit.receivers.M2MCount",
    "NAME": "Articles",
    "OPTIONS": {"models": [Article], "relation": "topics", "field": "topic_count"},
}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(*arguments: str, **options: Any) -> list[str]:
    out = io.StringIO()
    call_command("recountm2m", *arguments, stdout=out, **options)
    return out.getvalue().splitlines()


def make_wrong() -> list[Topic]:
    """Three topics with 3, 1 and 0 links, of which the last two are said to have 0 and 5."""
    topics = [Topic.objects.create(name=str(number)) for number in range(3)]
    articles = [Article.objects.create() for _ in range(3)]
    topics[0].articles.set(articles)
    topics[1].articles.add(articles[0])
    for topic, count in zip(topics, (3, 0, 5), strict=True):
        Topic.objects.filter(pk=topic.pk).update(article_count=count)
    return topics


def get_counts() -> list[int]:
    return list(Topic.objects.order_by("pk").values_list("article_count", flat=True))


def test_a_dry_run_tells_what_is_wrong_and_writes_nothing(wire: Any) -> None:
    wire(TOPICS)
    _, second, third = make_wrong()
    assert run("--dry-run") == [
        f"relations.Topic {second.pk}: 0, counted 1",
        f"relations.Topic {third.pk}: 5, counted 0",
        "relations.Topic.article_count: 2 of 3 wrong",
    ]
    assert get_counts() == [3, 0, 5]


@pytest.mark.parametrize("chunk", [1, 2, 500])
def test_the_columns_are_corrected_whatever_the_chunk(wire: Any, chunk: int) -> None:
    wire(TOPICS)
    make_wrong()
    assert run(chunk=chunk) == ["relations.Topic.article_count: 2 of 3 corrected"]
    assert get_counts() == [3, 1, 0]
    assert run(chunk=chunk) == ["relations.Topic.article_count: 0 of 3 corrected"]


def test_columns_that_are_null_or_of_another_key_are_corrected(wire: Any) -> None:
    team = Team.objects.create(code="a")
    Contract.objects.create(team=team, player=Player.objects.create())
    Contract.objects.create(team=team)
    Article.objects.create()
    wire(TOPICS, TEAMS, ARTICLES)
    assert run() == [
        "relations.Topic.article_count: 0 of 0 corrected",
        "relations.Team.player_count: 1 of 1 corrected",
        "relations.Article.topic_count: 1 of 1 corrected",
    ]
    team.refresh_from_db()
    assert team.player_count == 1
    assert Article.objects.get().topic_count == 0


def test_only_the_models_that_are_named_are_looked_at(wire: Any) -> None:
    wire(TOPICS, TEAMS)
    assert run("relations.Team", verbosity=0) == []
    assert run("relations.Team") == ["relations.Team.player_count: 0 of 0 corrected"]


def test_what_is_broken_off_keeps_whole_chunks_and_can_be_run_again(wire: Any) -> None:
    wire(TOPICS)
    make_wrong()

    updates = 0

    def interrupt(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        nonlocal updates
        updates += sql.startswith("UPDATE")
        if updates == 3:
            raise KeyboardInterrupt
        return execute(sql, params, many, context)

    out = io.StringIO()
    with connection.execute_wrapper(interrupt), pytest.raises(CommandError) as caught:
        call_command("recountm2m", "--chunk=1", stdout=out)
    assert str(caught.value) == (
        "Interrupted. What is told above stays corrected; run it again for the rest."
    )
    assert caught.value.returncode == 130
    assert out.getvalue() == "relations.Topic.article_count: 1 of 2 corrected\n"
    assert get_counts() == [3, 1, 5]
    assert run() == ["relations.Topic.article_count: 1 of 3 corrected"]


def test_a_terminal_shows_how_far_it_is(wire: Any) -> None:
    wire(TOPICS)
    make_wrong()
    terminal = Terminal()
    call_command("recountm2m", stdout=io.StringIO(), stderr=terminal)
    assert "relations.Topic.article_count: 3 rows" in terminal.getvalue()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["relations.Tpoic"], "There is no model 'relations.Tpoic'"),
        (["relations.Team"], "No M2MCount covers these models"),
        (["--chunk", "0"], "above 0"),
    ],
)
def test_what_cannot_be_done_is_told(wire: Any, arguments: list[str], told: str) -> None:
    wire(TOPICS)
    with pytest.raises(CommandError, match=told):
        run(*arguments)
