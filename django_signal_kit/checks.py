"""System checks. What would leave a receiver silently absent fails at start-up as well."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Warning

from django_signal_kit.loading import load
from django_signal_kit.receiver import ModelReceiver
from django_signal_kit.senders import Coverage


def check_signal_kit(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Everything that is wrong with SIGNAL_KIT and with the receivers, one message each."""
    loaded, problems = load()
    messages: list[CheckMessage] = [problem.as_check() for problem in problems]
    for receiver in loaded:
        if isinstance(receiver, ModelReceiver) and not Coverage(receiver).get_models():
            messages.append(
                Warning(
                    f"{receiver.name} covers no model, so it hears nothing.",
                    hint=(
                        "Set its option 'models'."
                        if not receiver.get_models()
                        else f"Nothing matches {list(receiver.get_models())!r}."
                    ),
                    id="signal_kit.W001",
                )
            )
    return messages
