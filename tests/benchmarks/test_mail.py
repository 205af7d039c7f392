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
from django_signal_kit.mail.sending import CHUNK, Sending
from django_signal_kit.receivers import WelcomeEmail
from tests.benchmarks.interleave import compare, show
from tests.mail.test_welcome_email import use_mailer

pytestmark = pytest.mark.django_db(transaction=True)

MAILS = CHUNK
ROUNDS = 40

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

    def make_and_send() -> None:
        with receiver.get_connection() as connection:
            for user in users:
                connection.send_messages([receiver.get_message(user)])

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
        "the kit": send_by_the_kit,
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(-1, ROUNDS):
        for name in list(ways)[:: 1 if number % 2 else -1]:
            seconds = ways[name]()
            times[name] += [seconds] if number >= 0 else []
    rates = {name: MAILS / median(seconds) for name, seconds in times.items()}
    for name, rate in rates.items():
        share = rate / rates["send_messages()"]
        print(f"{name}: {rate:,.0f} mails a second, {share:.0%}")
    # What is left is the making of the mails, and noting each of them.
    assert rates["the kit"] >= 0.9 * rates["made and sent"]
