"""Which tests can come out otherwise on another database, another Django, or from the wheel.

The whole suite runs on SQLite with the oldest Django, and on PostgreSQL with the newest. Elsewhere
those run whose outcome can differ there: ``pytest -m database``, ``-m django`` or ``-m wheel``.
``test_selection.py`` says by which signs such a test is known, and finds one that is left out.
"""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent

#: Marker -> folders of this one; "." is what lies in it itself.
SELECTIONS: dict[str, tuple[str, ...]] = {
    # What writes SQL, locks, compares in the database, or waits for a commit.
    "database": (
        "audit",
        "cache",
        "cleaning",
        "databases",
        "faults",
        "files",
        "mail",
        "management",
        "receivers",
        "relations",
        "rows",
        "sight",
        "stamps",
        "tasks",
        "units",
        "writes",
    ),
    # What stands on Django's insides, or asks for its version.
    "django": (
        ".",
        "audit",
        "cache",
        "cleaning",
        "contrib",
        "databases",
        "extension",
        "mail",
        "relations",
        "requests",
        "rows",
        "sight",
        "stamps",
        "tasks",
        "units",
        "wiring",
        "writes",
    ),
    # What is found only if it was packed: modules, commands, templates, migrations, static files.
    "wheel": (".", "audit/pages", "contrib", "extension", "mail", "management", "wiring"),
}

#: Folders of a selection that it leaves out all the same.
EXCEPT = {"database": ("audit/pages",)}


def get_markers(path: Path) -> set[str]:
    """The markers of the tests in the file ``path``."""
    folder = path.parent.relative_to(HERE).as_posix()
    return {
        marker
        for marker, folders in SELECTIONS.items()
        if is_in(folder, folders) and not is_in(folder, EXCEPT.get(marker, ()))
    }


def is_in(folder: str, folders: tuple[str, ...]) -> bool:
    """Is ``folder`` one of these, or in one? In "." is only what lies in it itself."""
    return any(
        folder == other or (other != "." and folder.startswith(f"{other}/")) for other in folders
    )
