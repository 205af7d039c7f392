"""A failure that must not reach the caller: logged, and told to whoever hears receiver_failed."""

from __future__ import annotations

import logging
from contextlib import suppress

from django_signal_kit.signals import receiver_failed

logger = logging.getLogger("django_signal_kit")


def report_failure(receiver: object, signal_name: str, exception: Exception) -> None:
    """Log ``exception`` with its traceback and send ``receiver_failed``. Never raises."""
    name = getattr(receiver, "name", type(receiver).__qualname__)
    with suppress(Exception):
        # What failed may have been a handler of this very logger.
        logger.error("%s failed in %s: %s", name, signal_name, exception, exc_info=exception)
    if signal_name == "receiver_failed":
        # It would be told of its own failure, and fail again, without end.
        return
    try:
        receiver_failed.send_robust(
            sender=type(receiver),
            receiver=receiver,
            signal_name=signal_name,
            exception=exception,
        )
    except Exception:
        # send_robust() itself raises if a failing receiver has no __qualname__.
        with suppress(Exception):
            logger.exception("A receiver of receiver_failed failed")
