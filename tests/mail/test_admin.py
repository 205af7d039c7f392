"""What has become of a mail, in the admin; and a column and an action for users."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import path

from django_signal_kit import muted
from django_signal_kit.mail.admin import WelcomeSentAdmin, WelcomeStatusMixin
from django_signal_kit.mail.models import WelcomeSent
from django_signal_kit.receivers import WelcomeEmail
from tests.factories import UserFactory
from tests.mail.mailers import sent
from tests.mail.test_command import Clumsy
from tests.mail.test_sending import Over, backend

pytestmark = pytest.mark.django_db(transaction=True)

USERS = "/admin/auth/user/"
MAILS = "/admin/signal_kit_mail/welcomesent/"


class WelcomedAdmin(WelcomeStatusMixin, UserAdmin):
    pass


@pytest.fixture(autouse=True)
def _backend() -> None:
    vars(backend).clear()
    backend.__init__()  # type: ignore[misc]


site = admin.AdminSite()
site.register(User, WelcomedAdmin)
site.register(WelcomeSent, WelcomeSentAdmin)
urlpatterns = [path("admin/", site.urls)]


@pytest.fixture(autouse=True)
def _urls(settings: Any) -> None:
    # Not the site of all tests: its addresses are made once, of what is registered then.
    settings.ROOT_URLCONF = __name__


@pytest.fixture
def root(client: Any) -> Any:
    root = UserFactory(username="root", is_staff=True, is_superuser=True)
    client.force_login(root)
    return client


def send(client: Any, *users: User) -> Any:
    data = {"action": "send_mails", "_selected_action": [user.pk for user in users]}
    return client.post(USERS, data, follow=True)


def test_mails_are_listed_with_their_states_and_cannot_be_changed(wire: Any, root: Any) -> None:
    wire(WelcomeEmail)
    user = UserFactory()
    UserFactory(email="")
    [mail, skipped] = WelcomeSent.objects.order_by("pk")
    page = root.get(MAILS).content.decode()
    assert "auth.User" in page
    assert f">{user.pk}<" in page
    assert "not to be sent" in page
    listed = root.get(MAILS, {"state__exact": "skipped"}).context["cl"].result_list
    assert list(listed) == [skipped]
    page = root.get(f"{MAILS}{mail.pk}/change/").content.decode()
    assert mail.message_id.strip("<>") in page
    assert 'type="submit" value="Save"' not in page
    assert root.post(f"{MAILS}{mail.pk}/change/", {"state": "waiting"}).status_code == 403
    assert root.get(f"{MAILS}{mail.pk}/delete/").status_code == 403
    assert root.get(f"{MAILS}add/").status_code == 403


def test_users_have_a_column_that_costs_one_query(wire: Any, root: Any) -> None:
    wire(WelcomeEmail)
    with muted("WelcomeEmail"):
        UserFactory(username="never")
    UserFactory.create_batch(5)
    with CaptureQueriesContext(connection) as queries:
        page = root.get(USERS).content.decode()
    assert page.count('<td class="field-mail_status">sent</td>') == 5
    assert page.count('<td class="field-mail_status">-</td>') == 2
    asked = [query["sql"] for query in queries if "welcomesent" in query["sql"].lower()]
    assert len(asked) == 1


def test_the_action_sends_to_the_selected_who_have_none(wire: Any, root: Any) -> None:
    wire(WelcomeEmail)
    with muted("WelcomeEmail"):
        new, other = UserFactory.create_batch(2)
    old = UserFactory()
    page = send(root, new, old).content.decode()
    assert "WelcomeEmail: 1 mail was sent." in page
    assert sent() == [old.email, new.email]
    send(root, new, old, other)
    assert sent() == [old.email, new.email, other.email]


def test_the_action_does_not_send_again_what_is_sent_each_time(wire: Any, root: Any) -> None:
    wire((WelcomeEmail, {"once": False}))
    with muted("WelcomeEmail"):
        new = UserFactory()
    old = UserFactory()
    for _ in range(2):
        send(root, new, old)
    assert sent() == [old.email, new.email]


def test_the_action_says_what_has_failed(wire: Any, root: Any) -> None:
    wire(Over)

    def fail(message: Any) -> None:
        raise ConnectionResetError("the server is down")

    backend.fail = fail
    user = UserFactory()
    page = send(root, user).content.decode()
    assert "Over: 0 mails were sent. ConnectionResetError: the server is down" in page


def test_the_action_says_what_cannot_be_made(wire: Any, root: Any) -> None:
    wire(Clumsy)
    page = send(root, UserFactory()).content.decode()
    assert "Clumsy: 0 mails were sent. ZeroDivisionError: division by zero" in page


def test_the_action_is_for_those_who_may_change_users(wire: Any, client: Any) -> None:
    wire(WelcomeEmail)
    with muted("WelcomeEmail"):
        clerk = UserFactory(is_staff=True)
        user = UserFactory()
    clerk.user_permissions.add(Permission.objects.get(codename="view_user"))
    client.force_login(clerk)
    page = client.get(USERS)
    assert page.status_code == 200
    assert "send_mails" not in page.content.decode()
    send(client, user)
    assert sent() == []
