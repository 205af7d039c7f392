"""A mail about any row, when something becomes true of it; and signals with odd arguments."""

from __future__ import annotations

import logging
import uuid
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.db.models import F, Value
from django.dispatch import Signal
from django.utils import translation
from django.utils.functional import SimpleLazyObject

from django_signal_kit import batch
from django_signal_kit.mail.models import WelcomeSent
from django_signal_kit.receivers import Email, WelcomeEmail
from tests.apps.belongings.models import Board
from tests.apps.rarities.models import OrderLine
from tests.apps.testapp.models import Product
from tests.factories import ProductFactory, UserFactory
from tests.mail.mailers import sent

pytestmark = pytest.mark.django_db(transaction=True)

paid = Signal()
email_confirmed = Signal()

WORDS = {
    "sold_out/subject.txt": "{{ object.name }} is sold out",
    "sold_out/body.txt": "{{ object.name }} & {{ site_url }}",
}


class SoldOut(Email):
    """Tells the editor of a product that there is none left."""

    models = ["testapp.Product"]
    condition = {"stock": 0}
    to = ["editor.email"]
    subject_template = "sold_out/subject.txt"
    text_template = "sold_out/body.txt"


class Written(SoldOut):
    models: Any = ["testapp.Product", "belongings.Board", "rarities.OrderLine"]
    condition: Any = {}
    once = False

    def get_recipients(self, instance: Any) -> list[str]:
        return ["all@shop.example"]


class Asked(WelcomeEmail):
    """Its signal names somebody, but not by ``user``."""

    def get_user(self, **kwargs: Any) -> Any:
        return User.objects.filter(username=kwargs["credentials"]["username"]).first()


class Careless(WelcomeEmail):
    def get_user(self, **kwargs: Any) -> Any:
        return kwargs["no such thing"]


@pytest.fixture(autouse=True)
def _words(templates: dict[str, str]) -> None:
    templates |= WORDS


def subjects() -> list[str]:
    return [message.subject for message in mail.outbox]


def make(**values: Any) -> Product:
    return ProductFactory(**{"stock": 5, "editor": UserFactory(), **values})


# When


def test_a_mail_is_sent_when_a_save_makes_the_condition_true(wire: Any) -> None:
    wire(SoldOut)
    lamp = make(name="Lamp")
    lamp.stock = 1
    lamp.save()
    assert sent() == []
    lamp.stock = 0
    lamp.save()
    assert (sent(), subjects()) == ([lamp.editor.email], ["Lamp is sold out"])


def test_what_it_sends_is_counted(wire: Any) -> None:
    receiver = wire(SoldOut)
    before = receiver.get_own_figures().get("mails_sent", 0)
    make(stock=0)
    make(stock=0, editor=None)
    make()
    assert receiver.get_own_figures()["mails_sent"] == before + 1


def test_a_row_that_is_made_so_is_told_of_too(wire: Any) -> None:
    wire(SoldOut)
    lamp = make(stock=0)
    assert sent() == [lamp.editor.email]


def test_it_is_sent_once_to_a_row_whatever_becomes_of_it(wire: Any) -> None:
    wire(SoldOut)
    lamp = make(stock=0)
    for stock in (3, 0, 0):
        lamp.stock = stock
        lamp.save()
    assert len(mail.outbox) == 1


def test_or_each_time_that_it_becomes_true(wire: Any) -> None:
    wire((SoldOut, {"once": False}))
    lamp = make(stock=0)
    for stock in (3, 0, 0, 2, 0):
        lamp.stock = stock
        lamp.save()
    assert len(mail.outbox) == 3
    ids = [message.extra_headers["Message-ID"] for message in mail.outbox]
    assert len(set(ids)) == 3
    assert WelcomeSent.objects.filter(state="sent").count() == 3


@pytest.mark.parametrize("stock", ["0", F("stock") - 5, Value(0)], ids=str)
def test_it_is_the_database_that_says_what_is_true(wire: Any, stock: Any) -> None:
    wire(SoldOut)
    lamp = make()
    lamp.stock = stock
    lamp.save()
    assert len(mail.outbox) == 1


@pytest.mark.parametrize("wants", ["row", "key", "list of rows", "list of keys"])
def test_a_condition_names_another_row_or_its_key(wire: Any, wants: str) -> None:
    ann, bea = UserFactory(), UserFactory()
    wanted = ann if wants.endswith(("row", "rows")) else ann.pk
    wire((SoldOut, {"condition": {"editor": [wanted] if "list" in wants else wanted}}))
    lamp = make(editor=bea)
    for editor in (ann, ann):
        lamp.editor = editor
        lamp.save()
    assert sent() == [ann.email]


def test_what_was_true_before_is_no_news(wire: Any) -> None:
    lamp = make(stock=0)
    wire(SoldOut)
    lamp.name = "Old lamp"
    lamp.save()
    assert sent() == []


def test_what_is_not_true_any_more_at_the_commit_is_not_told(wire: Any) -> None:
    wire(SoldOut)
    with transaction.atomic():
        lamp = make(stock=0)
        lamp.stock = 2
        lamp.save()
    assert sent() == []
    assert WelcomeSent.objects.get().state == "skipped"
    lamp.stock = 0
    lamp.save()
    assert len(sent()) == 1


def test_a_rolled_back_row_is_not_told_of_and_nothing_is_kept_of_it(wire: Any) -> None:
    wire(SoldOut)
    with transaction.atomic():
        make(stock=0)
        transaction.set_rollback(True)
    assert (sent(), WelcomeSent.objects.count()) == ([], 0)


def test_bulk_writes_are_heard_and_updates_if_asked_for(wire: Any) -> None:
    wire((SoldOut, {"bulk": "all"}))
    editor = UserFactory()
    Product.objects.bulk_create(
        [Product(name=name, stock=0, editor=editor, slug=name) for name in ("a", "b")]
    )
    assert subjects() == ["a is sold out", "b is sold out"]
    make(name="c"), make(name="d")
    Product.objects.filter(stock=5).update(stock=0)
    assert subjects()[2:] == ["c is sold out", "d is sold out"]


def test_keys_of_every_kind_find_their_rows(wire: Any, templates: Any) -> None:
    templates["sold_out/subject.txt"] = "{{ object.pk }}"
    wire(Written)
    with batch():
        product = make()
        board = Board.objects.create(name="A", code="a")
        # Given as text, which nobody has converted yet.
        key = uuid.uuid4()
        Board.objects.create(pk=str(key), name="B", code="b")
        OrderLine.objects.create(order=1, number=2)
    expected = [product.pk, board.pk, key, "(1, 2)"]
    assert sorted(subjects()) == sorted(map(str, expected))


def test_an_entry_of_the_settings_is_enough(wire: Any) -> None:
    options = {
        "models": ["testapp.Product"],
        "condition": {"stock": [0, -1]},
        "to": ["editor.email", "category.nothing", "editor.no"],
        "subject_template": "sold_out/subject.txt",
        "text_template": "sold_out/body.txt",
        "site_url": "https://shop.example",
    }
    entry = {"RECEIVER": "django_signal_kit.receivers.Email", "NAME": "Gone", "OPTIONS": options}
    options["to"] = ["editor.email", "category.name"]
    receiver = wire(entry)
    lamp = make(name="<Lamp>", stock=-1)
    assert receiver.name == "Gone"
    [message] = mail.outbox
    assert (message.to, message.body) == ([lamp.editor.email], "<Lamp> & https://shop.example")


def test_a_field_that_no_model_has_is_refused(wire: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match="no field 'sotck'"):
        wire((SoldOut, {"condition": {"sotck": 0}}))


@pytest.mark.parametrize(
    ("to", "lacks"),
    [
        (["editr.email"], "no field 'editr'. Did you mean 'editor'?"),
        (["editor.emial"], "no field 'editor.emial'."),
        (["editor__email"], "no field 'editor__email'."),
        ([], "no field 'email'."),
    ],
)
def test_a_way_to_an_address_that_leads_nowhere_is_refused(
    wire: Any, to: list[str], lacks: str
) -> None:
    with pytest.raises(ImproperlyConfigured) as error:
        wire((SoldOut, {"to": to}))
    assert f"cannot cover testapp.Product: it has {lacks}" in str(error.value)


def test_another_signal_names_the_row_as_instance(wire: Any) -> None:
    wire(
        (SoldOut, {"signal": "paid", "condition": {}}),
        EXTRA_SIGNALS={"paid": f"{__name__}.paid"},
    )
    lamp = make()
    paid.send(sender=None, instance=lamp)
    assert len(sent()) == 1


def test_the_language_is_that_of_the_moment_at_which_it_was_written(
    wire: Any, templates: Any
) -> None:
    templates["sold_out/subject.txt"] = "{% load i18n %}{% translate 'Sunday' %}"
    receiver = wire(SoldOut)
    with translation.override("es"), transaction.atomic():
        lamp = make(stock=0)
        with translation.override("de"):
            pass
    assert subjects() == ["domingo"]
    # In a worker another one is active, or none.
    WelcomeSent.objects.all().delete()
    with translation.override(None):
        receiver.flush([["testapp.Product", "default", f'["{lamp.pk}"]', "", "de"]])
    assert subjects() == ["domingo", "Sonntag"]


# Odd arguments


@pytest.fixture
def confirmed(wire: Any) -> Any:
    return wire(
        (WelcomeEmail, {"signal": "email_confirmed"}),
        EXTRA_SIGNALS={"email_confirmed": f"{__name__}.email_confirmed"},
    )


def raise_error() -> Any:
    raise RuntimeError("no session")


NOBODY = {
    "none": lambda: None,
    "anonymous": AnonymousUser,
    "unsaved": lambda: User(username="new"),
    "lazy and anonymous": lambda: SimpleLazyObject(AnonymousUser),
    "lazy and none": lambda: SimpleLazyObject(lambda: None),
    "lazy and failing": lambda: SimpleLazyObject(raise_error),
    "text": lambda: "ann",
    "number": lambda: 5,
    "object": object,
    "class": lambda: User,
}


@pytest.mark.parametrize("kind", NOBODY)
@pytest.mark.parametrize("is_open", [True, False])
def test_a_signal_with_nobody_in_it_is_a_line_in_the_log(
    confirmed: Any, caplog: Any, kind: str, is_open: bool
) -> None:
    user = NOBODY[kind]()
    with caplog.at_level(logging.WARNING, "django_signal_kit"):
        if is_open:
            with transaction.atomic():
                email_confirmed.send(sender=None, user=user, request=None)
                assert User.objects.count() == 0
        else:
            email_confirmed.send(sender=None, user=user, request=None)
    assert (sent(), WelcomeSent.objects.count()) == ([], 0)
    assert len(caplog.records) == 1
    assert "WelcomeEmail" in caplog.text
    assert "email_confirmed" in caplog.text


def test_a_signal_without_any_argument_is_one_too(confirmed: Any, caplog: Any) -> None:
    with caplog.at_level(logging.WARNING, "django_signal_kit"):
        email_confirmed.send(sender=None)
    assert len(caplog.records) == 1


def test_the_user_of_an_address_is_found(confirmed: Any) -> None:
    class Address:
        user = UserFactory()

    email_confirmed.send(sender=None, request=None, email_address=Address())
    assert sent() == [Address.user.email]


def test_a_hook_finds_the_user_where_the_signal_has_it(wire: Any, client: Any) -> None:
    wire((Asked, {"signal": "user_login_failed"}))
    UserFactory(username="ann", email="ann@shop.example")
    client.login(username="nobody", password="x")
    assert sent() == []
    client.login(username="ann", password="x")
    assert sent() == ["ann@shop.example"]


def test_a_hook_that_fails_fails_nobody(wire: Any, client: Any, failures: Any) -> None:
    wire((Careless, {"signal": "user_logged_in"}))
    client.force_login(UserFactory())
    assert [type(failure["exception"]) for failure in failures] == [KeyError]
    assert sent() == []


@pytest.mark.parametrize(
    ("signal", "has"),
    [
        ("user_login_failed", "'request' and 'credentials'"),
        ("request_finished", "no arguments"),
        ("got_request_exception", "'request'"),
        ("receiver_failed", "'receiver', 'signal_name', 'exception' and 'items'"),
    ],
)
def test_a_signal_that_can_have_no_user_is_refused(wire: Any, signal: str, has: str) -> None:
    with pytest.raises(ImproperlyConfigured) as error:
        wire((WelcomeEmail, {"signal": signal}))
    assert str(error.value) == (
        f"The option 'signal' of WelcomeEmail is {signal!r}, which is no signal with a user. "
        f"It has {has}. Name another, or override get_user(). (signal_kit.E012)"
    )


def test_a_mail_before_the_commit_is_refused(wire: Any) -> None:
    with pytest.raises(ImproperlyConfigured) as error:
        wire((WelcomeEmail, {"flush_on": "before_commit"}))
    assert str(error.value) == (
        "WelcomeEmail has flush_on='before_commit', when the row may still be rolled back; a mail "
        "cannot be. Leave 'flush_on' out. (signal_kit.E060)"
    )


class ToOne(WelcomeEmail):
    def get_recipients(self, user: Any) -> Any:
        return user.email


def test_a_text_is_one_address(wire: Any) -> None:
    wire(ToOne)
    UserFactory(email="ann@shop.example")
    assert [message.to for message in mail.outbox] == [["ann@shop.example"]]


def test_somebody_without_an_address_is_a_line_in_the_log(wire: Any, caplog: Any) -> None:
    wire(WelcomeEmail)
    with caplog.at_level(logging.INFO, "django_signal_kit"):
        user = UserFactory(email="tom, eve@evil.example")
    assert f"auth.User {user.pk} has no valid address" in caplog.text
    # An address may be all that is known of somebody.
    assert "eve" not in caplog.text
    assert WelcomeSent.objects.get().state == "skipped"
