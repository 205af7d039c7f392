from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import Any

import pytest

from django_signal_kit.receivers import FileCleanup
from tests.files.uploads import ALL, VAULT


@pytest.fixture(autouse=True)
def _storages(settings: Any) -> Iterator[None]:
    """Both storages empty; short paths, which fit into a column."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as vault:
        settings.MEDIA_ROOT = folder
        VAULT.location = vault
        VAULT.__dict__.pop("base_location", None)
        yield


@pytest.fixture
def cleanup(_storages: None, wire: Any) -> Any:
    return wire((FileCleanup, ALL))
