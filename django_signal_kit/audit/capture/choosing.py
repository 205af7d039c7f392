"""What cannot be had together with ``capture="triggers"``, and what is given up for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Warning
from django.db.models import Model

from django_signal_kit.audit.capture.naming import (
    TemplateError,
    find_template,
    get_fallback,
    suggest,
)
from django_signal_kit.audit.capture.obstacles import get_databases
from django_signal_kit.audit.capture.specifying import find_obstacle
from django_signal_kit.audit.databases import ask_router
from django_signal_kit.audit.entries import Entry, get_entry_model
from django_signal_kit.audit.keys import get_secrets
from django_signal_kit.exceptions import Misconfigured, did_you_mean, join
from django_signal_kit.wiring import catalog
from django_signal_kit.wiring.idle import overrides

#: Option -> its only value that triggers know, and what to do instead.
_OPTIONS: dict[str, tuple[Any, str]] = {
    "hash_secrets": (False, "the key of the hashes would stand in the database's catalogue"),
    "old_values": ("database", "a trigger has the old row at hand"),
    "contract": ("strict", "a trigger and its write succeed or fail together"),
    "bulk": ("all", "a trigger hears each row of each write"),
    "flush_on": ("before_commit", "a trigger writes at once"),
}
#: Methods that nobody calls where triggers write.
_METHODS = ("get_changes", "should_record", "record", "flush", "get_object_text", "list_fields")

_HINT = "Give a text with names of fields in braces: '{name} ({code})'."


def check_choice(receiver: Any, base: type[Any], models: list[type[Model]]) -> None:
    """Raise Misconfigured if ``receiver``, of the class ``base``, asks of triggers what they
    cannot do, or says how rows are called of which no trigger tells."""
    if receiver.capture == "python":
        if receiver.object_text:
            raise Misconfigured(
                "E071",
                f"{receiver.name} has 'object_text', which is for triggers, and captures by "
                f"Python, which asks get_object_text().",
                "Override get_object_text(), or set capture='triggers'.",
            )
        return
    for option, (value, reason) in _OPTIONS.items():
        given = getattr(receiver, option)
        if given != value:
            raise Misconfigured(
                "E070",
                f"{receiver.name} has capture='triggers' and {option}={given!r}: {reason}.",
                f"Leave the option {option!r} out, or set capture='python'.",
            )
    for method in (*_METHODS, *catalog.get_paths(), "links_changed"):
        if overrides(receiver, base, [method]):
            remedy = (
                "Give the option 'object_text' a template"
                if method == "get_object_text"
                else "Leave the method out"
            )
            raise Misconfigured(
                "E070",
                f"{receiver.name} has capture='triggers' and overrides {method}(), which nobody "
                f"calls where the database writes the entries.",
                f"{remedy}, or set capture='python'.",
            )
    _check_log(receiver, models)
    _check_templates(receiver, models)


def _check_log(receiver: Any, models: list[type[Model]]) -> None:
    if not apps.is_installed("django_signal_kit.audit"):
        raise Misconfigured(
            "E070",
            f"{receiver.name} has capture='triggers', and nobody would install them: the app of "
            f"the audit log is not installed.",
            "Add 'django_signal_kit.audit' to INSTALLED_APPS.",
        )
    log = get_entry_model()
    key = log._meta.auto_field
    names = {field.attname for field in log._meta.concrete_fields}
    if key is None or names != {key.attname, *Entry._fields}:
        more = join(sorted(names - {*Entry._fields, key.attname if key else ""}), most=3)
        raise Misconfigured(
            "E070",
            f"{receiver.name} has capture='triggers', and the log {log._meta.label} has columns "
            f"that no trigger fills: {more}.",
            "Use a log with the columns of AbstractAuditEntry alone, or set capture='python'.",
        )
    for model in models:
        for alias in get_databases(model):
            if (target := ask_router(log, alias)) != alias:
                raise Misconfigured(
                    "E070",
                    f"{receiver.name} has capture='triggers', and covers {model._meta.label} in "
                    f"the database {alias!r}, of which the log is in {target!r}: a trigger writes "
                    f"in its own database.",
                    "Let routers keep the log beside the rows, or set capture='python'.",
                )


def _check_templates(receiver: Any, models: list[type[Model]]) -> None:
    labels = {model._meta.label for model in models if not model._meta.proxy}
    tables = {model._meta.label: model._meta.concrete_model for model in models}
    for label, template in receiver.object_text.items():
        if label not in labels:
            what = "which is no model that it covers"
            if table := tables.get(label):
                what = f"a proxy, whose rows are called as those of {table._meta.label}"
            raise Misconfigured(
                "E071",
                f"The option 'object_text' of {receiver.name} has {label!r}, {what}.",
                did_you_mean(label, labels),
            )
        if not isinstance(template, str):
            raise Misconfigured(
                "E071",
                f"The option 'object_text' of {receiver.name} for {label}: {template!r} is no "
                f"text, the same in each language.",
                _HINT,
            )
    for model in models:
        try:
            find_obstacle(receiver, model)
        except TemplateError as error:
            raise Misconfigured(
                "E071",
                f"The option 'object_text' of {receiver.name} for {model._meta.label}: {error}.",
                _HINT,
            ) from error


def list_warnings(receiver: Any, models: list[type[Model]]) -> Iterator[CheckMessage]:
    """Which models triggers cannot record as Python does, so that Python goes on; what is told
    twice; and of which rows triggers cannot say the name."""
    if receiver.capture == "python":
        return
    obstacles = {
        model: find_obstacle(receiver, model) for model in models if not model._meta.proxy
    }
    tables = {
        model._meta.db_table: model._meta.label
        for model, obstacle in obstacles.items()
        if not obstacle
    }
    for model, obstacle in obstacles.items():
        if obstacle:
            yield _tell_of_obstacle(receiver, model, obstacle)
            if twin := tables.get(model._meta.db_table):
                yield _tell_of_twin(receiver, model, twin)
        elif model._meta.label not in receiver.object_text:
            yield from _tell_of_name(receiver, model)


def _tell_of_obstacle(receiver: Any, model: type[Model], obstacle: str) -> Warning:
    label = model._meta.label
    return Warning(
        f"{receiver.name} records {label} by Python, not by triggers: {label} {obstacle}.",
        hint="Nothing is lost: raw SQL alone goes unheard there, and a save costs more. "
        "Cover the model by an AuditLog with capture='python' to have it said.",
        id="signal_kit.W028",
    )


def _tell_of_twin(receiver: Any, model: type[Model], twin: str) -> Warning:
    label = model._meta.label
    return Warning(
        f"What is written through {label} is told twice: by Python, and by the triggers of "
        f"{twin}, which has a table of the same name.",
        hint=f"Leave {label} out by the option 'exclude' of {receiver.name}, if it is the same "
        f"table.",
        id="signal_kit.W032",
    )


def _tell_of_name(receiver: Any, model: type[Model]) -> Iterator[Warning]:
    secrets, label = get_secrets(receiver), model._meta.label
    if not find_template(model, secrets):
        text = get_fallback(model).replace("{pk}", "5")
        yield Warning(
            f"Triggers cannot tell what __str__ of {label} says, and call a row {text!r}.",
            hint=f"Give {receiver.name} a template: "
            f"object_text={{{label!r}: {suggest(model, secrets)!r}}}.",
            id="signal_kit.W030",
        )
