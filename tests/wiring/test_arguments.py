"""What the checks hold to be sent with a signal is sent with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import django
import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.management import call_command
from django.db import connection
from django.template import engines
from django.test import Client
from django.test.utils import override_settings
from django.urls import path

from django_signal_kit import ModelReceiver
from django_signal_kit.receivers import AuditLog, FileCleanup
from django_signal_kit.wiring import catalog
from tests.apps.testapp.models import Product, Tag

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.urls(__name__),
]


def broken(request: Any) -> Any:
    raise ValueError


urlpatterns = [path("broken/", broken)]

SIGNALS = {**catalog.DJANGO_SIGNALS, **catalog.KIT_SIGNALS}


class Fails(ModelReceiver):
    models = ["testapp.Product"]
    on_error = "log"

    def post_delete(self, **kwargs: Any) -> None:
        raise ValueError


@pytest.fixture
def sent() -> Iterator[dict[str, set[str]]]:
    """Name of a signal -> the names of what was sent with it."""
    found: dict[str, set[str]] = {}

    def listen(name: str, signal: Any) -> Any:
        def receive(**kwargs: Any) -> None:
            found.setdefault(name, set()).update(kwargs)

        signal.connect(receive, weak=False)
        return lambda: signal.disconnect(receive)

    leave = [listen(name, catalog.get_signal(name)) for name in SIGNALS]
    yield found
    for each in leave:
        each()


def test_each_signal_has_the_arguments_that_the_checks_know(
    sent: dict[str, set[str]], wire: Any, media: Path, make_model: Any
) -> None:
    covered = {"models": ["testapp.Product"]}
    wire((AuditLog, covered), (FileCleanup, covered), Fails)
    write_rows()
    make_model("Late", django.db.models.Model)
    call_command("migrate", verbosity=0)
    send_requests()
    with override_settings(USE_TZ=True):
        engines["django"].from_string("x").render({})
    connection.close()
    connection.ensure_connection()
    given = {name: sent[name] - {"signal", "sender"} for name in SIGNALS}
    # Django says it since 6.1; a receiver of the kit is always told.
    given["m2m_changed"].add("raw")
    # Only ASGI has a scope.
    given["request_started"].add("scope")
    assert given == {name: {*arguments} for name, arguments in catalog.ARGUMENTS.items()}


def write_rows() -> None:
    product = Product.objects.create(name="Tea")
    product.image.save("tea.png", ContentFile(b"tea"))
    product.tags.add(Tag.objects.create(name="hot"))
    Product.objects.bulk_create([Product(name="Coffee")])
    Product.objects.bulk_update([product], ["name"])
    Product.objects.update(stock=1)
    product.delete()


def send_requests() -> None:
    client = Client(raise_request_exception=False)
    client.get("/broken/")
    authenticate(username="nobody", password="x")
    client.force_login(User.objects.create(username="root"))
    client.logout()
