"""Purges by HTTP requests, such as Varnish and Fastly take."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import SplitResult, urlsplit

from django_signal_kit.cache.purging import Purge
from django_signal_kit.endpoints import hide_credentials, parse_endpoint
from django_signal_kit.exceptions import FlushFailedError, Misconfigured, join

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
#: More than this in one header is refused by some, whatever their number.
_MAX_BYTES = 4000


class HTTPPurge(Purge):
    """Sends the fallen tags to each of ``urls``, in a header of a request without a body.

    A host that cannot be reached, or answers with another status than 200 to 299, fails: those
    tags are told to have failed, and the other hosts have got them.
    """

    #: Where to send them: ``"http://10.0.0.1:6081/"``, each host of a cluster.
    urls: Sequence[str] = ()
    #: The method of the request: ``"PURGE"``, ``"BAN"``, ``"POST"``.
    method: str = "PURGE"
    #: The header that has the tags.
    header: str = "Cache-Tag"
    #: What stands between two tags.
    separator: str = ","
    #: Send a regular expression that finds one of the tags in a list of them, for Varnish's
    #: ``ban()``.
    regex: bool = False
    #: More headers, such as a token. Take secrets from the environment.
    headers: Mapping[str, str] = {}
    #: The most tags in one request.
    per_request: int = 100
    #: Seconds for which a host may say nothing.
    timeout: float = 5

    def get_headers(self, tags: Sequence[str]) -> Mapping[str, str]:
        """The headers of the request that purges ``tags``."""
        if self.regex:
            said = rf"(^|[,\s])({'|'.join(map(re.escape, tags))})([,\s]|$)"
        else:
            said = self.separator.join(tags)
        return {**self.headers, self.header: said}

    def get_body(self, tags: Sequence[str]) -> bytes | None:
        """The body of the request that purges ``tags``; by default there is none."""
        return None

    def purge(self, tags: Sequence[str]) -> None:
        """One request for each ``per_request`` tags to each host, one after the other. Raises
        FlushFailedError with the tags that a host has not got."""
        failed: dict[str, None] = {}
        reasons: dict[str, None] = {}
        cause: Exception | None = None
        for url in self.urls:
            parts = urlsplit(url)
            is_there = True
            with closing(self._connect(parts)) as connection:
                for some in self._split(tags):
                    try:
                        if is_there:
                            self._send(connection, parts, some)
                            continue
                    except (OSError, HTTPException) as error:
                        # Each batch would wait as long as this one did.
                        is_there = isinstance(error, _RefusedError)
                        cause = error
                        reasons[f"{parts.hostname}: {type(error).__name__}: {error}"] = None
                        connection.close()
                    failed |= dict.fromkeys(some)
        if failed:
            raise FlushFailedError(
                list(failed),
                f"{join(map(repr, failed), most=5)} may still be cached at the edge: "
                f"{join(reasons, most=5)}.",
            ) from cause

    def check(self) -> None:
        super().check()
        if not self.urls:
            raise Misconfigured(
                "E066",
                f"{self.name} has no urls, and purges nothing.",
                "Set the option 'urls', such as [\"http://127.0.0.1:6081/\"].",
            )
        for url in self.urls:
            try:
                parse_endpoint(url)
            except ValueError as problem:
                raise Misconfigured(
                    "E066",
                    f"The option 'urls' of {self.name} has {hide_credentials(url)!r}, which "
                    f"{problem}.",
                    'Write one such as "http://127.0.0.1:6081/". A name and a password go into '
                    "the option 'headers'.",
                ) from None
        for option, word in (("method", self.method), ("header", self.header)):
            if not _TOKEN.fullmatch(word):
                raise Misconfigured(
                    "E066",
                    f"The option {option!r} of {self.name} is {word!r}.",
                    "Write one word of letters, digits and dashes.",
                )
        for option, value in (("per_request", self.per_request), ("timeout", self.timeout)):
            if value <= 0:
                raise Misconfigured(
                    "E066",
                    f"The option {option!r} of {self.name} is {value!r}.",
                    "Set a number that is greater than 0.",
                )

    def _split(self, tags: Sequence[str]) -> Iterator[list[str]]:
        some: list[str] = []
        size = 0
        for tag in tags:
            if some and (len(some) >= self.per_request or size + len(tag) > _MAX_BYTES):
                yield some
                some, size = [], 0
            some.append(tag)
            size += len(tag) + 1
        if some:
            yield some

    def _connect(self, parts: SplitResult) -> HTTPConnection:
        cls = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        return cls(parts.hostname or "", parts.port, timeout=self.timeout)

    def _send(self, connection: HTTPConnection, parts: SplitResult, tags: list[str]) -> None:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = {"User-Agent": "django-signal-kit", **self.get_headers(tags)}
        connection.request(self.method, target, self.get_body(tags), headers)
        with connection.getresponse() as answer:
            answer.read()
        if not 200 <= answer.status < 300:
            raise _RefusedError(f"it answered {answer.status} to {self.method}")


class _RefusedError(HTTPException):
    """The host is there, and has not done it."""
