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

from django_signal_kit.requests.hiding import Hider, is_url

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


def get_message(exception: BaseException, hider: Hider) -> str:
    try:
        # What is cut first may be half of a secret.
        return cut(hider.hide_in_text(cut(str(exception), 2 * LONGEST)))
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


def get_traceback(exception: BaseException, hider: Hider) -> str:
    """As Python prints it, without the values of variables; of a very long one its end."""
    lines = [
        # A frame shows code, where a name stands for no value.
        line if line.startswith("  File ") else hider.hide_in_text(line[-2 * LONGEST :])
        for line in traceback.format_exception(exception, limit=-50)
    ]
    return hider.hide_known("".join(lines)[-2 * LONGEST :])[-LONGEST:]


def get_path(request: HttpRequest | None, hider: Hider) -> str:
    return cut(hider.hide_known(hider.hide_path(getattr(request, "path", ""))), 2000)


def describe_request(
    request: HttpRequest | None, hider: Hider | None = None
) -> dict[str, dict[str, str]]:
    """``GET``, ``POST``, ``COOKIES`` and ``META`` as text, without what the project's exception
    reporter filter or the kit holds to be secret. What cannot be read says so."""
    if request is None:
        return {}
    hide = hider or Hider(request)
    readers: dict[str, Callable[[], Iterable[tuple[Any, Any]]]] = {
        "GET": lambda: [(key, hide.hide(key, value)) for key, value in _items(request.GET)],
        "POST": lambda: _get_post(request, hide) if _has_post(request) else [],
        "COOKIES": lambda: _get_cookies(request, hide),
        "META": lambda: _get_meta(request, hide),
    }
    found: dict[str, dict[str, str]] = {}
    for name, read in readers.items():
        try:
            found[name] = {cut(str(key), 200): str(value) for key, value in read()}
        except Exception as error:
            found[name] = {"(not readable)": get_type_name(error)}
    return {
        # What one part hides may stand in another.
        name: {key: cut(hide.hide_known(value), 2000) for key, value in part.items()}
        for name, part in found.items()
    }


def _items(values: Any) -> Iterator[tuple[str, Any]]:
    """Of a QueryDict, which may have several values a key, or of a dict."""
    if not hasattr(values, "lists"):
        yield from values.items()
        return
    for key, several in values.lists():
        yield key, several[0] if len(several) == 1 else several


def _get_post(request: HttpRequest, hide: Hider) -> Any:
    safe = dict(_items(hide.filter.get_post_parameters(request)))
    return hide.hide_posted(_items(request.POST), safe)


def _get_cookies(request: HttpRequest, hide: Hider) -> Any:
    return hide.hide_posted(request.COOKIES.items(), hide.filter.get_safe_cookies(request))


def _has_post(request: HttpRequest) -> bool:
    """Is it there, or short enough to be read now? A file that is still coming in is not."""
    is_form = request.content_type == "application/x-www-form-urlencoded"
    return request.method == "POST" and (hasattr(request, "_post") or is_form)


def _get_meta(request: HttpRequest, hide: Hider) -> Iterator[tuple[str, Any]]:
    """The headers and a few more. GET has the query, cleansed; nobody cleanses that of another
    page."""
    meta = hide.filter.get_safe_request_meta(request)
    for key in sorted(map(str, meta)):
        if not (key in _META or key.startswith("HTTP_")):
            continue
        value = hide.hide(key, meta.get(key))
        if meta.get(key) != request.META.get(key):
            hide.secrets.append(request.META.get(key))
        yield key, hide.hide_url(value) if isinstance(value, str) and is_url(value) else value


def cut(text: str, longest: int = LONGEST) -> str:
    return text if len(text) <= longest else f"{text[:longest]}…"
