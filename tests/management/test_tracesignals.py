"""What does this command set off?"""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from django_signal_kit import ModelReceiver
from tests.projects import KIT, Project

pytestmark = pytest.mark.django_db(transaction=True)


class Users(ModelReceiver):
    models = ["auth.User"]

    def post_save(self, instance: Any, **kwargs: Any) -> None:
        self.collect(instance.pk)

    def flush(self, items: list[Any]) -> None: ...


CREATE = ["createsuperuser", "--noinput", "--username", "ann", "--email", "ann@shop.example"]


def run(*args: str) -> str:
    out = StringIO()
    call_command("tracesignals", *args, stdout=out)
    return out.getvalue()


@pytest.fixture(autouse=True)
def _wired(wire: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", "x")
    wire(Users)


def test_the_tree_of_a_command_is_told() -> None:
    out = run(*CREATE)
    assert "post_save auth.User" in out
    assert "─ Users: collected 1 item" in out
    assert "─ flush Users: after commit, 1 item" in out


@pytest.mark.parametrize("kind", ["json", "svg", "tree"])
def test_it_is_written_into_a_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "found"
    assert run("--format", kind, "--output", str(path), *CREATE) == ""
    text = path.read_text(encoding="utf-8")
    if kind == "json":
        assert json.loads(text)["children"]
    else:
        assert text.startswith("<svg" if kind == "svg" else "  ")
    assert "post_save" in text


def test_what_fails_is_traced_too_and_fails() -> None:
    run(*CREATE)
    out = StringIO()
    with pytest.raises(CommandError, match="already taken"):
        call_command("tracesignals", *CREATE, stdout=out)
    assert "! CommandError: Error: That username is already taken." in out.getvalue()


def test_mistakes_are_told(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"no command 'migrat'\. Did you mean 'migrate'\?"):
        run("migrat")
    with pytest.raises(CommandError, match="--format json needs --output FILE"):
        run("--format", "json", *CREATE)
    with pytest.raises(CommandError, match="cannot be written"):
        run("--output", str(tmp_path), *CREATE)


def test_a_terminal_without_the_signs_gets_others(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with path.open("w", encoding="ascii") as out:
        call_command("tracesignals", *CREATE, stdout=out)
    assert "post_save auth.User" in path.read_text(encoding="ascii")


def test_from_a_shell_its_options_come_before_the_command(tmp_path: Path) -> None:
    project = Project(tmp_path, {}, [KIT])
    line = [
        "manage",
        "tracesignals",
        "--format",
        "json",
        "--output",
        "t.json",
        "check",
        "--tag",
        "models",
    ]
    done = project.run(
        f"from django.core.management import execute_from_command_line as run; run({line!r})"
    )
    assert "no issues" in done
    assert json.loads((tmp_path / "t.json").read_text(encoding="utf-8"))["count"] == 1
