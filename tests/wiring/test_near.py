"""Which word was meant by a slip of the pen."""

from __future__ import annotations

import pytest

from django_signal_kit.wiring.near import find_near, is_slip
from tests.typos import get_typos

KNOWN = ["should_delete", "get_keys", "get_derived", "flush", "lacks", "log"]


@pytest.mark.parametrize("word", KNOWN[:-1])
def test_each_slip_is_seen(word: str) -> None:
    assert [find_near(typo, KNOWN) for typo in get_typos(word)] == [word] * len([*get_typos(word)])


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("shoud_delete", "should_delete"),
        ("should_deleted", "should_delete"),
        ("ShouldDelete", "should_delete"),
        ("should_delet_e", "should_delete"),
        ("getKeys", "get_keys"),
        ("get_key", "get_keys"),
        ("get_price", None),
        ("should", None),
        ("lgo", None),
        ("logs", None),
        ("", None),
    ],
)
def test_what_is_meant(name: str, meant: str | None) -> None:
    assert find_near(name, KNOWN) == meant


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("abcd", "abcd", False),
        ("abcd", "abc", True),
        ("abcd", "abcde", True),
        ("abcde", "abcd", True),
        ("abcd", "bacd", True),
        ("abcd", "abdc", True),
        ("abcd", "abxd", True),
        ("aaaa", "aaaaa", True),
        ("abcd", "axyd", False),
        ("abcd", "abcdef", False),
        ("abcd", "dbca", False),
        ("abcd", "bcda", False),
    ],
)
def test_one_slip(one: str, other: str, expected: bool) -> None:
    assert is_slip(one, other) is is_slip(other, one) is expected
