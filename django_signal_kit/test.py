"""Helpers for tests. Imports ``django.test``: not for code that runs in production."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from fnmatch import fnmatchcase
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

from django.db import DEFAULT_DB_ALIAS
from django.template import Template
from django.test import TestCase
from django.test.signals import template_rendered
from django.test.utils import instrumented_test_render  # type: ignore[attr-defined]

from django_signal_kit.exceptions import did_you_mean
from django_signal_kit.receiver import Receiver
from django_signal_kit.sight import watching
from django_signal_kit.sight.capturing import Capture
from django_signal_kit.sight.decorating import run_in
from django_signal_kit.sight.tracing import trace
from django_signal_kit.wiring.muting import muted, only

F = TypeVar("F", bound=Callable[..., Any])

#: ``@mute_receivers("AuditLog")`` on a factory mutes one receiver, where the ``mute_signals()`` of
#: factory-boy mutes a whole signal, for all threads.
mute_receivers = muted


@contextmanager
def _assert_all_writes_heard() -> Iterator[None]:
    with watching.gathering() as found:
        yield
    if found:
        raise AssertionError("\n".join(dict.fromkeys(map(str, found))))


class assert_all_writes_heard:  # noqa: N801
    """Raises AssertionError at the end of the block if a write of a covered model was heard by no
    receiver: raw SQL, ``_raw_delete()``, an override without ``super()``. Names each with its
    line. Sees this thread, the async tasks that the block starts, and what ``sync_to_async`` runs
    for them. Decorates test functions and ``async def`` ones, too; anything else raises
    TypeError."""

    def __init__(self) -> None:
        self._blocks: list[AbstractContextManager[None]] = []

    def __enter__(self) -> None:
        block = _assert_all_writes_heard()
        block.__enter__()
        self._blocks.append(block)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._blocks.pop().__exit__(exc_type, exc, traceback)

    def __call__(self, function: F) -> F:
        return run_in(
            _assert_all_writes_heard,
            function,
            "assert_all_writes_heard",
            "Decorate the tests of a class one by one.",
        )


@contextmanager
def flush_after_commit(using: str = DEFAULT_DB_ALIAS) -> Iterator[None]:
    """In a ``TestCase``, which never commits: what would be done after the commit is done at the
    end of the block, the ``on_commit()`` callbacks of others among it, as by Django's
    ``captureOnCommitCallbacks(execute=True)``. Where commits are real there is nothing to do."""
    with TestCase.captureOnCommitCallbacks(using=using, execute=True):
        yield


class SignalKit:
    """What the fixture ``signal_kit`` of pytest is, and the attribute of ``SignalKitMixin``."""

    muted = staticmethod(muted)
    only = staticmethod(only)
    trace = trace
    capture = Capture
    assert_all_writes_heard = assert_all_writes_heard
    flush_after_commit = staticmethod(flush_after_commit)


class SignalKitMixin:
    """Gives a test class of ``unittest`` or Django the attribute ``signal_kit``."""

    signal_kit = SignalKit()


class Rendering(NamedTuple):
    """A template that was rendered.

    ``name`` is what it was loaded by, empty for a template made of a string. ``keys`` are the
    names of what it was given, at that moment; ``thread`` is the name of the thread.
    """

    name: str
    keys: frozenset[str]
    thread: str


class TemplateRecorder(Receiver):
    """Records which templates are rendered, and the names of what they are given.

    ``with TemplateRecorder() as templates:`` hears those of all threads, so that the pages of a
    live server are among them. Needs ``setup_test_environment()``, which each test runner calls:
    Django does not send ``template_rendered`` without it. Templates of other engines, such as
    Jinja2, are not heard.
    """

    #: Patterns of names to leave out. By default the templates of form widgets, dozens a form.
    ignore: Sequence[str] = ("django/forms/*",)

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._renderings: list[Rendering] = []

    @property
    def renderings(self) -> list[Rendering]:
        """What was rendered, in order; included and parent templates, too."""
        return list(self._renderings)

    @property
    def names(self) -> list[str]:
        """The names of the templates in the order in which each was first rendered."""
        return list(dict.fromkeys(rendering.name for rendering in self.renderings))

    def get_keys(self, name: str) -> set[str]:
        """The names of what the template ``name`` was given, in all of its renderings. Raises
        LookupError if it was not rendered."""
        found = [rendering.keys for rendering in self.renderings if rendering.name == name]
        if not found:
            guess = did_you_mean(name, self.names, "Nothing was rendered.")
            raise LookupError(f"The template {name!r} was not rendered. {guess}")
        return set().union(*found)

    def clear(self) -> None:
        """Forget what was rendered so far."""
        self._renderings.clear()

    def template_rendered(self, template: Any, context: Any, **kwargs: Any) -> None:
        name = template.name or ""
        if not any(fnmatchcase(name, pattern) for pattern in self.ignore):
            # The layers are gone when the test looks. The first has True, False and None.
            keys = frozenset(key for layer in context.dicts[1:] for key in layer)
            self._renderings.append(Rendering(name, keys, threading.current_thread().name))

    def __enter__(self) -> Self:
        """Raises RuntimeError outside of the test environment."""
        if Template._render is not instrumented_test_render:  # type: ignore[attr-defined]
            raise RuntimeError(
                "TemplateRecorder hears nothing here: Django sends template_rendered only after "
                "django.test.utils.setup_test_environment(), which a test runner calls."
            )
        template_rendered.connect(self.template_rendered, weak=False)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        template_rendered.disconnect(self.template_rendered)
