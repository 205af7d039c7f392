"""Fixtures of the tests of connections and migrations."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import connections

from django_signal_kit.databases.actor import ActorSession
from django_signal_kit.requests.querycount import count_query
from tests.databases.migrating import drop_objects


@pytest.fixture
def new_connections(_django_db_helper: None) -> Iterator[None]:
    """None is open before, and none has an actor afterwards."""
    connections.close_all()
    for known in connections.all(initialized_only=True):
        # A RequestTimer leaves its own there, for the next request.
        known.execute_wrappers[:] = [
            wrapper for wrapper in known.execute_wrappers if wrapper is not count_query
        ]
    yield
    connections.close_all()
    for known in connections.all(initialized_only=True):
        known.execute_wrappers[:] = [
            wrapper for wrapper in known.execute_wrappers if not isinstance(wrapper, ActorSession)
        ]


@pytest.fixture
def no_objects_left() -> Iterator[None]:
    """The views, triggers and functions that a test makes are dropped after it."""
    yield
    drop_objects()
