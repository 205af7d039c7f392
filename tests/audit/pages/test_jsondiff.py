"""A change of JSON is read by key, and only where it differs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_signal_kit.audit.pages.diff import Row, get_rows
from django_signal_kit.audit.pages.jsondiff import expand
from tests.apps.testapp.models import Product

# No test here is marked for the database: a query would fail it.

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def get_expanded(old: Any, new: Any) -> list[Row]:
    (row,) = get_rows({"data": [old, new]}, Product)
    return expand(row)


def read(old: Any, new: Any) -> dict[str, tuple[Any, Any]]:
    """{path: (old, new)} as text; None where the key was not there."""
    return {
        row.path: tuple(value and value.text for value in (row.old, row.new))
        for row in get_expanded(old, new)
        if row.kind == "value"
    }


def test_a_nested_key_is_named_by_its_path():
    old = {"address": {"city": "Madrid", "zip": "28001"}, "name": "Ana"}
    new = {"address": {"city": "Cádiz", "zip": "28001"}, "name": "Ana"}
    assert read(old, new) == {"address.city": ("Madrid", "Cádiz")}
    *_, same = get_expanded(old, new)
    assert (same.kind, same.count) == ("same", 2)
    assert json.loads(same.raw.text) == {"address.zip": "28001", "name": "Ana"}
    assert {row.label for row in get_expanded(old, new)} == {"Data"}


def test_a_key_that_came_or_went_was_not_there():
    assert read({"a": 1}, {"b": None}) == {"a": ("1", None), "b": (None, "None")}


def test_items_of_lists_of_the_same_length_are_compared():
    old = {"lines": [{"n": 1}, {"n": 2}]}
    assert read(old, {"lines": [{"n": 1}, {"n": 3}]}) == {"lines[1].n": ("2", "3")}
    assert read([1, [2]], [1, [3]]) == {"[1][0]": ("2", "3")}


def test_lists_of_other_lengths_are_shown_as_a_whole():
    assert read({"a": [1, 2]}, {"a": [1]}) == {"a": ("[\n  1,\n  2\n]", "[\n  1\n]")}
    (row,) = get_expanded([1, 2], [1])
    assert (row.path, row.old.kind) == ("", "json")


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("a.b", '["a.b"]'),
        ("", '[""]'),
        ('"', '["\\""]'),
        ("größe", "größe"),
        ("a\u202eb", '["a[U+202E]b"]'),
        ("<b>", '["<b>"]'),
    ],
)
def test_a_key_that_looks_like_a_path_is_quoted(key, path):
    assert list(read({key: 1}, {key: 2})) == [path]


@pytest.mark.parametrize(
    ("old", "new"), [(1, True), (0, False), (1, 1.0), (1, "1"), (None, "None"), ([], {})]
)
def test_what_python_takes_for_equal_is_told_apart(old, new):
    assert list(read({"a": old}, {"a": new})) == ["a"]


@pytest.mark.parametrize(("old", "new"), [(None, {"a": 1}), ({"a": 1}, [1]), ("{}", {}), (1, 2)])
def test_what_is_no_pair_of_objects_stays_as_it_is(old, new):
    (row,) = get_expanded(old, new)
    assert row.path == ""


def test_what_was_written_anew_is_shown_as_a_whole():
    (row,) = get_expanded({str(n): n for n in range(200)}, {str(n): n + 1 for n in range(200)})
    assert row.path == ""


def test_the_deepest_parts_are_shown_as_a_whole():
    def nest(value: Any) -> Any:
        for _ in range(60):
            value = {"a": value}
        return value

    (path,) = read(nest(1), nest(2))
    assert path.count("a") == 20


@given(JSON, JSON)
def test_no_json_breaks_it_and_nothing_is_lost(old, new):
    rows = get_expanded(old, new)
    assert [row.kind for row in rows if row.kind != "same"]
    # Each part is told once.
    assert len({row.path for row in rows}) == len(rows)
