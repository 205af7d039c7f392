"""System checks. What would leave a receiver silently absent fails at start-up as well."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.apps import AppConfig, apps
from django.core.checks import CheckMessage, Warning
from django.db import DEFAULT_DB_ALIAS, connections, router

from django_signal_kit.conf import conf
from django_signal_kit.exceptions import Misconfigured, did_you_mean
from django_signal_kit.receiver import ModelReceiver, Receiver
from django_signal_kit.wiring.configured import load
from django_signal_kit.wiring.names import list_option_slips
from django_signal_kit.wiring.senders import Coverage
from django_signal_kit.wiring.unheard import check_foreign_keys
from django_signal_kit.writes import bulk, captured, hooks


def check_signal_kit(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Everything that is wrong with SIGNAL_KIT and with the receivers, one message each."""
    loaded, problems = load()
    receivers = [receiver for receiver in loaded if isinstance(receiver, ModelReceiver)]
    return [
        *(problem.as_check() for problem in problems),
        *check_coverage(receivers),
        *check_option_names(loaded),
        *check_retention(),
        *([] if problems else check_log(receivers)),
        *(warning for receiver in loaded for warning in receiver.get_warnings()),
        # What will be wired is known only if nothing is wrong.
        *([] if problems else check_foreign_keys(receivers)),
        *check_hooks(),
    ]


def check_coverage(receivers: Iterable[ModelReceiver]) -> Iterator[Warning]:
    """One warning for each receiver that covers nothing."""
    for receiver in receivers:
        if not Coverage(receiver).get_models():
            yield Warning(
                f"{receiver} covers no model, so it hears nothing.",
                hint=(
                    "Set its option 'models'."
                    if not receiver.get_models()
                    else f"Nothing matches {list(receiver.get_models())!r}."
                ),
                id="signal_kit.W001",
            )


def check_option_names(receivers: Iterable[Receiver]) -> Iterator[Warning]:
    """One warning for each attribute of a class that is meant to set an option, and does not."""
    for path, option in sorted(
        {found for each in receivers for found in list_option_slips(type(each))}
    ):
        yield Warning(
            f"{path} sets no option that there was: it has become an option of its own, which "
            f"nobody reads unless the class does.",
            hint=f"Did you mean {option!r}? Otherwise start its name with an underscore.",
            id="signal_kit.W008",
        )


def check_log_tables(
    app_configs: Sequence[AppConfig] | None = None,
    databases: Iterable[str] | None = None,
    **kwargs: Any,
) -> list[CheckMessage]:
    """What the databases that may be asked lack."""
    receivers, problems = load()
    if problems or not databases:
        return []
    return list(check_log(receivers, databases))


def check_log(
    receivers: Iterable[Receiver], asked: Iterable[str] | None = None
) -> Iterator[Warning]:
    """One warning for each database that has covered rows, and not the log's table, as routers
    say, or as those databases say that are ``asked``."""
    if "django_signal_kit.audit.audit_log" not in sys.modules:
        # Who has no AuditLog need not import it.
        return
    from django_signal_kit.audit.audit_log import AuditLog
    from django_signal_kit.audit.entries import ask_router, get_entry_model, has_tables

    logs = [receiver for receiver in receivers if isinstance(receiver, AuditLog)]
    models = {model for receiver in logs for model in Coverage(receiver).get_models()}
    log: Any = get_entry_model() if models else None
    for alias in connections if models else ():
        # Where a router sends the log, somebody has thought of it.
        if alias == DEFAULT_DB_ALIAS or ask_router(log, alias) != alias:
            continue
        if not any(router.allow_migrate_model(alias, model) for model in models):
            continue
        is_allowed = router.allow_migrate_model(alias, log)
        if asked is None:
            is_lacking = not is_allowed
        else:
            is_lacking = is_allowed and alias in asked and not has_tables(alias)
        if is_lacking:
            yield Warning(
                f"The database {alias!r} has covered rows, and no table of the audit log. Entries "
                f"about them go to {router.db_for_write(log)!r}. The two commit apart, so that "
                f"one can be kept without the other.",
                hint=f"Let routers allow the log there, and run: migrate --database {alias}",
                id="signal_kit.W006",
            )


def check_hooks() -> Iterator[Warning]:
    """One warning for each covered model, or relation, whose writes go past the hooks."""
    for found, how in captured.list_past(hooks.saved, bulk.covered, hooks.linked):
        yield Warning(
            f"{found} goes past the kit: it calls Django's own {how}, which was taken before the "
            f"kit was there. Receivers do not hear all that is written by it.",
            hint=(
                "Take it in a models module or later, not while the settings or the modules "
                "named in INSTALLED_APPS are imported; or look it up when it is called."
            ),
            id="signal_kit.W007",
        )


def check_retention() -> list[Warning]:
    """Whom RETENTION names without their being there: a slip of the pen would keep entries for
    good, but entries outlive their model, so that it is no error."""
    try:
        patterns = list(conf.RETENTION)
    except Misconfigured:
        return []
    labels = [model._meta.label for model in apps.get_models()]
    known = {label.lower() for label in labels} | {"__all__"}
    known |= {f"{config.label}.*" for config in apps.get_app_configs()}
    return [
        Warning(
            f"SIGNAL_KIT['RETENTION'] has {pattern!r}, and nothing of this name is installed.",
            hint=did_you_mean(pattern, labels, "Keep it only if it was installed once."),
            id="signal_kit.W003",
        )
        for pattern in patterns
        if pattern.lower() not in known
    ]
