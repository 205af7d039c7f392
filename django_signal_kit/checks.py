"""System checks. What would leave a receiver silently absent fails at start-up as well."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from django.apps import AppConfig, apps
from django.core.checks import CheckMessage, Warning

from django_signal_kit.conf import conf
from django_signal_kit.exceptions import Misconfigured, did_you_mean
from django_signal_kit.receiver import ModelReceiver, Receiver
from django_signal_kit.sight.slots import is_shared
from django_signal_kit.tasks.gaps import check_gaps, check_tables
from django_signal_kit.wiring.configured import load
from django_signal_kit.wiring.forgotten import check_flushed, check_registered
from django_signal_kit.wiring.names import list_option_slips
from django_signal_kit.wiring.uncovered import check_coverage
from django_signal_kit.wiring.unheard import check_foreign_keys
from django_signal_kit.writes import bulk, captured, covered
from django_signal_kit.writes.migrating import about_to_be_mended

_LOGS = ("django_signal_kit.audit.audit_log", "django_signal_kit.audit.login_log")


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
        *([] if problems else check_registered(loaded)),
        *check_flushed(loaded),
        *check_retention(),
        *([] if problems else check_log(loaded)),
        *([] if problems else check_gaps(each for each in loaded if each._flushes_in_task)),
        *(warning for receiver in loaded for warning in receiver.get_warnings()),
        # What will be wired is known only if nothing is wrong.
        *([] if problems else check_foreign_keys(receivers)),
        *check_hooks(),
        *check_muting(),
    ]


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
    tasks = [receiver for receiver in receivers if receiver._flushes_in_task]
    found = [*check_log(receivers, databases), *check_tables(tasks, databases)]
    mended = about_to_be_mended.get()
    return [message for message in found if str(message.id).rpartition(".")[2] not in mended]


def check_log(
    receivers: Iterable[Receiver], asked: Iterable[str] | None = None
) -> Iterator[CheckMessage]:
    """Where entries of the audit log are told twice, or cannot be written, as the settings say;
    or as the databases say that are ``asked``."""
    if sys.modules.keys().isdisjoint(_LOGS):
        # Who has no log need not import it.
        return
    from django_signal_kit.audit.audit_log import AuditLog
    from django_signal_kit.audit.capture.differences import find_differences
    from django_signal_kit.audit.doubles import find_doubles
    from django_signal_kit.audit.places import find_misplaced

    receivers = list(receivers)
    yield from find_misplaced(receivers, asked)
    if asked is None:
        yield from find_doubles(log for log in receivers if isinstance(log, AuditLog))
    else:
        yield from find_differences(asked)


def check_hooks() -> Iterator[Warning]:
    """One warning for each covered model, or relation, whose writes go past the hooks."""
    for found, how in captured.list_past(covered.saved, bulk.covered, covered.linked):
        yield Warning(
            f"{found} goes past the kit: it calls Django's own {how}, which was taken before the "
            f"kit was there. Receivers do not hear all that is written by it.",
            hint=(
                "Take it in a models module or later, not while the settings or the modules "
                "named in INSTALLED_APPS are imported; or look it up when it is called."
            ),
            id="signal_kit.W007",
        )


def check_muting() -> Iterator[Warning]:
    """One warning if what is muted in the admin is muted in one process alone."""
    with suppress(Misconfigured):
        if conf.ADMIN_MUTING and not is_shared():
            yield Warning(
                "SIGNAL_KIT['ADMIN_MUTING'] is True, and the default cache is of each process "
                "alone: what is muted in the admin is muted in one process, and others go on.",
                hint="Let CACHES['default'] be one that all processes share.",
                id="signal_kit.W027",
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
