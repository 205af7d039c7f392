"""What a method raises does not reach whoever sends the signal: it is logged and told."""

from __future__ import annotations

from functools import wraps
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections

from django_signal_kit.receiver import Receiver
from django_signal_kit.units.failures import report_failure
from django_signal_kit.units.isolation import Isolation
from django_signal_kit.wiring.measuring import Function, get_packed


def isolate(receiver: Receiver, signal_name: str, method: Function) -> Function:
    """``method``, whose failure is reported; in a savepoint, unless it writes nothing."""
    if not receiver._savepoint:
        return _guard(receiver, signal_name, method)
    packed = get_packed(method)

    @wraps(method)
    def isolated(**kwargs: Any) -> Any:
        using = kwargs.get("using")
        if not isinstance(using, str) or using not in connections:
            # A signal of somebody else's may mean something else by it.
            using = DEFAULT_DB_ALIAS
        connection = connections[using]
        with Isolation(receiver, signal_name, connection):
            return method(**kwargs) if packed is None else packed(kwargs)

    return isolated


def _guard(receiver: Receiver, signal_name: str, method: Function) -> Function:
    packed = get_packed(method)

    @wraps(method)
    def guarded(**kwargs: Any) -> Any:
        try:
            return method(**kwargs) if packed is None else packed(kwargs)
        except Exception as error:
            report_failure(receiver, signal_name, error)

    return guarded
