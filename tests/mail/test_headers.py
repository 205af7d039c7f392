"""What a mail server gets, byte for byte: long addresses whole, and no header that is forged."""

from __future__ import annotations

import email
import email.policy
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_signal_kit.mail.addresses import get_domain, is_address
from django_signal_kit.mail.message import Message, make_unsubscribe_headers
from django_signal_kit.mail.tickets import Ticket, make_message_id
from django_signal_kit.receivers import WelcomeEmail
from tests.factories import UserFactory
from tests.mail.mailers import serve_mail

pytestmark = pytest.mark.django_db(transaction=True)

LONG = "https://shop.example/unsubscribe/" + "x" * 300 + "?a=1&b=%20"


class Raw:
    """Keeps the bytes that it gets, and to whom."""

    def __init__(self) -> None:
        self.mails: list[tuple[list[str], bytes]] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        self.mails.append((envelope.rcpt_tos, envelope.original_content))
        return "250 OK"


@pytest.fixture
def raw(settings: Any) -> Iterator[Raw]:
    raw = Raw()
    with serve_mail(settings, raw):
        yield raw


class Leaving(WelcomeEmail):
    url = LONG

    def get_unsubscribe_url(self, user: Any) -> str:
        return self.url


def test_a_long_address_to_unsubscribe_arrives_on_one_line_as_it_is(raw: Raw, wire: Any) -> None:
    wire(Leaving)
    user = UserFactory()
    [(recipients, content)] = raw.mails
    lines = content.split(b"\r\n\r\n")[0].split(b"\r\n")
    assert b"List-Unsubscribe: <" + LONG.encode() + b">" in lines
    assert b"List-Unsubscribe-Post: List-Unsubscribe=One-Click" in lines
    assert b"Auto-Submitted: auto-generated" in lines
    assert recipients == [user.email]


def test_without_the_care_of_the_kit_it_is_encoded_or_folded(raw: Raw, wire: Any) -> None:
    """What the class is there for."""
    from django.core.mail import EmailMultiAlternatives

    headers = make_unsubscribe_headers(LONG)
    EmailMultiAlternatives("Hi", "Hi", None, ["a@shop.example"], headers=headers).send()
    Message("Hi", "Hi", None, ["a@shop.example"], headers=headers).send()
    line = b"List-Unsubscribe: <" + LONG.encode() + b">\r\n"
    assert [line in content for _, content in raw.mails] == [False, True]


@pytest.mark.parametrize(
    "url",
    [
        "http://shop.example/u",
        "mailto:a@shop.example",
        "https://shop.example/u\r\nBcc: eve@shop.example",
        "https://shop.example/a b",
        "https://shop.example/>,<https://eve.example/",
        "https://shop.example/ü",
        "https://shop.example/" + "x" * 1000,
        "https://",
    ],
)
def test_what_is_no_address_to_unsubscribe_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="The address to unsubscribe"):
        make_unsubscribe_headers(url)


def test_the_longest_address_has_its_line() -> None:
    url = "https://shop.example/"
    url += "x" * (978 - len(url))
    made = Message(
        "Hi", "Hi", "a@b.example", ["c@b.example"], headers=make_unsubscribe_headers(url)
    )
    lines = made.message().as_bytes().splitlines()
    assert f"List-Unsubscribe: <{url}>".encode() in lines
    assert max(map(len, lines)) == 998


def test_the_mail_has_the_message_id_of_its_claim(raw: Raw, wire: Any) -> None:
    receiver = wire((WelcomeEmail, {"from_email": "The Shop <hello@shop.example>"}))
    user = UserFactory()
    [(_, content)] = raw.mails
    ticket = Ticket(receiver.name, "auth.User", "default", f'["{user.pk}"]')
    sent = email.message_from_bytes(content, policy=email.policy.default)
    assert sent["Message-ID"] == make_message_id(ticket, "shop.example")


@pytest.mark.parametrize(
    ("sender", "domain"),
    [
        ("hello@shop.example", "shop.example"),
        ('"The Shop, Ltd" <hello@shop.example>', "shop.example"),
        ("hello@münchen.example", "xn--mnchen-3ya.example"),
        ("nobody", "nobody"),
    ],
)
def test_the_domain_of_the_sender_is_that_of_the_message_id(sender: str, domain: str) -> None:
    assert get_domain(sender) == domain


NASTY = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        [
            "Tom\r\nBcc: eve@evil.example",
            "Tom\nSubject: Win",
            "Tom\x0bBcc: eve@evil.example",
            "a@shop.example, eve@evil.example",
            "=?utf-8?q?Tom=0ABcc=3A_eve=40evil=2Eexample?=",
            "<script>alert(1)</script>",
            '"><a href="https://evil.example">x</a>',
            "=??Q?=0A",
            "=?us-ascii?q?=0d=0aBcc:_eve@evil.example?=",
            "\u202eTom\u2028Bcc: eve@evil.example",
            "\x00\x1f\x7f\x85",
            "\ud800",
        ]
    ),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[*HealthCheck])
@given(name=NASTY, address=st.one_of(NASTY, st.just("tom@shop.example"), st.emails()))
def test_no_name_and_no_address_adds_a_header_markup_or_a_recipient(
    raw: Raw, wire: Any, name: str, address: str
) -> None:
    receiver = wire((WelcomeEmail, {"from_email": "hello@shop.example"}))
    user = UserFactory.build(pk=1, username=name, email=address)
    raw.mails.clear()
    message = receiver.get_message(user)
    if message is None:
        assert not is_address(address)
        return
    try:
        message.send()
    except UnicodeEncodeError:
        # Half of a character, in the text: no server ever sees it.
        assert any("\ud800" <= char <= "\udfff" for char in name)
        return
    [(recipients, content)] = raw.mails
    sent = email.message_from_bytes(content, policy=email.policy.default)
    assert len(recipients) == 1
    assert "evil" not in recipients[0] or address == recipients[0]
    assert sorted(sent.keys()) == sorted(
        [
            *("Content-Type", "MIME-Version", "Subject", "From", "To", "Date", "Message-ID"),
            "Auto-Submitted",
        ]
    )
    assert len(sent["To"].addresses) == 1
    _, html = sent.iter_parts()
    assert "<script" not in html.get_content()
    assert '<a href="https://evil' not in html.get_content()


@settings(max_examples=200, deadline=None)
@given(text=st.one_of(NASTY, st.emails()))
def test_an_address_is_one(text: str) -> None:
    if is_address(text):
        assert text.count("@") == 1
        assert "=?" not in text
        assert not any(char in text for char in ' ,;<>"\\\r\n\t\x00')


@pytest.mark.parametrize("domain", ["shop.example\u202e", "\xfc" * 60 + ".example"])
def test_a_domain_that_cannot_be_written_to_is_left_out(domain: str) -> None:
    assert not is_address(f"tom@{domain}")
    assert is_address("tom@b\xfccher.example")
