"""What is wrong, or in vain, in the options of an ExceptionAlert is told at start-up."""

from __future__ import annotations

from typing import Any

import django
import pytest
from django.core.checks import WARNING, CheckMessage
from django.core.exceptions import ImproperlyConfigured

from django_signal_kit.receivers import ExceptionAlert
from tests.requests.failing_site import OPS

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("failing_site"),
]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"channels": ["webhook"]}, "E026"),
        ({"webhook_url": "hooks.example"}, "E026"),
        ({"webhook_url": "ftp://hooks.example"}, "E026"),
        ({"webhook_url": "https://a:b@hooks.example"}, "E026"),
        ({"webhook_url": "http://127.0.0.1/"}, "own network"),
        ({"webhook_url": "http://[::1]/"}, "own network"),
        ({"webhook_url": "http://localhost/"}, "own network"),
        ({"channels": ["sms"]}, "E007"),
        ({"channels": "mail"}, "E007"),
        ({"window": 0}, "E028"),
        ({"window": float("inf")}, "E028"),
        ({"timeout": -1}, "E028"),
        ({"timeout": float("nan")}, "E028"),
        ({"max_alerts": 0}, "E028"),
        ({"to": ["a@shop.example, b@shop.example"]}, "E029"),
        ({"to": ["a@shop.example\nBcc: b@shop.example"]}, "E029"),
        ({"cache": "defualt"}, "Did you mean 'default'"),
    ],
)
def test_a_wrong_option_is_told(wire: Any, options: Any, told: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=told):
        wire((ExceptionAlert, options))


def test_an_own_host_can_be_allowed(wire: Any) -> None:
    wire((ExceptionAlert, {"webhook_url": "http://localhost/", "allow_private": True}))


def test_the_url_of_a_webhook_is_not_shown(wire: Any) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        wire((ExceptionAlert, {"webhook_url": "hooks.example/geheim"}))
    assert "geheim" not in str(caught.value)


def test_mail_to_nobody_is_warned_of(wire: Any, settings: Any) -> None:
    def get_ids(**options: Any) -> list[str | None]:
        warnings: list[CheckMessage] = wire((ExceptionAlert, options)).get_warnings()
        return [warning.id for warning in warnings]

    assert get_ids() == ["signal_kit.W005"]
    assert get_ids(to=OPS) == []
    assert get_ids(channels=["log"]) == []
    settings.ADMINS = OPS if django.VERSION >= (6, 0) else [("Ops", OPS[0])]
    assert get_ids() == []


class EvenThen(ExceptionAlert):
    def should_alert(self, exception: BaseException, request: Any) -> bool:
        return True


def test_that_nobody_is_told_while_debugging_is_said(wire: Any, settings: Any) -> None:
    def get_messages(cls: type = ExceptionAlert) -> list[CheckMessage]:
        return list(wire((cls, {"to": OPS})).get_warnings())

    assert get_messages() == []
    settings.DEBUG = True
    [message] = get_messages()
    assert (message.id, message.is_serious(level=WARNING)) == ("signal_kit.I001", False)
    assert message.msg == ("ExceptionAlert tells nobody of an exception, because DEBUG is True.")
    assert message.hint == "To be told while you develop, override should_alert()."
    assert get_messages(EvenThen) == []
