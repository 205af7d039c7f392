"""What cannot flush in a task is told at start-up, in one sentence; and where tasks wait."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import connections

from django_signal_kit import ModelReceiver
from django_signal_kit.checks import check_log_tables, check_signal_kit
from django_signal_kit.receivers import AuditLog, CacheInvalidation, ExceptionAlert
from django_signal_kit.tasks import framework, wired
from django_signal_kit.tasks.models import OutboxTask
from django_signal_kit.wiring.registry import registry
from tests.tasks.collectors import Names
from tests.tasks.queues import BROKER, DUMMY, IMMEDIATE

ALL = {"models": ["testapp.Tag"]}


def get_error(wire: Any, *entries: Any, **keys: Any) -> str:
    with pytest.raises(ImproperlyConfigured) as caught:
        wire(*entries, **keys)
    return str(caught.value)


def own(**options: Any) -> Any:
    return (Names, {"task_options": options})


NAMES = "tests.tasks.collectors.Names"


@pytest.mark.parametrize("is_own", [False, True])
@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        (
            "QUEU",
            "mail",
            "the key 'QUEU', which tasks do not know. Did you mean 'QUEUE'? (signal_kit.E054)",
        ),
        (
            "queue",
            "mail",
            "the key 'queue', which tasks do not know. Did you mean 'QUEUE'? (signal_kit.E054)",
        ),
        (
            "ATTEMPTS",
            0,
            "'ATTEMPTS': 0, of type int. It has to be a whole number from 1 to 1000. "
            "(signal_kit.E055)",
        ),
        (
            "ATTEMPTS",
            True,
            "'ATTEMPTS': True, of type bool. It has to be a whole number from 1 to 1000. "
            "(signal_kit.E055)",
        ),
        (
            "BACKOFF",
            "10s",
            "'BACKOFF': '10s', of type str. It has to be a number of seconds above 0. "
            "(signal_kit.E055)",
        ),
        (
            "PRIORITY",
            101,
            "'PRIORITY': 101, of type int. It has to be a whole number from -100 to 100. "
            "(signal_kit.E055)",
        ),
        (
            "QUEUE",
            None,
            "'QUEUE': None, of type NoneType. It has to be the name of a queue, such as "
            '"default". (signal_kit.E055)',
        ),
        (
            "OUTBOX",
            "yes",
            "'OUTBOX': 'yes', of type str. It has to be True, False, or None for what the "
            "backend needs. (signal_kit.E055)",
        ),
    ],
)
def test_a_wrong_key_is_told_by_name(
    wire: Any, is_own: bool, key: str, value: Any, sentence: str
) -> None:
    if is_own:
        where = f"The option 'task_options' of {NAMES}"
        assert get_error(wire, own(**{key: value})) == f"{where} has {sentence}"
    else:
        assert get_error(wire, TASKS={key: value}) == f"SIGNAL_KIT['TASKS'] has {sentence}"


def test_the_setting_is_a_dict(wire: Any) -> None:
    assert get_error(wire, TASKS=["default"]) == (
        "SIGNAL_KIT['TASKS'] is ['default'], of type list. It has to be a dict such as "
        '{"QUEUE": "default", "ATTEMPTS": 5}. (signal_kit.E002)'
    )


def test_a_backend_that_is_not_there(wire: Any, settings: Any) -> None:
    settings.TASKS = {**DUMMY, "mails": DUMMY["default"]}
    told = get_error(wire, own(BACKEND="mail"))
    assert told.startswith(f"The tasks of {NAMES} have the backend 'mail', which cannot be made: ")
    assert told.endswith(" Did you mean 'mails'? (signal_kit.E057)")


def test_a_backend_that_cannot_be_imported(wire: Any, settings: Any) -> None:
    settings.TASKS = {"default": {"BACKEND": "nowhere.Backend"}}
    told = get_error(wire, Names)
    assert "which cannot be made: Could not find backend 'nowhere.Backend'" in told


def test_a_queue_that_the_backend_does_not_know(wire: Any, settings: Any) -> None:
    settings.TASKS = {"default": {**DUMMY["default"], "QUEUES": ["mail"]}}
    assert get_error(wire, Names) == (
        f"The backend 'default' takes no task of {NAMES}: Queue 'default' is not valid for "
        f"backend. Set 'QUEUE' or 'PRIORITY' in SIGNAL_KIT['TASKS'], or in the option "
        f"'task_options'. (signal_kit.E058)"
    )
    wire(own(QUEUE="mail"))
    wire(Names, TASKS={"QUEUE": "mail"})


def test_a_priority_that_the_backend_does_not_know(wire: Any, settings: Any) -> None:
    settings.TASKS = BROKER
    told = get_error(wire, own(PRIORITY=5))
    assert "Backend does not support setting priority of tasks." in told


def test_a_receiver_that_flushes_otherwise_needs_no_backend(wire: Any, settings: Any) -> None:
    settings.TASKS = {"default": {"BACKEND": "nowhere.Backend"}}
    wire((Names, {"flush_on": "after_commit"}))


def test_an_outbox_that_is_not_installed(wire: Any, settings: Any) -> None:
    settings.INSTALLED_APPS = without_outbox(settings)
    settings.TASKS = BROKER
    assert get_error(wire, Names, TASKS={"OUTBOX": True}) == (
        f"The tasks of {NAMES} have 'OUTBOX': True, but the app that has its table is not "
        f"installed. Add 'django_signal_kit.tasks' to INSTALLED_APPS, and migrate. "
        f"(signal_kit.E059)"
    )


def without_outbox(settings: Any) -> list[str]:
    return [name for name in settings.INSTALLED_APPS if name != "django_signal_kit.tasks"]


@pytest.fixture
def _no_framework(monkeypatch: Any) -> None:
    """As on Django 5.2 without django-tasks."""
    monkeypatch.setattr(framework, "_NAMES", ("nowhere_tasks",))
    framework.find_framework.cache_clear()
    yield
    framework.find_framework.cache_clear()


@pytest.mark.usefixtures("_no_framework")
def test_without_a_framework_the_remedy_is_told(wire: Any) -> None:
    assert get_error(wire, Names) == (
        f"{NAMES} has flush_on='task', but this Django has no tasks, and django-tasks is not "
        f"installed. pip install \"django-signal-kit[tasks]\", or leave 'flush_on' out. "
        f"(signal_kit.E056)"
    )
    assert wire(ExceptionAlert).flush_on == "after_commit"


def test_a_ready_made_receiver_that_may_not_be_late_says_so(wire: Any) -> None:
    assert get_error(wire, (AuditLog, {"models": ["testapp.Tag"], "flush_on": "task"})) == (
        "AuditLog has flush_on='task', but an entry is written in the transaction of its change, "
        "or could be missing. Leave 'flush_on' out. (signal_kit.E063)"
    )


def test_where_tasks_wait_is_shown(wire: Any, settings: Any) -> None:
    shown = []
    for tasks, keys in ((BROKER, {}), (BROKER, {"OUTBOX": False}), (IMMEDIATE, {})):
        settings.TASKS = tasks
        wire(Names, TASKS=keys)
        out = io.StringIO()
        call_command("showreceivers", stdout=out)
        assert registry.receivers[0].name == "Names"
        shown.append(next(line for line in out.getvalue().splitlines() if "Names" in line))
    assert ["task (outbox)" in line for line in shown] == [True, False, False]
    assert ["task (after commit)" in line for line in shown] == [False, True, True]
    out = io.StringIO()
    call_command("showreceivers", format="json", signal="post_save", stdout=out)
    assert [entry["queued"] for entry in json.loads(out.getvalue())] == ["after_commit"]


CHECKS = ("W018", "W019", "W020")


def get_warnings() -> list[str]:
    found = check_signal_kit()
    return [f"{each.msg} {each.hint} ({each.id})" for each in found if each.id[-4:] in CHECKS]


def test_a_gap_is_told_with_its_remedy(wire: Any, settings: Any) -> None:
    settings.TASKS = BROKER
    wire(Names, ("tests.tasks.collectors.Counts"))
    assert get_warnings() == []
    settings.INSTALLED_APPS = without_outbox(settings)
    assert get_warnings() == [
        "A crash right after a commit loses what Names and Counts would have flushed in a task: "
        "the queue of the backend 'default' is not in the database that is written to. Add "
        "'django_signal_kit.tasks' to INSTALLED_APPS and migrate: its outbox keeps the tasks. Or "
        "accept it by 'OUTBOX': False in SIGNAL_KIT['TASKS']. (signal_kit.W018)"
    ]
    wire(Names, TASKS={"OUTBOX": False})
    assert get_warnings() == []
    settings.TASKS = IMMEDIATE
    wire(Names)
    assert get_warnings() == []


class Nowhere:
    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return False if (db, app_label) == ("other", "signal_kit_tasks") else None


def test_a_database_without_an_outbox_is_told(wire: Any, settings: Any) -> None:
    settings.TASKS = BROKER
    settings.DATABASE_ROUTERS = [f"{__name__}.Nowhere"]
    wire(Names)
    assert get_warnings() == [
        "A crash right after a commit of the database 'other' loses what Names would have flushed "
        "in a task: its routers allow no table of the outbox there. Have allow_migrate() allow "
        "'signal_kit_tasks' for 'other', and migrate it; or add 'signal_kit.W019' to "
        "SILENCED_SYSTEM_CHECKS, if nothing they hear is written there. (signal_kit.W019)"
    ]


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_a_database_that_lacks_the_table_is_told(wire: Any, settings: Any) -> None:
    settings.TASKS = BROKER
    wire(Names)
    assert check_log_tables(databases=["default", "other"]) == []
    with connections["other"].schema_editor() as editor:
        editor.delete_model(OutboxTask)
    try:
        (told,) = check_log_tables(databases=["default", "other"])
        assert check_log_tables(databases=["default"]) == []
        assert check_log_tables() == []
    finally:
        with connections["other"].schema_editor() as editor:
            editor.create_model(OutboxTask)
    assert f"{told.msg} {told.hint} ({told.id})" == (
        "The database 'other' has no table 'signal_kit_tasks_outboxtask' for the outbox, so that "
        "no write there succeeds of which a receiver makes a task. Run: migrate --database other "
        "(signal_kit.W020)"
    )


def test_a_receiver_that_never_flushes_needs_no_tasks(wire: Any, settings: Any) -> None:
    settings.TASKS = {"default": {"BACKEND": "nowhere.Backend"}}
    wire(Idle)
    assert get_warnings() == []


class Idle(ModelReceiver):
    models = ["testapp.Tag"]
    flush_on = "task"

    def post_save(self, instance: Any, **kwargs: Any) -> None:
        """Does nothing."""


def test_a_ready_made_default_that_cannot_be_flushes_after_the_commit(wire: Any) -> None:
    assert wire((CacheInvalidation, {"models": ["testapp.Tag"], "keys": ["t"]})).flush_on == (
        "after_commit"
    )


def test_the_framework_that_django_has_is_taken() -> None:
    assert framework.find_framework().__name__ in ("django.tasks", "django_tasks")
    assert wired.find_framework is framework.find_framework
