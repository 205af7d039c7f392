"""Which connections tell their triggers who writes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from django_signal_kit.audit.audit_log import get_recorder
from django_signal_kit.audit.capture import packets, standing
from django_signal_kit.audit.capture.vendors import NAMES, get_carrying
from django_signal_kit.receiver import Receiver

_UID = "signal_kit:capture"


def settle(receivers: Iterable[Receiver]) -> None:
    """Those of ``receivers`` that capture by triggers are told from now on by all connections that
    are opened, and by those of this thread that are open; nobody else is."""
    capturing = {
        each.name: get_recorder(each)  # type: ignore[arg-type]
        for each in receivers
        if getattr(each, "capture", "") == "triggers"
    }
    before = packets.current
    standing.forget()
    packets.current = packets.Packets(capturing) if capturing else None
    if packets.current is not None:
        connection_created.connect(_start, dispatch_uid=_UID)
    else:
        connection_created.disconnect(dispatch_uid=_UID)
    if packets.current is not before:
        for connection in connections.all(initialized_only=True):
            if connection.vendor in NAMES:
                get_carrying(connection.vendor).stop(connection)
                if connection.connection is not None:
                    _start(connection=connection)


def _start(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    if packets.current is not None and connection.vendor in NAMES:
        get_carrying(connection.vendor).start(connection, packets.current)
