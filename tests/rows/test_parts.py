"""What is too much to be in memory at once."""

from __future__ import annotations

import datetime
import uuid
from decimal import Decimal
from typing import Any

import pytest

from django_signal_kit.rows import parts
from django_signal_kit.rows.parts import Parts


@pytest.fixture
def kept() -> Any:
    kept = Parts()
    yield kept
    kept.close()


def test_parts_come_back_as_often_as_they_are_asked_for(kept: Parts) -> None:
    values = [None, "a", 2**70, Decimal("1.50"), uuid.uuid4(), b"\0", {"a": [1]}]
    values.append(datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC))
    for number in range(3):
        kept.add([number, *values])
    for _ in range(2):
        assert list(kept) == [[number, *values] for number in range(3)]


def test_two_may_read_them_at_once(kept: Parts) -> None:
    for number in range(3):
        kept.add([number])
    assert list(zip(kept, kept, strict=True)) == [([n], [n]) for n in range(3)]


def test_what_comes_back_is_apart_from_what_was_added(kept: Parts) -> None:
    data = {"a": 1}
    kept.add([data, data])
    data["a"] = 2
    [[first, second]] = kept
    assert first == {"a": 1}
    assert first is second


def test_what_is_more_than_fits_goes_into_a_file(kept: Parts, monkeypatch: Any) -> None:
    monkeypatch.setattr(parts, "MAX_SIZE", 1000)
    kept = Parts()
    for number in range(10):
        kept.add([str(number) * 500])
    assert kept._file._rolled  # type: ignore[attr-defined]
    assert [part[0][0] for part in kept] == list("0123456789")
    kept.close()


def test_a_value_that_cannot_be_put_aside_stays(kept: Parts) -> None:
    class Local:
        pass

    value = Local()
    kept.add([1])
    kept.add([value])
    kept.add([2])
    assert list(kept) == [[1], [value], [2]]
