"""Secrets in a text that somebody else has written."""

from __future__ import annotations

import base64
import datetime
import json
import re
from decimal import Decimal
from enum import Enum
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.contrib.auth.tokens import default_token_generator
from django.utils.formats import localize
from hypothesis import given
from hypothesis import strategies as st

from django_signal_kit.rows.cleansing import cleanse, find_secrets, hide_named, hide_tokens
from django_signal_kit.rows.values import REDACTED

NUMBER = UUID("0f8fad5b-d9cb-469f-a165-70867728950e")


class Pin(Enum):
    FIRST = 4711


@pytest.mark.parametrize(
    ("secret", "text"),
    [
        ("T-4711", "T-4711"),
        ("a b&c", quote("a b&c")),
        ("a b&c", "a b&amp;c"),
        ('say "x"', json.dumps('say "x"')),
        ("it's", repr("it's")),
        ("line\nbreak", repr("line\nbreak")),
        (NUMBER, str(NUMBER)),
        (NUMBER, NUMBER.hex),
        (NUMBER, NUMBER.hex.upper()),
        (NUMBER, repr(NUMBER)),
        (4711, "4711"),
        (1234567, "1,234,567"),
        (-5, "-5"),
        (Pin.FIRST, "4711"),
        (Decimal("1234.50"), "1234.50"),
        (Decimal("1234.50"), "1234.5"),
        (Decimal("1E+3"), "1000"),
        (0.25, "0.25"),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        (datetime.date(2026, 1, 2), "20260102"),
        (datetime.date(2026, 1, 2), localize(datetime.date(2026, 1, 2))),
        (datetime.datetime(2026, 1, 2, 3, 4), "2026-01-02 03:04:00"),
        (datetime.datetime(2026, 1, 2, 3, 4), "2026-01-02T03:04:00"),
        (datetime.time(3, 4), "03:04:00"),
        (datetime.timedelta(hours=30), "1 day, 6:00:00"),
        (b"\x00\xffabc", base64.b64encode(b"\x00\xffabc").decode()),
        (b"geheim", "geheim"),
        (b"geheim", b"geheim".hex()),
        ({"user": "ann", "password": "geheim"}, "geheim"),
        ({"user": "ann"}, str({"user": "ann"})),
        (["one", "two"], json.dumps(["one", "two"])),
    ],
)
def test_a_secret_is_taken_out_in_each_form(secret: Any, text: str) -> None:
    assert text not in cleanse(f"x {text} y", [secret])
    assert cleanse(f"x ({text}) y", [secret]).startswith("x (")
    assert REDACTED in cleanse(f"x {text} y", [secret])


def test_a_number_stays_where_it_is_a_part_of_another() -> None:
    assert cleanse("Room 101, 1 of 21", [1]) == f"Room 101, {REDACTED} of 21"


@pytest.mark.parametrize("secret", [None, True, False, "", [], {}])
def test_what_is_no_secret_of_its_own_changes_nothing(secret: Any) -> None:
    assert cleanse("True, False, None and []", [secret]) in (
        "True, False, None and []",
        f"True, False, None and {REDACTED}",
    )


def test_the_longest_and_those_that_overlap_go_whole() -> None:
    assert cleanse("abcdef", ["abc", "abcdef"]) == REDACTED
    assert cleanse("abcd", ["abc", "bcd"]) == REDACTED
    assert cleanse("abc red", ["abc", "red"]) == f"{REDACTED} {REDACTED}"


def test_what_cannot_say_its_name_harms_nobody() -> None:
    class Mute:
        def __str__(self) -> str:
            raise RuntimeError

    knot: list[Any] = []
    knot.append(knot)
    assert cleanse("text", [Mute(), knot, 10**5000, float("nan"), Decimal("sNaN")]) == "text"


scalars = (
    st.text(st.characters(), min_size=1)
    | st.integers()
    | st.uuids()
    | st.dates()
    | st.datetimes()
    | st.times()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.floats(allow_nan=False)
    | st.timedeltas()
)


@given(
    st.lists(scalars, min_size=1, max_size=3),
    st.lists(st.text(st.characters(categories=["Ll", "Zs"]), min_size=1), min_size=4, max_size=4),
)
def test_no_secret_is_left_in_a_text(secrets: list[Any], others: list[str]) -> None:
    pairs = zip(secrets, others[1:], strict=False)
    text = others[0] + "".join(f"{secret}{other}" for secret, other in pairs)
    cleansed = cleanse(text, secrets)
    assert REDACTED in cleansed
    for part in cleansed.split(REDACTED):
        for secret in secrets:
            if isinstance(secret, str):
                assert secret not in part
            else:
                assert not re.search(rf"(?<!\d){re.escape(str(secret))}(?!\d)", part)


@given(st.lists(scalars), st.text(st.characters(categories=["Lu"])))
def test_a_text_without_secrets_stays_as_it_is(secrets: list[Any], text: str) -> None:
    others = [secret for secret in secrets if not isinstance(secret, str)]
    assert cleanse(text, others) == text


# JSON


def test_secrets_are_found_in_json_by_the_names_of_their_keys() -> None:
    value = {"user": {"password": "a", "name": "x"}, "items": [{"iban": 1}, {"api_key": ["b"]}]}
    assert list(find_secrets(value)) == ["a", ["b"]]
    assert list(find_secrets(value, ("iban",))) == ["a", 1, ["b"]]
    assert list(find_secrets("password")) == []


def test_json_that_holds_itself_is_looked_through_once() -> None:
    knot: dict[str, Any] = {"password": "a"}
    knot["self"] = knot
    assert set(find_secrets(knot)) == {"a"}


# Tokens by their shape


def test_a_token_of_django_and_a_jwt_are_seen_by_their_shape() -> None:
    user = User(pk=1, password="x")
    token = default_token_generator.make_token(user)
    assert hide_tokens(f"/reset/MQ/{token}/") == f"/reset/MQ/{REDACTED}/"
    jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
    assert hide_tokens(f"/sso/{jwt}/x") == f"/sso/{REDACTED}/x"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/shop/products/a-very-long-name-of-a-product-that-goes-on-and-on/12/",
        f"/orders/{NUMBER}/",
        "/commits/0123456789abcdef0123456789abcdef01234567/",
        "/2026/01/02/eye-of-the-tiger.html",
    ],
)
def test_other_paths_stay_as_they_are(path: str) -> None:
    assert hide_tokens(path) == path


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("token=abc, name=tea", "token=*, name=tea"),
        ("{'api_key': 'a b', 'n': 1}", "{'api_key': *, 'n': 1}"),
        ("Key (name, token)=(tea, abc) exists", "Key (name, token)=(*) exists"),
        ("redis://:abc@cache:6379/0", "redis://:*@cache:6379/0"),
        ("postgres://ann:a:b@db/shop", "postgres://ann:*@db/shop"),
        ("https://shop.example/a:b@c", "https://shop.example/a:b@c"),
        ("iban=DE1", "iban=*"),
    ],
)
def test_what_is_said_by_the_name_of_a_secret_is_hidden(text: str, shown: str) -> None:
    assert hide_named(text, ("iban",), "*") == shown


@pytest.mark.parametrize("text", ["a" * 200_000, "://" * 60_000, "(" * 100_000, "a='" * 50_000])
def test_a_text_of_a_stranger_is_gone_through_once(text: str) -> None:
    assert hide_named(text) == text
