"""Follows a page as a reader does who has nothing yet: in a new project, file by file.

Files that a page names are written into the project, settings are appended to its ``settings.py``,
other Python is run as in ``manage.py shell``, each block by itself.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import django_signal_kit
from tests.docs.blocks import Block, check_output, get_commands, get_expected, read

# These wait for somebody.
INTERACTIVE = ("createsuperuser", "runserver", "shell", "demo")

_PREPARE = """
import django
from django.test.utils import setup_test_environment
django.setup()
# Mail goes into an outbox instead of to a server.
setup_test_environment()
"""

# An entry that a page shows takes the place of the one for the same class, or for the ready-made
# one that its class changes.
_REPLACE = """
_ENTRY, _PLACES = {entry!r}, {places!r}
SIGNAL_KIT["RECEIVERS"] = [
    entry
    for entry in SIGNAL_KIT["RECEIVERS"]
    if (entry if isinstance(entry, str) else entry["RECEIVER"]) not in _PLACES
] + [_ENTRY]
"""

# The paths by which settings name a class and those that it changes.
_PLACES = """
from django.utils.module_loading import import_string
print({path!r})
for base in import_string({path!r}).__mro__[1:]:
    print(f"django_signal_kit.receivers.{{base.__name__}}")
"""


class Project:
    """A Django project in an empty directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "mysite.settings",
            "PYTHONPATH": os.pathsep.join(
                [str(directory), str(Path(django_signal_kit.__file__).parents[1])]
            ),
        }

    def run(self, *arguments: str) -> str:
        """Run Python in the project; return what it prints."""
        environment = dict(self.environment)
        if "startproject" in arguments:
            del environment["DJANGO_SETTINGS_MODULE"]
        result = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.directory,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        if result.returncode:
            raise AssertionError(f"{arguments} failed:\n{result.stdout}\n{result.stderr}")
        return result.stdout

    def execute(self, code: str) -> str:
        """Run ``code`` with Django set up."""
        return self.run("-c", _PREPARE + code)

    def manage(self, *arguments: str) -> str:
        return self.run("manage.py", *arguments)

    def follow(self, page: Path, from_line: int = 0) -> None:
        """Do what the blocks of a page say, in order."""
        blocks = read(page)
        for index, block in enumerate(blocks):
            if block.line < from_line or block.reason is not None:
                continue
            try:
                printed = self.do(block)
            except AssertionError as error:
                error.add_note(f"in the block at {block.where}")
                raise
            if printed is not None:
                check_output(block, printed, get_expected(blocks, index))

    def do(self, block: Block) -> str | None:
        """Do what one block says; return what it prints, None if that is not to be checked."""
        if block.language == "sh":
            return self.run_shell(block)
        if block.language != "python":
            return None
        if block.is_settings:
            self.append("mysite/settings.py", block.code)
            return None
        if block.entry is not None:
            places = self.execute(_PLACES.format(path=block.entry["RECEIVER"])).split()
            settings = _REPLACE.format(entry=block.entry, places=places)
            self.append("mysite/settings.py", settings)
            self.manage("check", "--fail-level", "WARNING")
            return None
        if block.path is None:
            return self.execute(block.code)
        (self.directory / block.path).write_text(block.code, encoding="utf-8")
        if block.path.endswith("tests.py"):
            self.manage("test", "--verbosity=0")
        return None

    def run_shell(self, block: Block) -> str | None:
        printed = ""
        for line in block.code.splitlines():
            if line.startswith(("django-admin startproject", "python -m django startproject")):
                self.run("-m", "django", "startproject", *line.split()[-2:])
        for command in get_commands(block):
            if command[0] in INTERACTIVE:
                self.manage("help", command[0])
            else:
                printed += self.manage(*command)
        is_shown = all(command[0] in ("showreceivers", "check") for command in get_commands(block))
        return printed if is_shown and printed else None

    def append(self, path: str, code: str) -> None:
        with (self.directory / path).open("a", encoding="utf-8") as file:
            file.write("\n" + code)
