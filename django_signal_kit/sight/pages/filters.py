"""What of the page is asked for, by its address alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from django.utils.http import urlencode
from django.utils.translation import gettext_lazy as _

#: Which receivers are shown -> what that is called.
SHOWN = {
    "": _("all"),
    "kit": _("receivers of the kit"),
    "functions": _("plain functions"),
    "inner": _("functions of Django and the kit"),
    "failing": _("that failed"),
    "idle": _("that never ran"),
    "muted": _("that are muted"),
}
#: What they are ordered by -> what that is called.
ORDERS = {
    "": _("receiver"),
    "calls": _("calls"),
    "errors": _("errors"),
    "queries": _("queries"),
    "time": _("time"),
}


@dataclass(frozen=True)
class Filters:
    """What is empty does not narrow. What is not known is empty."""

    app: str = ""
    model: str = ""
    show: str = ""
    q: str = ""
    o: str = ""
    p: int = 1

    @classmethod
    def read(cls, params: Mapping[str, str]) -> Filters:
        found = {field.name: params.get(field.name, "").strip() for field in fields(cls)}
        page = found.pop("p")
        return cls(
            **found | {"show": _known(found["show"], SHOWN), "o": _known(found["o"], ORDERS)},
            p=int(page) if page.isascii() and page.isdigit() and len(page) < 6 else 1,
        )

    def get_url(self, **changes: Any) -> str:
        """The address of the page with these changes, on the first of its pages."""
        changed = replace(self, **{"p": 1, **changes})
        said = {
            field.name: value
            for field in fields(self)
            if (value := getattr(changed, field.name)) != field.default
        }
        return f"?{urlencode(said)}"


def _known(text: str, known: Mapping[str, Any]) -> str:
    return text if text in known else ""
