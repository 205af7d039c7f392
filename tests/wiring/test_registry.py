"""Names, muted(), only() and register()."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db.models.signals import post_save

from django_signal_kit import ModelReceiver, Receiver, muted, only, register
from django_signal_kit.apps import wire as wire_up
from django_signal_kit.current import get_muted
from django_signal_kit.wiring.declaring import declarations
from django_signal_kit.wiring.registry import registry
from tests.apps.testapp.models import Tag
from tests.factories import TagFactory
from tests.threads import in_threads

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


class Async(ModelReceiver):
    models = ["testapp.Tag"]

    async def post_save(self, **kwargs: Any) -> None:
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
    with muted("A", "B"):
        assert in_threads(heard) == [["A", "B", "C"]]


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


def test_async_receivers_are_muted_too(wire: Any) -> None:
    wire(A, Async)
    assert heard() == ["A", "Async"]
    with muted("Async"):
        assert heard() == ["A"]
    with only("Async"):
        assert heard() == ["Async"]


def test_a_muting_may_be_shared_by_threads_at_once(abc: None) -> None:
    scope, inside = muted("A"), threading.Barrier(2, timeout=30)
    found: list[list[str]] = []

    def work() -> None:
        with scope:
            inside.wait()
            found.append([name for name in ("A", "B") if name not in get_muted()])
            inside.wait()
        found.append([name for name in ("A", "B") if name not in get_muted()])

    in_threads(work, work)
    assert sorted(found) == [["A", "B"], ["A", "B"], ["B"], ["B"]]


def test_a_muting_may_be_shared_by_async_tasks_at_once(abc: None) -> None:
    scope = muted("A")

    async def work(mine: asyncio.Event, other: asyncio.Event) -> bool:
        with scope:
            mine.set()
            await other.wait()
            inside = "A" in get_muted()
        return inside and "A" not in get_muted()

    async def main() -> list[bool]:
        one, two = asyncio.Event(), asyncio.Event()
        return await asyncio.gather(work(one, two), work(two, one))

    assert asyncio.run(main()) == [True, True]


def test_a_decorated_function_may_call_itself_and_may_fail(abc: None) -> None:
    @muted("A")
    def descend(depth: int) -> list[str]:
        if depth == 0:
            raise ZeroDivisionError
        if depth > 1:
            with pytest.raises(ZeroDivisionError):
                descend(0)
            return descend(depth - 1)
        return heard()

    assert descend(3) == ["B", "C"]
    assert heard() == ["A", "B", "C"]
    with pytest.raises(ZeroDivisionError):
        descend(0)
    assert heard() == ["A", "B", "C"]


def test_only_leaves_what_is_not_the_kits_alone(abc: None) -> None:
    found: list[str] = []

    def other(**kwargs: Any) -> None:
        found.append("other")

    post_save.connect(other, sender=Tag)
    try:
        with only("A"):
            assert heard() == ["A"]
    finally:
        post_save.disconnect(other, sender=Tag)
    assert found == ["other"]


# register()


@pytest.fixture
def registered() -> Any:
    """What a test registers is forgotten after it."""
    yield declarations
    declarations.clear()
    wire_up()


def test_a_class_is_registered_as_it_is(registered: Any) -> None:
    assert register(A) is A
    assert register(name="Second", models=[Tag], raw=True)(A) is A
    wire_up()
    first, second = registry.receivers
    assert (first.name, first.raw) == ("A", False)
    assert (second.name, second.raw, second.models) == ("Second", True, [Tag])
    assert heard() == ["A", "Second"]


def test_what_is_registered_stays_under_other_settings_after_what_they_list(
    registered: Any, wire: Any
) -> None:
    register(A)
    wire(C, B)
    assert heard() == ["C", "B", "A"]


@pytest.mark.parametrize("given", [plain, object, 5, A()])
def test_what_is_no_receiver_class_cannot_be_registered(registered: Any, given: Any) -> None:
    with pytest.raises(TypeError, match="Django's own @receiver"):
        register(given)
    with pytest.raises(TypeError, match="Django's own @receiver"):
        register(name="x")(given)
    assert registered == []


def test_a_mistake_of_register_says_which_class(registered: Any) -> None:
    register(A, modles=[Tag])
    with pytest.raises(ImproperlyConfigured, match="A has no option 'modles'"):
        wire_up()


def test_two_registered_under_one_name_are_told_apart_by_their_place(registered: Any) -> None:
    register(A)
    register(A)
    with pytest.raises(
        ImproperlyConfigured,
        match=r"Two receivers are named 'A'; the second is @register of .*\.A",
    ):
        wire_up()


def test_uids_tell_the_receiver_and_the_signal(wire: Any) -> None:
    wire({"RECEIVER": f"{__name__}.A", "NAME": "tags", "OPTIONS": {"bulk": False}})
    uids = {item[0][0] for item in post_save.receivers if item[0][1] == id(Tag)}
    assert uids == {"signal_kit:tags:post_save"}
