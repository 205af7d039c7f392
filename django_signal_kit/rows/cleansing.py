"""Takes secrets out of a text that somebody else has written."""

from __future__ import annotations

import base64
import datetime
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from decimal import Decimal
from enum import Enum
from typing import Any
from urllib.parse import quote
from uuid import UUID

from django.utils.duration import duration_iso_string, duration_string
from django.utils.formats import date_format, localize
from django.utils.html import escape

from django_signal_kit.rows.secrets import is_secret
from django_signal_kit.rows.values import REDACTED, say, to_text

# What Django's PasswordResetTokenGenerator makes, and a JSON Web Token.
_TOKENS = re.compile(
    r"(?<![0-9A-Za-z])[0-9a-z]{1,13}-[0-9a-f]{32,64}(?![0-9A-Za-z])"
    r"|(?<![\w-])eyJ[\w-]{8,}\.[\w-]+\.[\w-]*"
)
_DEEPEST = 20
_CONTAINERS = (dict, list)
# "token=abc", "'token': 'abc'", "Key (token)=(abc)". All of bounded length: a text of a stranger
# must not take forever.
_QUOTED = r"\"(?:[^\"\\]|\\.){0,2000}\"|'(?:[^'\\]|\\.){0,2000}'"
_NAMED = re.compile(rf"(?<![\w.-])([\w.-]{{1,200}})=({_QUOTED}|[^\s&;,)\]}}]+)")
_ITEM = re.compile(rf"([\"'])([\w.-]{{1,200}})\1\s{{0,9}}:\s{{0,9}}({_QUOTED}|[^\s,}}\]]+)")
_COLUMNS = re.compile(r"\(([^()]{1,200})\)=\((.{0,2000}?)\)(?=\s|$)")
# "https://user:password@host"
_CREDENTIALS = re.compile(r"(?<=://)[^\s/:@]{0,200}:([^\s/@]{1,200})@")


def cleanse(text: str, secrets: Iterable[Any]) -> str:
    """``text`` without these values, in whichever form they are written.

    A number is taken out where it stands for itself, not where it is a part of a longer one.
    """
    likely = [secret for secret in secrets if not _is_absent(secret, text)]
    if not likely:
        return text
    spans = [
        span
        for secret in likely
        for form, is_number in get_forms(secret, len(text))
        for span in _find(text, form, is_number)
    ]
    if not spans:
        return text
    parts, position = [], 0
    for start, end in _merge(spans):
        parts += [text[position:start], REDACTED]
        position = end
    return "".join([*parts, text[position:]])


def _is_absent(secret: Any, text: str) -> bool:
    """Is it sure at a glance that ``secret`` is not in ``text``?"""
    if secret.__class__ is not str:
        return secret is None
    # A text of letters and digits has no other form, and the other forms are no shorter.
    return (
        not secret
        or len(secret) > len(text)
        or (secret.isascii() and secret.isalnum() and secret not in text)
    )


def hide_tokens(text: str) -> str:
    """``text``, such as a path, without what looks like a token of Django's or a JWT."""
    # Most have no digit run that long, and no "eyJ".
    return _TOKENS.sub(REDACTED, text) if len(text) > 30 else text


def hide_named(text: str, extra: tuple[str, ...] = (), stars: str = REDACTED) -> str:
    """``text`` without what is said in it by the name of a secret, and without the passwords of
    URLs. ``extra`` are further parts of names."""

    def hide(match: re.Match[str]) -> str:
        names = re.split(r"[\s,]+", match[match.re.groups - 1])
        return replace(match) if any(is_secret(name, extra) for name in names) else match[0]

    def replace(match: re.Match[str]) -> str:
        start, end = match.span(match.re.groups)
        start, end = start - match.start(), end - match.start()
        return f"{match[0][:start]}{stars}{match[0][end:]}"

    for pattern in (_NAMED, _ITEM, _COLUMNS):
        text = pattern.sub(hide, text)
    return _CREDENTIALS.sub(replace, text)


def find_secrets(value: Any, extra: tuple[str, ...] = ()) -> list[Any]:
    """The values in a JSON value whose keys look like secrets."""
    found: list[Any] = []
    _find_secrets(value, extra, 0, found)
    return found


def _find_secrets(value: Any, extra: tuple[str, ...], depth: int, found: list[Any]) -> None:
    if depth > _DEEPEST:
        return
    # Classes of abc are slow to ask.
    cls = value.__class__
    if cls is dict or (cls is not list and isinstance(value, Mapping)):
        for key, item in value.items():
            if is_secret(key if key.__class__ is str else say(key), extra):
                found.append(item)
            elif item.__class__ in _CONTAINERS:
                _find_secrets(item, extra, depth + 1, found)
    elif isinstance(value, list | tuple):
        for item in value:
            if item.__class__ in _CONTAINERS:
                _find_secrets(item, extra, depth + 1, found)


def get_forms(value: Any, longest: int, depth: int = 0) -> Iterator[tuple[str, bool]]:
    """The texts that a value may be written as, of no more than ``longest`` characters, each with
    whether it is a number."""
    if value is None or value.__class__ is bool or depth > _DEEPEST:
        return
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        items = value.values() if isinstance(value, Mapping) else value
        for item in list(items):
            yield from get_forms(item, longest, depth + 1)
        forms = _get_forms_of_container(value)
    else:
        forms = _get_forms_of_scalar(value, longest)
    is_number = isinstance(value, int | float | Decimal)
    for form in dict.fromkeys(forms):
        if form and len(form) <= longest:
            yield form, is_number


def _get_forms_of_container(value: Any) -> Iterator[str]:
    yield say(value)
    with suppress(Exception):
        yield json.dumps(value)


def _get_forms_of_scalar(value: Any, longest: int) -> Iterator[str]:
    if isinstance(value, str):
        yield from _get_forms_of_text(str.__str__(value), longest)
    elif isinstance(value, Enum):
        yield from _get_forms_of_scalar(value.value, longest)
    elif isinstance(value, UUID):
        yield from (str(value), value.hex, str(value).upper(), value.hex.upper())
    elif isinstance(value, bytes | bytearray | memoryview):
        yield from _get_forms_of_bytes(bytes(value))
    elif isinstance(value, datetime.timedelta):
        yield from (str(value), duration_string(value), duration_iso_string(value))
    elif isinstance(value, datetime.date | datetime.time):
        yield from _get_forms_of_time(value)
    elif isinstance(value, int | float | Decimal):
        yield from _get_forms_of_number(value)
    else:
        yield say(value)


def _get_forms_of_text(value: str, longest: int) -> Iterator[str]:
    # All of them are at least as long.
    if len(value) > longest:
        return
    yield value
    if not (value.isascii() and value.isalnum()):
        value = to_text(value)
        yield from (value, repr(value)[1:-1], json.dumps(value)[1:-1])
        yield from (quote(value), quote(value, safe=""), str(escape(value)))


def _get_forms_of_bytes(value: bytes) -> Iterator[str]:
    yield from (str(value), value.hex(), base64.b64encode(value).decode())
    yield base64.urlsafe_b64encode(value).decode()
    with suppress(UnicodeDecodeError):
        yield to_text(value.decode())


def _get_forms_of_number(value: int | float | Decimal) -> Iterator[str]:
    # Python refuses to write a very long number, and its own classes may refuse anything.
    for write in (str, repr, "{:,}".format, "{:f}".format, localize, _write_short):
        with suppress(Exception):
            yield str(write(value))


def _write_short(value: Any) -> str:
    return format(Decimal(str(value)).normalize(), "f")


def _get_forms_of_time(value: datetime.date | datetime.time) -> Iterator[str]:
    yield from (str(value), value.isoformat())
    with suppress(Exception):
        yield str(localize(value))
        if isinstance(value, datetime.date):
            yield date_format(value, "SHORT_DATE_FORMAT")
            yield value.strftime("%Y%m%d")


def _find(text: str, form: str, is_number: bool) -> Iterator[tuple[int, int]]:
    start = text.find(form)
    while start != -1:
        end = start + len(form)
        around = text[start - 1 : start], text[end : end + 1]
        if not (is_number and any(map(str.isdigit, around))):
            yield start, end
        start = text.find(form, start + 1)


def _merge(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """In order, those that overlap as one."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged
