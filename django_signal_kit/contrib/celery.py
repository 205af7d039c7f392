"""Celery: each task takes the context of its sender along, in a header of its message."""

from __future__ import annotations

import json
from typing import Any

from celery.signals import before_task_publish, task_postrun, task_prerun

from django_signal_kit.tasks.context import pack, unpack

#: The header of the message.
HEADER = "signal_kit_context"

_SCOPE = "_signal_kit_scope"


def carry_context() -> None:
    """Call it once, where the Celery app is made: from then on ``get_context()`` says in each task
    who has sent it, in which request, and why. A task that sends another one hands it on."""
    for signal, receive in (
        (before_task_publish, _send),
        (task_prerun, _begin),
        (task_postrun, _end),
    ):
        signal.connect(receive, dispatch_uid=f"signal_kit:{receive.__name__}", weak=False)


def _send(headers: Any = None, **kwargs: Any) -> None:
    packed = pack()
    # One that is sent again, by a retry outside of the task, has its own.
    if packed is not None and isinstance(headers, dict):
        # As text: not every broker lets a header be more.
        headers[HEADER] = json.dumps(packed)


def _begin(task: Any = None, **kwargs: Any) -> None:
    request = task.request
    packed = request.get(HEADER) or (request.headers or {}).get(HEADER)
    if packed and not request.is_eager:
        scope = unpack(json.loads(packed))
        scope.__enter__()
        setattr(request, _SCOPE, scope)


def _end(task: Any = None, **kwargs: Any) -> None:
    scope = task.request.__dict__.pop(_SCOPE, None)
    if scope is not None:
        scope.__exit__(None, None, None)
