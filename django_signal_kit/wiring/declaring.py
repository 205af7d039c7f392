"""``@register``: receivers that are declared where they are written."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from django.db.models import Model

from django_signal_kit.options import say_value
from django_signal_kit.receiver import Receiver


@dataclass(frozen=True)
class Declaration:
    """A receiver that somebody asked for: ``where`` says in which words, ``module`` from which
    module, if by ``@register``."""

    where: str
    cls: type[Receiver]
    name: str | None
    options: dict[str, Any]
    module: str = ""


#: What ``@register`` has seen, in the order of the imports.
declarations: list[Declaration] = []


def register(
    cls: type[Receiver] | None = None, /, *, name: str | None = None, **options: Any
) -> Any:
    """Register a receiver class: ``@register``, or ``@register(models=["shop.Product"])``.

    Write it in the ``signals.py`` of an installed app, which is imported at start-up; the class is
    wired then. ``name`` is what ``muted()`` and ``showreceivers`` call it (default: the class's
    name), ``options`` are set on the instance. Raises TypeError for what is no Receiver class;
    wrong options are told at start-up.
    """
    module = sys._getframe(1).f_globals.get("__name__", "")
    if cls is None:
        return lambda cls: _declare(cls, name, options, module)
    return _declare(cls, name, options, module)


def _declare(cls: Any, name: str | None, options: dict[str, Any], module: str) -> Any:
    if not (isinstance(cls, type) and issubclass(cls, Receiver)):
        raise TypeError(
            f"@register is for Receiver classes, and {cls!r} is none. {_tell_remedy(cls)}"
        )
    where = f"@register of {cls.__module__}.{cls.__qualname__}"
    declarations.append(Declaration(where, cls, name, options, module))
    return cls


def _tell_remedy(given: object) -> str:
    is_model = isinstance(given, type) and issubclass(given, Model)
    if isinstance(given, str) or is_model:
        return f"Name models by the option: @register(models=[{say_value(given)}])."  # type: ignore[arg-type]
    if isinstance(given, list | tuple):
        return "Name models by the option: @register(models=[...])."
    return "A plain function is connected with Django's own @receiver."
