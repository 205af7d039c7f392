"""Imports go one way, and each check has one id that the documentation knows."""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import django_signal_kit

PACKAGE = Path(django_signal_kit.__file__).parent
NAME = PACKAGE.name
CHECKS_PAGE = Path(__file__).parents[1] / "docs" / "reference" / "checks.md"

# A module imports from its own layer and from those above it. A name stands for what is below it
# as well.
LAYERS = [
    [
        "exceptions",
        "durations",
        "progress",
        "conf",
        "signals",
        "failures",
        "current",
        "exchange",
        "querycount",
        "histograms",
        "windows",
        "webhook",
        "reporting",
        "catalog",
        "values",
        "cleaners",
        "middleware",
        "extending",
    ],
    [
        "journal",
        "isolation",
        "locking",
        "batching",
        "options",
        "receiver",
        "canonical",
        "reading",
        "loaded",
        "snapshots",
        "inserting",
        "locality",
        "instances",
        "recursion",
        "related",
        "rowwise",
    ],
    [
        "dispatch",
        "senders",
        "bulk",
        "m2m",
        "writes",
        "registry",
        "pointers",
        "links",
        "counting",
        "orphans",
        "validating",
    ],
    ["entries", "recording"],
    ["receivers", "audit", "mail", "connecting", "migrating"],
    ["forms", "loading", "early", "unheard", "checks", "listing", "management", "test"],
    ["apps"],
]


@cache
def get_modules() -> dict[str, ast.Module]:
    modules = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        modules[name] = ast.parse(file.read_text(encoding="utf-8"))
    return modules


def walk(node: ast.AST) -> Iterator[ast.AST]:
    """What is run: everything but ``if TYPE_CHECKING:`` blocks."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            for other in child.orelse:
                yield other
                yield from walk(other)
            continue
        yield child
        yield from walk(child)


def get_imports(module: str) -> set[str]:
    """The modules of the package that a module imports, inside functions too."""
    modules, found = get_modules(), set()
    for node in walk(modules[module]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}".removeprefix(f"{NAME}.")
                is_module = str(node.module).startswith(NAME) and inner in modules
                found.add(f"{NAME}.{inner}" if is_module else str(node.module))
    return {
        name.removeprefix(NAME).removeprefix(".")
        for name in found
        if name == NAME or name.startswith(f"{NAME}.")
    }


def get_layer(module: str) -> int:
    (layer,) = (
        index
        for index, names in enumerate(LAYERS)
        if any(module == name or module.startswith(f"{name}.") for name in names)
    )
    return layer


@pytest.mark.parametrize("module", [name for name in get_modules() if name])
def test_a_module_imports_from_its_own_layer_or_from_those_before(module: str) -> None:
    later = [name for name in get_imports(module) if get_layer(name) > get_layer(module)]
    assert later == []


def test_every_module_has_a_layer_and_every_name_is_a_module() -> None:
    modules = {name for name in get_modules() if name}
    for module in modules:
        assert get_layer(module) in range(len(LAYERS))
    assert {name for names in LAYERS for name in names} <= modules


def test_nothing_imports_the_package_itself() -> None:
    # Its names are lazy: whoever imports them from there hides what he imports.
    assert [module for module in get_modules() if "" in get_imports(module)] == []


def test_there_are_no_cycles() -> None:
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join([*path, module])
        if module not in done:
            for name in sorted(get_imports(module)):
                visit(name, (*path, module))
            done.add(module)

    for module in get_modules():
        visit(module, ())
    assert done == set(get_modules())


def test_the_package_and_the_ready_made_receivers_import_nothing_of_the_kit_at_first() -> None:
    assert get_imports("") == set()
    assert get_imports("receivers") == set()


def test_ready_made_receivers_never_import_each_other() -> None:
    ready_made = [name for name in get_modules() if name.startswith("receivers.")]
    assert len(ready_made) >= 5
    for module in ready_made:
        assert [name for name in get_imports(module) if name.startswith("receivers")] == []


def test_the_imports_that_are_looked_for_are_found() -> None:
    assert "conf" in get_imports("catalog")
    assert "rowwise" in get_imports("registry")
    assert "receivers" in get_imports("loading")
    source = "def f():\n    from django_signal_kit.apps import wire\n"
    get_modules()["probe"] = ast.parse(source)
    try:
        assert get_imports("probe") == {"apps"}
    finally:
        del get_modules()["probe"]


def test_no_module_hides_a_public_name() -> None:
    # Importing django_signal_kit.batch would set the attribute that the lazy name has.
    assert set(get_modules()).isdisjoint({*django_signal_kit.__all__, "trace"})


# Checks


def get_checks() -> Iterator[tuple[str, str]]:
    """(id, source of the sentence) of every check in the code."""
    for tree in get_modules().values():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            if name == "Misconfigured" and len(node.args) >= 2:
                yield f"signal_kit.{ast.literal_eval(node.args[0])}", ast.unparse(node.args[1])
            for keyword in node.keywords:
                if (
                    keyword.arg == "id"
                    and isinstance(keyword.value, ast.Constant)
                    and str(keyword.value.value).startswith("signal_kit")
                ):
                    yield str(keyword.value.value), ast.unparse(node.args[0])


def get_documented() -> list[str]:
    page = CHECKS_PAGE.read_text(encoding="utf-8")
    return re.findall(r"^## (signal_kit\S*\.[EWI]\d{3})$", page, re.MULTILINE)


def test_the_ids_in_the_code_are_those_in_the_documentation() -> None:
    assert {id for id, _ in get_checks()} == set(get_documented())


def test_no_id_is_documented_twice_and_they_are_in_order() -> None:
    documented = get_documented()
    assert [id for id, count in Counter(documented).items() if count > 1] == []
    assert documented == sorted(documented)


def test_no_id_is_skipped() -> None:
    numbers = defaultdict(list)
    for id in get_documented():
        prefix, number = id[:-3], int(id[-3:])
        numbers[prefix].append(number)
    for found in numbers.values():
        assert found == list(range(1, len(found) + 1))


def test_no_two_ids_have_the_same_sentence() -> None:
    ids = defaultdict(set)
    for id, sentence in get_checks():
        ids[sentence].add(id)
    # A sentence that is put together elsewhere cannot be compared.
    assert {s: found for s, found in ids.items() if len(found) > 1 and s[0] in "f'\""} == {}


def test_every_mention_of_an_id_is_of_one_that_exists() -> None:
    known = set(get_documented())
    for tree in get_modules().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert set(re.findall(r"signal_kit\.[EWI]\d{3}", node.value)) <= known
