"""Tiny Django projects, started in a process of their own: for what happens at start-up."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import django_signal_kit

_SETTINGS = """
SECRET_KEY = "tests"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}}}
INSTALLED_APPS = {apps!r}
SIGNAL_KIT = {signal_kit!r}
"""

_SET_UP = "import django\ndjango.setup()\n"

SHOP = {
    "shop/__init__.py": "",
    "shop/models.py": """
from django.db import models

class Product(models.Model):
    name = models.CharField(max_length=100)
""",
}

KIT = "django_signal_kit"


class Project:
    """``files`` (path -> content) and settings, written into an empty directory."""

    #: Seconds that a start may take.
    patience = 120

    def __init__(
        self,
        directory: Path,
        files: dict[str, str],
        apps: list[str],
        settings: str = "",
        **signal_kit: Any,
    ) -> None:
        self.directory = directory
        text = _SETTINGS.format(apps=apps, signal_kit=signal_kit) + settings
        for path, content in {**files, "project_settings.py": text}.items():
            file = directory / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content, encoding="utf-8")

    def start(self, code: str = "", *options: str) -> subprocess.CompletedProcess[str]:
        """Set Django up and run ``code``, under Python's ``options``."""
        root = Path(django_signal_kit.__file__).parents[1]
        return subprocess.run(
            [sys.executable, *options, "-c", _SET_UP + code],
            cwd=self.directory,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "project_settings",
                # A file that is written anew within a second may be as long as the one before.
                "PYTHONDONTWRITEBYTECODE": "1",
                "PYTHONPATH": os.pathsep.join([str(self.directory), str(root)]),
            },
            capture_output=True,
            text=True,
            timeout=self.patience,
        )

    def run(self, code: str = "", *options: str) -> str:
        """What ``code`` prints. The start has to succeed."""
        result = self.start(code, *options)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def fail(self, code: str = "") -> str:
        """The last line that a start which has to fail prints: the exception."""
        result = self.start(code)
        assert result.returncode != 0, result.stdout
        return result.stderr.strip().splitlines()[-1]
