"""context(): who is doing this."""

from __future__ import annotations

import asyncio
import inspect
import threading
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async

from django_signal_kit import context, get_context

NOBODY = {"actor": None}


def test_outside_of_any_block_there_is_nobody() -> None:
    assert get_context() == NOBODY


def test_blocks_nest_and_the_inner_one_adds_and_replaces() -> None:
    with context(actor="ann", reason="import"):
        with context(reason="retry", batch=7):
            assert get_context() == {"actor": "ann", "reason": "retry", "batch": 7}
        with context(actor=None):
            assert get_context() == {"actor": None, "reason": "import"}
        assert get_context() == {"actor": "ann", "reason": "import"}
    assert get_context() == NOBODY


def test_an_exception_restores_what_was_before() -> None:
    with context(reason="outer"):
        with pytest.raises(ZeroDivisionError), context(reason="inner"):
            raise ZeroDivisionError
        assert get_context()["reason"] == "outer"
    assert get_context() == NOBODY


def test_one_context_may_be_entered_again_and_inside_itself() -> None:
    scope = context(depth=1)
    with scope, context(depth=2), scope:
        assert get_context()["depth"] == 1
    assert get_context() == NOBODY
    with scope:
        assert get_context()["depth"] == 1
    assert get_context() == NOBODY


def test_what_is_given_back_is_the_callers_own() -> None:
    with context(reason="a"):
        get_context()["reason"] = "b"
        get_context().clear()
        assert get_context()["reason"] == "a"


def test_a_callable_actor_is_called_each_time_and_only_when_asked() -> None:
    calls: list[int] = []

    def get_actor() -> str:
        calls.append(1)
        return f"ann {len(calls)}"

    with context(actor=get_actor):
        assert calls == []
        assert get_context()["actor"] == "ann 1"
        assert get_context()["actor"] == "ann 2"
        with context(actor="bob"):
            assert get_context()["actor"] == "bob"
        assert calls == [1, 1]


def test_an_actor_may_turn_out_to_be_nobody() -> None:
    with context(actor=lambda: None):
        assert get_context() == NOBODY


def test_functions_are_decorated_plain_and_async() -> None:
    @context(reason="sync")
    def plain(number: int) -> Any:
        """Documented."""
        return number, get_context()["reason"]

    @context(reason="async")
    async def waits(number: int) -> Any:
        await asyncio.sleep(0)
        return number, get_context()["reason"]

    assert plain(1) == (1, "sync")
    assert asyncio.run(waits(number=2)) == (2, "async")
    assert (plain.__name__, plain.__doc__) == ("plain", "Documented.")
    assert inspect.iscoroutinefunction(waits)
    assert get_context() == NOBODY


def test_a_decorated_function_that_fails_restores() -> None:
    @context(reason="x")
    def plain() -> None:
        raise ZeroDivisionError

    @context(reason="x")
    async def waits() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        plain()
    with pytest.raises(ZeroDivisionError):
        asyncio.run(waits())
    assert get_context() == NOBODY


def test_another_thread_sees_nothing() -> None:
    found: list[Any] = []
    with context(actor="ann"):
        thread = threading.Thread(target=lambda: found.append(get_context()))
        thread.start()
        thread.join()
    assert found == [NOBODY]


def test_threads_may_share_one_context() -> None:
    scope, both = context(reason="shared"), threading.Barrier(2, timeout=30)
    found: list[Any] = []

    def work() -> None:
        with scope:
            both.wait()
            found.append(get_context().get("reason"))
            both.wait()
        found.append(get_context().get("reason"))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found, key=str) == [None, None, "shared", "shared"]


def test_async_tasks_are_apart() -> None:
    async def work(name: str, mine: asyncio.Event, other: asyncio.Event) -> Any:
        with context(actor=name):
            mine.set()
            await other.wait()
            inside = get_context()
        return inside["actor"], get_context()

    async def main() -> Any:
        one, two = asyncio.Event(), asyncio.Event()
        return await asyncio.gather(work("ann", one, two), work("bob", two, one))

    assert asyncio.run(main()) == [("ann", NOBODY), ("bob", NOBODY)]


def test_async_tasks_may_share_one_context() -> None:
    scope = context(reason="shared")

    async def work(mine: asyncio.Event, other: asyncio.Event) -> Any:
        with scope:
            mine.set()
            await other.wait()
            inside = get_context()
        return inside.get("reason"), get_context()

    async def main() -> Any:
        one, two = asyncio.Event(), asyncio.Event()
        return await asyncio.gather(work(one, two), work(two, one))

    assert asyncio.run(main()) == [("shared", NOBODY)] * 2


def test_a_task_takes_the_context_of_whoever_started_it_along() -> None:
    async def child() -> Any:
        with context(batch=1):
            pass
        return get_context()

    async def main() -> Any:
        with context(actor="ann"):
            task = asyncio.create_task(child())
        return await task, get_context()

    assert asyncio.run(main()) == ({"actor": "ann"}, NOBODY)


def test_the_bridges_between_sync_and_async_carry_it_over() -> None:
    async def ask() -> Any:
        return await sync_to_async(get_context)()

    with context(actor="ann"):
        assert async_to_sync(ask)() == {"actor": "ann"}
