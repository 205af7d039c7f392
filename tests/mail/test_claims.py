"""Once for ever: whoever sends the signal again, in whichever process or thread, and dies when."""

from __future__ import annotations

import json
import logging
import threading
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.db import connection, transaction
from django.dispatch import Signal
from django.utils import timezone

from django_signal_kit.exceptions import FlushFailedError
from django_signal_kit.mail import claims, passing
from django_signal_kit.mail.models import WelcomeSent
from django_signal_kit.mail.passing import Memory
from django_signal_kit.mail.sending import Sending
from django_signal_kit.mail.tickets import Ticket, make_message_id
from django_signal_kit.receivers import WelcomeEmail
from tests.factories import UserFactory
from tests.mail.mailers import sent
from tests.threads import in_threads

pytestmark = pytest.mark.django_db(transaction=True)

user_activated = Signal()


class Died(BaseException):
    """As if the process had ended."""


class Server:
    """In the place of a connection: counts, and does what it is told."""

    def __init__(self) -> None:
        self.accepted: list[Any] = []
        self.before: Any = lambda message: None
        self.after: Any = lambda message: None

    def open(self) -> None: ...

    def close(self) -> None: ...

    def send_messages(self, messages: list[Any]) -> int:
        for message in messages:
            self.before(message)
            self.accepted.append(message)
            self.after(message)
        return len(messages)


server = Server()


class Welcome(WelcomeEmail):
    def get_connection(self) -> Any:
        return server


@pytest.fixture(autouse=True)
def _server() -> None:
    server.__init__()  # type: ignore[misc]


@pytest.fixture
def welcome(wire: Any) -> Any:
    return wire(
        (Welcome, {"signal": "user_activated"}),
        EXTRA_SIGNALS={"user_activated": f"{__name__}.user_activated"},
    )


def get_only() -> WelcomeSent:
    return WelcomeSent.objects.get()


def test_a_claim_is_committed_with_its_user(wire: Any) -> None:
    wire(Welcome)
    with transaction.atomic():
        user = UserFactory()
        [claim] = WelcomeSent.objects.all()
        assert (claim.state, claim.key, claim.model) == ("waiting", f'["{user.pk}"]', "auth.User")
        with transaction.atomic():
            UserFactory()
            assert WelcomeSent.objects.count() == 2
            transaction.set_rollback(True)
        assert WelcomeSent.objects.count() == 1
    claim.refresh_from_db()
    assert (claim.state, claim.attempts, claim.error) == ("sent", 1, "")
    assert claim.sent_at is not None


def test_a_claim_is_committed_with_its_user_in_autocommit_too(
    wire: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire(Welcome)

    def die(*args: Any, **kwargs: Any) -> Any:
        raise Died

    monkeypatch.setattr(claims.StoredClaims, "announce", die)
    with pytest.raises(Died):
        UserFactory()
    assert (User.objects.count(), WelcomeSent.objects.count()) == (0, 0)


def test_a_user_whom_the_process_leaves_between_commit_and_sending_is_not_lost(
    wire: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = wire(Welcome)
    with monkeypatch.context() as patch:
        patch.setattr(Sending, "run", lambda *args: iter(()))
        user = UserFactory()
    assert get_only().state == "waiting"
    receiver.flush([["auth.User", "default", f'["{user.pk}"]', "", ""]])
    assert (len(server.accepted), get_only().state) == (1, "sent")


def test_a_signal_sent_twice_sends_once(welcome: Any) -> None:
    user = UserFactory()
    for _ in range(3):
        user_activated.send(sender=None, user=User.objects.get(pk=user.pk))
    assert len(server.accepted) == 1
    user.save()
    user_activated.send(sender=None, user=user)
    assert len(server.accepted) == 1
    assert get_only().attempts == 1


def test_of_eight_threads_that_send_the_same_signal_one_sends(welcome: Any) -> None:
    users = UserFactory.create_batch(5)
    barrier = threading.Barrier(8)

    def act() -> None:
        barrier.wait(30)
        for user in users:
            user_activated.send(sender=None, user=user)

    in_threads(*[act] * 8)
    addresses = sorted(message.to[0] for message in server.accepted)
    assert addresses == sorted(user.email for user in users)
    assert {claim.attempts for claim in WelcomeSent.objects.all()} == {1}


def test_who_dies_before_the_server_says_yes_is_followed_when_his_lease_is_over(
    welcome: Any,
) -> None:
    user = UserFactory()

    def die(message: Any) -> None:
        raise Died

    server.before = die
    with pytest.raises(Died):
        user_activated.send(sender=None, user=user)
    server.before = lambda message: None
    assert get_only().state == "sending"
    user_activated.send(sender=None, user=user)
    assert server.accepted == []
    WelcomeSent.objects.update(held_until=timezone.now() - timedelta(seconds=1))
    user_activated.send(sender=None, user=user)
    assert (len(server.accepted), get_only().state, get_only().attempts) == (1, "sent", 2)


def test_who_dies_after_it_sends_twice_and_under_the_same_message_id(welcome: Any) -> None:
    user = UserFactory()

    def die(message: Any) -> None:
        raise Died

    server.after = die
    with pytest.raises(Died):
        user_activated.send(sender=None, user=user)
    server.after = lambda message: None
    WelcomeSent.objects.update(held_until=timezone.now() - timedelta(seconds=1))
    user_activated.send(sender=None, user=user)
    first, second = (message.extra_headers["Message-ID"] for message in server.accepted)
    assert first == second == get_only().message_id


def test_an_interrupt_leaves_the_others_free_at_once(wire: Any) -> None:
    wire(Welcome)

    def die(message: Any) -> None:
        if len(server.accepted) == 1:
            raise KeyboardInterrupt

    server.before = die
    with pytest.raises(KeyboardInterrupt), transaction.atomic():
        UserFactory.create_batch(4)
    states = list(WelcomeSent.objects.order_by("pk").values_list("state", "attempts"))
    assert states == [("sent", 1), ("sending", 1), ("waiting", 0), ("waiting", 0)]


def test_a_slow_sender_renews_its_lease_and_lets_go_what_others_have_taken(
    wire: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire(Welcome)
    monkeypatch.setattr("django_signal_kit.mail.sending._LONGEST", 0)

    def steal(message: Any) -> None:
        # Another process takes the last one meanwhile.
        last = WelcomeSent.objects.order_by("pk").last()
        WelcomeSent.objects.filter(pk=last.pk).update(holder="another")

    server.after = steal
    with transaction.atomic():
        UserFactory.create_batch(3)
    assert len(server.accepted) == 2
    assert list(WelcomeSent.objects.order_by("pk").values_list("state", flat=True)) == [
        *("sent", "sent", "sending")
    ]


def test_what_fails_after_another_has_sent_it_does_not_undo_that(welcome: Any) -> None:
    user = UserFactory()

    def fail(message: Any) -> None:
        WelcomeSent.objects.update(state="sent", holder="")
        raise ConnectionResetError

    server.before = fail
    user_activated.send(sender=None, user=user)
    assert get_only().state == "sent"


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_the_same_key_in_another_database_is_another_user(wire: Any) -> None:
    wire(Welcome)
    for using in ("default", "other"):
        UserFactory.build(pk=77).save(using=using, force_insert=True)
    assert len(server.accepted) == 2
    assert {(claim.using, claim.state) for claim in WelcomeSent.objects.all()} == {
        ("default", "sent"),
        ("other", "sent"),
    }


def test_a_proxy_and_a_name_of_another_case_of_the_model_are_the_same_row() -> None:
    one = Ticket("Welcome", "auth.User", "default", '["1"]')
    assert one.digest == Ticket("Welcome", "auth.user", "default", '["1"]').digest
    others = [
        Ticket("Other", "auth.User", "default", '["1"]'),
        Ticket("Welcome", "auth.Group", "default", '["1"]'),
        Ticket("Welcome", "auth.User", "other", '["1"]'),
        Ticket("Welcome", "auth.User", "default", '["2"]'),
        Ticket("Welcome", "auth.User", "default", '["1"]', "x"),
    ]
    assert len({one.digest, *(other.digest for other in others)}) == 6


def test_items_are_plain_json_and_a_worker_understands_them(welcome: Any) -> None:
    user = UserFactory()
    ticket = Ticket("Welcome", "auth.User", "default", f'["{user.pk}"]', "", "de")
    # As they come back from a queue, where tuples have become lists.
    welcome.flush(json.loads(json.dumps([ticket.item])))
    assert len(server.accepted) == 1
    welcome.flush(json.loads(json.dumps([ticket.item])))
    assert len(server.accepted) == 1


def test_in_a_worker_only_those_that_may_still_be_sent_are_given_back(welcome: Any) -> None:
    from smtplib import SMTPRecipientsRefused

    users = UserFactory.create_batch(4)
    tickets = [Ticket("Welcome", "auth.User", "default", f'["{user.pk}"]') for user in users]
    answers = {users[1].email: 450, users[2].email: 550}

    def answer(message: Any) -> None:
        code = answers.get(message.to[0])
        if code:
            raise SMTPRecipientsRefused({message.to[0]: (code, b"no")})

    server.before = answer
    with pytest.raises(FlushFailedError) as raised:
        welcome.flush([ticket.item for ticket in tickets])
    assert raised.value.items == [tickets[1].item]
    assert isinstance(raised.value.__cause__, SMTPRecipientsRefused)
    states = [claim.state for claim in WelcomeSent.objects.order_by("key")]
    assert states == ["sent", "failed", "refused", "sent"]
    answers.clear()
    welcome.flush(raised.value.items)
    assert [message.to[0] for message in server.accepted] == [
        *(users[0].email, users[3].email, users[1].email)
    ]
    # Nobody asks a second time whom it has refused for good.
    welcome.flush([tickets[2].item])
    assert len(server.accepted) == 3


def test_a_mail_of_a_model_that_this_worker_does_not_know_stops_no_other(welcome: Any) -> None:
    user = UserFactory()
    items = [
        [label, "default", f'["{user.pk}"]', "", ""] for label in ("shop.NotYet", "auth.User")
    ]
    with pytest.raises(FlushFailedError) as raised:
        welcome.flush(items)
    assert raised.value.items == items[:1]
    assert len(server.accepted) == 1


def test_a_missing_table_stops_no_sign_up(wire: Any, caplog: Any) -> None:
    wire(Welcome)
    claims._migrated.clear()
    with connection.schema_editor() as editor:
        editor.alter_db_table(WelcomeSent, WelcomeSent._meta.db_table, "elsewhere")
    try:
        with caplog.at_level(logging.ERROR, "django_signal_kit"):
            UserFactory()
    finally:
        with connection.schema_editor() as editor:
            editor.alter_db_table(WelcomeSent, "elsewhere", WelcomeSent._meta.db_table)
    assert len(server.accepted) == 1
    assert "has no table 'signal_kit_mail_welcomesent'" in caplog.text
    assert "migrate --database default" in caplog.text


# Without the app


def test_without_the_app_a_signal_sent_twice_sends_once(without_app: None, welcome: Any) -> None:
    user = UserFactory()
    for _ in range(2):
        user_activated.send(sender=None, user=User.objects.get(pk=user.pk))
    assert len(server.accepted) == 1
    assert WelcomeSent.objects.count() == 0


def test_without_the_app_another_process_is_asked_through_the_cache(
    without_app: None, welcome: Any
) -> None:
    user = UserFactory()
    user_activated.send(sender=None, user=user)
    passing.memory.__init__(passing.MOST)  # type: ignore[misc]
    user_activated.send(sender=None, user=user)
    assert len(server.accepted) == 1


def test_without_the_app_a_cache_that_is_down_leaves_the_memory(
    without_app: None, welcome: Any, settings: Any, caplog: Any
) -> None:
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": "redis://127.0.0.1:1",
        }
    }
    user = UserFactory()
    for _ in range(2):
        user_activated.send(sender=None, user=user)
    assert len(server.accepted) == 1


def test_without_the_app_what_has_failed_may_be_sent_again(
    without_app: None, welcome: Any
) -> None:
    user = UserFactory()

    def fail(message: Any) -> None:
        raise ConnectionRefusedError

    server.before = fail
    user_activated.send(sender=None, user=user)
    server.before = lambda message: None
    user_activated.send(sender=None, user=user)
    assert len(server.accepted) == 1


def test_without_the_app_a_row_of_the_same_key_that_is_made_anew_is_another(
    without_app: None, welcome: Any
) -> None:
    for _ in range(2):
        user = UserFactory(pk=4711)
        user_activated.send(sender=None, user=user)
        user.delete()
    assert len(server.accepted) == 2


def test_a_memory_has_an_end_and_forgets_the_oldest() -> None:
    memory = Memory(3)
    assert [memory.add(key, 60) for key in "aabcd"] == [True, False, True, True, True]
    assert len(memory._until) == 3
    assert memory.add("a", 60)
    assert not memory.add("d", 60)
    assert memory.add("e", -1)
    assert memory.add("e", 60)


def test_the_message_id_is_that_of_the_ticket() -> None:
    ticket = Ticket("Welcome", "auth.User", "default", '["1"]')
    made = make_message_id(ticket, "shop.example")
    assert made == make_message_id(ticket, "shop.example")
    assert made.endswith("@shop.example>")
    assert sent() == [] == mail.outbox
