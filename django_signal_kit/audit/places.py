"""In which databases entries are written, and what is missing there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.checks import Warning
from django.db import DEFAULT_DB_ALIAS, OperationalError, connections, router
from django.db.models import Model

from django_signal_kit.audit.audit_log import AuditLog
from django_signal_kit.audit.databases import ask_router, list_missing_tables
from django_signal_kit.audit.entries import get_entry_model, has_log
from django_signal_kit.audit.login_log import LoginLog
from django_signal_kit.exceptions import say_missing
from django_signal_kit.receiver import Receiver
from django_signal_kit.wiring.senders import Coverage


def find_misplaced(
    receivers: Iterable[Receiver], asked: Iterable[str] | None = None
) -> Iterator[Warning]:
    """One warning for each database that has covered rows, and not the log's table, as routers
    say; or for each of the databases ``asked`` that itself says so, or to which entries go that
    cannot be written there."""
    receivers = list(receivers)
    logs = [receiver for receiver in receivers if isinstance(receiver, AuditLog)]
    covered = {model for receiver in logs for model in Coverage(receiver).get_models()}
    told = set(covered)
    if has_log() and any(isinstance(receiver, LoginLog) for receiver in receivers):
        told.add(get_user_model())
    log: Any = get_entry_model() if told else None
    done: set[str] = set()
    for alias in connections if told else ():
        # Where a router sends the log, somebody has thought of it.
        target = ask_router(log, alias)
        is_beside = target == alias != DEFAULT_DB_ALIAS and _is_there(alias, covered)
        if asked is None:
            if is_beside and not router.allow_migrate_model(alias, log):
                yield _say_apart(alias, log)
        elif target in asked and target not in done and _is_there(alias, told):
            done.add(target)
            yield from _ask(target, log, told, is_beside=is_beside)


def _is_there(alias: str, models: Iterable[type[Model]]) -> bool:
    """May rows of one of these models be in that database?"""
    return any(router.allow_migrate_model(alias, model) for model in models)


def _ask(
    alias: str, log: Any, told: Collection[type[Model]], *, is_beside: bool
) -> Iterator[Warning]:
    """What a database lacks for entries about ``told``; ``is_beside``: they go to another one
    then."""
    models = (log, apps.get_model("contenttypes", "ContentType"))
    try:
        missing = list_missing_tables(alias, models)
    except OperationalError as error:
        yield Warning(
            f"The database {alias!r} cannot be asked for the table of the audit log: "
            f"{' '.join(str(error).split())}.",
            hint="See that it runs, and that DATABASES says where.",
            id="signal_kit.W012",
        )
        return
    if missing and is_beside:
        if router.allow_migrate_model(alias, log):
            yield _say_apart(alias, log)
    # Before the first migrate there is nothing to be told of.
    elif missing and len(list_missing_tables(alias, told)) < len(told):
        yield Warning(
            f"{say_missing(alias, missing[0])} No row that is recorded can be written.",
            hint=f"Run: migrate --database {alias}",
            id="signal_kit.W012",
        )


def _say_apart(alias: str, log: Any) -> Warning:
    return Warning(
        f"The database {alias!r} has covered rows, and no table of the audit log. Entries "
        f"about them go to {router.db_for_write(log)!r}. The two commit apart, so that "
        f"one can be kept without the other.",
        hint=f"Let routers allow the log there, and run: migrate --database {alias}",
        id="signal_kit.W006",
    )
