"""A mail whose long headers arrive as they are written."""

from __future__ import annotations

import re
from email.header import Header
from email.message import Message as RawMessage
from typing import Any

from django.core.mail import EmailMultiAlternatives

#: What nobody may encode or fold: a programme reads it.
RAW = ("List-Unsubscribe",)

# RFC 5322, 2.1.1: a line has at most 998 characters.
_LONGEST = 998 - len("List-Unsubscribe: <>")
_URL = re.compile(r"https://[!#-;=?-\[\]_a-z~]+")


class Message(EmailMultiAlternatives):
    """Text and HTML, as Django sends it, except that the address in ``List-Unsubscribe`` is
    neither encoded nor folded, however long it is."""

    def message(self, *args: Any, **kwargs: Any) -> Any:
        made = super().message(*args, **kwargs)
        for name in RAW:
            value = made.get(name)
            if value is not None:
                made.replace_header(name, _make_raw(made, name, self.extra_headers[name]))
        return made


def make_unsubscribe_headers(url: str) -> dict[str, str]:
    """One click of RFC 8058. Raises ValueError for what is no ``https`` URL of ASCII characters,
    or has no room in a line."""
    if not _URL.fullmatch(url):
        raise ValueError(
            f"The address to unsubscribe is {url!r}, which is no https:// URL without spaces."
        )
    if len(url) > _LONGEST:
        raise ValueError(f"The address to unsubscribe has {len(url)} characters of {_LONGEST}.")
    return {
        "List-Unsubscribe": f"<{url}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }


def _make_raw(made: RawMessage, name: str, value: str) -> Any:
    # Since 6.0 Django makes messages of the modern kind, which ask the value to fold itself.
    is_modern = hasattr(made.policy, "header_factory")
    return _Modern(name, value) if is_modern else _Legacy(value)


class _Modern(str):
    """A header of the modern kind is a text with these."""

    def __new__(cls, name: str, value: str) -> _Modern:
        made = super().__new__(cls, value)
        made.name = name
        return made

    name: str

    def fold(self, *, policy: Any) -> str:
        return f"{self.name}: {self}{policy.linesep}"


class _Legacy(Header):
    def encode(self, *args: Any, **kwargs: Any) -> str:
        return str(self)
