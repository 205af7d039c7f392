"""The command makes what is missing, once, whoever writes meanwhile."""

from __future__ import annotations

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.management import progress
from django_signal_kit.receivers import AuditLog, CreateRelated
from tests.apps.belongings.models import Board, Column, Garden, Gate, Orchard, Passport, Profile
from tests.management.test_progress import Terminal

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

PROFILES = {"related": "belongings.Profile", "sync": {"email": "email"}}
COLUMNS = {"related": "belongings.Column", "children": [{"name": "To do"}, {"name": "Done"}]}


class NoRobots(CreateRelated):
    def should_create(self, instance: Any) -> bool:
        return not instance.username.startswith("robot")


class Broken(CreateRelated):
    """Stops in the middle, as Ctrl-C does."""

    def get_defaults(self, instance: Any) -> Any:
        if instance.username == "u3":
            raise KeyboardInterrupt
        return {}


def make_users(count: int, using: str = "default", name: str = "u") -> None:
    User.objects.using(using).bulk_create(
        User(username=f"{name}{number}", email=f"{name}{number}@shop.example")
        for number in range(count)
    )


def run(*args: str, **options: Any) -> str:
    out = io.StringIO()
    call_command("createrelated", *args, stdout=out, **options)
    return out.getvalue()


@pytest.mark.parametrize("chunk", [1, 2, 3, 500])
def test_who_lacks_a_profile_gets_one_in_chunks_of_any_size(wire: Any, chunk: int) -> None:
    make_users(5)
    Profile.objects.create(user=User.objects.get(username="u2"), theme="own")
    Profile.objects.create(user=User.objects.get(username="u4"), is_hidden=True)
    wire((CreateRelated, PROFILES))
    assert run("--chunk", str(chunk)) == "CreateRelated, auth.User: 3 created\n"
    found = dict(Profile._base_manager.values_list("user__username", "theme"))
    assert found == {"u0": "light", "u1": "light", "u2": "own", "u3": "light", "u4": "light"}
    assert Profile.objects.get(user__username="u0").email == "u0@shop.example"
    assert run() == "CreateRelated, auth.User: 0 created\n"


def test_a_chunk_is_one_transaction_and_few_statements(wire: Any) -> None:
    make_users(20)
    wire((CreateRelated, PROFILES))
    with CaptureQueriesContext(connection) as queries:
        run("--chunk", "10")
    verbs = [query["sql"].split()[0] for query in queries]
    assert verbs.count("BEGIN") == verbs.count("COMMIT") == 2
    # The keys to begin with and after each chunk; users and profiles of each.
    assert verbs.count("SELECT") == 3 + 2 * 2
    assert verbs.count("INSERT") == 2


def test_a_dry_run_writes_nothing(wire: Any) -> None:
    make_users(3)
    make_users(1, name="robot")
    wire((NoRobots, PROFILES))
    with CaptureQueriesContext(connection) as queries:
        assert run("--dry-run") == "NoRobots, auth.User: 3 would be created\n"
    assert {query["sql"].split()[0] for query in queries} == {"SELECT"}
    assert run() == "NoRobots, auth.User: 3 created\n"
    assert not Profile.objects.filter(user__username__startswith="robot").exists()


def test_another_database_is_named(wire: Any) -> None:
    make_users(1)
    make_users(2, using="other")
    wire((CreateRelated, PROFILES))
    assert run(using="other") == "CreateRelated, auth.User: 2 created\n"
    assert Profile.objects.using("other").count() == 2
    assert not Profile.objects.using("default").exists()


def test_what_is_made_is_heard_by_others(wire: Any) -> None:
    make_users(3)
    wire((CreateRelated, PROFILES), (AuditLog, {"models": ["belongings.Profile"]}))
    run()
    assert AuditEntry.objects.filter(action="create").exclude(object_pk="").count() == 3


def test_several_receivers_are_told_one_by_one_or_by_name(wire: Any) -> None:
    make_users(2)
    Board.objects.create(name="a", code="a")
    wire(
        {"RECEIVER": "django_signal_kit.receivers.CreateRelated", "OPTIONS": PROFILES},
        {
            "RECEIVER": "django_signal_kit.receivers.CreateRelated",
            "NAME": "Columns",
            "OPTIONS": COLUMNS,
        },
        {
            "RECEIVER": "django_signal_kit.receivers.CreateRelated",
            "NAME": "Passports",
            "OPTIONS": {"related": "belongings.Passport"},
        },
    )
    assert run("Columns") == "Columns, belongings.Board: 2 created\n"
    assert not Profile.objects.exists()
    assert run() == (
        "CreateRelated, auth.User: 2 created\n"
        "Columns, belongings.Board: 0 created\n"
        "Passports, belongings.Board: 1 created\n"
    )
    assert Passport.objects.get().board.code == "a"


def test_a_multi_table_child_gets_one_by_its_parent(wire: Any) -> None:
    Garden.objects.create(name="a")
    Orchard.objects.create(name="b")
    wire((CreateRelated, {"related": "belongings.Gate", "models": ["belongings.Orchard"]}))
    assert run() == "CreateRelated, belongings.Orchard: 1 created\n"
    Gate.objects.all().delete()
    wire((CreateRelated, {"related": "belongings.Gate", "exclude": ["belongings.Orchard"]}))
    assert run() == "CreateRelated, belongings.Garden: 1 created\n"
    wire((CreateRelated, {"related": "belongings.Gate"}))
    assert run() == "CreateRelated, belongings.Garden: 1 created\n"
    assert Gate.objects.count() == 2


def test_a_run_that_is_broken_off_is_taken_up_by_the_next(wire: Any) -> None:
    make_users(5)
    wire((Broken, PROFILES))
    out = io.StringIO()
    with pytest.raises(CommandError, match="Interrupted"):
        call_command("createrelated", "--chunk", "2", stdout=out)
    assert out.getvalue() == "Broken, auth.User: 2 created\n"
    assert Profile.objects.count() == 2
    wire((CreateRelated, PROFILES))
    assert run() == "CreateRelated, auth.User: 3 created\n"


def test_a_terminal_sees_how_far_it_is(wire: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(progress, "_INTERVAL", 0)
    make_users(4)
    wire((CreateRelated, PROFILES))
    terminal = Terminal()
    run("--chunk", "2", stderr=terminal)
    assert " 50%  CreateRelated, auth.User: 2 rows" in terminal.getvalue()
    assert "100%  CreateRelated, auth.User: 4 rows" in terminal.getvalue()
    quiet = Terminal()
    assert run(verbosity=0, stderr=quiet) == quiet.getvalue() == ""


def test_two_commands_and_a_writer_at_once_make_one_of_each(wire: Any) -> None:
    make_users(30)
    Board.objects.bulk_create(Board(name=f"b{n}", code=f"b{n}") for n in range(15))
    wire(
        {"RECEIVER": "django_signal_kit.receivers.CreateRelated", "OPTIONS": PROFILES},
        {
            "RECEIVER": "django_signal_kit.receivers.CreateRelated",
            "NAME": "Columns",
            "OPTIONS": COLUMNS,
        },
    )
    everybody = list(User.objects.order_by("-pk"))
    start = threading.Barrier(3, timeout=60)
    told: list[str] = []

    def command() -> None:
        try:
            start.wait()
            told.append(run("--chunk", "4"))
        finally:
            connections.close_all()

    def write() -> None:
        try:
            start.wait()
            for user in everybody:
                Profile.objects.get_or_create(user=user)
            make_users(5, name="new")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(3) as pool:
        for future in [pool.submit(command), pool.submit(command), pool.submit(write)]:
            future.result()
    assert Profile.objects.count() == User.objects.count() == 35
    assert Column.objects.count() == 30
    made = [int(line.split()[-2]) for text in told for line in text.splitlines()]
    assert made[1] + made[3] == 30


@pytest.mark.parametrize(
    ("name", "words"),
    [("CreateRelate", "Did you mean 'CreateRelated'?"), ("AuditLog", "is named 'AuditLog'")],
)
def test_a_name_that_is_none_of_theirs_is_an_error(wire: Any, name: str, words: str) -> None:
    wire((CreateRelated, PROFILES), (AuditLog, {"models": ["belongings.Profile"]}))
    with pytest.raises(CommandError, match=words.replace("?", r"\?")):
        run(name)


def test_without_any_such_receiver_it_is_an_error(wire: Any) -> None:
    wire((AuditLog, {"models": ["belongings.Profile"]}))
    with pytest.raises(CommandError, match="No receiver of the kind CreateRelated"):
        run()
