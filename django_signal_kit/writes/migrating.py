"""While migrations are applied nothing is heard of models.

A data migration may write through the classes of today, whose tables are those of yesterday, while
the tables that receivers write to are not there at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from functools import wraps
from typing import Any

from django.apps import apps
from django.db import DatabaseError, connections, router
from django.db.models import Model

from django_signal_kit.current import Muting
from django_signal_kit.units.loggers import get_logger

logger = get_logger("django_signal_kit.writes")

_OWN_MARK = "signal_kit_own"

#: Ids of checks of which nobody has to be told: the command that checks is going to mend it.
about_to_be_mended: ContextVar[frozenset[str]] = ContextVar(
    "signal_kit_about_to_be_mended", default=frozenset()
)
#: What to say when there is something to hear; empty when it has been said.
_silence: ContextVar[list[str] | None] = ContextVar("signal_kit_silence", default=None)
_get_names: list[Callable[[], frozenset[str]]] = []
# The tables of the kit that have been seen since the last migration: (alias, table).
_seen: set[tuple[str, str]] = set()


def watch(get_names: Callable[[], frozenset[str]]) -> None:
    """``get_names()``: the receivers that are not to be called meanwhile."""
    _get_names[:] = [get_names]


def is_migrating() -> bool:
    """Is nobody told of any write here, because of migrations?"""
    return _silence.get() is not None


def is_silent(models: Iterable[type[Model]]) -> bool:
    """Is nobody to be told of a write to these covered models? Then say so, once a run."""
    sentences = _silence.get()
    if sentences is None:
        return False
    while sentences:
        labels = ", ".join(model._meta.label for model in models)
        logger.warning(sentences.pop(), labels, extra={"model": labels})
    return True


@contextmanager
def _silent(sentence: str) -> Iterator[None]:
    # A migration may call another command that migrates.
    token = _silence.set([sentence] if _silence.get() is None else _silence.get())
    try:
        with Muting(_get_names[0]):
            yield
    finally:
        _silence.reset(token)


def wrap_migrate(original: Callable[..., Any]) -> Callable[..., Any]:
    """``MigrationExecutor.migrate()``, which applies migrations or takes them back."""

    @wraps(original)
    def migrate(self: Any, *args: Any, **kwargs: Any) -> Any:
        _seen.clear()
        alias = self.connection.alias
        with _silent(
            f"A migration of the database {alias!r} writes to %s through the class itself, not "
            f"through apps.get_model(): receivers of models hear nothing while migrations are "
            f"applied."
        ):
            return original(self, *args, **kwargs)

    return migrate


def wrap_emit(original: Callable[..., Any]) -> Callable[..., Any]:
    """``emit_pre_migrate_signal()`` and its twin, whose receivers write, too."""

    @wraps(original)
    def emit(verbosity: int, interactive: bool, db: str, **kwargs: Any) -> Any:
        missing = _find_missing()
        sentence = (
            f"Receivers of models are not told of what is written to %s around the migrations "
            f"of the database {db!r}: the table {missing} is not there yet."
        )
        with nullcontext() if missing is None else _silent(sentence):
            return original(verbosity, interactive, db, **kwargs)

    return emit


def _find_missing() -> str | None:
    """A table of the kit's own that receivers write to, and that is not there."""
    for model in apps.get_models():
        if not hasattr(model, _OWN_MARK) or not model._meta.managed:
            continue
        alias, table = router.db_for_write(model), model._meta.db_table
        if (alias, table) in _seen:
            continue
        try:
            found = connections[alias].introspection.table_names()
        except DatabaseError:
            # Who writes to it will be told.
            return None
        if table not in found:
            return table
        _seen.add((alias, table))
    return None
