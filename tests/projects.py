"""Small projects on disk, for what can only be seen when a process starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SETTINGS = """
SECRET_KEY = "tests"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}}}
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", {apps}]
SIGNAL_KIT = {signal_kit}
"""

KIT = "django_signal_kit"


class Project:
    """A settings module and apps of given files in ``root``."""

    def __init__(self, root: Path, *apps: str, signal_kit: str = "{}") -> None:
        self.root = root
        names = ", ".join(repr(app) for app in apps)
        self.write("settings.py", SETTINGS.format(apps=names, signal_kit=signal_kit))

    def write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        if file.parent != self.root and not (file.parent / "__init__.py").exists():
            (file.parent / "__init__.py").write_text("")

    def run(self, code: str, *options: str) -> subprocess.CompletedProcess[str]:
        """Run ``code`` after django.setup() in a process of its own."""
        return subprocess.run(
            [sys.executable, *options, "-c", f"import django; django.setup()\n{code}"],
            cwd=self.root,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "settings",
                "PYTHONPATH": os.pathsep.join([str(self.root), *sys.path]),
            },
            capture_output=True,
            text=True,
            check=False,
        )
