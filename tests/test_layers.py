"""The tree says where everything is, and imports go one way."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import django_signal_kit
from django_signal_kit import receivers
from tests.sources import NAME, PACKAGE, get_imports, get_modules

HERE = Path(__file__).parent
PAGES = HERE.parent / "docs" / "reference"

# The core, in the order of the imports: a room imports from itself and from those before it.
CORE = [
    "exceptions",
    "durations",
    "endpoints",
    "tally",
    "signals",
    "conf",
    "current",
    "units",
    "rows",
    "options",
    "tasks",
    "receiver",
    "exchange",
    "middleware",
    "writes",
    "receivers",
    "wiring",
]
# Side by side: none knows another.
FEATURES = [
    "audit",
    "cache",
    "cleaning",
    "databases",
    "extension",
    "files",
    "mail",
    "relations",
    "requests",
    "sight",
    "stamps",
]
# What knows features, in the order of the imports. The commands of the app of the audit log come
# after those of the kit, with which they share their helpers.
ABOVE = [
    "templatetags",
    "forms",
    "contrib",
    "management",
    "audit.management",
    "test",
    "pytest_plugin",
    "checks",
    "apps",
]

FLOORS = [[room] for room in CORE] + [FEATURES] + [[room] for room in ABOVE]


def get_room(module: str) -> str:
    """The longest name of the lists that a module is, or is in."""
    rooms = [
        room
        for floor in FLOORS
        for room in floor
        if module == room or module.startswith(f"{room}.")
    ]
    assert rooms, f"{module} is in no room: add it to the lists above, or move it into one"
    return max(rooms, key=len)


def get_floor(room: str) -> int:
    return next(number for number, floor in enumerate(FLOORS) if room in floor)


@pytest.mark.parametrize("module", [name for name in get_modules() if name])
def test_a_module_imports_from_its_own_room_or_from_those_before(module: str) -> None:
    room = get_room(module)
    wrong = [
        name
        for name in get_imports(module)
        if (other := get_room(name)) != room and get_floor(other) >= get_floor(room)
    ]
    assert wrong == []


def test_the_root_has_the_modules_and_folders_of_the_lists_and_no_others() -> None:
    listed = {room for floor in FLOORS for room in floor if "." not in room}
    there = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    there |= {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert there == listed


def test_the_tests_and_the_pages_of_features_stand_in_folders_of_the_same_names() -> None:
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")} - {"management"}
    tests = {path.parent.name for path in HERE.glob("*/test_*.py")}
    assert rooms - tests == set()
    assert tests - rooms == {
        *("benchmarks", "docs", "e2e", "engines", "example", "faults", "management")
    }
    pages = {path.parent.name for path in PAGES.glob("*/*.md")}
    assert pages == {*FEATURES, "contrib"}


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
    ready_made = {getattr(receivers, name).__module__ for name in receivers.__all__}
    ready_made = {module.removeprefix(f"{NAME}.") for module in ready_made}
    assert len(ready_made) == len(receivers.__all__)
    for module in ready_made:
        # A welcome is a mail.
        known = {"mail.email"} if module == "mail.welcome_email" else set()
        assert get_imports(module) & ready_made == known


def test_the_imports_that_are_looked_for_are_found() -> None:
    assert "conf" in get_imports("wiring.catalog")
    assert "writes.rowwise" in get_imports("wiring.connecting")
    assert "receivers" in get_imports("wiring.configured")
    source = "def f():\n    from django_signal_kit.apps import wire\n"
    get_modules()["probe"] = ast.parse(source)
    try:
        assert get_imports("probe") == {"apps"}
    finally:
        del get_modules()["probe"]


def test_no_module_hides_a_public_name() -> None:
    # Importing django_signal_kit.batch would set the attribute that the lazy name has.
    assert set(get_modules()).isdisjoint({*django_signal_kit.__all__, "trace"})
