"""A failure that must not reach the caller: logged, and told to whoever hears receiver_failed."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from traceback import walk_tb
from typing import Any

from django_signal_kit.exceptions import FlushFailedError
from django_signal_kit.signals import receiver_failed
from django_signal_kit.units.loggers import get_logger

#: Where hooks have failed that stop nothing: class, file and line.
_places: set[tuple[type, str, int]] = set()

_KIT = f"{__name__.partition('.')[0]}."

logger = get_logger("django_signal_kit.units")


def report_failure(
    receiver: object, signal_name: str, exception: BaseException, items: Iterable[Any] = ()
) -> None:
    """Log ``exception`` with its traceback and send ``receiver_failed``, with those of ``items``
    that were not flushed because of it. Never raises."""
    lost = exception.items if isinstance(exception, FlushFailedError) else list(items)
    if hasattr(receiver, "stands_for"):
        receiver = receiver.stands_for
        lost = [getattr(item, "stands_for", item) for item in lost]
    name = getattr(receiver, "name", type(receiver).__qualname__)
    with suppress(Exception):
        # What failed may have been a handler of this very logger.
        logger.error(
            "%s failed in %s: %s",
            name,
            signal_name,
            type(exception).__name__,
            exc_info=exception,
            extra={
                "receiver": name,
                "signal": signal_name,
                "count": len(lost),
                "error": type(exception).__name__,
            },
        )
    if signal_name == "receiver_failed":
        # It would be told of its own failure, and fail again, without end.
        return
    try:
        receiver_failed.send_robust(
            sender=type(receiver),
            receiver=receiver,
            signal_name=signal_name,
            exception=exception,
            items=lost,
        )
    except Exception as failure:
        # send_robust() itself raises if a failing receiver has no __qualname__.
        with suppress(Exception):
            logger.exception(
                "A receiver of receiver_failed failed",
                extra={
                    "receiver": name,
                    "signal": signal_name,
                    "error": type(failure).__name__,
                },
            )


def report_once(receiver: object, hook: str, exception: Exception) -> None:
    """Log, with its traceback, what a hook raised that may not stop the write, if it is the first
    at this place of the code: there may be as many as there are rows. Never raises."""
    # The first that is not the kit's: a query fails in the same line of Django, whoever sends it.
    own = (
        (frame, line)
        for frame, line in walk_tb(exception.__traceback__)
        if not frame.f_globals.get("__name__", "").startswith(_KIT)
    )
    frame, line = next(own, (None, 0))
    file = "" if frame is None else frame.f_code.co_filename
    place = (type(receiver), file, line)
    if place in _places:
        return
    _places.add(place)
    name = getattr(receiver, "name", type(receiver).__qualname__)
    with suppress(Exception):
        logger.error(
            "%s: %s() failed, and is done without. What fails in the same line again is not "
            "logged. %s",
            name,
            hook,
            type(exception).__name__,
            exc_info=exception,
            extra={
                "receiver": name,
                "hook": hook,
                "place": f"{file}:{line}",
                "error": type(exception).__name__,
            },
        )
