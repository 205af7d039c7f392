"""What it costs to watch for writes that nobody hears, and to trace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connection
from django.test import override_settings

from django_signal_kit import trace
from django_signal_kit.sight import watching
from tests.apps.testapp.models import Tag
from tests.benchmarks.interleave import compare, show

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _wired() -> Iterator[None]:
    entry = {
        "RECEIVER": "django_signal_kit.receivers.DeletionLog",
        "OPTIONS": {"models": ["testapp.Tag"], "flush_on": "after_commit"},
    }
    with override_settings(SIGNAL_KIT={"RECEIVERS": [entry], "WATCH": False}):
        yield


@contextmanager
def watch() -> Iterator[None]:
    with watching.gathering() as found:
        yield
    assert found == []


@contextmanager
def tracing() -> Iterator[None]:
    with trace() as found:
        yield
    assert found.root.all_queries > 0


def read() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def test_watching_and_tracing_beside_neither() -> None:
    tag = Tag.objects.create(name="tea")

    def write() -> None:
        Tag.objects.filter(pk=tag.pk).update(name="tea")

    def delete() -> None:
        Tag(pk=-1).delete()

    for name, function in (
        ("a statement that reads", read),
        ("QuerySet.update() of a model that is covered for deletions alone", write),
        ("a deletion that is heard", delete),
    ):
        show(
            name,
            compare(
                {
                    "bare": function,
                    "watched": (_Again(watch), function),
                    "traced": (_Again(tracing), function),
                },
                rounds=15,
            ),
        )


class _Again:
    """A context manager that can be entered again and again."""

    def __init__(self, make: object) -> None:
        self.make = make

    def __enter__(self) -> None:
        self.manager = self.make()  # type: ignore[operator]
        self.manager.__enter__()

    def __exit__(self, *details: object) -> None:
        self.manager.__exit__(*details)
