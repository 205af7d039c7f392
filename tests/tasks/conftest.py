"""Fixtures of the tests of tasks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from django_signal_kit.signals import receiver_failed
from tests.tasks.collectors import FLUSHED, IN_TRANSACTION
from tests.tasks.queues import Broker


@pytest.fixture(autouse=True)
def _empty_broker() -> Iterator[None]:
    Broker.messages.clear()
    Broker.is_down = False
    yield
    Broker.messages.clear()
    Broker.is_down = False


@pytest.fixture
def failures() -> Iterator[list[dict[str, Any]]]:
    """What receiver_failed has told."""
    told: list[dict[str, Any]] = []

    def hear(**kwargs: Any) -> None:
        told.append(kwargs)

    receiver_failed.connect(hear)
    yield told
    receiver_failed.disconnect(hear)


@pytest.fixture(autouse=True)
def flushed() -> Iterator[list[tuple[str, list[Any]]]]:
    FLUSHED.clear()
    IN_TRANSACTION.clear()
    return FLUSHED
