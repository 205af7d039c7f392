"""Each page of the log: light and dark, wide and narrow, under a strict policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.e2e.browser import LOG, Shop, Watch
from tests.e2e.pages import get_pages
from tests.e2e.shop import POLICY

# Of each element that is shown and has text of its own: its text, and its contrast with what is
# behind it, as the Web Content Accessibility Guidelines count.
CONTRASTS = """
() => {
    const parts = color => color.match(/[\\d.]+/g).map(Number);
    const light = color => parts(color).slice(0, 3).map(value => value / 255)
        .map(value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
        .reduce((sum, value, at) => sum + value * [0.2126, 0.7152, 0.0722][at], 0);
    const behind = element => {
        for (let at = element; at; at = at.parentElement) {
            const color = getComputedStyle(at).backgroundColor;
            if ((parts(color)[3] ?? 1) === 1) return color;
        }
        return "rgb(255, 255, 255)";
    };
    const hasText = element => [...element.childNodes].some(
        node => node.nodeType === 3 && node.data.trim());
    return [...document.querySelectorAll("[class*=signal-kit] *, [class*=signal-kit]")]
        .filter(element => hasText(element) && element.checkVisibility())
        .filter(element => element.closest("svg") === null)
        .map(element => {
            const pair = [light(getComputedStyle(element).color), light(behind(element))];
            const contrast = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
            return [element.textContent.trim().slice(0, 40), contrast];
        });
}
"""

# Tables that are wider than what they stand in.
TOO_WIDE = """
() => [...document.querySelectorAll("table[class*=signal-kit]")]
    .filter(table => table.offsetWidth > table.parentElement.clientWidth)
    .map(table => [table.className, table.offsetWidth, table.parentElement.clientWidth])
"""


@pytest.fixture(scope="module")
def pages(shop: Shop) -> dict[str, str]:
    return get_pages(shop)


@pytest.mark.parametrize("shade", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 1024, 360])
def test_each_page_fits_its_window_and_can_be_read(
    look: Callable[..., Page], pages: dict[str, str], width: int, shade: str
) -> None:
    page = look(width, color_scheme=shade)
    for name, path in pages.items():
        page.goto(path)
        wide = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert wide[0] <= wide[1] == width, name
        assert page.evaluate(TOO_WIDE) == [], name
        body = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (body == "rgb(255, 255, 255)") == (shade == "light")
        contrasts = page.evaluate(CONTRASTS)
        assert contrasts, name
        assert [found for found in contrasts if found[1] < 4.5] == [], name


def test_no_page_brings_a_script_or_a_style_of_its_own(page: Page, pages: dict[str, str]) -> None:
    for name, path in pages.items():
        answer = page.goto(path)
        assert answer.headers["content-security-policy"] == POLICY
        found = page.evaluate(
            """() => [...document.querySelectorAll("script:not([src]), style, [style]")]
                .filter(e => e.type !== "application/json").map(e => e.outerHTML)
                .concat([...document.querySelectorAll("*")].flatMap(e => [...e.attributes])
                .filter(a => a.name.startsWith("on")).map(a => a.name))"""
        )
        assert found == [], name


def test_what_the_policy_refuses_would_be_noticed(
    chromium: Browser, shop: Shop, login: Any
) -> None:
    with chromium.new_context(base_url=shop.url, storage_state=login) as context:
        page = context.new_page()
        watch = Watch.over(page)
        page.goto(LOG)
        assert watch.problems == []
        page.evaluate("document.body.setAttribute('style', 'color: red')")
        page.evaluate("console.log('said afterwards')")
        assert "style-src" in watch.problems[0]
        assert watch.problems[-1] == "log: said afterwards"
