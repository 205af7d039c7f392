"""Takes secrets out of what is told of a request that failed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from django.http import HttpRequest
from django.urls import get_script_prefix, resolve
from django.views.debug import get_exception_reporter_filter

from django_signal_kit.conf import conf
from django_signal_kit.rows.cleansing import (
    cleanse,
    find_secrets,
    get_forms,
    hide_named,
    hide_tokens,
)
from django_signal_kit.rows.secrets import is_secret
from django_signal_kit.rows.values import REDACTED

# A shorter one is not looked for in other texts: it would be found everywhere.
_SHORTEST = 4
_MOST = 300
_LONGEST_TEXT = 10_000
_LONGEST_JSON = 1_000_000
_DEEPEST = 20
_URL = re.compile(r"(?:https?://|/)\S*")


class Hider:
    """By the project's exception reporter filter, and by the names that the kit knows.

    What has been hidden is hidden in all other texts too, such as the message of the exception.
    """

    def __init__(self, request: HttpRequest | None) -> None:
        self.request = request
        self.names = tuple(conf.REDACT)
        self.filter: Any = get_exception_reporter_filter(request)
        self.stars = str(getattr(self.filter, "cleansed_substitute", REDACTED))
        #: What has been hidden so far.
        self.secrets: list[Any] = []
        self._long: list[str] = []
        self._known = 0
        for look in (self._look_into_path, self._look_into_body):
            # What cannot be read tells nothing, either.
            with suppress(Exception):
                self.secrets += look()

    def hide(self, name: Any, value: Any, depth: int = 0) -> Any:
        """``value`` of a parameter, cookie, header or key of this name."""
        cleansed = self.stars
        if not is_secret(str(name), self.names):
            cleansed = self.filter.cleanse_setting(name, value)
        if cleansed is not value and cleansed == self.stars:
            self.secrets.append(value)
            return cleansed
        return self._hide_within(cleansed, depth)

    def hide_posted(self, given: Iterable[tuple[str, Any]], safe: Mapping[str, Any]) -> Any:
        """The parameters of a form: as they were given, and as the filter lets them pass."""
        for name, value in given:
            if safe.get(name) != value:
                self.secrets.append(value)
        return [(name, self.hide(name, value)) for name, value in safe.items()]

    def hide_path(self, path: str) -> str:
        """The path of a URL without the secrets that its route takes from it."""
        with suppress(Exception):
            prefix = get_script_prefix().rstrip("/")
            found = list(self._find_in_route(resolve(path.removeprefix(prefix))))
            self.secrets += found
            path = cleanse(path, found)
        return hide_tokens(path)

    def hide_url(self, url: str) -> str:
        """A URL without its query, and without the secrets in its path."""
        with suppress(ValueError):
            parts = urlsplit(url)
            host = parts.netloc.rpartition("@")[2]
            path = self.hide_path(parts.path)
            return f"{parts.scheme}://{host}{path}" if host else path
        return self.stars

    def hide_in_text(self, text: str) -> str:
        """A text that somebody else has written: without what has been hidden, and without what
        is said in it by the name of a secret."""
        return self.hide_known(hide_named(text, self.names, self.stars))

    def hide_known(self, text: str) -> str:
        """``text`` without what has been hidden elsewhere."""
        return hide_tokens(cleanse(text, [form for form in self._get_long() if form in text]))

    def _hide_within(self, value: Any, depth: int) -> Any:
        if depth > _DEEPEST:
            return self.stars
        if isinstance(value, Mapping):
            return {key: self.hide(key, item, depth + 1) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._hide_within(item, depth + 1) for item in value]
        if not isinstance(value, str):
            return value
        if value.lstrip()[:1] in ("{", "[") and len(value) <= _LONGEST_JSON:
            with suppress(ValueError, RecursionError):
                return json.dumps(self._hide_within(json.loads(value), depth + 1))
        return hide_tokens(hide_named(value, self.names, self.stars))

    def _get_long(self) -> list[str]:
        """The texts of what has been hidden. They are many if a stranger has posted many."""
        secrets = self.secrets[:_MOST]
        if len(secrets) != self._known:
            forms = (form for secret in secrets for form, _ in get_forms(secret, _LONGEST_TEXT))
            self._long = [form for form in dict.fromkeys(forms) if len(form) >= _SHORTEST]
            self._known = len(secrets)
        return self._long

    def _look_into_path(self) -> Iterator[Any]:
        request = self.request
        if request is not None:
            match = getattr(request, "resolver_match", None) or resolve(request.path_info)
            yield from self._find_in_route(match)

    def _look_into_body(self) -> Iterator[Any]:
        # Only one that has been read: nobody waits for it here.
        body = getattr(self.request, "_body", None)
        is_json = self.request is not None and (self.request.content_type or "").endswith("json")
        if is_json and body and len(body) <= _LONGEST_JSON:
            yield from find_secrets(json.loads(body), self.names)

    def _find_in_route(self, match: Any) -> Iterator[Any]:
        return (value for name, value in match.kwargs.items() if is_secret(name, self.names))


def is_url(text: str) -> bool:
    return _URL.fullmatch(text) is not None
