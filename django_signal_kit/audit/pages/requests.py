"""The request in which an entry was written, as its context tells."""

from __future__ import annotations

import datetime
from typing import Any, NamedTuple

from django.db.models import Model

#: An id says nothing of when, and has no index: so far from an entry others are looked for.
SPAN = datetime.timedelta(hours=1)


class Request(NamedTuple):
    """What tells it from others. The id alone does not: a client may send any, and again."""

    id: str
    method: str
    path: str
    ip: str


def get_request(entry: Any) -> Request | None:
    """None if it was written outside of any, or if nobody has said in which."""
    context = entry.context if isinstance(entry.context, dict) else {}
    id = context.get("request_id")
    if not isinstance(id, str) or not id:
        return None
    return Request(id, *(str(context.get(name)) for name in ("method", "path", "ip")))


def get_story(entry: Any) -> Any:
    """The same for entries that are told as one: of a request, else of a unit of work."""
    return get_request(entry) or entry.unit or entry.pk


def get_request_params(entry: Model) -> dict[str, Any] | None:
    """How the list of entries is narrowed to those of the same request."""
    request = get_request(entry)
    if request is None:
        return None
    at: datetime.datetime = entry.at  # type: ignore[attr-defined]
    return {"context__request_id": request.id, "at__gte": at - SPAN, "at__lt": at + SPAN}
