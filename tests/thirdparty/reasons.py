"""Why a row change need not be heard: what the page "What signals miss" lists, recognised."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

from django.apps import apps
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Model, QuerySet
from django.db.models.deletion import Collector
from django.db.models.sql.compiler import SQLCompiler

# What is running now, the outermost first. One thread, that of the connection, is asked.
_running: list[str] = []


def get_reason() -> str:
    """Why nobody need hear of the statement that is running; empty if somebody has to."""
    if "migration" in _running:
        return "migrations"
    if [name for name in _running if name not in ("compiler", "_update")][-1:] == ["raw"]:
        return "raw=True"
    if "historical" in _running:
        return "models of migrations"
    if "compiler" not in _running:
        return "" if _get_caller().startswith("django_signal_kit.") else "raw SQL"
    if _is_outside("_raw_delete", "Collector.delete"):
        return "QuerySet._raw_delete()"
    if _is_outside("_update", "save_base"):
        return "QuerySet._update()"
    return ""


def _get_caller() -> str:
    """The module that has a cursor execute the statement."""
    caller, frame = "", sys._getframe()
    while frame.f_back is not None:
        is_execute = frame.f_code.co_name.startswith("execute")
        if is_execute and frame.f_globals["__name__"] == "django.db.backends.utils":
            caller = frame.f_back.f_globals["__name__"]
        frame = frame.f_back
    return caller


def _is_outside(name: str, by: str) -> bool:
    """Is ``name`` running, and not because of ``by``?"""
    return name in _running and by not in _running[: _running.index(name)]


def watch() -> None:
    """Wrap the methods of Django by which a reason is known."""
    _wrap(Model, "save_base", lambda *args, raw=False, **kwargs: "raw" if raw else "save_base")
    _wrap(MigrationExecutor, "migrate", lambda *args, **kwargs: "migration")
    _wrap(QuerySet, "_raw_delete", lambda *args, **kwargs: "_raw_delete")
    _wrap(QuerySet, "_update", lambda *args, **kwargs: "_update")
    _wrap(Collector, "delete", lambda *args, **kwargs: "Collector.delete")
    for compiler in (SQLCompiler, *SQLCompiler.__subclasses__()):
        if "execute_sql" in vars(compiler):
            _wrap(compiler, "execute_sql", _name_compiler)


def _name_compiler(compiler: Any, *args: Any, **kwargs: Any) -> str:
    model = compiler.query.model
    return "compiler" if model is None or model._meta.apps is apps else "historical"


def _wrap(owner: type, name: str, get_name: Callable[..., str]) -> None:
    original = getattr(owner, name)

    @wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        _running.append(get_name(*args, **kwargs))
        try:
            return original(*args, **kwargs)
        finally:
            _running.pop()

    setattr(owner, name, call)
