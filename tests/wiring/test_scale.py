"""The wiring of twice as many models is twice the work, counted in calls of functions."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.apps import apps
from django.db import models

from django_signal_kit.apps import wire as wire_now
from django_signal_kit.receivers import (
    AuditLog,
    CacheInvalidation,
    DeletionLog,
    FileCleanup,
    LastModified,
    Normalize,
    Validate,
)
from django_signal_kit.wiring.registry import registry
from django_signal_kit.writes import late

ALL = {"models": ["testapp.*"]}
RECEIVERS = (
    (AuditLog, {**ALL, "old_values": "snapshot"}),
    (CacheInvalidation, {**ALL, "keys": ["{pk}"]}),
    (DeletionLog, ALL),
    (FileCleanup, ALL),
    (LastModified, ALL),
    (Normalize, {**ALL, "fields": {"name": ["strip"]}}),
    (Validate, ALL),
)


@pytest.fixture
def define() -> Iterator[Callable[[int], list[Any]]]:
    """``define(40)``: so many more models, each of which points to the one before it."""
    made: list[Any] = []

    def make(count: int) -> list[Any]:
        start = len(made)
        for number in range(start, start + count):
            fields: dict[str, Any] = {"name": models.CharField(max_length=9)}
            fields["file"] = models.FileField()
            fields["updated_at"] = models.DateTimeField(null=True)
            if made:
                fields["before"] = models.ForeignKey(made[-1], models.CASCADE)
                fields["others"] = models.ManyToManyField(made[-1], related_name="+")
            meta = type("Meta", (), {"app_label": "testapp"})
            fields |= {"__module__": __name__, "Meta": meta}
            made.append(type(f"Many{number}", (models.Model,), fields))
        return made[start:]

    yield make
    for model in made:
        for field in model._meta.many_to_many:
            del apps.all_models["testapp"][field.remote_field.through._meta.model_name]
        del apps.all_models["testapp"][model._meta.model_name]
    apps.clear_cache()
    late.waiting.clear()


def count_calls(function: Callable[[], object], *, of_the_kit: bool = False) -> int:
    """How many functions are called by it, those in C too."""
    count = 0

    def note(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        if event == "call" or (event == "c_call" and not of_the_kit):
            count += not of_the_kit or "/django_signal_kit/" in frame.f_code.co_filename

    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


def test_a_wiring_grows_with_the_number_of_models(wire: Any, define: Any) -> None:
    wire(*RECEIVERS)
    counts = []
    for more in (40, 40, 80):
        define(more)
        wire_now()
        # What models work out once is known now.
        counts.append(count_calls(wire_now))
    first, second, fourth = counts
    # With the square it would be three times as much.
    assert fourth - second < 2.2 * (second - first)


def test_a_later_model_costs_what_it_costs_alone(wire: Any, define: Any) -> None:
    wire(*RECEIVERS)

    def make() -> None:
        define(1)
        late.settle()

    make()
    few = count_calls(make, of_the_kit=True)
    define(100)
    late.settle()
    many = count_calls(make, of_the_kit=True)
    # As the first, it points to one that points to another.
    assert many < 1.1 * few
    assert sum(c.sender.__name__ == "Many102" for c in registry.connections) > 20


def test_a_later_field_costs_what_it_costs_alone(wire: Any, define: Any) -> None:
    wire(*RECEIVERS)

    def add() -> None:
        define(1)[0].add_to_class("more", models.IntegerField(null=True))
        late.settle()

    add()
    few = count_calls(add, of_the_kit=True)
    define(100)
    late.settle()
    assert count_calls(add, of_the_kit=True) < 1.1 * few
