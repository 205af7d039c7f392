"""What may be told of an exception and of its request to somebody who was not there."""

from __future__ import annotations

import os
import sysconfig
import traceback
from collections.abc import Callable, Iterable, Iterator
from types import CodeType, FrameType
from typing import Any

import django
from django.http import HttpRequest
from django.views.debug import get_exception_reporter_filter

#: No part of a report is longer, in characters.
LONGEST = 50_000

_OWN = os.path.dirname(os.path.abspath(__file__)) + os.sep
_LIBRARIES = tuple(
    {
        os.path.dirname(os.path.abspath(django.__file__)) + os.sep,
        *(sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib")),
        _OWN,
    }
)
_PACKAGES = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
# Beside the headers; a server may put its whole environment into META.
_META = frozenset(
    (
        "CONTENT_LENGTH",
        "CONTENT_TYPE",
        "PATH_INFO",
        "REMOTE_ADDR",
        "REQUEST_METHOD",
        "SERVER_NAME",
        "SERVER_PORT",
    )
)


def get_type_name(exception: BaseException) -> str:
    """``"ValueError"``, ``"shop.errors.SoldOut"``."""
    cls = type(exception)
    return (
        cls.__qualname__
        if cls.__module__ == "builtins"
        else f"{cls.__module__}.{cls.__qualname__}"
    )


def get_message(exception: BaseException) -> str:
    try:
        return cut(str(exception))
    except Exception:
        return "<str() of it failed>"


def get_location(exception: BaseException) -> str:
    """``"shop.views:12 in product"``: the innermost line that is of the project's own code, else
    the innermost of all; empty if it was never raised."""
    location = inner = ""
    for frame, line in traceback.walk_tb(exception.__traceback__):
        inner = _say(frame, line)
        if not _is_library(frame.f_code):
            location = inner
    return location or inner


def _say(frame: FrameType, line: int) -> str:
    module = frame.f_globals.get("__name__") or frame.f_code.co_filename
    return f"{module}:{line} in {frame.f_code.co_name}"


def _is_library(code: CodeType) -> bool:
    name = code.co_filename
    return (
        name.startswith("<frozen ")
        or name.startswith(_LIBRARIES)
        or any(part in name for part in _PACKAGES)
    )


def get_traceback(exception: BaseException) -> str:
    """As Python prints it, without the values of variables; of a very long one its end."""
    lines = traceback.format_exception(exception, limit=-50)
    return "".join(lines)[-LONGEST:]


def describe_request(request: HttpRequest | None) -> dict[str, dict[str, str]]:
    """``GET``, ``POST``, ``COOKIES`` and ``META`` as text, without what the project's exception
    reporter filter holds to be secret. What cannot be read says so."""
    if request is None:
        return {}
    clean = get_exception_reporter_filter(request)
    readers: dict[str, Callable[[], Iterable[tuple[Any, Any]]]] = {
        "GET": lambda: [(key, clean.cleanse_setting(key, v)) for key, v in _items(request.GET)],
        "POST": lambda: _items(clean.get_post_parameters(request)) if _has_post(request) else [],
        "COOKIES": lambda: clean.get_safe_cookies(request).items(),
        "META": lambda: _get_meta(clean.get_safe_request_meta(request)),
    }
    found: dict[str, dict[str, str]] = {}
    for name, read in readers.items():
        try:
            found[name] = {cut(str(key), 200): cut(str(value), 2000) for key, value in read()}
        except Exception as error:
            found[name] = {"(not readable)": get_type_name(error)}
    return found


def _items(values: Any) -> Iterator[tuple[str, Any]]:
    """Of a QueryDict, which may have several values a key, or of a dict."""
    if not hasattr(values, "lists"):
        yield from values.items()
        return
    for key, several in values.lists():
        yield key, several[0] if len(several) == 1 else several


def _has_post(request: HttpRequest) -> bool:
    """Is it there, or short enough to be read now? A file that is still coming in is not."""
    is_form = request.content_type == "application/x-www-form-urlencoded"
    return request.method == "POST" and (hasattr(request, "_post") or is_form)


def _get_meta(meta: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The headers and a few more. GET has the query, cleansed; nobody cleanses that of another
    page."""
    for key in sorted(map(str, meta)):
        value = meta.get(key)
        if key == "HTTP_REFERER":
            yield key, str(value).partition("?")[0]
        elif key in _META or key.startswith("HTTP_"):
            yield key, value


def cut(text: str, longest: int = LONGEST) -> str:
    return text if len(text) <= longest else f"{text[:longest]}…"
