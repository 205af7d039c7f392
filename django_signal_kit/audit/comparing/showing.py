"""Values of a row as findings have them: as a log would, and without secrets."""

from __future__ import annotations

from typing import Any

from django.db.models import Model

from django_signal_kit.audit.audit_log import get_recorder
from django_signal_kit.audit.past import get_logs
from django_signal_kit.rows.values import REDACTED, is_redacted, to_json


class Showing:
    """Of the fields of ``model``, by the logs that record them."""

    def __init__(self, model: type[Model]) -> None:
        self._stores: dict[str, list[Any]] = {}
        self._secrets: tuple[str, ...] = ()
        for log in get_logs(model):
            recorder = get_recorder(log)
            self._secrets += recorder.secrets
            for name, _, store, _ in recorder.get_plan(model).stored:
                self._stores.setdefault(name, []).append(store)

    def show(self, name: str, told: Any, found: Any) -> tuple[Any, Any]:
        """What an entry has, and what the row has. What one log hides is hidden."""
        shown = [store(found) for store in self._stores.get(name, ()) if found is not None]
        if any(map(is_redacted, shown)) or self._is_secret(name):
            return REDACTED, REDACTED
        # What has become a secret since it was written is none of less.
        value = to_json(shown[0], self._secrets) if shown else None
        return to_json(told, self._secrets), value

    def _is_secret(self, name: str) -> bool:
        """Also if the row has NULL there."""
        return any(is_redacted(store("x")) for store in self._stores.get(name, ()))
