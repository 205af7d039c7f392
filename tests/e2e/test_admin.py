"""The audit log in the admin, as who keeps the shop sees it."""

from __future__ import annotations

import re

from playwright.sync_api import Browser, Locator, Page, expect

from tests.e2e.browser import ADMIN, CAPTURE, LOG, Shop, Watch, log_in
from tests.e2e.shop import REASON

PER_PAGE = 100


def get_rows(page: Page) -> Locator:
    return page.locator("#result_list tbody tr")


def get_keys(page: Page) -> list[int]:
    """Those of the entries that the list shows."""
    addresses = get_rows(page).locator(".field-when a")
    found = addresses.evaluate_all("links => links.map(link => link.getAttribute('href'))")
    return [int(address.split("/")[-3]) for address in found]


def open_newest(page: Page, action: str, text: str) -> None:
    """Go from the list to the newest entry that tells of this."""
    page.goto(LOG)
    rows = get_rows(page).filter(has=page.get_by_text(action, exact=True), has_text=text)
    rows.first.locator(".field-when a").click()
    expect(page.get_by_role("heading", name="What happened")).to_be_visible()


def get_change(page: Page, label: str) -> Locator:
    """The row of the table of changes that is about the field with this label."""
    header = page.get_by_role("rowheader", name=label, exact=True)
    return page.locator(".signal-kit-diff tr").filter(has=header)


def test_who_logs_in_finds_the_log(chromium: Browser, shop: Shop) -> None:
    with chromium.new_context(base_url=shop.url) as context:
        page = context.new_page()
        watch = Watch.over(page)
        log_in(page, shop)
        page.get_by_role("link", name="Audit entries").first.click()
        expect(page.get_by_role("heading", name="Audit entries", exact=True)).to_be_visible()
        expect(get_rows(page)).to_have_count(PER_PAGE)
        assert watch.problems == []


def test_a_change_of_a_product_is_told_word_by_word(page: Page) -> None:
    page.goto(f"{ADMIN}shop/product/40/change/")
    name = page.get_by_label("Name").input_value()
    page.get_by_label("Price").fill("41.50")
    text = page.get_by_label("Description")
    old = text.input_value()
    first, rest = old.split(" ", 1)
    text.fill(f"{first} enormous {rest}")
    # Both sides of the selection of tags are lists; what is double-clicked changes sides.
    tag = page.locator("#id_tags_from option").first
    label = tag.inner_text()
    tag.dblclick()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".success")).to_contain_text(name)

    open_newest(page, "changed", name)
    price = get_change(page, "Price")
    expect(price.locator(".signal-kit-new")).to_contain_text("41.50")
    description = get_change(page, "Description")
    expect(description.locator("ins")).to_have_text(re.compile(r"^\s*enormous\s*$"))
    expect(description.locator("del")).to_have_count(0)
    expect(description.locator(".signal-kit-old")).to_have_text(old)
    expect(description.locator(".signal-kit-new")).to_contain_text(f"{first} enormous {rest}")
    old_box = description.locator(".signal-kit-old").bounding_box()
    new_box = description.locator(".signal-kit-new").bounding_box()
    assert old_box["y"] == new_box["y"]
    assert old_box["x"] + old_box["width"] <= new_box["x"] + 1

    unit = page.get_by_role("region", name="Everything saved together")
    unit.get_by_role("link", name=name).click()
    expect(get_change(page, "Tags")).to_contain_text(f"+ {label}")


def test_the_list_is_narrowed_by_its_filters(page: Page) -> None:
    page.goto(LOG)
    expect(page.locator(".signal-kit-chart")).to_be_visible()
    page.locator("#changelist-filter").get_by_role("link", name="changed", exact=True).click()
    expect(page).to_have_url(re.compile("action__exact=update"))
    badges = get_rows(page).locator(".signal-kit-badge")
    assert set(badges.all_inner_texts()) == {"changed"}
    page.locator("#changelist-filter").get_by_role("link", name="order line").click()
    assert set(get_rows(page).locator(".field-kind").all_inner_texts()) == {"order line"}
    # What is narrowed is not charted.
    expect(page.locator(".signal-kit-chart")).to_have_count(0)


def test_the_list_is_paged_there_and_back(page: Page) -> None:
    page.goto(LOG)
    first = get_keys(page)
    page.get_by_role("link", name="Older", exact=True).click()
    expect(page).to_have_url(re.compile(rf"\?before={first[-1]}$"))
    second = get_keys(page)
    assert second[0] < first[-1]
    assert first + second == sorted({*first, *second}, reverse=True)
    page.get_by_role("link", name="Newer", exact=True).click()
    expect(page).to_have_url(re.compile(rf"\?after={second[0]}$"))
    assert get_keys(page) == first
    page.get_by_role("link", name="Older", exact=True).click()
    page.get_by_role("link", name="Newest", exact=True).click()
    expect(page).to_have_url(re.compile(r"/auditentry/\??$"))
    assert get_keys(page) == first


def test_a_filter_holds_from_page_to_page(page: Page, shop: Shop) -> None:
    page.goto(f"{LOG}?action__exact=m2m_add")
    keys = get_keys(page)
    while (older := page.get_by_role("link", name="Older", exact=True)).count():
        older.click()
        expect(page).to_have_url(re.compile(f"before={keys[-1]}"))
        keys += get_keys(page)
    assert keys == sorted(set(keys), reverse=True)
    count = "AuditEntry.objects.filter(action='m2m_add').count()"
    code = f"from django_signal_kit.audit.models import AuditEntry; print({count})"
    assert len(keys) == int(shop.manage("shell", "--command", code).split()[-1]) > 3 * PER_PAGE


def test_the_chart_has_a_bar_a_day_and_leads_to_each(page: Page) -> None:
    page.goto(LOG)
    chart = page.get_by_role("img", name="Entries a day")
    expect(chart.locator("rect")).to_have_count(30)
    heights = [float(bar.get_attribute("height")) for bar in chart.locator("rect").all()]
    assert max(heights) == 40
    page.get_by_text("Entries a day, as a table").click()
    row = page.locator(".signal-kit-chart tbody tr").filter(
        has=page.locator("td", has_text=re.compile(r"^[1-9]\d?$"))
    )
    count = int(row.first.locator("td").inner_text())
    row.first.get_by_role("link").click()
    expect(get_rows(page)).to_have_count(count)


def test_an_object_and_a_person_narrow_the_list_and_can_be_let_go(page: Page, shop: Shop) -> None:
    page.goto(LOG)
    total = len(get_keys(page))
    link = get_rows(page).first.locator(".field-object_link a")
    name = link.inner_text()
    link.click()
    narrowed = page.locator(".signal-kit-narrowed")
    expect(narrowed).to_contain_text(f"History of {name}")
    assert set(get_rows(page).locator(".field-object_link").all_inner_texts()) == {name}
    narrowed.get_by_role("link", name="Show all").click()
    expect(get_rows(page)).to_have_count(total)
    get_rows(page).locator(".field-who a").first.click()
    expect(narrowed).to_contain_text(f"Everything done by {shop.user}")


def test_the_history_of_an_order_tells_of_its_lines(page: Page, shop: Shop) -> None:
    address = f"{ADMIN}shop/order/{shop.order}/"
    page.goto(f"{address}change/")
    page.locator("#id_lines-0-quantity").fill("9")
    page.locator("#id_lines-1-DELETE").check()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".success")).to_contain_text(f"Order {shop.order}")

    page.goto(f"{address}change/")
    page.get_by_role("link", name="History").click()
    groups = page.locator(".signal-kit-group")
    newest = groups.first
    expect(newest.get_by_role("heading")).to_contain_text(shop.user)
    expect(newest.locator(".signal-kit-line")).to_have_count(2)
    update = newest.locator(".signal-kit-line").filter(has_text="changed")
    expect(update).to_contain_text("order line ")
    expect(update.locator(".signal-kit-new")).to_have_text("9")
    gone = newest.locator(".signal-kit-line").filter(has_text="deleted")
    gone.locator("summary").click()
    expect(gone.get_by_role("rowheader", name="Product")).to_be_visible()
    called = groups.filter(has_text="The customer called")
    status = called.locator(".signal-kit-line").filter(has_text="Status")
    expect(status.locator(".signal-kit-new")).to_have_text("sent")
    newest.get_by_role("link", name="The whole request").click()
    expect(get_rows(page)).to_have_count(2)


def test_a_change_is_taken_back_by_a_button_after_a_question(page: Page, shop: Shop) -> None:
    page.goto(f"{ADMIN}shop/product/50/change/")
    name, price = (page.get_by_label(label).input_value() for label in ("Name", "Price"))
    page.get_by_label("Price").fill("50.05")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".success")).to_be_visible()

    open_newest(page, "changed", name)
    page.get_by_role("link", name="Take it back").click()
    expect(page.get_by_text("The old values will be set back.")).to_be_visible()
    page.get_by_role("link", name="No, go back").click()
    page.get_by_role("link", name="Take it back").click()
    page.get_by_role("button", name="Yes, take it back").click()
    expect(page.locator(".success")).to_contain_text("It was taken back.")

    page.goto(f"{ADMIN}shop/product/50/change/")
    expect(page.get_by_label("Price")).to_have_value(price)
    page.get_by_role("link", name="History").click()
    newest = page.locator(".signal-kit-group").first
    expect(newest.get_by_role("heading")).to_contain_text(shop.user)
    expect(newest).to_contain_text("revert of entry ")
    expect(newest.locator(".signal-kit-old")).to_have_text("50.05")
    expect(newest.locator(".signal-kit-new")).to_have_text(price)


def test_a_product_tells_the_reason_of_its_change(page: Page, shop: Shop) -> None:
    page.goto(f"{ADMIN}shop/product/{shop.product}/history/")
    group = page.locator(".signal-kit-group").filter(has_text=REASON)
    # Triggers of SQLite write an entry for each tag.
    expect(group.locator(".signal-kit-line")).to_have_count(3 if CAPTURE == "python" else 5)
    expect(group.locator("ins")).not_to_have_count(0)
    expect(group.locator("del")).not_to_have_count(0)


def test_the_keyboard_reaches_filters_entries_and_pages(page: Page) -> None:
    for part in ("#searchbar", "#changelist-filter a", "#result_list .field-when a"):
        page.goto(LOG)
        assert reach(page, part, 400), part
    get_rows(page).last.locator("a").first.focus()
    assert reach(page, "a[rel=next]", 5)


def reach(page: Page, part: str, presses: int) -> bool:
    """Press Tab until such a part has the focus."""
    for _ in range(presses):
        page.keyboard.press("Tab")
        if page.evaluate("part => document.activeElement.matches(part)", part):
            return True
    return False


def test_a_filter_is_chosen_by_keyboard(page: Page) -> None:
    page.goto(LOG)
    link = page.locator("#changelist-filter").get_by_role("link", name="deleted", exact=True)
    link.focus()
    page.keyboard.press("Shift+Tab")
    expect(link).not_to_be_focused()
    page.keyboard.press("Tab")
    expect(link).to_be_focused()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("action__exact=delete"))
