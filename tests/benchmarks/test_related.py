"""What a profile for each user costs, and a log line for each deletion."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models.signals import post_delete
from django.test.utils import CaptureQueriesContext

from django_signal_kit.receivers import CreateRelated, DeletionLog
from tests.apps.belongings.models import Profile
from tests.apps.testapp.models import Tag
from tests.benchmarks.interleave import compare, show

pytestmark = pytest.mark.django_db(transaction=True)

ROWS = 1000
_names = count()


def make_users() -> list[User]:
    return User.objects.bulk_create(User(username=f"user {next(_names)}") for _ in range(ROWS))


def by_hand() -> None:
    with transaction.atomic():
        Profile.objects.bulk_create(Profile(user=user) for user in make_users())


def one_by_hand() -> None:
    with transaction.atomic():
        Profile.objects.create(user=User.objects.create(username=f"user {next(_names)}"))


def one() -> None:
    User.objects.create(username=f"user {next(_names)}")


def count_statements(function: Callable[[], object]) -> int:
    with CaptureQueriesContext(connection) as queries:
        function()
    verbs = ("SELECT", "INSERT", "DELETE")
    return len([query for query in queries if query["sql"].startswith(verbs)])


@pytest.mark.parametrize(
    ("title", "written", "wired_write", "number"),
    [("1,000 users in bulk", by_hand, make_users, 1), ("one user", one_by_hand, one, 20)],
)
def test_users_with_profiles(
    wired: Any, title: str, written: Any, wired_write: Any, number: int
) -> None:
    receivers = wired((CreateRelated, {"related": "belongings.Profile"}))
    bare = count_statements(written)
    with receivers:
        more = count_statements(wired_write) - bare
    result = compare(
        {"written by hand": (wired(), written), "CreateRelated": (receivers, wired_write)},
        rounds=15,
        number=number,
    )
    assert more == 1
    assert Profile.objects.count() == User.objects.count()
    show(f"{title} with profiles, {more} statement more", result)


@pytest.fixture
def lines() -> Iterator[list[int]]:
    """How many lines have been written."""
    written = [0]

    class Counter(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            self.format(record)
            written[0] += 1

    logger, handler = logging.getLogger("django_signal_kit.deletions"), Counter()
    logger.addHandler(handler)
    logger.setLevel("INFO")
    logger.propagate = False
    yield written
    logger.propagate = True
    logger.removeHandler(handler)


def test_deletions(wired: Any, lines: list[int]) -> None:
    def delete() -> None:
        Tag.objects.bulk_create(Tag(name="tag") for _ in range(ROWS))
        assert Tag.objects.all().delete()[0] == ROWS

    def hear(instance: Any, **kwargs: Any) -> None:
        pass

    options = {"models": ["testapp.Tag"]}
    by_row = wired((DeletionLog, options))
    by_unit = wired((DeletionLog, {**options, "per": "unit"}))
    post_delete.connect(hear, sender=Tag)
    try:
        bare = count_statements(delete)
        with by_row:
            assert count_statements(delete) == bare
        assert lines == [ROWS]
        result = compare(
            {
                "an empty receiver of Django": (wired(), delete),
                "a line for each row": (by_row, delete),
                "one line": (by_unit, delete),
            },
            rounds=15,
            number=1,
        )
    finally:
        post_delete.disconnect(hear, sender=Tag)
    show(f"making and deleting {ROWS:,} rows, no statement more", result)
