"""Whether an ExceptionAlert can tell anybody as it is set."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.checks import CheckMessage, Info, Warning
from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from django_signal_kit.exceptions import Misconfigured, did_you_mean
from django_signal_kit.requests.carrying import warn_of_tasks
from django_signal_kit.requests.webhook import find_problem

if TYPE_CHECKING:
    from django_signal_kit.requests.exception_alert import ExceptionAlert


def check(receiver: ExceptionAlert) -> None:
    """Raises Misconfigured for the first mistake."""
    for name in ("window", "max_alerts", "timeout"):
        value = getattr(receiver, name)
        if not 0 < value < math.inf:
            raise Misconfigured(
                "E028",
                f"The option {name!r} of {receiver.name} is {value!r}.",
                "It has to be a number above 0.",
            )
    _check_webhook(receiver)
    for address in receiver.to:
        try:
            validate_email(address)
        except ValidationError:
            raise Misconfigured(
                "E029",
                f"The option 'to' of {receiver.name} has {address!r}, which is no address.",
                "Write one plain address an item, such as 'ops@shop.example'.",
            ) from None
    alias = receiver.cache
    if alias and alias not in settings.CACHES:
        raise Misconfigured(
            "E012",
            f"The option 'cache' of {receiver.name} is {alias!r}, which is not in CACHES.",
            did_you_mean(alias, settings.CACHES),
        )


def _check_webhook(receiver: ExceptionAlert) -> None:
    if "webhook" not in receiver.channels and not receiver.webhook_url:
        return
    problem = find_problem(receiver.webhook_url, allow_private=receiver.allow_private)
    if problem:
        # A webhook's URL is a secret, so it is not shown.
        raise Misconfigured(
            "E026",
            f"The option 'webhook_url' of {receiver.name} {problem}.",
            "It has to be like 'https://hooks.example/…'; 'allow_private' allows an own host.",
        )


def warn(receiver: ExceptionAlert, *, decides: bool) -> Iterator[CheckMessage]:
    """Warn if nobody is told; ``decides``: the receiver's own class says of what to tell."""
    if "mail" in receiver.channels and not receiver.to and not settings.ADMINS:
        yield Warning(
            f"{receiver.name} sends mail to nobody: ADMINS and its option 'to' are empty.",
            hint="Set one of them, or leave \"mail\" out of 'channels'.",
            id="signal_kit.W005",
        )
    yield from warn_of_tasks(receiver)
    if settings.DEBUG and not decides:
        yield Info(
            f"{receiver.name} tells nobody of an exception, because DEBUG is True.",
            hint="To be told while you develop, override should_alert().",
            id="signal_kit.I001",
        )
