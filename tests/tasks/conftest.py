"""Fixtures of the tests of tasks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.tasks.collectors import FLUSHED, IN_TRANSACTION
from tests.tasks.queues import Broker


@pytest.fixture(autouse=True)
def _empty_broker() -> Iterator[None]:
    Broker.messages.clear()
    Broker.is_down = False
    yield
    Broker.messages.clear()
    Broker.is_down = False


@pytest.fixture(autouse=True)
def flushed() -> Iterator[list[tuple[str, list[Any]]]]:
    FLUSHED.clear()
    IN_TRANSACTION.clear()
    return FLUSHED
