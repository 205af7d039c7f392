"""Addresses that can be written to, and to one person alone."""

from __future__ import annotations

from email.utils import parseaddr
from functools import lru_cache

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email

# RFC 5321, 4.5.3.1.3.
_LONGEST = 254

_HIDING = ('"', "\\", "=?")


def is_address(text: object) -> bool:
    """Is it one address, without a name? Quoted ones, in which spaces, commas and control
    characters may hide, are left out, as are those that read as an encoded word."""
    if not isinstance(text, str) or len(text) > _LONGEST:
        return False
    if any(part in text for part in _HIDING):
        return False
    try:
        validate_email(text)
        # As Django does when it sends it.
        text.rpartition("@")[2].encode("idna")
    except (ValidationError, UnicodeError):
        return False
    return True


def get_domain(from_email: str | None) -> str:
    """The domain of the sender, for a Message-ID that each process makes alike."""
    return _find_domain(str(from_email or settings.DEFAULT_FROM_EMAIL))


@lru_cache
def _find_domain(sender: str) -> str:
    _, address = parseaddr(sender)
    domain = address.rpartition("@")[2]
    try:
        return domain.encode("idna").decode() or "localhost"
    except UnicodeError:
        return "localhost"
