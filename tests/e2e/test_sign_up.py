"""Somebody signs up in the shop, light and dark, wide and narrow, and a worker welcomes him."""

from __future__ import annotations

from email import message_from_bytes, policy
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.browser import Shop, Watch

PASSWORD = "correct horse battery"


def fill(page: Page, name: str) -> None:
    page.get_by_label("Username").fill(name)
    page.get_by_label("Email").fill(f"{name}@customer.example")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Password confirmation").fill(PASSWORD)


def read_mails(shop: Shop, address: str) -> list[Any]:
    """Those that lie in the folder that the page names."""
    end = b"\n" + b"-" * 79 + b"\n"
    parts = [
        part for file in (shop.var / "outbox").glob("*") for part in file.read_bytes().split(end)
    ]
    mails = [message_from_bytes(part, policy=policy.default) for part in parts if part]
    return [mail for mail in mails if mail["To"] == address]


@pytest.mark.parametrize("shade", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_who_signs_up_is_welcomed_once_by_the_worker(
    chromium: Browser, shop: Shop, width: int, shade: str
) -> None:
    name = f"{shade}{width}"
    with chromium.new_context(
        base_url=shop.url, viewport={"width": width, "height": 800}, color_scheme=shade
    ) as context:
        page = context.new_page()
        watch = Watch.over(page)
        page.goto("/")
        page.get_by_role("link", name="Sign up").click()
        check_width(page, width)
        fill(page, name)
        page.get_by_role("button", name="Open my account").click()
        expect(page.get_by_text(f"Welcome, {name}. A mail is on its way.")).to_be_visible()
        expect(page.get_by_text(f"it lies in {shop.var}/outbox.")).to_be_visible()
        expect(page.get_by_role("button", name=f"Log out {name}")).to_be_visible()
        check_width(page, width)
        assert watch.problems == []
    assert read_mails(shop, f"{name}@customer.example") == []
    for _ in range(2):
        shop.manage("db_worker", "--batch", "--no-reload")
        (mail,) = read_mails(shop, f"{name}@customer.example")
    assert mail["Subject"] == f"Welcome to Ferrum & Fig, {name}"
    assert f"Hello {name}," in mail.get_body(("html",)).get_content()


def check_width(page: Page, width: int) -> None:
    wide = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1] == width


def test_a_form_that_is_wrong_says_so_beside_its_fields(chromium: Browser, shop: Shop) -> None:
    with chromium.new_context(base_url=shop.url) as context:
        page = context.new_page()
        watch = Watch.over(page)
        page.goto("/sign-up/")
        fill(page, "unsure")
        page.get_by_label("Password confirmation").fill("another")
        page.get_by_role("button", name="Open my account").click()
        wrong = page.locator(".field.wrong")
        expect(wrong).to_have_count(1)
        expect(wrong.get_by_label("Password confirmation")).to_be_visible()
        expect(wrong).to_contain_text("match")
        assert watch.problems == []
