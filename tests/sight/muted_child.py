"""What the other process of test_mutes.py wires."""

from __future__ import annotations

from typing import Any

from django_signal_kit import ModelReceiver


class Loud(ModelReceiver):
    models = ["auth.Group"]

    def post_save(self, instance: Any, **kwargs: Any) -> None:
        print(f"Loud heard {instance.name}", flush=True)
