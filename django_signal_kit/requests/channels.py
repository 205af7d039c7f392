"""The ways by which an alert is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias

from django.conf import settings
from django.core.mail import EmailMessage, mail_admins

from django_signal_kit.requests.webhook import post_json
from django_signal_kit.units.loggers import get_logger

Channel: TypeAlias = Literal["mail", "log", "webhook"]

logger = get_logger("django_signal_kit.alerts")


class Telling(Protocol):
    """The options that say where to."""

    channels: Sequence[Channel]
    to: Sequence[str]
    webhook_url: str
    timeout: float
    allow_private: bool

    @property
    def name(self) -> str: ...


def tell(receiver: Telling, alert: Mapping[str, Any]) -> list[Exception]:
    """Send one alert by each of the channels, whichever fails; returns what they have raised."""
    failures: list[Exception] = []
    for channel in dict.fromkeys(receiver.channels):
        try:
            _WAYS[channel](receiver, alert)
        except Exception as error:
            error.add_note(f"The alert was: {alert['subject']}")
            failures.append(error)
    return failures


def _mail(receiver: Telling, alert: Mapping[str, Any]) -> None:
    if not receiver.to:
        mail_admins(alert["subject"], alert["body"])
        return
    EmailMessage(
        f"{settings.EMAIL_SUBJECT_PREFIX}{alert['subject']}",
        alert["body"],
        settings.SERVER_EMAIL,
        list(receiver.to),
    ).send()


def _log(receiver: Telling, alert: Mapping[str, Any]) -> None:
    logger.error("%s\n\n%s", alert["subject"], alert["body"], extra={"receiver": receiver.name})


def _post(receiver: Telling, alert: Mapping[str, Any]) -> None:
    post_json(
        receiver.webhook_url,
        alert["payload"],
        timeout=receiver.timeout,
        allow_private=receiver.allow_private,
    )


_WAYS: Mapping[str, Callable[[Telling, Mapping[str, Any]], None]] = {
    "mail": _mail,
    "log": _log,
    "webhook": _post,
}
