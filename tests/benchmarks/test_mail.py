"""What a welcome costs the request that signs a user up, and how fast a sender is."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.test.utils import override_settings

from django_signal_kit.mail.claims import StoredClaims
from django_signal_kit.mail.models import WelcomeSent
from django_signal_kit.mail.resending import make_tickets
from django_signal_kit.mail.sending import _MOST, CHUNK, Sending
from django_signal_kit.receivers import WelcomeEmail
from tests.benchmarks.interleave import compare, show
from tests.mail.mailers import use_mailer

pytestmark = pytest.mark.django_db(transaction=True)

MAILS = CHUNK
#: Who is not to send twice waits for the disk before the first, and now and then: the kit for so
#: many mails, where that is slow.
NOTED = _MOST
ROUNDS = 30

_numbers = count(1)


class Deferred(WelcomeEmail):
    """What it does in the request when the mail is sent by a task: nothing after the commit."""

    def flush(self, items: list[Any]) -> None:
        if not isinstance(items[0], list):
            super().flush(items)


def save_user() -> None:
    number = next(_numbers)
    User(username=f"u{number}", email=f"u{number}@shop.example").save(force_insert=True)


def sign_up() -> None:
    with transaction.atomic():
        save_user()


def sign_up_and_insert() -> None:
    with transaction.atomic():
        save_user()
        key = uuid.uuid4().hex
        row = WelcomeSent(digest=key, email="A", model="auth.User", using="default", key=key)
        WelcomeSent.objects.bulk_create([row], ignore_conflicts=True)


class Queued:
    """Wired with a queue in the database, into which the backend writes the task: an INSERT."""

    def __enter__(self) -> None:
        self.override = override_settings(
            TASKS={"default": {"BACKEND": "django_tasks_db.DatabaseBackend"}},
            SIGNAL_KIT={"RECEIVERS": ["django_signal_kit.receivers.WelcomeEmail"]},
        )
        self.override.enable()

    def __exit__(self, *args: object) -> None:
        self.override.disable()


def test_what_a_sign_up_costs(wired: Any) -> None:
    result = compare(
        {
            "bare": (wired(), sign_up),
            "bare and an INSERT": (wired(), sign_up_and_insert),
            "with it": (wired({"RECEIVER": f"{__name__}.Deferred"}), sign_up),
            "with it and a queue in the database": (Queued(), sign_up),
        },
        rounds=101,
        number=10,
    )
    show("a sign-up in a transaction, sent by a task", result)
    bare, insert = 1.2 * result.medians["bare"], result.difference("bare and an INSERT")
    share = result.medians["with it"] / (bare + insert)
    queued = result.medians["with it and a queue in the database"] / (bare + 2 * insert)
    print(f"{share:.2f} of 1.2 times bare and an INSERT")
    print(f"{queued:.2f} of 1.2 times bare and two of them, with a queue in the database")
    assert share <= 1
    assert queued <= 1.1


@pytest.fixture
def office(tmp_path: Path, settings: Any) -> Iterator[None]:
    command = [sys.executable, "-m", "tests.mail.postoffice", str(tmp_path), "1"]
    with subprocess.Popen(command) as server:
        try:
            while not (tmp_path / "port").exists():
                time.sleep(0.05)
            port = int((tmp_path / "port").read_text())
            use_mailer(settings, "smtp", host="127.0.0.1", port=port)
            yield
        finally:
            server.kill()


def get_seconds(act: Callable[[], Any]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def test_how_many_mails_a_sender_sends(office: None) -> None:
    receiver = WelcomeEmail(site_url="https://shop.example")
    users = [User(username=f"u{n}", email=f"u{n}@shop.example") for n in range(MAILS)]
    User.objects.bulk_create(users)
    users = list(User.objects.order_by("pk"))
    messages = [receiver.get_message(user) for user in users]

    def send_ready() -> None:
        with receiver.get_connection() as connection:
            connection.send_messages(messages)

    def make_and_send(note: Callable[[], Any] = lambda: None) -> None:
        note()
        with receiver.get_connection() as connection:
            for number, user in enumerate(users, 1):
                connection.send_messages([receiver.get_message(user)])
                if number % NOTED == 0 or number == MAILS:
                    note()

    def make_send_and_note() -> float:
        row, _ = WelcomeSent.objects.get_or_create(digest="by hand", message_id="by hand")
        return get_seconds(lambda: make_and_send(lambda: row.save(update_fields=["error"])))

    def send_by_the_kit() -> float:
        WelcomeSent.objects.all().delete()
        sending = Sending(receiver)
        tickets = list(make_tickets(receiver, users, "default"))
        # As the sign-ups have done.
        StoredClaims("default").announce(tickets, "shop.example")
        seconds = get_seconds(lambda: list(sending.run(tickets)))
        assert sending.counts["sent"] == MAILS
        return seconds

    ways: dict[str, Callable[[], float]] = {
        "send_messages()": lambda: get_seconds(send_ready),
        "made and sent": lambda: get_seconds(make_and_send),
        "made, sent and noted": make_send_and_note,
        "the kit": send_by_the_kit,
    }
    rounds: list[dict[str, float]] = []
    for number in range(-1, ROUNDS):
        # What is compared comes right after one another, each first as often as the other.
        names = list(ways)[:: 1 if number % 2 else -1]
        rounds += [{name: ways[name]() for name in names}]
    rounds = rounds[1:]
    for name in ways:
        rate = MAILS / median(each[name] for each in rounds)
        print(f"{name}: {rate:,.0f} mails a second, {get_share(rounds, name):.0%}")
    share = get_share(rounds, "the kit", "made, sent and noted")
    print(f"the kit: {share:.0%} of what is made and sent one by one, and noted as often")
    assert share >= 0.9


def get_share(rounds: list[dict[str, float]], name: str, of: str = "send_messages()") -> float:
    """How many mails are sent one way while one is the other: in most rounds at least so many.
    Whatever else a machine does takes from both in the same round."""
    return median(each[of] / each[name] for each in rounds)
