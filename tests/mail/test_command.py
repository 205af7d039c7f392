"""``sendwelcomeemail``: what was left, to whom one names, and a look at it first."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from django_signal_kit import muted
from django_signal_kit.mail import claims
from django_signal_kit.mail.claims import StoredClaims
from django_signal_kit.mail.models import WelcomeSent
from django_signal_kit.mail.tickets import Ticket
from django_signal_kit.receivers import AuditLog, WelcomeEmail
from tests.factories import UserFactory
from tests.mail.mailers import sent
from tests.mail.test_sending import Over, backend

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _backend() -> None:
    vars(backend).clear()
    backend.__init__()  # type: ignore[misc]


class Clumsy(WelcomeEmail):
    def get_context_data(self, user: Any) -> dict[str, Any]:
        raise ZeroDivisionError("division by zero")


def run(*args: str, **options: Any) -> str:
    out = StringIO()
    call_command("sendwelcomeemail", *args, stdout=out, stderr=StringIO(), **options)
    return out.getvalue().strip()


def fail(message: Any) -> None:
    raise ConnectionResetError("down")


def test_what_has_failed_is_sent(wire: Any) -> None:
    wire(Over)
    backend.fail = fail
    users = UserFactory.create_batch(3)
    with pytest.raises(CommandError, match="3 could not be sent: ConnectionResetError: down"):
        run()
    backend.fail = lambda message: None
    assert run("--dry-run") == "Over: 3 to send"
    assert run() == "Over: 3 sent"
    assert [line for line in backend.log if "@" in line] == [user.email for user in users]
    assert run() == "Over: nothing to send"


def test_what_a_killed_process_was_sending_waits_for_its_lease(wire: Any) -> None:
    wire(WelcomeEmail)
    UserFactory()
    WelcomeSent.objects.update(
        state="sending", holder="dead", held_until=timezone.now() + timedelta(minutes=1)
    )
    assert run() == "WelcomeEmail: nothing to send"
    WelcomeSent.objects.update(held_until=timezone.now() - timedelta(minutes=1))
    assert run() == "WelcomeEmail: 1 sent"


def test_a_mail_of_a_database_that_there_is_no_more_stops_no_other(wire: Any) -> None:
    receiver = wire(WelcomeEmail)
    with muted("WelcomeEmail"):
        user = UserFactory()
    key = f'["{user.pk}"]'
    tickets = [Ticket(receiver.name, "auth.User", using, key) for using in ("gone", "default")]
    StoredClaims("default").announce(tickets, "shop.example")
    assert run() == "WelcomeEmail: 1 sent"
    assert sent() == [user.email]


@pytest.mark.parametrize("key", ['["b7a1"]', '["1", "2"]', "b7a1"])
def test_a_mail_of_a_key_that_the_model_has_no_more_stops_no_other(wire: Any, key: str) -> None:
    receiver = wire(WelcomeEmail)
    with muted("WelcomeEmail"):
        user = UserFactory()
    keys = (key, f'["{user.pk}"]')
    tickets = [Ticket(receiver.name, "auth.User", "default", each) for each in keys]
    StoredClaims("default").announce(tickets, "shop.example")
    with pytest.raises(CommandError, match="1 could not be made"):
        run()
    assert sent() == [user.email]
    assert WelcomeSent.objects.get(key=key).state == "failed"


def test_what_was_refused_is_sent_if_one_asks_for_it(wire: Any) -> None:
    wire(WelcomeEmail)
    UserFactory()
    WelcomeSent.objects.update(state="refused")
    assert run() == "WelcomeEmail: nothing to send"
    assert run("--refused") == "WelcomeEmail: 1 sent"


def test_those_who_came_while_nobody_listened_are_found_by_their_date(wire: Any) -> None:
    wire(WelcomeEmail)
    with muted("WelcomeEmail"):
        old = UserFactory(date_joined=timezone.now() - timedelta(days=400))
        new = UserFactory()
        UserFactory(is_active=False)
    welcomed = UserFactory()
    mail.outbox.clear()
    since = (timezone.now() - timedelta(days=7)).isoformat()
    assert run("--since", since, "--dry-run") == "WelcomeEmail: 2 to send"
    assert run("--since", since) == (
        "WelcomeEmail: 1 sent, 1 not to be sent, 1 sent before, or being sent"
    )
    assert sent() == [new.email]
    assert run("--since", "2000-01-01", verbosity=0) == ""
    assert sent() == [new.email, old.email]
    assert welcomed.email not in sent()


@pytest.mark.parametrize("args", [("--since", "2000-01-01"), ("--to", "ann")], ids=str)
def test_what_is_sent_each_time_is_not_sent_again(wire: Any, args: tuple[str, ...]) -> None:
    wire((WelcomeEmail, {"once": False}))
    UserFactory(username="ann")
    for _ in range(2):
        assert run(*args) == "WelcomeEmail: nothing to send"
    assert len(sent()) == 1


@pytest.mark.parametrize("who", ["ann@shop.example", "ANN@shop.example", "ann", "{pk}"])
def test_one_may_be_named_by_address_name_or_key(wire: Any, who: str) -> None:
    wire(WelcomeEmail)
    with muted("WelcomeEmail"):
        ann = UserFactory(username="ann", email="ann@shop.example")
        UserFactory()
    assert run("--to", who.format(pk=ann.pk)) == "WelcomeEmail: 1 sent"
    assert sent() == [ann.email]
    assert run("--to", "ann") == "WelcomeEmail: 1 sent before, or being sent"
    assert sent() == [ann.email]


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("--to", "nobody"), "No row of auth.User has the address, name or key 'nobody'."),
        (("--to", "two@shop.example"), "Several rows of auth.User have 'two@shop.example'. Give"),
        (("WelcomeEmial",), "is named 'WelcomeEmial'. Did you mean 'WelcomeEmail'?"),
        (("--since", "yesterday"), "'yesterday' is no moment"),
        (
            ("--since", "2020-01-01", "--date-field", "join"),
            "auth.User has no field 'join' with a date.",
        ),
        (
            ("--since", "2020-01-01", "--date-field", "username"),
            "auth.User has no field 'username' with a date.",
        ),
        (("--html-file", "x.html"), "--html-file needs --preview."),
        (("--preview", "nobody"), "No row of auth.User has the address, name or key 'nobody'."),
    ],
)
def test_a_mistake_is_told(wire: Any, args: tuple[str, ...], told: str) -> None:
    wire(WelcomeEmail)
    with muted("WelcomeEmail"):
        UserFactory.create_batch(2, email="two@shop.example")
    with pytest.raises(CommandError) as error:
        run(*args)
    assert told in str(error.value)
    assert sent() == []


def test_a_mail_that_cannot_be_made_ends_it_with_an_error(wire: Any) -> None:
    wire(Clumsy)
    UserFactory()
    for _ in range(2):
        with pytest.raises(CommandError, match=r"Clumsy: 1 could not be made. The log says why."):
            run()


def test_a_missing_table_is_told(wire: Any) -> None:
    wire(WelcomeEmail)
    claims._migrated.clear()
    with connection.schema_editor() as editor:
        editor.alter_db_table(WelcomeSent, WelcomeSent._meta.db_table, "elsewhere")
    try:
        with pytest.raises(CommandError, match=r"Run: migrate --database default"):
            run()
    finally:
        with connection.schema_editor() as editor:
            editor.alter_db_table(WelcomeSent, "elsewhere", WelcomeSent._meta.db_table)


def test_without_a_receiver_there_is_nothing_to_do(wire: Any) -> None:
    wire((AuditLog, {"models": ["testapp.Tag"]}))
    with pytest.raises(CommandError, match="No receiver of the kind Email is connected"):
        run()


def test_without_the_app_one_has_to_name_to_whom(wire: Any, without_app: None) -> None:
    wire(WelcomeEmail)
    with muted("WelcomeEmail"):
        UserFactory(username="ann")
    for args in ((), ("--since", "2000-01-01")):
        with pytest.raises(CommandError, match=r"'django_signal_kit\.mail' is not in INSTALLED"):
            run(*args)
    assert run("--to", "ann") == "WelcomeEmail: 1 sent"


def test_a_preview_is_shown_and_not_sent(wire: Any, tmp_path: Path) -> None:
    wire((WelcomeEmail, {"from_email": "hello@shop.example", "site_url": "https://shop.example"}))
    with muted("WelcomeEmail"):
        UserFactory(username="Tom & <b>", email="tom@shop.example")
    file = tmp_path / "mail.html"
    assert run("--preview", "tom@shop.example", "--html-file", str(file)) == (
        "From: hello@shop.example\nTo: tom@shop.example\nSubject: Welcome, Tom & <b>\n\n"
        "Hello Tom & <b>,\n\nyour account is ready.\n\nhttps://shop.example"
    )
    assert "Hello Tom &amp; &lt;b&gt;," in file.read_text(encoding="utf-8")
    assert (sent(), WelcomeSent.objects.count()) == ([], 0)


def test_a_preview_of_somebody_without_an_address_or_html_is_told(
    wire: Any, tmp_path: Path
) -> None:
    wire((WelcomeEmail, {"html_template": ""}))
    with muted("WelcomeEmail"):
        UserFactory(username="ann", email="")
        UserFactory(username="bob")
    with pytest.raises(CommandError, match="'ann' has no valid address"):
        run("--preview", "ann")
    with pytest.raises(CommandError, match="The mail of WelcomeEmail has no HTML"):
        run("--preview", "bob", "--html-file", str(tmp_path / "x.html"))
    wire(WelcomeEmail)
    with pytest.raises(CommandError, match=r"--html-file cannot be written: .*No such file"):
        run("--preview", "bob", "--html-file", str(tmp_path / "no" / "x.html"))


def test_an_interrupted_run_says_what_it_has_done(wire: Any) -> None:
    wire(Over)
    backend.fail = fail
    UserFactory.create_batch(3)

    sent_to: list[str] = []

    def stop(message: Any) -> None:
        if sent_to:
            raise KeyboardInterrupt
        sent_to.append(message.to[0])

    backend.fail = stop
    with pytest.raises(CommandError, match=r"Interrupted\. What is told above is sent"):
        run()
    states = list(WelcomeSent.objects.order_by("pk").values_list("state", flat=True))
    assert states == ["sent", "sending", "waiting"]
    assert User.objects.count() == 3
