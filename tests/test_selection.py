"""A test that can come out otherwise elsewhere is run there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.selection import EXCEPT, HERE, SELECTIONS, get_markers
from tests.sources import PACKAGE

TESTS = sorted(
    path
    for path in HERE.rglob("test_*.py")
    if path.relative_to(HERE).parts[0] not in {"benchmarks", "e2e", "engines", "thirdparty"}
)

# The signs in a test by which its outcome can differ there.
IN_TESTS = {
    "database": r"\.vendor\b|DATABASE\b|skipUnlessDBFeature|select_for_update"
    r"|\bThread\b|\bin_threads\b",
    "django": r"\bVERSION\b|django\.db\.models\.(sql|deletion|fields\.related_descriptors)",
    "wheel": r"importlib\.metadata|importlib\.resources|TEMPLATES\b.*=.*\{|get_commands",
}
# The signs in the package for which all tests of a room are run there.
IN_PACKAGE = {
    "database": r"\.vendor\b|\.cursor\(\)|select_for_update|\bsavepoint\(|\.(ops|features)\.",
    "django": r"\bVERSION\b|django\.db\.models\.(sql|deletion|fields\.related_descriptors)",
    "wheel": r"get_template|render_to_string|BaseCommand|module_has_submodule",
}

# What has such a sign for another reason.
NOT_FOR_IT = {
    # The threads of these work in memory; the engine of the one that asks is that of SQLite alone.
    "database": {
        "requests/test_exception_alert.py",
        "requests/test_instance_monitor.py",
        "requests/test_request_timer.py",
        "requests/test_windows.py",
        "test_current.py",
        "test_test.py",
        "wiring/test_late.py",
        "wiring/test_registry.py",
    },
    "django": set(),
    # It asks of what there is that the pages tell of it.
    "wheel": {"docs/test_pages.py"},
}


@pytest.mark.parametrize("marker", SELECTIONS)
def test_each_test_with_a_sign_is_selected(marker: str) -> None:
    left_out = {
        path.relative_to(HERE).as_posix()
        for path in TESTS
        if marker not in get_markers(path)
        and re.search(IN_TESTS[marker], path.read_text(encoding="utf-8"))
        and path != Path(__file__)
    }
    assert left_out == NOT_FOR_IT[marker]


@pytest.mark.parametrize("marker", SELECTIONS)
def test_the_tests_of_each_room_with_a_sign_are_selected(marker: str) -> None:
    rooms = {
        path.relative_to(PACKAGE).parts[0]
        for path in PACKAGE.glob("*/**/*.py")
        if re.search(IN_PACKAGE[marker], path.read_text(encoding="utf-8"))
    }
    assert rooms
    left_out = {room for room in rooms if not covers(marker, room)}
    assert left_out == set()


def covers(marker: str, room: str) -> bool:
    return any(folder.split("/")[0] == room for folder in SELECTIONS[marker])


@pytest.mark.parametrize("marker", SELECTIONS)
def test_each_folder_of_a_selection_has_tests(marker: str) -> None:
    for folder in (*SELECTIONS[marker], *EXCEPT.get(marker, ())):
        assert any(marker in get_markers(path) for path in (HERE / folder).rglob("test_*.py")) or (
            folder in EXCEPT.get(marker, ())
        )


def test_the_markers_are_on_the_tests(request: pytest.FixtureRequest) -> None:
    here = {mark.name for mark in request.node.iter_markers()}
    assert here & set(SELECTIONS) == get_markers(Path(__file__)) == {"django", "wheel"}
