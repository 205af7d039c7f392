"""The URLs of the settings to which the kit sends requests."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

_CREDENTIALS = re.compile(r"(?<=//)[^/]*(?=@)")


def parse_endpoint(url: str) -> SplitResult:
    """The parts of an http or https URL. Raises ValueError with the end of a sentence."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"is no URL: {error}") from None
    if parts.scheme not in ("http", "https"):
        raise ValueError("begins neither with https:// nor with http://")
    if not parts.hostname or port == 0:
        raise ValueError("names no host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("has a name or a password before the host")
    if re.search(r"[\x00-\x20\x7f]", url) or not url.isascii():
        raise ValueError("has a character that a URL cannot have")
    return parts


def hide_credentials(url: str) -> str:
    """``url`` without what stands before its host, to be told."""
    return _CREDENTIALS.sub("…", url)
