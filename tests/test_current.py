"""context(): who is doing this."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncGenerator, Generator
from functools import partial
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from hypothesis import given
from hypothesis import strategies as st

from django_signal_kit import context, get_context, muted, only
from django_signal_kit.current import get_muted, get_scope
from tests.threads import in_threads

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
    with context(actor="ann"):
        assert in_threads(get_context) == [NOBODY]


def test_threads_may_share_one_context() -> None:
    scope, both = context(reason="shared"), threading.Barrier(2, timeout=30)
    found: list[Any] = []

    def work() -> None:
        with scope:
            both.wait()
            found.append(get_context().get("reason"))
            both.wait()
        found.append(get_context().get("reason"))

    in_threads(work, work)
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


# Blocks that end in another order, or run in parts


def say() -> Any:
    return get_context().get("reason")


def test_blocks_that_end_in_the_order_in_which_they_began_leave_the_other_one_open() -> None:
    a, b, c = context(reason="a", a=1), context(reason="b"), context(reason="c", c=1)
    a.__enter__()
    b.__enter__()
    a.__exit__(None, None, None)
    assert get_context() == {"actor": None, "reason": "b"}
    c.__enter__()
    b.__exit__(None, None, None)
    assert get_context() == {"actor": None, "reason": "c", "c": 1}
    c.__exit__(None, None, None)
    assert get_context() == NOBODY


def test_a_block_that_nobody_has_opened_here_ends_without_harm() -> None:
    scope = context(reason="x")
    with scope:
        thread = threading.Thread(target=scope.__exit__, args=(None, None, None))
        thread.start()
        thread.join()
        assert say() == "x"
    scope.__exit__(None, None, None)
    assert get_context() == NOBODY


@given(st.lists(st.integers(0, 5), max_size=30))
def test_whatever_the_order_the_open_blocks_hold_and_no_others(steps: list[int]) -> None:
    scopes = [context(**{f"key{number}": number, "last": number}) for number in range(6)]
    opened: list[int] = []
    for number in steps:
        if number in opened:
            opened.remove(number)
            scopes[number].__exit__(None, None, None)
        else:
            opened.append(number)
            scopes[number].__enter__()
        expected = {f"key{number}": number for number in opened}
        assert get_context() == {
            **NOBODY,
            **expected,
            **({"last": opened[-1]} if opened else {}),
        }
    for number in opened:
        scopes[number].__exit__(None, None, None)
    assert get_context() == NOBODY


@context(reason="import")
def count(most: int) -> Generator[Any, Any, str]:
    """Documented."""
    for number in range(most):
        given = yield number, say()
        if given:
            yield given, say()
    return "done"


def test_a_generator_has_its_context_while_it_runs_and_its_caller_has_not() -> None:
    found = []
    with context(reason="caller"):
        for item in count(2):
            found += [item, say()]
    assert found == [(0, "import"), "caller", (1, "import"), "caller"]
    assert (count.__name__, count.__doc__) == ("count", "Documented.")
    assert inspect.isgeneratorfunction(count)
    assert get_context() == NOBODY


def test_a_generator_is_sent_values_and_errors_and_returns_as_ever() -> None:
    def outer() -> Generator[Any, Any, Any]:
        result = yield from count(1)
        yield result

    generator = outer()
    assert next(generator) == (0, "import")
    assert generator.send("given") == ("given", "import")
    assert next(generator) == "done"

    @context(reason="x")
    def careful() -> Generator[Any, Any, Any]:
        try:
            yield "first"
        except KeyError:
            yield say()
        finally:
            ended.append(say())

    ended: list[Any] = []
    generator = careful()
    assert next(generator) == "first"
    assert generator.throw(KeyError()) == "x"
    generator.close()
    assert ended == ["x"]
    generator = careful()
    next(generator)
    with pytest.raises(ZeroDivisionError):
        generator.throw(ZeroDivisionError())
    generator = careful()
    next(generator)
    del generator
    assert ended == ["x"] * 3
    assert get_context() == NOBODY


def test_generators_that_take_turns_have_each_its_own() -> None:
    @context(of="generator")
    def walk(name: str) -> Generator[Any, Any, Any]:
        with context(reason=name):
            yield get_context()
            with context(depth=2):
                yield get_context()
            yield get_context()
        yield get_context()

    found = []
    with context(reason="caller"):
        for pair in zip(walk("a"), walk("b"), strict=True):
            found.append([{k: v for k, v in told.items() if k != "actor"} for told in pair])
            assert get_context() == {"actor": None, "reason": "caller"}
    of = {"of": "generator"}
    assert found == [
        [{**of, "reason": "a"}, {**of, "reason": "b"}],
        [{**of, "reason": "a", "depth": 2}, {**of, "reason": "b", "depth": 2}],
        [{**of, "reason": "a"}, {**of, "reason": "b"}],
        [{**of, "reason": "caller"}, {**of, "reason": "caller"}],
    ]


def test_a_generator_that_goes_on_in_another_thread_takes_its_context_along() -> None:
    generator, found = count(2), [next(count(2))]
    next(generator)
    thread = threading.Thread(target=lambda: found.append(next(generator)))
    thread.start()
    thread.join()
    assert found == [(0, "import"), (1, "import")]
    assert get_context() == NOBODY


def test_an_async_generator_has_its_context_while_it_runs() -> None:
    @context(reason="stream")
    async def stream() -> AsyncGenerator[Any, Any]:
        try:
            given = yield say()
            await asyncio.sleep(0)
            yield given, say()
            yield "never"
        except KeyError:
            yield "caught", say()
        finally:
            await asyncio.sleep(0)
            ended.append(say())

    ended: list[Any] = []

    async def main() -> Any:
        found = []
        generator = stream()
        found += [await anext(generator), say(), await generator.asend(7), say()]
        found += [await generator.athrow(KeyError()), say()]
        await generator.aclose()
        async for item in stream():
            found += [item, say()]
            break
        both = stream(), stream()
        found.append([[await anext(one) for one in both], say()])
        for one in both:
            await one.aclose()
        return found

    assert inspect.isasyncgenfunction(stream)
    assert asyncio.run(main()) == [
        *("stream", None, (7, "stream"), None, ("caught", "stream"), None),
        *("stream", None),
        [["stream", "stream"], None],
    ]
    assert set(ended) == {"stream"}
    assert get_context() == NOBODY


def test_what_is_no_plain_function_beneath_one_has_its_context_too() -> None:
    def plainly(function: Any) -> Any:
        return lambda *args: function(*args)

    class Waits:
        async def __call__(self) -> Any:
            return say()

    async def main() -> Any:
        waits = context(reason="x")(plainly(Waits()))
        stream = context(reason="x")(plainly(anything))
        return [await waits(), await context(reason="x")(Waits())(), [i async for i in stream()]]

    async def anything() -> AsyncGenerator[Any, Any]:
        yield say()

    assert asyncio.run(main()) == ["x", "x", ["x"]]
    generator = context(reason="x")(plainly(lambda: (say() for _ in range(2))))()
    assert [(item, say()) for item in generator] == [("x", None), ("x", None)]
    assert list(context(reason="y")(partial(count, 1))()) == [(0, "import")]
    assert get_context() == NOBODY


@pytest.mark.parametrize("thing", [int, staticmethod(len), classmethod(len), property(len)])
def test_what_cannot_be_decorated_says_so_at_once(thing: Any) -> None:
    with pytest.raises(TypeError, match=r"context\(\) decorates functions, and .* Write it below"):
        context(reason="x")(thing)


def test_a_muted_generator_is_muted_while_it_runs(wire: Any) -> None:
    wire("django_signal_kit.receivers.RequestTimer")

    @muted("RequestTimer")
    def quiet() -> Generator[Any, Any, Any]:
        for _ in range(2):
            yield get_muted()

    @only()
    async def alone() -> AsyncGenerator[Any, Any]:
        yield get_muted()

    async def main() -> Any:
        return [(item, get_muted()) async for item in alone()]

    nothing: frozenset[str] = frozenset()
    muted_names = frozenset(("RequestTimer",))
    assert [(item, get_muted()) for item in quiet()] == [(muted_names, nothing)] * 2
    assert asyncio.run(main()) == [(muted_names, nothing)]


def test_the_scope_is_the_same_object_as_long_as_the_same_blocks_are_open() -> None:
    with context(reason="a"):
        scope = get_scope()
        with context(reason="b"):
            assert get_scope() is not scope
        assert get_scope() is scope
    assert get_scope() is None
