"""Each check has one id that the documentation knows."""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sources import get_modules

CHECKS_PAGE = Path(__file__).parents[1] / "docs" / "reference" / "checks.md"


def get_checks() -> Iterator[tuple[str, str]]:
    """(id, source of the sentence) of every check in the code."""
    for tree in get_modules().values():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            if name == "Misconfigured" and len(node.args) >= 2:
                yield f"signal_kit.{ast.literal_eval(node.args[0])}", ast.unparse(node.args[1])
            for keyword in node.keywords:
                if (
                    keyword.arg == "id"
                    and isinstance(keyword.value, ast.Constant)
                    and str(keyword.value.value).startswith("signal_kit")
                ):
                    yield str(keyword.value.value), ast.unparse(node.args[0])


def get_documented() -> list[str]:
    page = CHECKS_PAGE.read_text(encoding="utf-8")
    return re.findall(r"^## (signal_kit\S*\.[EWI]\d{3})$", page, re.MULTILINE)


def test_the_ids_in_the_code_are_those_in_the_documentation() -> None:
    assert {id for id, _ in get_checks()} == set(get_documented())


def test_no_id_is_documented_twice_and_they_are_in_order() -> None:
    documented = get_documented()
    assert [id for id, count in Counter(documented).items() if count > 1] == []
    assert documented == sorted(documented)


def test_no_id_is_skipped() -> None:
    numbers = defaultdict(list)
    for id in get_documented():
        prefix, number = id[:-3], int(id[-3:])
        numbers[prefix].append(number)
    for found in numbers.values():
        assert found == list(range(1, len(found) + 1))


def test_no_two_ids_have_the_same_sentence() -> None:
    ids = defaultdict(set)
    for id, sentence in get_checks():
        ids[sentence].add(id)
    # A sentence that is put together elsewhere cannot be compared.
    assert {s: found for s, found in ids.items() if len(found) > 1 and s[0] in "f'\""} == {}


def test_every_mention_of_an_id_is_of_one_that_exists() -> None:
    known = set(get_documented())
    for tree in get_modules().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert set(re.findall(r"signal_kit\.[EWI]\d{3}", node.value)) <= known


def get_sections() -> dict[str, str]:
    """Id -> what the page says of it."""
    page = CHECKS_PAGE.read_text(encoding="utf-8")
    parts = re.split(r"^## (signal_kit\.[EWI]\d{3})$", page, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("id", get_documented())
def test_each_id_has_the_remedy_an_example_and_the_message(id: str) -> None:
    section = get_sections()[id]
    assert len(section.partition("```")[0].split()) > 10
    # Each example is run with the page, and says what stands below it.
    messages = re.findall(r"```python\n.+?\n```\n\n```text\n(.+?)\n```", section, re.DOTALL)
    assert messages
    assert all(re.findall(r"\(signal_kit\.\w+\)", text) == [f"({id})"] for text in messages)


def get_fragments(id: str) -> Iterator[str]:
    """What stands in the code of the message and the remedy of a check, between its values."""
    for tree in get_modules().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and id in map(get_text, ast.walk(node)):
                for constant in ast.walk(node):
                    if len(text := get_text(constant)) > 10 and text != id:
                        yield " ".join(text.split())


def get_text(node: ast.AST) -> str:
    is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return str(node.value) if is_text else ""  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "id", ["E042", "E056", "E059", "W002", "W006", "W007", "W018", "W019", "W020"]
)
def test_a_message_that_no_page_can_cause_has_the_words_of_the_code(id: str) -> None:
    said = " ".join(get_sections()[f"signal_kit.{id}"].split())
    fragments = list(get_fragments(id if id.startswith("E") else f"signal_kit.{id}"))
    assert len(fragments) > 1
    assert [text for text in fragments if text not in said] == []
