"""Counters that begin anew."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connection

from django_signal_kit.sight import counting


@pytest.fixture(autouse=True)
def _begin_anew() -> Iterator[None]:
    """For the tests of each module that imports it."""
    connection.ensure_connection()
    counting.forget()
    yield
    counting.forget()
