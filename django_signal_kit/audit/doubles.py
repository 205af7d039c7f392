"""Two logs that tell the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from django.core.checks import Warning
from django.db.models import Model

from django_signal_kit.audit.audit_log import AuditLog
from django_signal_kit.exceptions import join
from django_signal_kit.wiring.idle import overrides
from django_signal_kit.wiring.senders import Coverage

# Whoever overrides one of these may have shared out what is recorded, or where.
_SHARING = ("should_record", "record", "flush", "get_methods")
# As many models are named.
_MOST = 5


def find_doubles(logs: Iterable[AuditLog]) -> Iterator[Warning]:
    """One warning for those logs that cover the same models, so that each change is recorded by
    all of them."""
    covering: dict[type[Model], list[str]] = {}
    for log in logs:
        if not overrides(log, AuditLog, _SHARING):
            for model in Coverage(log).get_models():
                covering.setdefault(model, []).append(log.name)
    shared: dict[tuple[str, ...], list[type[Model]]] = {}
    for model, names in covering.items():
        # A proxy of one that is covered twice says nothing new.
        is_told = model._meta.proxy and covering.get(model._meta.concrete_model) == names  # type: ignore[arg-type]
        if len(names) > 1 and not is_told:
            shared.setdefault(tuple(names), []).append(model)
    for sharing, models in shared.items():
        labels = join((model._meta.label for model in models), most=_MOST)
        times = "twice" if len(sharing) == 2 else f"{len(sharing)} times"
        yield Warning(
            f"{join(sharing)} cover {labels}: each change is recorded {times}.",
            hint="Leave it to one of them, by the options 'models' and 'exclude'.",
            id="signal_kit.W010",
        )
