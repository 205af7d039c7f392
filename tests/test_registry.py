"""Names, muted() and only()."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from django.db.models.signals import post_save

from django_signal_kit import ModelReceiver, Receiver, muted, only
from tests.factories import TagFactory
from tests.testapp.models import Tag

pytestmark = pytest.mark.django_db

CALLS: list[str] = []


class A(ModelReceiver):
    models = ["testapp.Tag"]

    def post_save(self, **kwargs: Any) -> None:
        CALLS.append(self.name)


class B(A):
    pass


class C(ModelReceiver):
    models = ["testapp.Tag"]

    def post_save(self, **kwargs: Any) -> None:
        CALLS.append(self.name)


class Unconnected(C):
    pass


def plain(**kwargs: Any) -> None: ...


@pytest.fixture
def abc(wire: Any) -> None:
    wire(A, B, C)
    CALLS.clear()


def heard() -> list[str]:
    CALLS.clear()
    post_save.send(sender=Tag, instance=Tag())
    return list(CALLS)


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        (lambda: muted("A"), ["B", "C"]),
        (lambda: muted(A), ["C"]),
        (lambda: muted(B, "C"), ["A"]),
        (lambda: muted(), ["A", "B", "C"]),
        (lambda: only("C"), ["C"]),
        (lambda: only(A), ["A", "B"]),
        (lambda: only(), []),
    ],
)
def test_by_name_and_by_class(abc: None, scope: Any, expected: list[str]) -> None:
    with scope():
        assert heard() == expected
    assert heard() == ["A", "B", "C"]


def test_blocks_nest_and_an_exception_restores(abc: None) -> None:
    with muted("A"):
        with only("A", "B"):
            assert heard() == ["B"]
        with pytest.raises(ZeroDivisionError), muted("B"):
            raise ZeroDivisionError
        assert heard() == ["B", "C"]
    assert heard() == ["A", "B", "C"]


def test_one_scope_may_be_entered_again_and_inside_itself(abc: None) -> None:
    scope = muted("A")
    with scope:
        with scope:
            assert heard() == ["B", "C"]
        assert heard() == ["B", "C"]
    assert heard() == ["A", "B", "C"]
    with scope:
        assert heard() == ["B", "C"]


def test_functions_are_decorated(abc: None) -> None:
    @muted("A")
    def quiet() -> list[str]:
        return heard()

    @only("A")
    async def alone() -> list[str]:
        await asyncio.sleep(0)
        return heard()

    assert quiet() == ["B", "C"]
    assert asyncio.run(alone()) == ["A"]
    assert heard() == ["A", "B", "C"]


def test_other_threads_are_untouched(abc: None) -> None:
    found: list[list[str]] = []
    with muted("A", "B"):
        thread = threading.Thread(target=lambda: found.append(heard()))
        thread.start()
        thread.join()
    assert found == [["A", "B", "C"]]


def test_other_async_tasks_are_untouched(abc: None) -> None:
    async def quiet(entered: asyncio.Event, leave: asyncio.Event) -> list[str]:
        with muted("A"):
            entered.set()
            await leave.wait()
            return heard()

    async def loud(entered: asyncio.Event, leave: asyncio.Event) -> list[str]:
        await entered.wait()
        try:
            return heard()
        finally:
            leave.set()

    async def main() -> list[list[str]]:
        events = asyncio.Event(), asyncio.Event()
        return await asyncio.gather(quiet(*events), loud(*events))

    assert asyncio.run(main()) == [["B", "C"], ["A", "B", "C"]]


def test_the_signals_are_not_touched(abc: None) -> None:
    before = list(post_save.receivers)
    with muted("A"), only("B"):
        assert all(now is then for now, then in zip(post_save.receivers, before, strict=True))


def test_an_unknown_name_is_answered_with_a_guess(wire: Any) -> None:
    wire("django_signal_kit.receivers.WelcomeEmail")
    for scope in (muted, only):
        with pytest.raises(LookupError, match="Did you mean 'WelcomeEmail'"):
            scope("WelcomeEmial")
        with pytest.raises(LookupError, match="Unconnected"):
            scope(Unconnected)


@pytest.mark.parametrize("given", [plain, object(), object, Receiver()])
def test_what_the_kit_does_not_call_cannot_be_muted(abc: None, given: Any) -> None:
    for scope in (muted, only):
        with pytest.raises(TypeError, match="Django calls it, not the kit"):
            scope(given)


def test_a_muted_receiver_writes_nothing(wire: Any) -> None:
    from django_signal_kit.audit.models import AuditEntry

    wire(("django_signal_kit.receivers.AuditLog", {"models": ["testapp.*"]}))
    with muted("AuditLog"):
        TagFactory()
    assert not AuditEntry.objects.exists()
    TagFactory()
    assert AuditEntry.objects.count() == 1
