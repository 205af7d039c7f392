"""What the start costs in a project of few models, and of many."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter
from typing import Any

import pytest
from django.apps import apps
from django.db import models

from django_signal_kit.apps import wire
from django_signal_kit.receivers import AuditLog, CacheInvalidation
from django_signal_kit.wiring.registry import registry

ALL = {"models": ["testapp.*"]}
SIZES = (50, 100, 200, 400, 1000)


@pytest.fixture
def _many_models() -> Iterator[None]:
    yield
    for name in [name for name in apps.all_models["testapp"] if name.startswith("many")]:
        del apps.all_models["testapp"][name]
    apps.clear_cache()


def make_models(numbers: range) -> None:
    for number in numbers:
        meta = type("Meta", (), {"app_label": "testapp"})
        fields: dict[str, Any] = {
            "name": models.CharField(max_length=9),
            "text": models.TextField(),
            "at": models.DateTimeField(null=True),
            "category": models.ForeignKey("testapp.Category", models.CASCADE, related_name="+"),
        }
        type(f"Many{number}", (models.Model,), {"__module__": __name__, "Meta": meta, **fields})


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_many_models")
def test_the_wiring_of_few_and_of_many_models(wired: Any) -> None:
    made = 0
    for size in SIZES:
        # Made while nothing is wired, as they are at a start.
        make_models(range(made, size))
        made = size
        seconds = []
        with wired((AuditLog, ALL), (CacheInvalidation, {**ALL, "keys": ["{pk}"]})):
            for _ in range(5):
                start = perf_counter()
                wire()
                seconds.append(perf_counter() - start)
            count = len({connection.sender for connection in registry.connections})
        milliseconds = 1000 * min(seconds)
        print(f"\n{count:5} models: {milliseconds:7.1f} ms, {milliseconds / count:.3f} ms each")
