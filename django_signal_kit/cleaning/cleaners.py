"""Cleaners of text: each takes a value and gives back a clean one.

Each leaves alone what is no text, and cleaning twice is cleaning once.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Any, TypeAlias

from django.utils.text import slugify

Cleaner: TypeAlias = Callable[[Any], Any]

_PHONE = re.compile(r"[^\d+]+")


def strip(value: Any) -> Any:
    """Without white space at both ends."""
    return value.strip() if isinstance(value, str) else value


def collapse_spaces(value: Any) -> Any:
    """Each run of white space, line breaks too, is one space; none at the ends."""
    return " ".join(value.split()) if isinstance(value, str) else value


def casefold(value: Any) -> Any:
    """In lower case, for comparison: "Straße" becomes "strasse"."""
    return value.casefold() if isinstance(value, str) else value


def nfc(value: Any) -> Any:
    """Letters and their accents in one code point each (Unicode's form NFC)."""
    return unicodedata.normalize("NFC", value) if isinstance(value, str) else value


def lower_email_domain(value: Any) -> Any:
    """The domain of an e-mail address in lower case; what is before the @ may matter."""
    if not isinstance(value, str) or "@" not in value:
        return value
    name, _, domain = value.rpartition("@")
    return f"{name}@{domain.lower()}"


def phone(value: Any) -> Any:
    """The digits of a telephone number, with a + before those of a country: "0049 (30) 12-34"
    becomes "+49301234". A number without its country stays so; what has letters stays as it is."""
    if not isinstance(value, str) or any(map(str.isalpha, value)):
        return value
    found = _PHONE.sub("", unicodedata.normalize("NFKC", value))
    digits = found.replace("+", "")
    if found.startswith("+"):
        return f"+{digits}" if digits else value
    return f"+{digits[2:]}" if digits.startswith("00") and digits[2:] else digits or value


def slug(value: Any) -> Any:
    """For an address: ASCII letters, digits, ``-`` and ``_``. Text of which nothing would be left
    stays as it is."""
    return slugify(value) or value if isinstance(value, str) else value


def empty_to_none(value: Any) -> Any:
    """None instead of an empty text, for a column that may be NULL."""
    return None if value == "" else value


#: The names by which settings know them.
CLEANERS: dict[str, Cleaner] = {
    function.__name__: function
    for function in (
        strip,
        collapse_spaces,
        casefold,
        nfc,
        lower_email_domain,
        phone,
        slug,
        empty_to_none,
    )
}
