"""What a receiver class hears, and whether that is what it says."""

from __future__ import annotations

from collections.abc import Collection

from django_signal_kit.exceptions import Misconfigured, tell_class
from django_signal_kit.options import get_options
from django_signal_kit.receiver import ModelReceiver, Receiver
from django_signal_kit.wiring import catalog
from django_signal_kit.wiring.names import check_names


def check_class(cls: type[Receiver], names: Collection[str]) -> None:
    """Raise Misconfigured if a method of ``cls`` would never be called, or too often. ``names``:
    those of all signals."""
    check_names(cls, names)
    for option, default in get_options(cls).items():
        # A subclass may say that it does not hear a signal: post_delete = None.
        if option in names and default is not None:
            raise Misconfigured(
                "E013",
                f"{tell_class(cls)}.{option} has the name of a signal, but is no method.",
                "Rename it.",
            )
    heard = [name for name in names if callable(getattr(cls, name, None))]
    if not issubclass(cls, ModelReceiver):
        for name in heard:
            if name in catalog.MODEL_SIGNALS or name == "m2m_changed":
                raise Misconfigured(
                    "E014",
                    f"{tell_class(cls)} hears {name}, a signal of models, of no model in "
                    f"particular.",
                    "Subclass django_signal_kit.ModelReceiver and say which models.",
                )
    if not heard and cls.get_methods is Receiver.get_methods:
        raise Misconfigured(
            "E015",
            f"{tell_class(cls)} has no method named after a signal, so it hears nothing.",
            "Name a method after the signal that it is to receive, such as 'post_save'. A signal "
            "that is neither Django's nor the kit's gets its name in SIGNAL_KIT['EXTRA_SIGNALS'].",
        )


def check_set(receiver: Receiver) -> None:
    """Raise Misconfigured if an ``__init__()`` of the project has left out that of its base."""
    if not receiver._is_set:
        raise Misconfigured(
            "E043",
            f"{tell_class(type(receiver))}.__init__() does not call that of its base, so no "
            f"option is set.",
            "Call super().__init__(**options) in it.",
        )
