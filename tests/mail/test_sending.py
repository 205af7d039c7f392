"""Over one connection, at the rate that is set, and what is to be tried again."""

from __future__ import annotations

import itertools
import smtplib
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import chain
from typing import Any

import pytest
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import transaction
from django.utils import timezone

from django_signal_kit import muted
from django_signal_kit.exceptions import FlushFailedError
from django_signal_kit.mail import rates
from django_signal_kit.mail.claims import StoredClaims
from django_signal_kit.mail.failing import is_of_server, is_refusal, leaves_connection
from django_signal_kit.mail.models import MailPace, WelcomeSent
from django_signal_kit.mail.resending import make_tickets
from django_signal_kit.mail.sending import CHUNK, Sending
from django_signal_kit.mail.tickets import Ticket
from django_signal_kit.receivers import WelcomeEmail
from tests.factories import UserFactory
from tests.mail.mailers import sent, use_mailer
from tests.threads import in_threads

pytestmark = pytest.mark.django_db(transaction=True)


class Several(WelcomeEmail):
    def get_recipients(self, user: Any) -> list[str]:
        return ["a@shop.example", "b@shop.example", "a@shop.example", "c@shop.example"]

    def get_message(self, user: Any) -> Any:
        message = super().get_message(user)
        message.cc, message.bcc = ["boss@shop.example"], ["archive@shop.example"]
        return message


class Backend:
    """Counts how often it is opened; ``fail`` is called for each message."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.timeout: int | None = None
        self.fail: Any = lambda message: None

    def open(self) -> None:
        self.log.append("open")

    def close(self) -> None:
        self.log.append("close")

    def send_messages(self, messages: list[Any]) -> int:
        [message] = messages
        self.fail(message)
        self.log.append(message.to[0])
        return 1


backend = Backend()


class Over(WelcomeEmail):
    def get_connection(self) -> Any:
        return backend


class Together(Several):
    def get_connection(self) -> Any:
        return backend


@pytest.fixture(autouse=True)
def _backend() -> None:
    vars(backend).clear()
    backend.__init__()  # type: ignore[misc]


def make_users(count: int) -> list[str]:
    with transaction.atomic():
        return [user.email for user in UserFactory.create_batch(count)]


def test_all_mails_of_a_flush_go_over_one_connection(wire: Any) -> None:
    wire(Over)
    emails = make_users(CHUNK + 2)
    assert backend.log == ["open", *emails, "close"]
    # Without it a server that says nothing would hold the lease for ever.
    assert backend.timeout == 60


@pytest.mark.parametrize(
    ("timeout", "seconds"),
    [(None, 900), (10, 150), (2.5, 60), (300, 4500), ((5, 30), 900), (10**12, 24 * 3600)],
)
def test_a_mail_is_claimed_for_as_long_as_its_server_may_take(
    wire: Any, timeout: Any, seconds: int
) -> None:
    wire(Over)
    backend.timeout = timeout
    held: list[datetime] = []
    backend.fail = lambda message: held.append(WelcomeSent.objects.get().held_until)
    before = timezone.now()
    make_users(1)
    assert before <= held[0] - timedelta(seconds=seconds) <= timezone.now()


def test_a_connection_that_cannot_be_made_is_told_for_each_mail(
    wire: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire(Over)

    def fail(self: Any) -> Any:
        raise ImproperlyConfigured("no such mailer")

    monkeypatch.setattr(Over, "get_connection", fail)
    make_users(2)
    errors = list(WelcomeSent.objects.values_list("state", "error"))
    assert errors == 2 * [("failed", "ImproperlyConfigured: no such mailer")]


@pytest.mark.parametrize("slow", ["get_message", "_wait"])
def test_what_another_has_taken_while_a_mail_was_made_or_waited_is_not_sent(
    wire: Any, monkeypatch: pytest.MonkeyPatch, slow: str
) -> None:
    wire(Over)
    owner: Any = Over if slow == "get_message" else Sending
    act = getattr(owner, slow)

    def act_slowly(*args: Any) -> Any:
        # Nothing is left of the lease, and another has begun.
        monkeypatch.setattr("django_signal_kit.mail.sending.time", Late())
        WelcomeSent.objects.update(holder="another")
        return act(*args)

    monkeypatch.setattr(owner, slow, act_slowly)
    make_users(1)
    assert backend.log == []
    assert WelcomeSent.objects.values_list("state", "holder").get() == ("sending", "another")


class Late:
    """A clock that is an hour ahead."""

    sleep = time.sleep

    @staticmethod
    def monotonic() -> float:
        return time.monotonic() + 3600


def test_a_lost_connection_is_opened_again_for_the_next(wire: Any) -> None:
    wire(Over)

    def fail(message: Any) -> None:
        if backend.log == ["open"]:
            backend.log.append("lost")
            raise smtplib.SMTPServerDisconnected("gone")

    backend.fail = fail
    _, second, third = make_users(3)
    assert backend.log == ["open", "lost", "close", "open", second, third, "close"]
    assert sorted(WelcomeSent.objects.values_list("state", flat=True)) == [
        "failed",
        "sent",
        "sent",
    ]


def test_who_is_refused_leaves_the_connection_to_the_others(wire: Any) -> None:
    wire(Over)

    def fail(message: Any) -> None:
        if backend.log == ["open"]:
            backend.log.append("no")
            raise smtplib.SMTPRecipientsRefused({message.to[0]: (550, b"no")})

    backend.fail = fail
    _, second = make_users(2)
    assert backend.log == ["open", "no", second, "close"]


def test_a_server_that_is_down_is_asked_once_for_all(wire: Any, failures: Any) -> None:
    wire(Over)

    def refuse() -> None:
        backend.log.append("refused")
        raise ConnectionRefusedError("down")

    backend.open = refuse  # type: ignore[method-assign]
    make_users(5)
    assert backend.log == ["refused", "close"]
    [failure] = failures
    error = failure["exception"]
    assert isinstance(error, FlushFailedError)
    assert len(error.items) == 5
    claims = WelcomeSent.objects.all()
    assert {claim.state for claim in claims} == {"failed"}
    assert {claim.error for claim in claims} == {"ConnectionRefusedError: down"}


def test_each_recipient_has_a_mail_of_his_own_and_copies_go_out_once(wire: Any) -> None:
    wire(Several)
    UserFactory()
    assert [(message.to, message.cc, message.bcc) for message in mail.outbox] == [
        (["a@shop.example"], ["boss@shop.example"], ["archive@shop.example"]),
        (["b@shop.example"], [], []),
        (["c@shop.example"], [], []),
    ]
    ids = [message.extra_headers["Message-ID"] for message in mail.outbox]
    assert len(set(ids)) == 3


def test_who_has_got_his_gets_no_second_when_another_has_not(wire: Any) -> None:
    receiver = wire(Together)

    def fail(message: Any) -> None:
        if message.to == ["b@shop.example"]:
            raise smtplib.SMTPRecipientsRefused({"b@shop.example": (450, b"later")})

    backend.fail = fail
    user = UserFactory()
    backend.fail = lambda message: None
    receiver.flush([["auth.User", "default", f'["{user.pk}"]', "", ""]])
    assert [line for line in backend.log if "@" in line] == [
        *("a@shop.example", "b@shop.example", "c@shop.example")
    ]
    assert WelcomeSent.objects.get().state == "sent"


class Boss(Over):
    """Tells two others of each user."""

    def get_recipients(self, user: Any) -> list[str]:
        return ["boss@shop.example", "sales@shop.example", user.email]


def test_who_waits_for_the_rate_gets_what_he_has_not_got_and_no_other(
    wire: Any, waits: Any
) -> None:
    wire((Boss, {"rate": 60}))
    users = make_users(3)
    # A request waits for a second, and the third mail for the command.
    assert "@".join(backend.log).count("@shop.example") == 2
    call_command("sendwelcomeemail", verbosity=0)
    assert sorted(line for line in backend.log if "@" in line) == sorted(
        [*users, *["boss@shop.example", "sales@shop.example"] * 3]
    )


@pytest.mark.parametrize("served", [["x"], []])
def test_what_a_server_that_is_down_leaves_of_several_stays_of_each(
    wire: Any, served: list[str]
) -> None:
    receiver = wire(Over)
    with muted("Over"):
        users = UserFactory.create_batch(3)
    tickets = list(make_tickets(receiver, users, "default"))
    StoredClaims("default").announce(tickets, "shop.example")
    rows = WelcomeSent.objects.all()
    for ticket, each in zip(tickets, ([], served, ["y"]), strict=True):
        rows.filter(digest=ticket.digest).update(served=each)

    def fail() -> None:
        raise ConnectionRefusedError("down")

    backend.open = fail  # type: ignore[method-assign]
    assert list(Sending(receiver).run(tickets)) == [3]
    told = {row.digest: row.served for row in rows}
    assert [told[ticket.digest] for ticket in tickets] == [[], served, ["y"]]


@pytest.fixture
def greeter(settings: Any) -> Iterator[Callable[..., None]]:
    """``greeter(line, **options)``: the mail server says this line, whatever it is told."""
    servers = []

    def start(line: bytes, **options: Any) -> None:
        class Greeter(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self.wfile.write(line)
                while self.rfile.readline():
                    self.wfile.write(line)

        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Greeter)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        port = server.server_address[1]
        use_mailer(settings, "smtp", host="127.0.0.1", port=port, **options)

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("line", "options", "error"),
    [
        (b"554 no mails here\r\n", {}, "SMTPConnectError"),
        (b"220 hello\r\n", {"use_tls": True}, "SMTPNotSupportedError"),
    ],
)
def test_a_server_that_lets_nobody_in_refuses_no_user_for_good(
    wire: Any, greeter: Any, line: bytes, options: dict[str, Any], error: str
) -> None:
    wire(WelcomeEmail)
    greeter(line, **options)
    make_users(2)
    told = [(row.state, row.error.partition(":")[0]) for row in WelcomeSent.objects.all()]
    assert told == 2 * [("failed", error)]


@pytest.mark.parametrize(
    ("error", "refusal", "server", "leaves"),
    [
        (smtplib.SMTPRecipientsRefused({"a": (550, b"")}), True, True, True),
        (smtplib.SMTPRecipientsRefused({"a": (450, b"")}), False, True, True),
        (smtplib.SMTPRecipientsRefused({"a": (421, b"")}), False, True, False),
        (smtplib.SMTPRecipientsRefused({"a": (550, b""), "b": (450, b"")}), False, True, True),
        (smtplib.SMTPDataError(554, b"spam"), True, True, True),
        (smtplib.SMTPDataError(451, b"later"), False, True, True),
        (smtplib.SMTPSenderRefused(550, b"", "a"), False, True, True),
        (smtplib.SMTPSenderRefused(552, b"", "a"), True, True, True),
        (smtplib.SMTPAuthenticationError(535, b""), False, True, False),
        (smtplib.SMTPServerDisconnected(), False, True, False),
        (smtplib.SMTPConnectError(554, b""), False, True, False),
        (smtplib.SMTPHeloError(550, b""), False, True, False),
        (smtplib.SMTPNotSupportedError(), True, True, False),
        (TimeoutError(), False, True, False),
        (ConnectionResetError(), False, True, False),
        (ValueError("a header"), False, False, False),
        (KeyError("a hook"), False, False, False),
    ],
)
def test_what_a_server_means(error: Exception, refusal: bool, server: bool, leaves: bool) -> None:
    assert is_refusal(error) is refusal
    assert is_of_server(error) is server
    assert leaves_connection(error) is leaves


@pytest.mark.parametrize(
    ("status", "refusal"), [(400, True), (422, True), (429, False), (503, False)]
)
def test_what_a_service_means(status: int, refusal: bool) -> None:
    error: Any = Exception("no")
    error.status_code = status
    assert is_refusal(error) is refusal
    assert is_of_server(error)


def test_a_mistake_of_a_hook_is_no_reason_to_try_again_soon(wire: Any, failures: Any) -> None:
    class Wrong(WelcomeEmail):
        def get_context_data(self, user: Any) -> Any:
            raise KeyError("gift")

    globals()["Wrong"] = Wrong
    Wrong.__qualname__ = "Wrong"
    wire(Wrong)
    UserFactory()
    assert [type(failure["exception"]) for failure in failures] == [KeyError]
    claim = WelcomeSent.objects.get()
    assert (claim.state, claim.error) == ("failed", "KeyError: 'gift'")


# The rate


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds for which it is waited, on a clock that goes on when somebody waits."""
    slept: list[float] = []
    now = [1_000_000.0]

    def sleep(seconds: float) -> None:
        slept.append(round(seconds, 3))
        now[0] += seconds

    monkeypatch.setattr("django_signal_kit.mail.sending.time.sleep", sleep)
    monkeypatch.setattr(rates.time, "time", lambda: now[0])
    return slept


def test_a_rate_below_one_is_refused(wire: Any) -> None:
    with pytest.raises(ImproperlyConfigured) as error:
        wire((WelcomeEmail, {"rate": 0}))
    assert str(error.value) == (
        "The option 'rate' of WelcomeEmail is 0, so that no mail is ever sent. Give the number of "
        "mails a minute, or None for as many as there are. (signal_kit.E061)"
    )


def test_in_a_request_what_is_over_the_rate_waits_in_the_table(wire: Any, waits: Any) -> None:
    receiver = wire((WelcomeEmail, {"rate": 60}))
    emails = make_users(4)
    # A request waits for a second, all in all.
    assert sent() == emails[:2]
    assert waits == [0, 1]
    assert list(WelcomeSent.objects.order_by("pk").values_list("state", "attempts")) == [
        *[("sent", 1)] * 2,
        *[("waiting", 0)] * 2,
    ]
    left = WelcomeSent.objects.filter(state="waiting").order_by("pk")
    tickets = [Ticket(receiver.name, row.model, row.using, row.key) for row in left]
    assert [*Sending(receiver).run(tickets)] == [2]
    assert sent() == emails
    assert waits == [0, 1, 1, 1]


def test_without_the_table_the_request_waits(wire: Any, waits: Any, without_app: None) -> None:
    wire((WelcomeEmail, {"rate": 2}))
    emails = make_users(5)
    assert sent() == emails
    # Two a minute, by the clock.
    assert len([wait for wait in waits if wait > 0]) == 2
    assert sum(waits) <= 120


def test_all_processes_share_one_rate() -> None:
    barrier, before = threading.Barrier(4), time.time()

    def act() -> list[float | None]:
        barrier.wait(30)
        return [rates.reserve("Welcome", 6, None) for _ in range(5)]

    found = [*chain.from_iterable(in_threads(*[act] * 4))]
    assert len(found) == 20
    assert None not in found
    # Each has taken a place of ten seconds of its own.
    [pace] = MailPace.objects.all()
    assert pace.next_at >= before + 200
    waited = sorted(seconds for seconds in found if seconds is not None)
    assert all(later - earlier > 5 for earlier, later in itertools.pairwise(waited))


def test_who_would_wait_too_long_takes_no_place() -> None:
    assert rates.reserve("Welcome", 1, 0) == 0
    before = MailPace.objects.get().next_at
    assert rates.reserve("Welcome", 1, 30) is None
    assert MailPace.objects.get().next_at == before
    assert rates.reserve("Other", 1, 0) == 0


def test_a_clock_that_was_ahead_for_a_moment_holds_no_mail_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = time.time()
    with monkeypatch.context() as patch:
        patch.setattr(rates.time, "time", lambda: now + 24 * 3600)
        assert rates.reserve("Welcome", 6, None) == 0
    monkeypatch.setattr(rates.time, "time", lambda: now)
    assert rates.reserve("Welcome", 6, 0) == 0
    assert rates.reserve("Welcome", 6, 0) is None
    assert rates.reserve("Welcome", 6, None) == pytest.approx(10)


@pytest.mark.parametrize(
    ("lease", "expected"), [(10**9, [20, 20, 5]), (0, 45 * [1])], ids=["long", "over"]
)
def test_where_noting_takes_long_several_are_noted_together_as_long_as_they_are_ours(
    wire: Any, monkeypatch: pytest.MonkeyPatch, lease: int, expected: list[int]
) -> None:
    receiver = wire(Over)
    noted: list[int] = []
    ahead = [0]

    def slow(act: Any) -> Any:
        """On a clock on which each of it takes an hour."""

        def act_slowly(*args: Any, **kwargs: Any) -> Any:
            ahead[0] += 3600
            return act(*args, **kwargs)

        return act_slowly

    def note(
        self: Any, held: Any, *args: Any, act: Any = StoredClaims.note, **kwargs: Any
    ) -> None:
        noted.append(len(held))
        act(self, held, *args, **kwargs)

    class Clock:
        @staticmethod
        def monotonic() -> float:
            return time.monotonic() + ahead[0]

    users = UserFactory.create_batch(45)
    WelcomeSent.objects.update(state="waiting")
    monkeypatch.setattr("django_signal_kit.mail.sending.time", Clock)
    monkeypatch.setattr("django_signal_kit.mail.sending._LONGEST", lease)
    monkeypatch.setattr("django_signal_kit.mail.sending._LEAST", 10**9)
    monkeypatch.setattr(StoredClaims, "note", slow(note))
    monkeypatch.setattr(StoredClaims, "take", slow(StoredClaims.take))
    tickets = list(make_tickets(receiver, users, "default"))
    assert list(Sending(receiver).run(tickets)) == [45]
    assert noted == expected
    assert set(WelcomeSent.objects.values_list("state", flat=True)) == {"sent"}
