"""What the page of signals costs in a project of 200 models and 600 receivers."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from time import perf_counter
from typing import Any

import pytest
from django.apps import apps
from django.db import connection, models
from django.db.models.signals import post_save
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from django_signal_kit import ModelReceiver
from tests.audit.browsing import log_in
from tests.factories import UserFactory

MODELS = 200
#: A third of the models for each app, so that one is large.
APPS = ("testapp", "orders", "belongings")
LIST = "/admin/signal_kit_sight/receiver/"


class Heard(ModelReceiver):
    def post_save(self, **kwargs: Any) -> None: ...

    def post_delete(self, **kwargs: Any) -> None: ...


class Collecting(Heard):
    def flush(self, items: list[Any]) -> None: ...


@pytest.fixture
def _many_models() -> Iterator[None]:
    for number in range(MODELS):
        label = APPS[number % 3]
        meta = type("Meta", (), {"app_label": label})
        type(f"Many{number}", (models.Model,), {"__module__": __name__, "Meta": meta})
    yield
    for label in APPS:
        for name in [name for name in apps.all_models[label] if name.startswith("many")]:
            del apps.all_models[label][name]
    apps.clear_cache()


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
@pytest.mark.usefixtures("_many_models")
def test_the_page_of_a_large_project() -> None:
    entries = [
        {
            "RECEIVER": f"{__name__}.{(Heard, Collecting)[number % 2].__name__}",
            "NAME": f"Receiver{number}",
            "OPTIONS": {"models": [f"{APPS[number % MODELS % 3]}.Many{number % MODELS}"]},
        }
        for number in range(3 * MODELS)
    ]
    client = log_in(UserFactory(username="root", is_staff=True, is_superuser=True))
    kit = {"RECEIVERS": entries, "COUNTERS": True, "ADMIN_MUTING": True}
    with override_settings(SIGNAL_KIT=kit, ROOT_URLCONF="tests.sight.signals_site"):
        for model in apps.get_models():
            if model.__module__ == __name__:
                post_save.send(sender=model, instance=model(), created=True)
        for path in (
            *("", "?app=testapp", "?app=testapp&model=testapp.Many0", "?show=idle&o=time"),
            "Receiver0/change/",
        ):
            seconds = []
            for _ in range(9):
                with CaptureQueriesContext(connection) as queries:
                    start = perf_counter()
                    response = client.get(f"{LIST}{path}")
                    seconds.append(perf_counter() - start)
            assert response.status_code == 200
            print(
                f"\n{path or 'all':40} {1000 * median(seconds):6.0f} ms, {len(queries)} queries, "
                f"{len(response.content) / 1000:.0f} KB"
            )
