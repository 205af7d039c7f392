"""The page of signals, as who keeps the shop sees it: clicked through, by keyboard too."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.browser import SIGNALS, Shop

# What a reader of the page without eyes or mouse stumbles over.
FLAWS = """
() => {
    const named = element => element.getAttribute("aria-label") || element.textContent.trim()
        || (element.labels?.length && element.labels[0].textContent.trim())
        || element.getAttribute("aria-labelledby") || element.type === "hidden";
    const all = selector => [...document.querySelectorAll(`#content ${selector}`)];
    const levels = all("h1, h2, h3").map(heading => Number(heading.tagName[1]));
    return [
        ...all("a, button, input, select, summary, [role]").filter(e => !named(e))
            .map(e => `no name: ${e.outerHTML.slice(0, 80)}`),
        ...all("th").filter(e => !e.scope).map(e => `no scope: ${e.textContent}`),
        ...levels.filter((level, at) => level > (levels[at - 1] ?? 0) + 1)
            .map(level => `a heading is left out before one of level ${level}`),
        ...[...document.querySelectorAll("[id]")].map(e => e.id)
            .filter((id, at, ids) => ids.indexOf(id) !== at).map(id => `twice: ${id}`),
        ...all("[aria-labelledby]").filter(
            e => !document.getElementById(e.getAttribute("aria-labelledby")))
            .map(e => `named by nobody: ${e.outerHTML.slice(0, 80)}`),
        ...all("[tabindex]").filter(e => e.tabIndex > 0).map(e => "an order of its own"),
    ];
}
"""


def get_names(page: Page) -> list[str]:
    return page.locator(".signal-kit-table tbody th > a").all_text_contents()


@pytest.fixture
def unmuted(page: Page) -> Iterator[None]:
    """Whatever happens, the next test finds nothing muted."""
    yield
    page.goto(f"{SIGNALS}ProductPages/change/")
    unmute = page.get_by_role("button", name="Unmute")
    if unmute.count():
        unmute.click()


def test_who_looks_for_it_finds_it(page: Page) -> None:
    page.goto("/admin/")
    page.get_by_role("link", name="Signals", exact=True).first.click()
    expect(page.get_by_role("heading", name="Signals", exact=True)).to_be_visible()
    assert "AuditLog" in get_names(page)


def test_an_app_and_a_model_are_chosen(page: Page) -> None:
    page.goto(SIGNALS)
    page.get_by_label("Senders of").select_option("shop")
    page.get_by_role("button", name="Show").click()
    assert "ConnectionSetup" not in get_names(page)
    page.get_by_label("Model").select_option("shop.Tag")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url(re.compile("model=shop.Tag"))
    assert "TaggedPages" in get_names(page)
    assert "ProductPages" not in get_names(page)
    page.get_by_role("link", name="Show all").click()
    assert "ConnectionSetup" in get_names(page)


def test_the_map_leads_to_models_and_receivers(page: Page) -> None:
    page.goto(SIGNALS)
    page.locator(".signal-kit-map a", has_text="shop.Category").click()
    page.wait_for_url(re.compile("app=shop&model=shop.Category"))
    page.locator(".signal-kit-map a", has_text="CategoryPages").click()
    expect(page.get_by_role("heading", name="CategoryPages", exact=True)).to_be_visible()
    page.get_by_role("link", name="All signals").click()
    expect(page.get_by_role("heading", name="Signals", exact=True)).to_be_visible()


def test_what_a_write_calls_is_counted(page: Page) -> None:
    def count() -> int:
        page.goto(f"{SIGNALS}CleanNames/change/")
        card = page.locator(".signal-kit-cards > div").filter(has_text="Calls").first
        return int(card.locator("dd").inner_text())

    before = count()
    page.goto("/admin/shop/tag/add/")
    page.get_by_label("Name").fill("counted")
    page.get_by_role("button", name="Save", exact=True).click()
    assert count() > before > 0


def test_an_error_is_opened_by_keyboard(page: Page) -> None:
    page.goto(f"{SIGNALS}?show=failing")
    assert get_names(page) == ["Validate"]
    error = page.locator(".signal-kit-error").first
    trace = error.locator(".signal-kit-traceback")
    expect(trace).to_be_hidden()
    error.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(trace).to_be_visible()
    expect(trace).to_contain_text("ValidationError")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Validate", exact=True)).to_be_visible()


@pytest.mark.usefixtures("unmuted")
def test_a_receiver_is_muted_and_unmuted(page: Page, shop: Shop) -> None:
    page.goto(f"{SIGNALS}ProductPages/change/")
    page.get_by_label("For").select_option("15 minutes")
    page.get_by_label("Why").fill("The price list is imported")
    page.keyboard.press("Enter")
    expect(page.get_by_text("ProductPages: Muted for 15 minutes")).to_be_visible()
    expect(page.get_by_role("heading", name="It is muted")).to_be_visible()
    page.goto(SIGNALS)
    banner = page.get_by_role("region", name="1 receiver is muted")
    expect(banner).to_contain_text("by keeper until")
    expect(banner).to_contain_text("The price list is imported")
    # Another process has learnt of it by the cache.
    assert "ProductPages" in shop.manage("shell", "-v", "0", "-c", MUTED)
    banner.get_by_role("link", name="ProductPages").click()
    page.get_by_role("button", name="Unmute ProductPages").click()
    expect(page.get_by_text("ProductPages: Unmuted.")).to_be_visible()
    expect(page.get_by_role("heading", name="It is muted")).to_have_count(0)
    assert "ProductPages" not in shop.manage("shell", "-v", "0", "-c", MUTED)
    row = page.get_by_role("row").filter(has_text="Muted for 15 minutes").first
    expect(row).to_contain_text("keeper")


MUTED = """
from django_signal_kit.sight import mutes
print([mute.name for mute in mutes.get_mutes()])
"""


def test_what_keeps_a_record_has_no_button(page: Page) -> None:
    page.goto(f"{SIGNALS}AuditLog/change/")
    expect(page.get_by_text("It cannot be muted.")).to_be_visible()
    expect(page.get_by_role("button", name="Mute")).to_have_count(0)


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("path", ["", "?app=shop", "AuditLog/change/", "Validate/change/"])
def test_nobody_stumbles(look: Callable[..., Page], width: int, path: str) -> None:
    page = look(width)
    page.goto(f"{SIGNALS}{path}")
    assert page.evaluate(FLAWS) == []


def test_the_map_can_be_read_from_right_to_left(page: Page) -> None:
    """Senders end where the lines begin, also where ``end`` is on the left."""
    page.goto(f"{SIGNALS}?app=shop")
    page.evaluate("document.documentElement.dir = 'rtl'")
    senders, receivers = page.evaluate("""() => ["text[text-anchor]", "text:not([text-anchor])"]
        .map(kind => [...document.querySelectorAll(`.signal-kit-map ${kind}`)]
        .map(text => text.getBoundingClientRect()).map(box => [box.left, box.right]))""")
    assert max(right for _, right in senders) < min(left for left, _ in receivers)


def test_the_figures_renew_themselves_for_who_asks_for_it(page: Page) -> None:
    page.goto(f"{SIGNALS}?app=shop")
    with page.expect_response(re.compile(r"receiver/\?app=shop")):
        page.get_by_label("keep the figures up to date").check()
    expect(page.locator("#signal-kit-figures")).to_be_visible()


def test_it_is_all_there_without_a_script(chromium: Browser, shop: Shop, login: Any) -> None:
    with chromium.new_context(
        base_url=shop.url, storage_state=login, java_script_enabled=False
    ) as context:
        page = context.new_page()
        page.goto(f"{SIGNALS}?app=shop")
        assert "AuditLog" in get_names(page)
        page.locator(".signal-kit-table").get_by_role("link", name="AuditLog").click()
        expect(page.get_by_role("heading", name="AuditLog", exact=True)).to_be_visible()
