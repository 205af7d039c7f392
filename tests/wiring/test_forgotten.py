"""A receiver class that is written and never wired, or that collects for nobody, is told."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import Any

import pytest

from django_signal_kit import ModelReceiver, Receiver
from django_signal_kit.checks import check_signal_kit
from django_signal_kit.receivers import AuditLog, CacheInvalidation
from django_signal_kit.wiring.declaring import register
from tests.apps.testapp.models import Product

MODULE = "tests.apps.testapp.signals"

Declare = Callable[..., Any]


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> Declare:
    """Declares a receiver class in the ``signals`` module of an installed app."""
    module = types.ModuleType(MODULE)
    monkeypatch.setitem(sys.modules, MODULE, module)

    def declare(name: str, *bases: type, **methods: Any) -> Any:
        made = type(name, bases or (ModelReceiver,), {"__module__": MODULE, **methods})
        setattr(module, name, made)
        return made

    return declare


def hear(self: Any, **kwargs: Any) -> None: ...


def gather(self: Any, instance: Any, **kwargs: Any) -> None:
    self.collect(instance.pk)


def find(id: str) -> list[str]:
    return [message.msg for message in check_signal_kit() if message.id == f"signal_kit.{id}"]


@pytest.mark.parametrize(
    ("base", "methods"),
    [
        (ModelReceiver, {"post_save": hear}),
        (Receiver, {"request_started": hear}),
        (CacheInvalidation, {}),
    ],
    ids=["of models", "of others", "ready-made"],
)
def test_a_class_that_nobody_registers_is_told(
    wire: Any, signals: Declare, base: type, methods: dict[str, Any]
) -> None:
    wire()
    signals("Prices", base, **methods)
    assert find("W016") == [
        f"{MODULE}.Prices is a receiver that nobody has registered, so it hears nothing."
    ]


def test_what_is_wired_or_not_meant_to_be_is_not_told(wire: Any, signals: Declare) -> None:
    base = signals("Base", post_save=hear)
    signals("_Own", post_save=hear)
    signals("Helper")
    cls = signals("Prices", base)
    # What is only imported into the module belongs to another.
    sys.modules[MODULE].AuditLog = AuditLog  # type: ignore[attr-defined]
    wire((cls, {"models": [Product]}))
    assert find("W016") == []


def test_a_registered_class_is_not_told(
    wire: Any, signals: Declare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_signal_kit.wiring.declaring.declarations", found := [])
    register(signals("Prices", post_save=hear))
    assert [each.cls.__name__ for each in found] == ["Prices"]
    monkeypatch.setattr("django_signal_kit.wiring.forgotten.declarations", found)
    wire()
    assert find("W016") == []


def test_a_module_that_is_excluded_is_not_looked_at(wire: Any, signals: Declare) -> None:
    signals("Prices", post_save=hear)
    wire(DISCOVER_EXCLUDE=["tests.apps.testapp"])
    assert find("W016") == []


class Gathers(ModelReceiver):
    post_save = gather


class Flushes(Gathers):
    def flush(self, items: list[Any]) -> None: ...


def test_what_is_collected_for_nobody_is_told(wire: Any) -> None:
    wire((Gathers, {"models": [Product]}))
    assert find("W017") == [
        f"{__name__}.Gathers.post_save() collects, and Gathers has no flush(), so that nothing "
        f"is done with it."
    ]


def test_what_is_collected_for_a_flush_is_not_told(wire: Any) -> None:
    wire((Flushes, {"models": [Product]}))
    assert find("W017") == []
