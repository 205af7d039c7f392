"""Cleaning twice is cleaning once, and what is no text is left alone."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from django_signal_kit.cleaning import cleaners
from django_signal_kit.cleaning.cleaners import CLEANERS


@pytest.mark.parametrize(
    ("name", "value", "cleaned"),
    [
        ("strip", " \ta b\n", "a b"),
        ("collapse_spaces", "  a\t\n b\N{NO-BREAK SPACE}c ", "a b c"),
        ("casefold", "Straße", "strasse"),
        ("nfc", "e\N{COMBINING ACUTE ACCENT}", "\N{LATIN SMALL LETTER E WITH ACUTE}"),
        ("lower_email_domain", "Ann@Example.COM", "Ann@example.com"),
        ("lower_email_domain", '"a@b"@EXAMPLE.com', '"a@b"@example.com'),
        ("lower_email_domain", "no address", "no address"),
        ("phone", "+49 (30) 12-34", "+49301234"),
        ("phone", "0049 30/1234", "+49301234"),
        ("phone", "030 1234", "0301234"),
        ("phone", "030 1234 ext. 5", "030 1234 ext. 5"),
        ("phone", "--", "--"),
        ("phone", "00", "00"),
        ("slug", "Crème Brûlée!", "creme-brulee"),
        ("slug", "日本", "日本"),
        ("empty_to_none", "", None),
        ("empty_to_none", " ", " "),
    ],
)
def test_a_cleaner_cleans(name: str, value: str, cleaned: Any) -> None:
    assert CLEANERS[name](value) == cleaned


@pytest.mark.parametrize("name", CLEANERS)
@pytest.mark.parametrize("value", [None, 0, 1.5, True, Decimal("1.0"), b" A ", [" A "], object()])
def test_what_is_no_text_is_left_alone(name: str, value: Any) -> None:
    assert CLEANERS[name](value) is value


@pytest.mark.parametrize("name", CLEANERS)
@given(value=st.text())
@example(value="00 00 1")
@example(value="+0049 1")
@example(value="İ@İ")
def test_cleaning_twice_is_cleaning_once(name: str, value: str) -> None:
    once = CLEANERS[name](value)
    assert CLEANERS[name](once) == once


def test_each_cleaner_is_known_by_its_name() -> None:
    assert all(getattr(cleaners, name) is function for name, function in CLEANERS.items())
    assert all(function.__doc__ for function in CLEANERS.values())
