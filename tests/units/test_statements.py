"""What is taken from a pile is in the order of the statements that it is of."""

from __future__ import annotations

from typing import Any

from django_signal_kit import Receiver
from django_signal_kit.units.pile import Pile
from django_signal_kit.units.statements import Statements, get_tables
from tests.apps.testapp.models import Place, Product, ProductProxy, Restaurant, Tag

ONE, TWO = Receiver(), Receiver()


def make_pile(*orders: int) -> Any:
    pile = Pile()
    for order in orders:
        pile.add(ONE, None, order, 1, order)
    return pile


def test_items_are_taken_in_their_order() -> None:
    pile = make_pile(3, 1, 2, 2)
    pile.add(TWO, None, "a", 1, 4)
    pile.add(TWO, None, "b", 1, 2)
    assert pile.take() == {ONE: [1, 2, 2, 3], TWO: ["b", "a"]}
    assert (pile.take(), pile.end) == ({}, 6)


def test_of_one_statement_items_stay_as_they_came() -> None:
    pile = Pile()
    for item, order in [("a", 2), ("b", 1), ("c", 2), ("d", 1)]:
        pile.add(ONE, None, item, 1, order)
    assert pile.take() == {ONE: ["b", "d", "a", "c"]}


def test_a_part_is_taken_in_its_own_order() -> None:
    pile = make_pile(1, 5, 4, 3)
    assert pile.take(2) == {ONE: [3, 4]}
    pile.add(ONE, None, 2, 1, 2)
    assert pile.take() == {ONE: [1, 2, 5]}


def test_positions_do_not_move() -> None:
    pile = make_pile(3, 2, 1)
    pile.add(ONE, "key", 0, 1, 0)
    assert pile.find(ONE, "key") == 3
    pile.cut(2)
    assert pile.find(ONE, "key") is None
    assert pile.take() == {ONE: [2, 3]}


def test_a_table_that_was_written_is_known_by_each_model_of_it() -> None:
    statements = Statements()
    since = statements.note([Tag])
    assert not statements.have_written(Tag, since)
    statements.note(get_tables(ProductProxy))
    assert statements.have_written(Product, since)
    assert not statements.have_written(Tag, since)


def test_a_row_in_two_tables_is_written_with_either() -> None:
    statements = Statements()
    statements.note([Place])
    assert statements.have_written(Restaurant, 0)
    since = statements.note([Restaurant])
    assert statements.have_written(Restaurant, since - 1)
    assert not statements.have_written(Place, since - 1)
