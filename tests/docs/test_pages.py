"""Every page does what it says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand

import django_signal_kit
from django_signal_kit import ModelReceiver, receivers
from django_signal_kit.options import get_options
from tests.docs.blocks import ROOT, get_pages, get_reference, read
from tests.docs.project import Project

REFERENCE = ROOT / "docs" / "reference"
EXTENSION = REFERENCE / "extension" / "model-extension.md"
# In tests/engines, where these queues are installed.
BACKGROUND = ROOT / "docs" / "topics" / "background.md"
# In tests/thirdparty, where Wagtail is.
SEEING = ROOT / "docs" / "topics" / "seeing.md"

# These are followed in projects of their own: see test_readme_project.py, and below.
PROJECTS = (ROOT / "README.md", ROOT / "docs" / "tutorial.md", EXTENSION, BACKGROUND, SEEING)

PAGES = [page for page in get_pages() if page not in PROJECTS]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def run_page(page: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.docs.blocks", str(page)],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.docs.settings"},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_blocks_of_a_page_run(page: Path) -> None:
    result = run_page(page)
    assert result.returncode == 0, result.stderr


def test_the_tutorial_can_be_followed_from_an_empty_directory(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.follow(ROOT / "docs" / "tutorial.md")
    assert "no issues" in project.manage("check")


def test_models_are_extended_in_a_project_that_starts_anew(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.run("-m", "django", "startproject", "mysite", ".")
    shutil.copytree(ROOT / "tests" / "docs" / "shop", tmp_path / "shop")
    (tmp_path / "shop" / "migrations").mkdir()
    (tmp_path / "shop" / "migrations" / "__init__.py").touch()
    project.append("mysite/settings.py", 'INSTALLED_APPS += ["shop", "django_signal_kit"]\n')
    project.manage("makemigrations", "shop")
    project.follow(EXTENSION)
    names = {path.name for path in (tmp_path / "shop" / "migrations").glob("0*.py")}
    assert names == {"0001_initial.py", "0002_product_weight.py"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("```python\nx = 1\nassert x == 2\n```\n", ['page.md", line 5', "AssertionError"]),
        ("```python\nprint(1)\n```\n```text\n2\n```\n", ["page.md:7", "says\n2"]),
        ("```python\nprint(1)\n```\n", ["page.md:4", "is\n1"]),
        ("```python\npass\n```\n\n```text\n2\n```\n", ["page.md:8", "says\n2"]),
        ("```sh\npython manage.py chekc\n```\n", ["page.md:4", "chekc"]),
        ('```python\nSIGNAL_KIT = {"RECIEVERS": []}\n```\n', ["page.md:4", "RECIEVERS"]),
        ("```python\n# shop/tests.py\nimport unittest\n```\n", ["page.md:4", "Ran 0 tests"]),
        (
            '```python\nSIGNAL_KIT = {"REDACTS": 1}\n```\n\n```text\nX (signal_kit.E001)\n```\n',
            ["page.md:8", "says\nX (", "Did you mean 'REDACT'?"],
        ),
    ],
)
def test_a_page_that_is_wrong_is_told_with_its_line(
    text: str, told: list[str], tmp_path: Path
) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A page\n\n" + text, encoding="utf-8")
    result = run_page(page)
    assert result.returncode == 1
    for part in told:
        assert part in result.stderr


def test_what_is_not_run_has_a_reason_and_is_rare() -> None:
    left_out = [block for page in get_pages() for block in read(page) if block.reason is not None]
    assert all(block.reason for block in left_out)
    assert len(left_out) <= 32


def test_each_block_has_a_known_language() -> None:
    # SQL is run by the tests of what it is about.
    known = {"python", "sh", "text", "html", "sql"}
    assert {
        block.where: block.language
        for page in get_pages()
        for block in read(page)
        if block.language not in known
    } == {}


def test_each_block_fits_its_column() -> None:
    wide = {
        f"{block.where} + {number}": line
        for page in get_pages()
        for block in read(page)
        for number, line in enumerate(block.code.splitlines())
        # What a command prints is as wide as it is.
        if len(line) > (96 if block.language == "text" else 92)
    }
    assert wide == {}


def test_each_check_is_explained_and_each_explained_check_exists() -> None:
    package = Path(django_signal_kit.__file__).parent
    source = "".join(path.read_text(encoding="utf-8") for path in package.rglob("*.py"))
    in_code = set(re.findall(r"\"(?:signal_kit\.)?([EW]\d{3})\"", source))
    page = (REFERENCE / "checks.md").read_text(encoding="utf-8")
    explained = re.findall(r"^## signal_kit\.([EW]\d{3})", page, re.MULTILINE)
    assert sorted(explained) == sorted(in_code)


def test_each_command_is_explained_with_all_its_options() -> None:
    package = Path(django_signal_kit.__file__).parent
    page = (REFERENCE / "commands.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    commands = {path.stem for path in package.rglob("management/commands/[!_]*.py")}
    assert commands <= set(sections)
    missing = []
    for command in commands:
        parser = load_command_class(get_commands()[command], command).create_parser("", command)
        # One that builds on a command of Django's has the options of that.
        own = find_spec(f"django.core.management.commands.{command}")
        base = load_command_class("django.core", command) if own else BaseCommand()
        django_own = base.create_parser("", command)._option_string_actions
        for option in set(parser._option_string_actions) - set(django_own):
            if f"`{option}" not in sections[command]:
                missing.append((command, option))
    assert missing == []


def test_each_option_and_hook_of_a_ready_made_is_on_its_page() -> None:
    missing = []
    for cls_name in receivers.__all__:
        cls = getattr(receivers, cls_name)
        text = get_reference(cls).read_text(encoding="utf-8")
        hooks = [
            hook
            for hook, value in vars(cls).items()
            if callable(value)
            and hook.startswith(("get_", "should_"))
            and not hasattr(ModelReceiver, hook)
        ]
        for wanted in (*get_options(cls), *hooks):
            if f"`{wanted}" not in text:
                missing.append((cls_name, wanted))
    assert missing == []
