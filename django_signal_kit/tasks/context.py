"""The context on its way to a worker: who has caused this, in which request, and why."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from contextvars import copy_context
from typing import Any, Protocol

from django.apps import apps
from django.core.exceptions import SynchronousOnlyOperation, ValidationError
from django.db import connections

from django_signal_kit.conf import conf
from django_signal_kit.current import context, get_scope
from django_signal_kit.rows.values import bounded
from django_signal_kit.tasks.actors import TravelledActor, describe

logger = logging.getLogger("django_signal_kit")

#: The key of what is no value of the context.
_CARRIED = "signal_kit_carried"


class Carrier(Protocol):
    """Takes along what is not said by a context, such as the trace of a request."""

    def pack(self) -> dict[str, Any]:
        """JSON; what is empty is not taken along. Asked when a task is sent."""

    def unpack(self, packed: Any) -> AbstractContextManager[Any]:
        """A block for the worker."""


#: Name -> carrier.
carriers: dict[str, Carrier] = {}


def pack() -> dict[str, Any] | None:
    """What the open :class:`~django_signal_kit.context` blocks say, as JSON: without secrets, and
    with what JSON does not know as text, as in the audit log. None if none is open.

    A callable actor is asked, which may cost the queries that it has not made yet. Never raises.
    """
    values = get_scope()
    packed = pack_scope(values)
    return None if values is None and not packed else packed


def pack_scope(values: Mapping[str, Any] | None) -> dict[str, Any]:
    """The same of what ``get_scope()`` has said before, with what is carried now."""
    packed = {} if values is None else _pack_values(values)
    if carriers and (carried := _pack_carried()):
        packed[_CARRIED] = carried
    return packed


def _pack_carried() -> dict[str, Any]:
    carried = {}
    for name, carrier in carriers.items():
        try:
            carried[name] = carrier.pack()
        except Exception:
            logger.exception("A task is sent without its %s", name)
    return {name: packed for name, packed in carried.items() if packed}


def _pack_values(values: Mapping[str, Any]) -> dict[str, Any]:
    told = {name: value for name, value in values.items() if name != "actor"}
    packed: dict[str, Any] = {**bounded(told, tuple(conf.REDACT))}
    if "actor" in values:
        packed["actor"] = _pack_actor(values["actor"])
    return packed


def unpack(packed: Mapping[str, Any] | None) -> AbstractContextManager[Any]:
    """A block for the worker, in which ``get_context()`` says again what was packed.

    Makes no query: of a row that acts its key and its text are there, and it is fetched when more
    is asked of it.
    """
    if not packed:
        return nullcontext()
    values = dict(packed)
    carried = values.pop(_CARRIED, None)
    if isinstance(carried, Mapping) and carriers:
        return _unpack_carried(values, carried)
    return _unpack_values(values) if values else nullcontext()


@contextmanager
def _unpack_carried(values: dict[str, Any], carried: Mapping[str, Any]) -> Iterator[None]:
    with ExitStack() as stack:
        for name, packed in carried.items():
            if name in carriers:
                stack.enter_context(carriers[name].unpack(packed))
        if values:
            stack.enter_context(_unpack_values(values))
        yield


def _unpack_values(values: dict[str, Any]) -> AbstractContextManager[Any]:
    if isinstance(values.get("actor"), Mapping):
        values["actor"] = _unpack_actor(values["actor"])
    return context(**values)


def _pack_actor(actor: Any) -> dict[str, Any] | str | None:
    try:
        if callable(actor):
            actor = _ask(actor)
        if actor is None or getattr(actor, "is_anonymous", False) is True:
            return None
        return describe(actor)
    except Exception:
        # The task is worth more than the name of who has caused it.
        logger.exception("A task is sent without its actor, who could not be found out")
        return None


def _ask(actor: Any) -> Any:
    try:
        return actor()
    except SynchronousOnlyOperation:
        # Async code sends a task by a call that is not awaited, and nobody has asked before.
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(copy_context().run, _ask_and_leave, actor).result()


def _ask_and_leave(actor: Any) -> Any:
    try:
        return actor()
    finally:
        connections.close_all()


def _unpack_actor(packed: Mapping[str, Any]) -> Any:
    try:
        model = apps.get_model(packed["model"])
        return TravelledActor(model, packed["pk"], packed["text"], packed["using"])
    except (LookupError, ValidationError, ValueError):
        # The worker has other apps installed than the sender, or a model with another key.
        return packed["text"]
