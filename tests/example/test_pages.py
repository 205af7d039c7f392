"""The pages of the shop, asked for over HTTP from the server that the demo leaves running."""

from __future__ import annotations

import html
import json
import re
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from tests.example.browser import Browser
from tests.example.conftest import Shop, run_manage
from tests.example.test_demo import get_entries, read_mails

PASSWORD = "correct horse battery"


def get_product(shop: Shop, **where: Any) -> dict[str, Any]:
    (column, value), *_ = where.items()
    sql = f"SELECT * FROM shop_product WHERE {column} = ? ORDER BY sku"
    return dict(shop.ask(sql, value, live=True)[0])


def test_the_front_page_leads_to_every_department(shop: Shop, browser: Browser) -> None:
    page = browser.get("/").text
    assert page.count('class="card"') == 8
    for category in shop.ask("SELECT * FROM shop_category", live=True):
        assert f'href="/category/{category["slug"]}/"' in page
        found = browser.get(f"/category/{category['slug']}/")
        assert f"<h1>{html.escape(category['name'])}</h1>" in found.text


def test_styles_icons_and_pictures_are_there(browser: Browser) -> None:
    page = browser.get("/").text
    paths = set(re.findall(r'(?:src|href)="(/(?:static|media)/[^"]+)"', page))
    kinds = {browser.get(path).kind for path in paths}
    assert kinds == {"text/css", "image/svg+xml", "image/png"}


def test_no_page_needs_another_server_or_a_script(browser: Browser) -> None:
    for path in ("/", "/products/", "/sign-up/", "/log-in/"):
        page = browser.get(path).text
        assert not re.search(
            r"<script|<style|\sstyle=|\son\w+=|(?:src|href)=\"(?:https?:)?//", page
        )


def test_the_list_has_pages_and_can_be_searched(shop: Shop, browser: Browser) -> None:
    page = browser.get("/products/").text
    assert page.count('class="card"') == 24
    assert 'href="?page=2"' in page
    found = browser.get("/products/?q=%22Elster%22").text
    assert found.count('class="card"') == 1
    assert "Side cutters &quot;Elster&quot;" in found
    assert 'value="&quot;Elster&quot;"' in found


def test_a_product_page_shows_what_the_row_holds(shop: Shop, browser: Browser) -> None:
    for sku in ("CT-191", "BC-170", "GD-289"):
        product = get_product(shop, sku=sku)
        page = browser.get(f"/product/{product['slug']}/").text
        for column in ("name", "description", "sku", "image"):
            assert html.escape(product[column]) in page
        assert f"€ {product['price']:.2f}" in page


def test_a_customer_is_told_what_was_ordered_and_called_by_name(
    shop: Shop, browser: Browser, keeper: Browser
) -> None:
    line, *_ = shop.ask("SELECT * FROM shop_orderline ORDER BY id", live=True)
    with closing(sqlite3.connect(shop.var / "db.sqlite3")) as connection, connection:
        connection.execute("UPDATE auth_user SET first_name = 'Kim' WHERE username = 'keeper'")
        connection.execute(
            "UPDATE shop_order SET customer_id = "
            "(SELECT id FROM auth_user WHERE first_name = 'Kim') WHERE id = ?",
            (line["order_id"],),
        )
    product = get_product(shop, id=line["product_id"])
    page = keeper.get(f"/product/{product['slug']}/").text
    assert f"You have ordered {line['quantity']} of these." in page
    assert "Log out Kim" in page
    assert "You have ordered" not in browser.get(f"/product/{product['slug']}/").text


def test_the_list_of_tags_shows_how_many_products_each_has(shop: Shop, keeper: Browser) -> None:
    page = keeper.get("/admin/shop/tag/").text
    shown = re.findall(r'class="field-product_count">(\d+)<', page)
    kept = shop.ask("SELECT product_count FROM shop_tag ORDER BY name", live=True)
    assert [int(count) for count in shown] == [row["product_count"] for row in kept] != []


def test_a_tag_shows_its_products(shop: Shop, browser: Browser) -> None:
    number = len(
        shop.ask(
            "SELECT 1 FROM shop_product_tags l JOIN shop_tag t ON t.id = l.tag_id "
            "WHERE t.name = 'poetry'"
        )
    )
    assert browser.get("/tag/poetry/").text.count('class="card"') == number > 0


def test_what_is_not_there_is_not_found(browser: Browser) -> None:
    assert browser.get("/product/no-such-thing/").status == 404


def test_each_field_of_a_form_has_a_label(browser: Browser) -> None:
    for path in ("/sign-up/", "/log-in/"):
        page = browser.get(path).text
        fields = re.findall(r'<input(?![^>]*type="hidden")[^>]* id="([^"]+)"', page)
        assert len(fields) >= 3
        assert [field for field in fields if f'for="{field}"' not in page] == []


def work(shop: Shop) -> None:
    """A worker does what waits, and ends."""
    done = run_manage(shop.var, "db_worker", "--batch", "--no-reload", cwd=shop.var)
    assert done.returncode == 0, done.stderr


def test_signing_up_makes_a_user_with_a_profile_whom_a_worker_welcomes_once(
    shop: Shop, browser: Browser
) -> None:
    before = len(read_mails(shop.var / "outbox"))
    page = browser.send(
        browser.get("/sign-up/"),
        username="zoë",
        email="zoe@customer.example",
        password1=PASSWORD,
        password2=PASSWORD,
    )
    assert page.url == f"{shop.url}/"
    assert "Welcome, zoë." in page.text
    assert "Log out zoë" in page.text
    sql = "SELECT p.* FROM shop_profile p JOIN auth_user u ON u.id = p.user_id WHERE username = ?"
    (profile,) = shop.ask(sql, "zoë", live=True)
    assert not profile["newsletter"]
    # Nobody has waited for the mail, and the page says who sends it, and where it will be.
    assert len(read_mails(shop.var / "outbox")) == before
    assert f"manage.py db_worker. Then it lies in {shop.var}/outbox." in page.text
    for _ in range(2):
        work(shop)
        mails = read_mails(shop.var / "outbox")
        assert len(mails) == before + 1
    (welcome,) = (mail for mail in mails if mail["To"] == "zoe@customer.example")
    assert f"{shop.url}/product/" in welcome.get_body(("plain",)).get_content()


def test_a_sign_up_that_is_refused_says_why_and_sends_nothing(
    shop: Shop, browser: Browser
) -> None:
    before = shop.ask("SELECT COUNT(*) FROM django_tasks_database_dbtaskresult", live=True)
    page = browser.send(
        browser.get("/sign-up/"),
        username="noor",
        email="no address",
        password1=PASSWORD,
        password2="another",
    )
    assert page.url == f"{shop.url}/sign-up/"
    assert page.text.count('class="errorlist"') == 3
    after = shop.ask("SELECT COUNT(*) FROM django_tasks_database_dbtaskresult", live=True)
    assert [tuple(row) for row in after] == [tuple(row) for row in before]


@pytest.mark.parametrize(
    "model", ["product", "category", "tag", "order", "profile", "destination"]
)
def test_the_admin_lists_and_edits_each_model(shop: Shop, keeper: Browser, model: str) -> None:
    assert keeper.get(f"/admin/shop/{model}/").status == 200
    pk = shop.ask(f"SELECT MIN(id) AS pk FROM shop_{model}")[0]["pk"]
    assert keeper.get(f"/admin/shop/{model}/{pk}/change/").status == 200


def test_a_change_in_the_admin_is_logged_and_seen_at_once(
    shop: Shop, browser: Browser, keeper: Browser
) -> None:
    product = get_product(shop, sku="KN-107")
    address = f"/product/{product['slug']}/"
    assert "€ 77.77" not in browser.get(address).text
    form = keeper.get(f"/admin/shop/product/{product['id']}/change/")
    assert keeper.send(form, price="77.77").url.endswith("/admin/shop/product/")

    assert "€ 77.77" in browser.get(address).text
    assert get_product(shop, sku="KN-107")["updated_at"] > product["updated_at"]
    entry = get_entries(shop, live=True)[-1]
    assert (entry["action"], entry["actor_text"]) == ("update", "keeper")
    assert entry["object_pk"] == str(product["id"])
    assert {name: new for name, (_, new) in entry["changes"].items()} == {"price": "77.77"}
    assert json.loads(entry["context"])["path"] == f"/admin/shop/product/{product['id']}/change/"


def test_the_admin_shows_the_audit_log(keeper: Browser) -> None:
    page = keeper.get("/admin/signal_kit_audit/auditentry/")
    assert page.status == 200
    assert "keeper" in page.text
    older = re.search(r'href="(\?before=\d+)" rel="next"', page.text)
    assert older is not None
    page = keeper.get(f"/admin/signal_kit_audit/auditentry/{older[1]}")
    assert 'rel="prev"' in page.text
    entry = re.search(r'href="(/admin/signal_kit_audit/auditentry/\d+/change/[^"]*)"', page.text)
    assert entry is not None
    assert keeper.get(html.unescape(entry[1])).status == 200


@pytest.mark.parametrize("model", ["product", "category", "tag", "order", "profile"])
def test_the_admin_tells_the_history_of_each_object(
    shop: Shop, keeper: Browser, model: str
) -> None:
    pk = shop.ask(f"SELECT MIN(id) AS pk FROM shop_{model}")[0]["pk"]
    page = keeper.get(f"/admin/shop/{model}/{pk}/history/")
    assert page.status == 200
    assert "signal-kit-group" in page.text


def test_an_order_tells_of_its_lines(shop: Shop, keeper: Browser) -> None:
    order, *_ = shop.ask(
        "SELECT order_id AS pk, COUNT(*) AS lines FROM shop_orderline GROUP BY order_id"
    )
    page = keeper.get(f"/admin/shop/order/{order['pk']}/history/").text
    assert page.count("order line ") >= order["lines"]
