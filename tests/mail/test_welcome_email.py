"""One welcome to each user who was committed, and none to anybody else."""

from __future__ import annotations

import logging
import socket
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core import mail, serializers
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, transaction
from django.dispatch import Signal
from django.test import TestCase
from django.test.utils import CaptureQueriesContext
from django.utils import translation
from django.utils.functional import SimpleLazyObject

from django_signal_kit import batch, muted
from django_signal_kit.receivers import WelcomeEmail
from django_signal_kit.wiring.registry import registry
from tests.factories import UserFactory
from tests.mail.mailers import Mailbox, sent, use_mailer

pytestmark = pytest.mark.django_db(transaction=True)

User = get_user_model()

user_signed_up = Signal()


class ShopWelcome(WelcomeEmail):
    """Speaks the user's language, writes to a second address, and not to staff."""

    def should_send(self, user: Any) -> bool:
        return super().should_send(user) and not user.is_staff

    def get_language(self, user: Any) -> str:
        return user.last_name or super().get_language(user)

    def get_recipients(self, user: Any) -> list[str]:
        return [*super().get_recipients(user), user.first_name]

    def get_context_data(self, user: Any) -> dict[str, Any]:
        return {**super().get_context_data(user), "gift": "a & b"}

    def get_message(self, user: Any) -> Any:
        message = super().get_message(user)
        if message is not None:
            message.reply_to = ["help@shop.example"]
        return message


@pytest.fixture
def welcome(wire: Any) -> Any:
    return wire((WelcomeEmail, {"from_email": "hello@shop.example"}))


# What is sent


def test_a_new_user_gets_one_mail_of_text_and_html(welcome: Any) -> None:
    UserFactory(username="Tom & Jerry", email="tom@shop.example")
    [message] = mail.outbox
    assert (message.to, message.from_email) == (["tom@shop.example"], "hello@shop.example")
    assert message.subject == "Welcome, Tom & Jerry"
    assert message.body == "Hello Tom & Jerry,\n\nyour account is ready.\n"
    [(html, kind)] = [(part.content, part.mimetype) for part in message.alternatives]
    assert kind == "text/html"
    assert "Hello Tom &amp; Jerry," in html
    assert "<html lang=" in html


def test_a_user_who_is_changed_gets_no_second_mail(welcome: Any) -> None:
    user = UserFactory()
    user.first_name = "Tom"
    user.save()
    user.groups.add(Group.objects.create(name="a"))
    user.delete()
    assert len(mail.outbox) == 1


def test_links_lead_where_the_option_says(wire: Any) -> None:
    wire((WelcomeEmail, {"site_url": "https://shop.example/?a=1&b=2"}))
    UserFactory()
    [message] = mail.outbox
    assert message.body.endswith("\n\nhttps://shop.example/?a=1&b=2\n")
    assert '<a href="https://shop.example/?a=1&amp;b=2"' in message.alternatives[0].content


def test_the_sender_is_that_of_the_project_by_default(settings: Any, wire: Any) -> None:
    settings.DEFAULT_FROM_EMAIL = "project@shop.example"
    wire(WelcomeEmail)
    UserFactory()
    assert mail.outbox[0].from_email == "project@shop.example"


def test_templates_are_the_projects_if_it_has_any(templates: Any, wire: Any) -> None:
    templates["s.txt"] = "\nHi\n{{ user.username }}\n\n"
    templates["signal_kit/welcome.txt"] = "<{{ user.username }} & co>"
    wire((WelcomeEmail, {"subject_template": "s.txt", "html_template": ""}))
    UserFactory(username="Tom\r\nBcc: eve@shop.example", email="tom@shop.example")
    [message] = mail.outbox
    assert message.subject == "Hi Tom Bcc: eve@shop.example"
    assert message.body == "<Tom\r\nBcc: eve@shop.example & co>"
    assert message.alternatives == []
    assert message.recipients() == ["tom@shop.example"]


@pytest.mark.parametrize(
    "address",
    [
        "",
        "tom",
        "a@shop.example, b@shop.example",
        "a@shop.example,b@shop.example",
        "a@shop.example\nBcc: b@shop.example",
        "a@shop.example;b@shop.example",
        " a@shop.example",
        "Tom <a@shop.example>",
    ],
)
def test_what_is_not_one_address_gets_no_mail(welcome: Any, failures: Any, address: str) -> None:
    UserFactory(email=address)
    assert (mail.outbox, failures) == ([], [])


# To whom


def test_nothing_is_sent_before_the_commit(welcome: Any) -> None:
    with transaction.atomic():
        UserFactory()
        assert mail.outbox == []
    assert len(mail.outbox) == 1


def test_a_user_who_was_rolled_back_gets_none(welcome: Any) -> None:
    with transaction.atomic():
        UserFactory()
        transaction.set_rollback(True)
    with transaction.atomic():
        kept = UserFactory()
        with transaction.atomic():
            UserFactory()
            transaction.set_rollback(True)
    assert sent() == [kept.email]


def test_a_user_who_was_deleted_in_the_same_transaction_gets_none(welcome: Any) -> None:
    with transaction.atomic():
        UserFactory().delete()
        kept = UserFactory()
    assert sent() == [kept.email]


def test_a_user_of_a_fixture_gets_none(welcome: Any) -> None:
    text = serializers.serialize("json", [UserFactory.build(id=7)])
    for loaded in serializers.deserialize("json", text):
        loaded.save()
    assert User.objects.count() == 1
    assert mail.outbox == []


def test_get_or_create_welcomes_once(welcome: Any) -> None:
    for _ in range(2):
        User.objects.get_or_create(username="tom", defaults={"email": "tom@shop.example"})
    User.objects.update_or_create(username="tom", defaults={"first_name": "Tom"})
    User.objects.update_or_create(username="ann", defaults={"email": "ann@shop.example"})
    assert sent() == ["tom@shop.example", "ann@shop.example"]


def test_a_user_who_is_not_active_gets_none(welcome: Any) -> None:
    UserFactory(is_active=False)
    assert mail.outbox == []


def test_the_mail_goes_to_the_user_as_he_was_committed(welcome: Any) -> None:
    with transaction.atomic():
        user = UserFactory(email="first@shop.example")
        user.email = "second@shop.example"
        user.save()
        User.objects.filter(pk=user.pk).update(username="renamed")
        user.username = "never saved"
    assert sent() == ["second@shop.example"]
    assert mail.outbox[0].subject == "Welcome, renamed"


def test_the_users_of_a_batch_are_read_and_claimed_together(welcome: Any) -> None:
    with CaptureQueriesContext(connection) as queries:
        with batch():
            users = UserFactory.create_batch(3)
    assert sent() == [user.email for user in users]
    commands = [query["sql"].split()[0] for query in queries]
    # Their claims are one INSERT of the transaction. Then the users are read, taken, and what came
    # of it is noted: one by one, or together where that takes long.
    end = commands.index("COMMIT")
    assert commands[end - 1] == "INSERT"
    assert commands[end + 1 : end + 4] == ["SELECT", "UPDATE", "SELECT"]
    assert set(commands[end + 4 :]) == {"UPDATE"}
    assert len(commands[end + 4 :]) <= 3


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_a_user_of_another_database_is_welcomed(welcome: Any) -> None:
    user = UserFactory.build()
    with transaction.atomic(using="other"):
        user.save(using="other")
        assert mail.outbox == []
    assert sent() == [user.email]


def test_only_users_are_welcomed(welcome: Any) -> None:
    assert registry.get_models(welcome) == [User]
    Group.objects.create(name="a")
    assert mail.outbox == []


def test_a_muted_receiver_welcomes_nobody(welcome: Any) -> None:
    with muted(WelcomeEmail):
        UserFactory()
    assert mail.outbox == []


class TestInATestCase(TestCase):
    @pytest.fixture(autouse=True)
    def _wire(self, welcome: Any) -> None:
        pass

    def test_callbacks_send_the_mail(self) -> None:
        with self.captureOnCommitCallbacks(execute=True):
            user = UserFactory()
            assert mail.outbox == []
        assert sent() == [user.email]

    def test_without_them_nothing_is_sent(self) -> None:
        UserFactory()
        assert mail.outbox == []


# Another signal


@pytest.fixture
def signed_up(wire: Any) -> Any:
    return wire(
        (WelcomeEmail, {"signal": "user_signed_up"}),
        EXTRA_SIGNALS={"user_signed_up": f"{__name__}.user_signed_up"},
    )


def test_another_signal_may_say_who_is_new(signed_up: Any) -> None:
    user = UserFactory()
    assert mail.outbox == []
    with transaction.atomic():
        user_signed_up.send(sender=None, user=user, request=None)
        user_signed_up.send(sender=None, user=user, request=None)
        assert mail.outbox == []
    assert sent() == [user.email]


def test_the_user_of_a_request_is_welcomed_though_he_is_lazy(signed_up: Any) -> None:
    user = UserFactory()
    user_signed_up.send(sender=None, user=SimpleLazyObject(lambda: user))
    assert sent() == [user.email]


def test_a_signal_that_nobody_knows_is_said_when_it_is_wired(wire: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match="Did you mean 'user_logged_in'"):
        wire((WelcomeEmail, {"signal": "user_loged_in"}))
    with pytest.raises(ImproperlyConfigured, match=r"call send_later\(\) in a method"):
        wire((WelcomeEmail, {"signal": "post_delete"}))


@pytest.mark.parametrize("url", ["shop.example", "//shop.example", "https://a b", "https:///x"])
def test_a_site_to_which_no_link_leads_is_refused(wire: Any, url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"no link leads.*E068"):
        wire((WelcomeEmail, {"site_url": url}))


@pytest.mark.parametrize("sender", ["", "shop", "a@b.example\nBcc: c@d.example", "Shop <shop>"])
def test_a_sender_who_has_no_address_is_refused(wire: Any, sender: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"(?s)is no address.*E069"):
        wire((WelcomeEmail, {"from_email": sender}))


@pytest.mark.parametrize(
    "sender", ["a@shop.example", "Shop & Co <a@shop.example>", "webmaster@localhost"]
)
def test_a_sender_with_an_address_is_taken(wire: Any, sender: str) -> None:
    assert wire((WelcomeEmail, {"from_email": sender})).from_email == sender


@pytest.mark.parametrize(
    ("condition", "told"),
    [
        ({"is_staff": "perhaps"}, "Give a value of a BooleanField."),
        ({"is_staff": [True, "1"]}, "Give True."),
        ({"username": 5}, "Give '5'."),
        ({"is_staff": [True, False], "username": "ann", "last_login": None}, None),
    ],
)
def test_a_condition_that_no_row_can_fulfil_is_told(
    wire: Any, condition: dict[str, Any], told: str | None
) -> None:
    receiver = wire((WelcomeEmail, {"condition": condition}))
    hints = [each.hint for each in receiver.get_warnings() if each.id == "signal_kit.W026"]
    assert hints == ([] if told is None else [told])


# Hooks


def test_hooks_say_to_whom_in_which_language_and_what(templates: Any, wire: Any) -> None:
    templates["s.txt"] = "{% load i18n %}{% translate 'Sunday' %}"
    templates["t.txt"] = "{{ gift }} {{ site_url }}{{ user.username }}"
    wire((ShopWelcome, {"subject_template": "s.txt", "text_template": "t.txt"}))
    with translation.override("de"):
        with batch():
            UserFactory(username="ann", last_name="es", first_name="second@shop.example")
            UserFactory(username="bob", last_name="", first_name="none")
            UserFactory(username="cid", is_staff=True)
        assert translation.get_language() == "de"
    assert [(message.subject, message.body, message.to) for message in mail.outbox] == [
        ("domingo", "a & b ann", [User.objects.get(username="ann").email]),
        ("domingo", "a & b ann", ["second@shop.example"]),
        ("Sonntag", "a & b bob", [User.objects.get(username="bob").email]),
    ]
    assert '<html lang="es"' in mail.outbox[0].alternatives[0].content
    assert mail.outbox[0].reply_to == ["help@shop.example"]


class Polyglot(WelcomeEmail):
    def get_language(self, user: Any) -> Any:
        return user.last_name or None


@pytest.mark.parametrize("spoken", [None, "de"])
def test_who_prefers_no_language_gets_that_of_the_sign_up(
    templates: Any, wire: Any, spoken: str | None, settings: Any
) -> None:
    templates["s.txt"] = "{% load i18n %}{% translate 'Sunday' %}"
    settings.LANGUAGE_CODE = "es"
    wire((Polyglot, {"subject_template": "s.txt"}))
    with translation.override(spoken):
        UserFactory(last_name="")
    assert [message.subject for message in mail.outbox] == ["Sonntag" if spoken else "domingo"]


def test_a_hook_that_raises_takes_the_mail_of_its_user_only(
    templates: Any, wire: Any, failures: Any
) -> None:
    templates["s.txt"] = "{% if user.username == 'ann' %}{% include user.username %}{% endif %}Hi"
    receiver = wire((ShopWelcome, {"subject_template": "s.txt"}))
    with batch():
        UserFactory(username="ann", email="ann@shop.example")
        UserFactory(username="bob", email="bob@shop.example")
    assert sent() == ["bob@shop.example"]
    assert [(f["receiver"], f["signal_name"]) for f in failures] == [(receiver, "flush")]


# Servers


def test_what_arrives_is_what_was_written(mailbox: Mailbox, wire: Any) -> None:
    wire((WelcomeEmail, {"from_email": "hello@shop.example", "site_url": "https://shop.example"}))
    name = "Tómaš & Jerry " + "of a very long name indeed " * 5
    UserFactory(username=name.strip(), email="tom@shop.example")
    [(recipients, message)] = mailbox.mails
    assert recipients == ["tom@shop.example"]
    assert (message["To"], message["From"]) == ("tom@shop.example", "hello@shop.example")
    # Python 3.11 counts the space of a fold after "Subject:" in.
    assert message["Subject"].strip() == f"Welcome, {name.strip()}"
    text, html = message.iter_parts()
    assert (text.get_content_type(), html.get_content_type()) == ("text/plain", "text/html")
    assert f"Hello {name.strip()}," in text.get_content().replace("\r\n", "\n")
    assert "Tómaš &amp; Jerry" in html.get_content()


def test_a_long_subject_without_spaces_arrives_whole(
    mailbox: Mailbox, templates: Any, wire: Any
) -> None:
    templates["s.txt"] = "{{ user.username }}"
    wire((WelcomeEmail, {"subject_template": "s.txt"}))
    UserFactory(username="x" * 150)
    [(_, message)] = mailbox.mails
    assert message["Subject"].strip() == "x" * 150


def test_a_user_whom_the_server_refuses_leaves_the_others_theirs(
    mailbox: Mailbox, wire: Any, failures: Any
) -> None:
    receiver = wire(WelcomeEmail)
    with batch():
        for name in ("ann", "reject", "cid"):
            UserFactory(email=f"{name}@shop.example")
    assert [recipients for recipients, _ in mailbox.mails] == [
        ["ann@shop.example"],
        ["cid@shop.example"],
    ]
    [failure] = failures
    assert (failure["receiver"], failure["signal_name"]) == (receiver, "flush")
    assert failure["exception"].recipients.keys() == {"reject@shop.example"}


def test_a_server_that_is_down_takes_no_user_away(
    settings: Any, wire: Any, failures: Any, caplog: Any
) -> None:
    with socket.socket() as refusing:
        refusing.bind(("127.0.0.1", 0))
        use_mailer(settings, "smtp", host="127.0.0.1", port=refusing.getsockname()[1])
        receiver = wire(WelcomeEmail)
        with caplog.at_level(logging.ERROR, "django_signal_kit"):
            with batch():
                UserFactory.create_batch(2)
            user = UserFactory()
    assert User.objects.count() == 3
    assert user.pk is not None
    # Once for all that wait for the same server.
    assert [(f["receiver"], f["signal_name"]) for f in failures] == [(receiver, "flush")] * 2
    errors = [failure["exception"] for failure in failures]
    assert [len(error.items) for error in errors] == [2, 1]
    assert all(isinstance(error.__cause__, ConnectionRefusedError) for error in errors)
    assert caplog.text.count("WelcomeEmail failed in flush") == 2
