"""A mail whose long headers arrive as they are written, and one for each who gets it."""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Iterator
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


def split(message: Any, message_id: str) -> Iterator[Any]:
    """One mail for each address in ``to``, so that nobody sees the others. Who gets a copy gets
    that of the first."""
    recipients: list[str | None] = list(message.to) or [None]
    first = message_id
    for place, address in enumerate(recipients):
        one = copy.copy(message)
        one.extra_headers = dict(message.extra_headers)
        if address is not None:
            one.to = [address]
        if place:
            one.cc, one.bcc = [], []
            message_id = f"<{place}.{first[1:]}"
        if not any(name.lower() == "message-id" for name in one.extra_headers):
            one.extra_headers["Message-ID"] = message_id
        yield one


def digest_of(message: Any) -> str:
    return hashlib.sha256("\n".join(message.to).encode()).hexdigest()[:16]


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
