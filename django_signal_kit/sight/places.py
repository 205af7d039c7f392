"""Where in the project's code something was caused."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from types import FrameType
from typing import Any

#: Modules on the way from the code that writes to the signal, and from one thread to another.
_ON_THE_WAY = (
    "django.",
    "django_signal_kit.",
    "asgiref.",
    "asyncio.",
    "concurrent.",
    "contextlib",
    "contextvars",
    "functools",
    "threading",
)


def find_caller() -> str:
    """The nearest caller that is neither Django's nor the kit's, as ``"shop/views.py:42"``;
    empty if there is none, as in a management command of Django's."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        module = frame.f_globals.get("__name__") or ""
        if not f"{module}.".startswith(_ON_THE_WAY):
            return f"{_shorten(frame.f_code.co_filename, module)}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def _shorten(filename: str, module: str) -> str:
    """As one would open it from here; of what is installed elsewhere, from its package on."""
    path = Path(filename)
    try:
        return path.relative_to(Path.cwd()).as_posix()
    except ValueError:
        depth = module.count(".") + 1 + (path.name == "__init__.py")
        return "/".join(path.parts[-depth:])


def find_source(thing: Any) -> str:
    """Where a function or a class begins, in the same form; of an object that is called, its
    class. Empty of what has no file."""
    try:
        thing = inspect.unwrap(thing)
        if not (inspect.isroutine(thing) or inspect.isclass(thing)):
            thing = type(thing)
        filename = inspect.getsourcefile(thing) or ""
        line = inspect.getsourcelines(thing)[1]
    except (OSError, TypeError, ValueError):
        return ""
    return f"{_shorten(filename, thing.__module__)}:{line}"
