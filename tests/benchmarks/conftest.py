"""The benchmarks write to an SQLite file in WAL mode, or to the database that is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import override_settings

from tests.conftest import as_entry


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> None:
    """What is measured waits for the disk, as it does in a project."""


@pytest.fixture
def wired() -> Callable[..., Any]:
    """``wired(entry, ...)``: a context in which these receivers are wired, and can be again."""

    def make(*entries: Any, **keys: Any) -> Any:
        class Wiring:
            def __enter__(self) -> None:
                self.override = override_settings(
                    SIGNAL_KIT={"RECEIVERS": [as_entry(entry) for entry in entries], **keys}
                )
                self.override.enable()

            def __exit__(self, *args: object) -> None:
                self.override.disable()

        return Wiring()

    return make


@pytest.fixture(autouse=True)
def _write_ahead(request: Any) -> None:
    if connection.vendor == "sqlite" and request.node.get_closest_marker("django_db"):
        request.getfixturevalue("transactional_db")
        connection.cursor().execute("PRAGMA journal_mode=WAL").fetchall()
