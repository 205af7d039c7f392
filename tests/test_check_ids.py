"""Each check has one id that the documentation knows."""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

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
