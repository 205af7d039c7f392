"""Stored changes become rows that a person can read."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.audit.pages.diff import get_rows, get_value, reveal
from django_signal_kit.rows.values import REDACTED
from tests.apps.testapp.models import Product

# No test here is marked for the database: a query would fail it.

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def get_only(change: Any, name: str = "name", model: Any = Product) -> Any:
    (row,) = get_rows({name: change}, model)
    return row


def test_a_field_is_called_by_its_verbose_name():
    assert get_only(["a", "b"], "object_pk", AuditEntry).label == "Key"


def test_a_field_that_the_model_no_longer_has_keeps_its_raw_name():
    assert get_only(["a", "b"], "old_name").label == "old_name"


def test_a_raw_name_hides_nothing():
    assert get_only(["a", "b"], "na\u202eme").label == "na[U+202E]me"


def test_without_a_model_all_names_are_raw():
    assert [row.label for row in get_rows({"b": [1, 2], "a": [1, 2]}, None)] == ["a", "b"]


def test_rows_are_in_the_order_of_the_model_whatever_the_order_of_the_json():
    changes = {"tags": {"added": [1]}, "gone": [1, 2], "price": ["1", "2"], "name": ["a", "b"]}
    assert [row.name for row in get_rows(changes, Product)] == ["name", "price", "tags", "gone"]


@pytest.mark.parametrize(
    ("stored", "text", "kind"),
    [
        (None, "None", "none"),
        ("None", "None", "text"),
        ("", "", "empty"),
        (" ", " ", "text"),
        (REDACTED, REDACTED, "redacted"),
        ("9.50", "9.50", "text"),
        (3, "3", "plain"),
        (0, "0", "plain"),
        (2.0, "2.0", "plain"),
        ([], "[]", "json"),
        ({"b": ["é"], "a": 1}, '{\n  "a": 1,\n  "b": [\n    "é"\n  ]\n}', "json"),
    ],
)
def test_what_looks_alike_is_told_apart(stored, text, kind):
    value = get_value(stored)
    assert (value.text, value.kind, value.label) == (text, kind, "")


@pytest.mark.parametrize(
    ("stored", "text", "label"), [(True, "true", "Yes"), (False, "false", "No")]
)
def test_a_boolean_is_yes_or_no_beside_what_is_stored(stored, text, label):
    assert (get_value(stored).text, get_value(stored).label) == (text, label)


def test_a_choice_has_its_label_beside_what_is_stored():
    row = get_only(["create", "of another version"], "action", AuditEntry)
    assert (row.old.text, row.old.label) == ("create", "created")
    assert (row.new.text, row.new.label) == ("of another version", "")


def test_a_boolean_is_not_taken_for_the_choice_of_a_number():
    class Numbered:
        flatchoices = [(1, "one")]

    assert get_value(1, Numbered()).label == "one"
    assert get_value(True, Numbered()).label == "Yes"


def test_members_of_a_relation_are_listed():
    row = get_only({"added": [1, "b"], "removed": []}, "tags")
    assert row.kind == "members"
    assert [value.text for value in row.added] == ["1", "b"]
    assert row.removed == ()


def test_a_json_field_that_holds_two_objects_is_a_change_and_no_relation():
    row = get_only([{"added": [1]}, {"added": [2]}], "data")
    assert (row.kind, row.old.kind, row.new.kind) == ("value", "json", "json")


@pytest.mark.parametrize(
    "change", ["text", 3, None, [], [1], [1, 2, 3], {}, {"other": 1}, {"added": 3}]
)
def test_a_shape_that_is_not_of_the_kit_is_shown_as_it_is(change):
    row = get_only(change)
    assert row.kind == "raw"
    assert row.raw == get_value(change)


@pytest.mark.parametrize("changes", [None, [], {}, ""])
def test_no_changes_are_no_rows(changes):
    assert get_rows(changes, Product) == []


def test_changes_that_are_no_dict_are_shown_as_they_are():
    (row,) = get_rows(["a"], Product)
    assert (row.kind, row.raw.kind) == ("raw", "json")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("gpj.\u202eexe", "gpj.[U+202E]exe"),
        ("a\u200bb", "a[U+200B]b"),
        ("\x1b[31m", "[U+001B][31m"),
        ("a\rb", "a[U+000D]b"),
        ("a\r\nb\tc", "a\r\nb\tc"),
        ("مصباح 👩\u200d💻 می\u200cخوا", "مصباح 👩\u200d💻 می\u200cخوا"),  # noqa: RUF001
    ],
)
def test_what_cannot_be_seen_is_spelled_out_and_no_script_is_harmed(text, shown):
    assert reveal(text) == shown
    assert get_value(text).text == shown


@given(st.dictionaries(st.sampled_from(["name", "data", "tags", "gone"]), JSON))
def test_no_json_breaks_the_rows(changes):
    assert {row.name for row in get_rows(changes, Product)} == set(changes)
