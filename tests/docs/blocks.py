"""Reads the code blocks of a page and runs them in order: ``python -m tests.docs.blocks PAGE``.

What a block is follows from what it says:

* ``# shop/receivers.py`` in its first line: a part of that module, below the earlier ones; what a
  module registered before is forgotten;
* only assignments to upper-case names: settings, valid until the end of the page;
* one dict with "RECEIVER": the only entry of ``SIGNAL_KIT["RECEIVERS"]`` from here on;
* any other Python: run in the namespace of the page;
* a ``text`` block with no prose between it and the code before it: what that code has to print;
* code followed by a ``text`` block that ends with the id of a check: a mistake. The text is what
  the start says of it, or else ``check``, however its lines are broken; it is taken back;
* ``sh``: its lines that begin with ``python manage.py`` are run.

A page is followed with an empty database and the models of ``tests/docs/shop``. A block is left
out only after ``<!-- not run: the reason -->``.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import doctest
import io
import re
import shlex
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

_FENCE = re.compile(r"^(?P<indent>\s*)(?P<ticks>`{3,})(?P<info>.*)$")
_NOT_RUN = re.compile(r"<!--\s*not run:\s*(?P<reason>.*?)\s*-->")
_MODULE = re.compile(r"#\s*(?P<path>[\w/]+\.py)\b")
#: Of a trace: milliseconds, and queries, of which there are fewer where more is cached.
_FIGURES = re.compile(r" +(?:\d+\.\d\d(?: +\d+)?|ms  queries)$", re.MULTILINE)
_CHECK = re.compile(r"\((?P<id>signal_kit\.[EWI]\d{3})\)\s*\Z")
_SETTING = re.compile(r"[A-Z][A-Z0-9_]*")


@dataclass(frozen=True)
class Block:
    """One fenced block. ``line`` is that of its first line of code; ``follows`` says that no
    prose stands between it and the block before; ``reason`` why it is not run, if it is not."""

    page: Path
    line: int
    language: str
    code: str
    follows: bool
    reason: str | None

    @property
    def where(self) -> str:
        page = self.page.relative_to(ROOT) if self.page.is_relative_to(ROOT) else self.page
        return f"{page}:{self.line}"

    @property
    def path(self) -> str | None:
        """The file that the block says it is."""
        match = _MODULE.match(self.code)
        return match["path"] if match else None

    @property
    def is_settings(self) -> bool:
        if self.path is not None:
            return self.path.rpartition("/")[2] == "settings.py"
        targets = [target for node in self.parse().body for target in _get_targets(node)]
        return bool(targets) and all(_SETTING.fullmatch(target) for target in targets)

    @property
    def entry(self) -> dict[str, Any] | None:
        """The entry of RECEIVERS that the block shows."""
        body = self.parse().body
        if len(body) != 1 or not isinstance(body[0], ast.Expr):
            return None
        value = body[0].value
        if not isinstance(value, ast.Dict) or not any(
            isinstance(key, ast.Constant) and key.value == "RECEIVER" for key in value.keys
        ):
            return None
        entry: dict[str, Any] = ast.literal_eval(value)
        return entry

    @property
    def joined(self) -> Block:
        """The same with its text in one line."""
        return replace(self, code=join(self.code))

    def parse(self) -> ast.Module:
        """Its syntax tree, with the line numbers of the page."""
        tree = ast.parse(self.code, str(self.page))
        ast.increment_lineno(tree, self.line - 1)
        return tree

    def execute(self, namespace: dict[str, Any]) -> None:
        exec(compile(self.parse(), str(self.page), "exec"), namespace)


def _get_targets(node: ast.stmt) -> Iterator[str]:
    """The names that a statement assigns to; a lower-case one if it does anything else."""
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AugAssign):
        targets = [node.target]
    elif isinstance(node, ast.Import | ast.ImportFrom):
        return
    else:
        targets = []
        yield "no assignment"
    for target in targets:
        yield target.id if isinstance(target, ast.Name) else "no name"


def join(text: str) -> str:
    return " ".join(text.split()) + "\n"


def get_pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def get_reference(ready_made: type) -> Path:
    """The page of a ready-made receiver: in the folder of its feature."""
    slug = re.sub(r"(?<!^)(?=[A-Z][a-z])", "-", ready_made.__name__).lower()
    return ROOT / "docs" / "reference" / ready_made.__module__.split(".")[1] / f"{slug}.md"


def read(page: Path) -> list[Block]:
    """The fenced blocks of a page. Directives (```` ```{note} ````) are prose."""
    blocks: list[Block] = []
    fence: re.Match[str] | None = None
    start, code = 0, []
    prose, reason = True, None
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        match = _FENCE.match(line)
        if fence is None:
            if match:
                fence, start, code = match, number + 1, []
            elif note := _NOT_RUN.search(line):
                reason = note["reason"]
            elif line.strip():
                prose, reason = True, None
        elif match and not match["info"].strip() and len(match["ticks"]) >= len(fence["ticks"]):
            language = fence["info"].strip()
            if language.startswith("{"):
                prose = True
            else:
                text = "\n".join(line.removeprefix(fence["indent"]) for line in code) + "\n"
                blocks.append(Block(page, start, language, text, not prose, reason))
                prose = False
            fence, reason = None, None
        else:
            code.append(line)
    if fence is not None:
        raise AssertionError(f"{page}:{start - 1}: the block has no end")
    return blocks


def get_expected(blocks: list[Block], index: int) -> Block | None:
    """The block of what ``blocks[index]`` has to print, if there is one."""
    following = blocks[index + 1] if index + 1 < len(blocks) else None
    if following is not None and following.language == "text" and following.follows:
        return following
    return None


def check_output(block: Block, printed: str, expected: Block | None) -> None:
    """Raise AssertionError if ``block`` printed something else than the page says."""
    wanted = "" if expected is None else expected.code
    # The first line may be indented, as that of a table is.
    printed = "\n".join(line.rstrip() for line in printed.rstrip().splitlines()).lstrip("\n")
    wanted = "\n".join(line.rstrip() for line in wanted.rstrip().splitlines()).lstrip("\n")
    printed, wanted = f"{printed}\n", f"{wanted}\n"
    if _FIGURES.search(wanted):
        printed, wanted = _FIGURES.sub("", printed), _FIGURES.sub("", wanted)
    if not doctest.OutputChecker().check_output(wanted, printed, doctest.ELLIPSIS):
        where = block.where if expected is None else expected.where
        raise AssertionError(
            f"{where}: the page says\n{wanted}\nbut what is printed is\n{printed}"
        )


def get_commands(block: Block) -> list[list[str]]:
    """The ``manage.py`` commands of a shell block, without ``python manage.py``."""
    lines = [shlex.split(line, comments=True) for line in block.code.splitlines()]
    return [words[2:] for words in lines if words[:2] == ["python", "manage.py"]]


class Runner:
    """Follows one page in this process, whose Django has been set up."""

    def __init__(self) -> None:
        self.namespace: dict[str, Any] = {"__name__": "__main__"}
        self.overrides: list[Any] = []

    def run(self, page: Path) -> None:
        blocks = read(page)
        for index, block in enumerate(blocks):
            if block.reason is not None or block.language not in ("python", "sh"):
                continue
            printed = io.StringIO()
            expected = get_expected(blocks, index)
            try:
                if expected is not None and (check := _CHECK.search(expected.code)):
                    said = self.complain(block, check["id"])
                    check_output(block, join(said), expected.joined)
                    continue
                with contextlib.redirect_stdout(printed):
                    self.run_block(block)
            except BaseException as error:
                error.add_note(f"in the block at {block.where}")
                raise
            if block.language == "python" or expected is not None:
                check_output(block, printed.getvalue(), expected)

    def run_block(self, block: Block) -> None:
        if block.language == "sh":
            self.run_commands(block)
        elif block.is_settings:
            self.apply(block)
        elif block.entry is not None:
            self.override(SIGNAL_KIT={"RECEIVERS": [block.entry]})
        elif block.path is not None:
            self.run_module(block, block.path)
        else:
            block.execute(self.namespace)

    def complain(self, block: Block, id: str) -> str:
        """What the start says of the mistake in ``block``, or else ``check`` under that id."""
        from django.core.exceptions import ImproperlyConfigured

        from django_signal_kit.apps import wire
        from django_signal_kit.checks import check_signal_kit
        from django_signal_kit.wiring.declaring import declarations

        before, count = declarations[:], len(self.overrides)
        try:
            self.run_block(block)
            found = [each for each in check_signal_kit() if each.id == id]
            return "\n".join(f"{each.msg} {each.hint} ({each.id})" for each in found)
        except ImproperlyConfigured as error:
            return str(error)
        finally:
            declarations[:] = before
            while len(self.overrides) > count:
                self.overrides.pop().disable()
            wire()

    def apply(self, block: Block) -> None:
        from django.conf import settings

        # Lists are extended in place: Django's own must stay what they were.
        before = {name: getattr(settings, name) for name in dir(settings) if name.isupper()}
        namespace = copy.deepcopy(before)
        block.execute(namespace)
        changed = {
            name: value
            for name, value in namespace.items()
            if _SETTING.fullmatch(name) and (name not in before or value != before[name])
        }
        for name in ("INSTALLED_APPS", "MIDDLEWARE"):
            if name in changed:
                changed[name] = list(dict.fromkeys(changed[name]))
        self.override(**changed)

    def override(self, **values: Any) -> None:
        from django.test.utils import override_settings

        override = override_settings(**values)
        override.enable()
        self.overrides.append(override)

    def run_module(self, block: Block, path: str) -> None:
        from django_signal_kit.apps import wire
        from django_signal_kit.wiring.declaring import declarations

        name = path.removesuffix(".py").replace("/", ".")
        if name.endswith(".models"):
            raise AssertionError(f"{block.where}: pages use the models of tests/docs/shop")
        declarations[:] = [entry for entry in declarations if entry.cls.__module__ != name]
        module = sys.modules.setdefault(name, types.ModuleType(name))
        parent, _, own = name.rpartition(".")
        if parent in sys.modules:
            # As an import would: who looks it up by its path goes through its package.
            setattr(sys.modules[parent], own, module)
        if name.endswith(".signals"):
            # Each block is the whole of it.
            for key, value in list(vars(module).items()):
                if isinstance(value, type) and value.__module__ == name:
                    delattr(module, key)
        block.execute(vars(module))
        wire()
        if name.endswith(".tests"):
            run_tests(module)

    def run_commands(self, block: Block) -> None:
        from django.core.management import call_command

        for command, *arguments in get_commands(block):
            call_command(command, *arguments)


def run_tests(module: types.ModuleType) -> None:
    """Run the test cases of a module; raise AssertionError unless all pass and there are some."""
    import unittest

    suite = unittest.defaultTestLoader.loadTestsFromModule(module)
    report = io.StringIO()
    result = unittest.TextTestRunner(stream=report).run(suite)
    if not result.wasSuccessful() or not result.testsRun:
        raise AssertionError(report.getvalue())


def main(page: Path) -> None:
    import django
    from django.core.management import call_command
    from django.test.utils import setup_test_environment

    django.setup()
    setup_test_environment()
    call_command("migrate", run_syncdb=True, verbosity=0)
    Runner().run(page.resolve())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
