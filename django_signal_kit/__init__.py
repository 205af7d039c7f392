"""Signals that are safe, fast and visible. The public names, imported when first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django_signal_kit.current import context as context
    from django_signal_kit.current import get_context as get_context
    from django_signal_kit.receiver import ModelReceiver as ModelReceiver
    from django_signal_kit.receiver import Receiver as Receiver
    from django_signal_kit.sight.tracing import trace as trace
    from django_signal_kit.stamps.touching import no_touching as no_touching
    from django_signal_kit.stamps.touching import touching as touching
    from django_signal_kit.units.batch import batch as batch
    from django_signal_kit.wiring.declaring import register as register
    from django_signal_kit.wiring.muting import muted as muted
    from django_signal_kit.wiring.muting import only as only

_ROOMS = {
    "Receiver": "receiver",
    "ModelReceiver": "receiver",
    "register": "wiring.declaring",
    "batch": "units.batch",
    "context": "current",
    "get_context": "current",
    "muted": "wiring.muting",
    "only": "wiring.muting",
    "trace": "sight.tracing",
    "touching": "stamps.touching",
    "no_touching": "stamps.touching",
}

__all__ = list(_ROOMS)
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    try:
        room = _ROOMS[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    return getattr(import_module(f"{__name__}.{room}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
