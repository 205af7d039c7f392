"""Pages read as well in a repository as on a site: each link has a text, and leads somewhere.

Rendered as plain CommonMark, which knows nothing of the titles and labels that Sphinx fills in.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.docs.blocks import ROOT

INDEX = ROOT / "docs" / "index.md"
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *ROOT.glob("docs/**/*.md")])

# The tables of GitHub, too: what stands in a cell is a link as any other.
_parser = MarkdownIt("commonmark").enable("table")


class Link(NamedTuple):
    line: int
    text: str
    target: str


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def parse(page: Path) -> list[Token]:
    return _parser.parse(page.read_text(encoding="utf-8"))


def get_links(page: Path) -> Iterator[Link]:
    """The links and images of a page, each with what a reader sees of it."""
    line = 0
    for token in parse(page):
        # A row of a table knows its line, and its cells do not.
        line = token.map[0] + 1 if token.map else line
        children = token.children or []
        for place, child in enumerate(children):
            if child.type == "image":
                yield Link(line, child.content, str(child.attrs["src"]))
            elif child.type == "link_open":
                rest = children[place + 1 :]
                end = next(n for n, other in enumerate(rest) if other.type == "link_close")
                yield Link(line, get_text(rest[:end]), str(child.attrs["href"]))


def get_text(tokens: list[Token]) -> str:
    return "".join(" " if token.type == "softbreak" else token.content for token in tokens)


def get_anchors(page: Path) -> set[str]:
    """Those that GitHub, and MyST after it, give to the headings."""
    tokens = parse(page)
    seen: Counter[str] = Counter()
    anchors = set()
    for token, following in pairwise(tokens):
        if token.type == "heading_open":
            text = get_text(following.children or []).lower()
            slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
            anchors.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
            seen[slug] += 1
    return anchors


def get_problem(page: Path, link: Link) -> str | None:
    if not link.text.strip():
        return "has no text"
    parts = urlsplit(link.target)
    if parts.scheme or parts.netloc:
        return None if parts.scheme == "https" else "is no https address"
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if not target.exists():
        return "leads to no file"
    if parts.fragment and parts.fragment not in get_anchors(target):
        return "leads to no heading"
    return None


def find_problems(page: Path) -> list[str]:
    return [
        f"{page.name}:{link.line}: [{link.text}]({link.target}) {problem}"
        for link in get_links(page)
        if (problem := get_problem(page, link))
    ]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_each_link_has_a_text_and_leads_somewhere(page: Path) -> None:
    assert find_problems(page) == []


def test_links_that_a_repository_does_not_show_are_none() -> None:
    roles = [
        f"{name(page)}: {found}"
        for page in PAGES
        for found in re.findall(
            r"\{(?:ref|doc|any|numref|term|py:\w+)\}`.*?`|^\([\w-]+\)=$",
            page.read_text(encoding="utf-8"),
            re.MULTILINE,
        )
    ]
    assert roles == []


def test_the_first_page_links_all_others() -> None:
    linked = {(INDEX.parent / link.target).resolve() for link in get_links(INDEX)}
    assert [name(page) for page in ROOT.glob("docs/**/*.md") if page not in {*linked, INDEX}] == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[](other.md)", "[](other.md) has no text"),
        ("a [ ](other.md)", "has no text"),
        ("| a | b |\n|---|---|\n| c | [](other.md) |", "page.md:5: [](other.md) has no text"),
        ("- [a\n  b](gone.md)", "[a b](gone.md) leads to no file"),
        ("[a](other.md#there)", None),
        ("[`a_b` c](other.md#a_b-c)", None),
        ("[a](other.md#there-1)", None),
        ("[a](other.md#there-2)", "leads to no heading"),
        ("[a](#a-page)", None),
        ("[a](#a_page)", "leads to no heading"),
        ("[a][b]\n\n[b]: gone.md", "leads to no file"),
        ("![](picture.png)", "has no text"),
        ("![A picture](picture.png)", "leads to no file"),
        ("[a](http://example.com)", "is no https address"),
        ("<https://example.com>", None),
        ("```text\n[](gone.md)\n```", None),
        ("`[](gone.md)`", None),
    ],
)
def test_what_is_wrong_is_found(tmp_path: Path, text: str, problem: str | None) -> None:
    page, other = tmp_path / "page.md", tmp_path / "other.md"
    page.write_text(f"# A page\n\n{text}\n", encoding="utf-8")
    other.write_text("# There\n\n## There\n\n## `a_b` c\n", encoding="utf-8")
    found = find_problems(page)
    assert len(found) == (problem is not None)
    assert not problem or problem in found[0]
