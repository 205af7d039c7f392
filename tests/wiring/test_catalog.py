"""The names of signals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db.models import signals as model_signals
from django.dispatch import Signal

from django_signal_kit import Receiver
from django_signal_kit import signals as kit_signals
from django_signal_kit.exceptions import Misconfigured
from django_signal_kit.wiring import catalog
from tests.projects import KIT, SHOP, Project

order_paid = Signal()


class HearsPayment(Receiver):
    def order_paid(self, sender: Any, amount: int, **kwargs: Any) -> None:
        heard.append((sender, amount, sorted(kwargs)))


heard: list[Any] = []


@pytest.mark.parametrize("name", [*catalog.DJANGO_SIGNALS, *catalog.KIT_SIGNALS])
def test_each_name_is_a_signal(name: str) -> None:
    assert isinstance(catalog.get_signal(name), Signal)


def test_every_signal_of_django_is_there() -> None:
    import django.contrib.auth.signals
    import django.core.signals
    import django.db.backends.signals
    import django.test.signals

    modules = [
        model_signals,
        django.core.signals,
        django.db.backends.signals,
        django.contrib.auth.signals,
        django.test.signals,
    ]
    found = {
        name
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, Signal)
    }
    assert found == set(catalog.DJANGO_SIGNALS)


def test_every_signal_of_the_kit_is_there() -> None:
    found = {name for name, value in vars(kit_signals).items() if isinstance(value, Signal)}
    assert found == set(catalog.KIT_SIGNALS)


def test_an_unknown_name_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        catalog.get_signal("post_safe")


def test_an_extra_signal_is_received_by_its_name(wire: Any) -> None:
    wire(HearsPayment, EXTRA_SIGNALS={"order_paid": f"{__name__}.order_paid"})
    heard.clear()
    order_paid.send(sender="shop", amount=5, currency="EUR")
    assert heard == [("shop", 5, ["currency", "signal"])]


def test_an_extra_signal_may_have_another_name_than_its_variable(wire: Any) -> None:
    wire(HearsPayment, EXTRA_SIGNALS={"order_paid": "django_signal_kit.signals.pre_file_delete"})
    heard.clear()
    kit_signals.pre_file_delete.send(sender=None, amount=1)
    order_paid.send(sender=None, amount=2)
    assert [amount for _, amount, _ in heard] == [1]


def test_a_signal_that_cannot_be_imported_names_its_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(settings, "SIGNAL_KIT", {"EXTRA_SIGNALS": {"paid": "tests.nowhere.x"}})
    with pytest.raises(Misconfigured, match=r"SIGNAL_KIT\['EXTRA_SIGNALS'\]\['paid'\]"):
        catalog.get_signal("paid")


def test_an_extra_signal_of_an_app_is_there_at_start_up(tmp_path: Path) -> None:
    files = {
        **SHOP,
        "shop/events.py": "from django.dispatch import Signal\npaid = Signal()\n",
        "shop/signals.py": """
from django_signal_kit import Receiver, register

@register
class OnPaid(Receiver):
    def paid(self, amount, **kwargs):
        print(amount)
""",
    }
    project = Project(tmp_path, files, ["shop", KIT], EXTRA_SIGNALS={"paid": "shop.events.paid"})
    assert project.run("from shop.events import paid\npaid.send(None, amount=5)") == "5\n"
