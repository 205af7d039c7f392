"""One shop and one browser for all tests; a page for each, which has to be without a fault."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.e2e.browser import Shop, Watch, keep_login, open_chromium, serve


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with serve(tmp_path_factory.mktemp("shop")) as shop:
        yield shop


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with open_chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def login(chromium: Browser, shop: Shop) -> Any:
    return keep_login(chromium, shop)


@pytest.fixture
def look(chromium: Browser, shop: Shop, login: Any) -> Iterator[Callable[..., Page]]:
    """``look(**options)``: a page of a browser in which the keeper is logged in. At the end none
    may have printed, raised, missed or refused anything."""
    contexts, watches = [], []

    def open_page(width: int = 1280, **options: Any) -> Page:
        contexts.append(
            chromium.new_context(
                base_url=shop.url,
                storage_state=login,
                viewport={"width": width, "height": 800},
                **options,
            )
        )
        page = contexts[-1].new_page()
        page.set_default_timeout(15_000)
        watches.append(Watch.over(page))
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [problem for watch in watches for problem in watch.problems] == []


@pytest.fixture
def page(look: Callable[..., Page]) -> Page:
    return look()
