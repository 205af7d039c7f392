"""The changes of an entry in a line."""

from __future__ import annotations

from itertools import product
from typing import Any

from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.audit.pages.summary import get_summary
from django_signal_kit.receivers import LastModified
from django_signal_kit.rows.values import REDACTED
from tests.apps.orders.models import Order
from tests.apps.testapp.models import Page, Product


def get_line(changes: Any, action: str = "update", model: Any = Product) -> str:
    items, omitted = get_summary(changes, model, action)
    texts = [
        f"{item.label} {item.new}" if item.old is None else f"{item.label} {item.old} → {item.new}"
        for item in items
    ]
    return ", ".join(texts + ([f"{omitted} more"] if omitted else []))


def test_short_values_are_shown_and_long_ones_only_named():
    changes = {"price": ["9.50", "12.00"], "name": ["Lamp", "x" * 500]}
    assert get_line(changes) == "Name …, Price 9.50 → 12.00"


def test_members_are_counted():
    assert get_line({"tags": {"added": [1, 2, 3], "removed": [4]}}) == "Tags +3 \N{MINUS SIGN}1"
    assert get_line({"tags": {"removed": [4]}}) == "Tags \N{MINUS SIGN}1"


def test_nothing_and_the_empty_text_are_told_apart():
    assert get_line({"slug": ["", None]}) == "Slug “” → —"


def test_more_than_three_fields_are_counted():
    names = ("name", "slug", "stock", "data", "image")
    line = get_line({name: [1, 2] for name in names})
    assert line == "Name 1 → 2, Slug 1 → 2, Stock 1 → 2, 2 more"


def test_what_a_person_changed_comes_before_what_is_stamped(wire: Any) -> None:
    """Base classes of stamps have their fields first."""
    created = {"created_at": [None, 2026], "name": [None, "Lamp"]}
    assert get_line(created, "create") == "Name Lamp, Created at 2026"
    line = get_line({"changed_at": [1, 2], "gone": [3, 4]}, model=Page)
    assert line == "gone 3 → 4, Changed at 1 → 2"
    changes = {"updated_at": [1, 2], "editor": [3, 4]}
    assert get_line(changes, model=Order) == "Updated at 1 → 2, Editor 3 → 4"
    wire((LastModified, {"models": [Order], "field": "updated_at"}))
    assert get_line(changes, model=Order) == "Editor 3 → 4, Updated at 1 → 2"


def test_a_new_row_shows_what_it_has():
    changes = {
        "id": [None, 7],
        "name": [None, "Lamp"],
        "slug": [None, ""],
        "category": [None, None],
        "api_token": [None, REDACTED],
        "stock": [None, 0],
    }
    assert get_line(changes, "create") == "Name Lamp, Stock 0"


def test_a_deleted_row_shows_what_it_had():
    changes = {"id": [7, None], "name": ["Lamp " * 20, None], "slug": ["", None]}
    assert get_line(changes, "delete") == "Name Lamp Lamp Lamp Lamp Lamp Lam…"


def test_a_changed_secret_is_named():
    line = get_line({"api_token": [REDACTED, REDACTED]})
    assert line == f"Api token {REDACTED} → {REDACTED}"


def test_choices_are_called_by_their_labels():
    assert (
        get_line({"action": ["create", "update"]}, model=AuditEntry) == "Action created → changed"
    )


def test_a_shape_that_is_not_of_the_kit_is_only_named():
    assert get_line({"name": "odd"}) == "Name …"


def test_no_changes_are_an_empty_line():
    assert get_line({}) == ""


def test_a_moment_is_shown_to_the_second_and_with_its_offset():
    """Cut off at so many characters, it would lack the end of the offset."""
    for fraction, offset in product(("", ".322626"), ("", "Z", "+00:00", "-05:30")):
        told = {"name": [None, f"2026-11-26T17:05:43{fraction}{offset}"]}
        assert get_line(told, "create") == f"Name 2026-11-26 17:05:43{offset}"
