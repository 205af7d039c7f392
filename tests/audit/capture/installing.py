"""Triggers for what the settings say, installed by hand in the default database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from django.db import connection
from django.db.backends.signals import connection_created

from django_signal_kit.audit.capture import packets
from django_signal_kit.audit.capture.pieces import Piece
from django_signal_kit.audit.capture.specifying import find_obstacle, specify
from django_signal_kit.conf import conf
from django_signal_kit.wiring.registry import registry
from django_signal_kit.wiring.senders import Coverage

_UID = "tests:capture"


def get_module(name: str) -> Any:
    """``triggers``, ``catalog`` or ``carrying`` of the default database."""
    return import_module(f"django_signal_kit.audit.capture.{connection.vendor}.{name}")


def list_receivers() -> list[Any]:
    """Those that capture by triggers."""
    return [each for each in registry.receivers if getattr(each, "capture", "") == "triggers"]


def write() -> list[Piece]:
    """What the receivers want to have in the default database, in the order of making it."""
    triggers = get_module("triggers")
    return [
        piece.marked()
        for receiver in list_receivers()
        for model in Coverage(receiver).get_models()
        if not model._meta.proxy and not find_obstacle(receiver, model)
        for specification in [specify(receiver, model, "default")]
        if not triggers.find_obstacle(specification)
        for piece in triggers.write(specification)
    ]


def install() -> list[Piece]:
    """Make the triggers, and let connections carry packets."""
    pieces = write()
    run(piece.create for piece in pieces)
    start()
    return pieces


def run(statements: Any) -> None:
    with connection.cursor() as cursor:
        for sql in statements:
            cursor.execute(sql)


def start() -> None:
    made = packets.current = packets.Packets(
        {receiver: (*conf.REDACT, *receiver.redact) for receiver in list_receivers()}
    )
    carrying = get_module("carrying")

    def follow(connection: Any, **kwargs: Any) -> None:
        if connection.alias == "default":
            carrying.start(connection, made)

    connection_created.connect(follow, weak=False, dispatch_uid=_UID)
    follow(connection)


def stop() -> None:
    connection_created.disconnect(dispatch_uid=_UID)
    get_module("carrying").stop(connection)
    packets.current = None


@contextmanager
def installed() -> Iterator[list[Piece]]:
    """The triggers, for the length of the block."""
    pieces = install()
    try:
        yield pieces
    finally:
        stop()
        run(piece.drop for piece in reversed(pieces))
