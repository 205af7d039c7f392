"""Who signs up through django-allauth's own views. Run by ``tox run -e others``."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.core.management import call_command
from django.test import Client

from django_signal_kit.mail.models import WelcomeSent
from django_signal_kit.receivers import WelcomeEmail
from tests.docs.blocks import get_reference, read

pytestmark = pytest.mark.django_db(transaction=True)

PASSWORD = "correct horse battery"
SIGNALS = {
    "user_signed_up": "allauth.account.signals.user_signed_up",
    "email_confirmed": "allauth.account.signals.email_confirmed",
}
APPS = (
    "allauth",
    "allauth.account",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.dummy",
)


@pytest.fixture(autouse=True)
def _accounts(settings: Any) -> Any:
    pytest.importorskip("allauth")
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "allauth.account.middleware.AccountMiddleware"]
    settings.AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
    settings.ROOT_URLCONF = "tests.mail.accounts"
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
    settings.ACCOUNT_SIGNUP_FIELDS = ["username*", "email*", "password1*"]
    settings.ACCOUNT_RATE_LIMITS = False
    # At the end: it asks for what the others are.
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, *APPS]
    call_command("migrate", "account", verbosity=0)
    call_command("migrate", "socialaccount", verbosity=0)
    yield
    call_command("migrate", "socialaccount", "zero", verbosity=0)
    call_command("migrate", "account", "zero", verbosity=0)


def sign_up(client: Client, name: str) -> None:
    response = client.post(
        "/accounts/signup/",
        {"username": name, "email": f"{name}@shop.example", "password1": PASSWORD},
    )
    assert response.status_code == 302, response.content.decode()


def sign_up_by_another(client: Client, name: str, **values: Any) -> None:
    """Through a provider of another site's accounts, that is there for tests."""
    response = client.post("/accounts/dummy/login/")
    response = client.post(
        response["Location"],
        {"id": 7, "username": name, "email": f"{name}@shop.example", **values},
    )
    assert response.status_code == 302, response.content.decode()


def confirm(client: Client) -> None:
    """Follow the newest link to confirm an address."""
    found = [re.search(r"/accounts/confirm-email/\S+", str(each.body)) for each in mail.outbox]
    path = next(each for each in reversed(found) if each)[0]
    for _ in range(2):
        client.post(path)


def get_welcomed() -> list[list[str]]:
    return [message.to for message in mail.outbox if message.subject.startswith("Welcome")]


def test_who_signs_up_is_welcomed_once_though_allauth_saves_him_again(
    wire: Any, client: Client
) -> None:
    wire(WelcomeEmail)
    sign_up(client, "ann")
    assert get_welcomed() == [["ann@shop.example"]]
    confirm(client)
    assert get_welcomed() == [["ann@shop.example"]]


@pytest.mark.parametrize("signal", SIGNALS)
def test_the_signals_of_allauth_name_the_user(wire: Any, client: Client, signal: str) -> None:
    wire((WelcomeEmail, {"signal": signal}), EXTRA_SIGNALS=SIGNALS)
    sign_up(client, "ann")
    assert get_welcomed() == [["ann@shop.example"]][: signal == "user_signed_up"]
    confirm(client)
    assert get_welcomed() == [["ann@shop.example"]]


def test_a_second_address_that_is_confirmed_brings_no_second_welcome(
    wire: Any, client: Client
) -> None:
    wire((WelcomeEmail, {"signal": "email_confirmed"}), EXTRA_SIGNALS=SIGNALS)
    sign_up(client, "ann")
    confirm(client)
    client.force_login(User.objects.get())
    client.post("/accounts/email/", {"email": "ann@home.example", "action_add": ""})
    confirm(client)
    client.post("/accounts/email/", {"email": "ann@home.example", "action_primary": ""})
    assert User.objects.get().email == "ann@home.example"
    assert get_welcomed() == [["ann@shop.example"]]
    assert WelcomeSent.objects.count() == 1


def get_recipe() -> dict[str, Any]:
    """The settings of the docs, and the class that they name, which is put into this module."""
    blocks = [block for block in read(get_reference(WelcomeEmail)) if block.language == "python"]
    place = next(n for n, block in enumerate(blocks) if "ConfirmedWelcome" in block.code)
    code, values = blocks[place : place + 2]
    code.execute(globals())
    found: dict[str, Any] = {}
    values.execute(found)
    recipe: dict[str, Any] = found["SIGNAL_KIT"]
    return {**recipe, "RECEIVERS": [f"{__name__}.ConfirmedWelcome"]}


@pytest.mark.parametrize("is_confirmed", [True, False])
def test_by_the_recipe_who_comes_from_another_site_is_welcomed_when_his_address_is_known(
    settings: Any, client: Client, is_confirmed: bool
) -> None:
    settings.SIGNAL_KIT = get_recipe()
    sign_up_by_another(client, "ann", email_verified="on" if is_confirmed else "")
    assert get_welcomed() == [["ann@shop.example"]][:is_confirmed]
    if not is_confirmed:
        confirm(client)
        assert get_welcomed() == [["ann@shop.example"]]


def test_by_the_recipe_who_signs_up_in_the_form_is_welcomed_when_he_has_confirmed(
    settings: Any, client: Client
) -> None:
    settings.SIGNAL_KIT = get_recipe()
    sign_up(client, "ann")
    assert get_welcomed() == []
    confirm(client)
    assert get_welcomed() == [["ann@shop.example"]]
