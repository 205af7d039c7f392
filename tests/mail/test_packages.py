"""Other ways to send: django-anymail and django-post_office. Run by ``tox run -e others``."""

from __future__ import annotations

from typing import Any

import django
import pytest
from django.core import mail
from django.core.management import call_command
from django.db import transaction

from django_signal_kit.mail.models import WelcomeSent
from django_signal_kit.receivers import WelcomeEmail
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db(transaction=True)


def use(settings: Any, backend: str) -> None:
    if django.VERSION >= (6, 1):
        settings.MAILERS = {"default": {"BACKEND": backend}}
    else:
        settings.EMAIL_BACKEND = backend


class Leaving(WelcomeEmail):
    def get_unsubscribe_url(self, user: Any) -> str:
        return f"https://shop.example/{user.pk}/{'x' * 300}"


def make_users(count: int) -> list[str]:
    with transaction.atomic():
        return [user.email for user in UserFactory.create_batch(count)]


class TestAnymail:
    @pytest.fixture(autouse=True)
    def _backend(self, settings: Any) -> None:
        pytest.importorskip("anymail")
        use(settings, "anymail.backends.test.EmailBackend")
        mail.outbox = []  # type: ignore[attr-defined]

    def test_mails_are_sent_with_their_headers(self, wire: Any) -> None:
        wire((Leaving, {"from_email": "hello@shop.example"}))
        emails = make_users(2)
        sent = mail.outbox  # type: ignore[attr-defined]
        assert [message.to for message in sent] == [[email] for email in emails]
        for message, claim in zip(sent, WelcomeSent.objects.order_by("pk"), strict=True):
            headers = message.anymail_test_params["extra_headers"]
            assert headers["Message-ID"] == claim.message_id
            assert headers["Auto-Submitted"] == "auto-generated"
            assert headers["List-Unsubscribe"].startswith("<https://shop.example/")
            assert message.anymail_status.status == {"sent"}
            assert claim.state == "sent"

    @pytest.mark.parametrize(
        ("status", "state"),
        [(400, "refused"), (429, "failed"), (500, "failed"), (None, "failed"), (0, "refused")],
    )
    def test_what_the_service_refuses_is_noted(
        self,
        wire: Any,
        monkeypatch: pytest.MonkeyPatch,
        failures: Any,
        status: int | None,
        state: str,
    ) -> None:
        from anymail.backends.test import EmailBackend
        from anymail.exceptions import AnymailRecipientsRefused, AnymailRequestsAPIError
        from requests import ConnectionError, Response

        def fail(*args: Any) -> Any:
            if status is None:
                raise AnymailRequestsAPIError("down") from ConnectionError("down")
            if not status:
                raise AnymailRecipientsRefused("nobody")
            response = Response()
            response.status_code = status
            raise AnymailRequestsAPIError("no", response=response)

        monkeypatch.setattr(EmailBackend, "post_to_esp", fail)
        wire(WelcomeEmail)
        make_users(1)
        assert [claim.state for claim in WelcomeSent.objects.all()] == [state]
        assert len(failures) == 1


class TestPostOffice:
    @pytest.fixture(autouse=True)
    def _backend(self, settings: Any, django_db_blocker: Any) -> Any:
        pytest.importorskip("post_office")
        settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "post_office"]
        use(settings, "post_office.EmailBackend")
        call_command("migrate", "post_office", verbosity=0)
        yield
        call_command("migrate", "post_office", "zero", verbosity=0)

    def test_mails_are_put_into_its_queue(self, wire: Any) -> None:
        from post_office.models import Email

        wire((Leaving, {"from_email": "hello@shop.example"}))
        emails = make_users(2)
        queued = list(Email.objects.order_by("pk"))
        assert [email.to for email in queued] == [[email] for email in emails]
        assert [email.headers["Message-ID"] for email in queued] == [
            claim.message_id for claim in WelcomeSent.objects.order_by("pk")
        ]
        assert all(email.html_message for email in queued)
        assert {claim.state for claim in WelcomeSent.objects.all()} == {"sent"}
