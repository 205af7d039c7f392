"""What differs in long texts is marked, word by word."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from django_signal_kit.audit.pages.diff import Row, get_value
from django_signal_kit.audit.pages.marking import mark

BRASS = "The lamp stands on a heavy foot of brass."


def get_marked(old: Any, new: Any) -> tuple[list[str], list[str]]:
    row = mark(Row("name", "Name", "value", old=get_value(old), new=get_value(new)))
    return tuple(
        [text for text, differs in value.parts if differs] for value in (row.old, row.new)
    )


def test_words_that_came_and_went_are_marked():
    new = BRASS.replace("heavy", "very light").replace("brass.", "wood.")
    assert get_marked(BRASS, new) == (["heavy", "brass."], ["very light", "wood."])


def test_a_word_more_marks_nothing_in_the_old_text():
    assert get_marked(BRASS, BRASS.replace("foot", "round foot")) == ([], ["round"])


def test_a_sentence_that_was_added_does_not_mark_the_word_before_it():
    assert get_marked(BRASS, f"{BRASS} It is new.") == ([], ["It is new."])
    assert get_marked(f"{BRASS}\nIt is new.", BRASS) == (["It is new."], [])


def test_short_texts_are_not_marked():
    assert get_marked("a heavy foot", "a light foot") == ([], [])


def test_a_text_written_anew_is_not_marked():
    assert get_marked(BRASS, "Nothing of what was said before is true any more.") == ([], [])


def test_lines_of_json_are_marked_without_their_indentation():
    old = {"colours": ["red", "green"], "height": 30, "width": 60}
    new = {"colours": ["red", "blue"], "height": 30, "width": 75}
    assert get_marked(old, new) == (['"green"', "60"], ['"blue"', "75"])


def test_a_value_that_was_not_there_is_not_compared():
    assert get_marked(None, BRASS) == ([], [])


def test_a_book_with_one_word_changed_has_one_word_marked():
    book = " ".join(f"word{number}" for number in range(50_000))
    assert get_marked(book, book.replace("word777 ", "other ")) == (["word777"], ["other"])


def test_books_that_differ_all_over_are_marked_as_a_whole_where_they_differ():
    words = [f"word{number}" for number in range(3000)]
    other = [
        word.upper() if 1000 <= at < 2000 and at % 2 else word for at, word in enumerate(words)
    ]
    old, new = get_marked(" ".join(words), " ".join(other))
    assert len(old) == len(new) == 1


@given(st.text(alphabet="ab \n", min_size=20), st.text(alphabet="ab \n", min_size=20))
def test_the_pieces_are_the_text_and_the_unmarked_ones_are_common(old, new):
    row = mark(Row("name", "Name", "value", old=get_value(old), new=get_value(new)))
    if row.old.parts or row.new.parts:
        assert "".join(text for text, _ in row.old.parts) == old
        assert "".join(text for text, _ in row.new.parts) == new
        common = [
            "".join("".join(t for t, differs in value.parts if not differs).split())
            for value in (row.old, row.new)
        ]
        assert common[0] == common[1]
