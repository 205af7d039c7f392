"""Which pages the shop caches with tags, and what ``?debug=cache`` says of them."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.parse import urljoin
from urllib.request import ProxyHandler, Request, build_opener

import pytest

from tests.example.browser import Browser
from tests.example.conftest import Shop, run_manage
from tests.example.test_pages import get_product

MADE, HIT = "no, made now", "yes"


class Answer(NamedTuple):
    status: int
    headers: Any
    text: str


def ask(shop: Shop, path: str, **headers: str) -> Answer:
    """What the shop answers to somebody without cookies."""
    request = Request(urljoin(shop.url, path), headers=headers)
    try:
        with build_opener(ProxyHandler({})).open(request, timeout=30) as answer:
            return Answer(answer.status, answer.headers, answer.read().decode())
    except HTTPError as error:
        with error:
            return Answer(error.code, error.headers, "")


def get_looks(page: str) -> dict[str, tuple[list[str], str]]:
    """What was asked of the cache -> its tags, and whether it was there."""
    _, _, shown = page.partition('class="looks"')
    assert shown, "nothing is shown of the cache"
    return {
        what: (re.findall(r"<code>([^<]+)</code>", tags), answer)
        for what, tags, answer in re.findall(
            r'<th scope="row">([^<]+)</th><td>(.*?)</td><td><span[^>]*>([^<]+)<', shown
        )
    }


def change(keeper: Browser, product: dict[str, Any], **values: str) -> None:
    """Through the admin."""
    page = keeper.get(f"/admin/shop/product/{product['id']}/change/")
    assert keeper.send(page, **values).status == 200


@pytest.fixture
def product(shop: Shop) -> dict[str, Any]:
    return get_product(shop, sku="BC-170")


def test_a_page_is_made_once_until_its_row_is_saved(
    shop: Shop, keeper: Browser, product: dict[str, Any]
) -> None:
    path = f"/product/{product['slug']}/"
    tags = [f"product:{product['slug']}", "categories"]
    change(keeper, product, stock="4")
    page = ask(shop, f"{path}?debug=cache").text
    assert get_looks(page) == {
        "the page": (tags, MADE),
        "the fragment product_page": (tags[:1], MADE),
    }
    assert "4 in stock" in page
    # It is the page that others get, and they are told nothing.
    assert "looks" not in ask(shop, path).text
    assert get_looks(ask(shop, f"{path}?debug=cache").text) == {"the page": (tags, HIT)}
    change(keeper, product, stock="3")
    page = ask(shop, f"{path}?debug=cache").text
    assert get_looks(page)["the page"] == (tags, MADE)
    assert "3 in stock" in page
    assert "3 in stock" in ask(shop, path).text


def test_who_has_logged_in_sees_what_is_his_and_a_fragment_of_others(
    shop: Shop, keeper: Browser, product: dict[str, Any]
) -> None:
    path = f"/product/{product['slug']}/?debug=cache"
    ask(shop, path)
    page = keeper.get(path).text
    assert "Log out" in page
    assert get_looks(page) == {"the fragment product_page": ([f"product:{product['slug']}"], HIT)}
    assert "Log out" not in ask(shop, path).text


def test_a_list_and_its_count_are_made_once_until_one_of_its_rows_is_saved(
    shop: Shop, keeper: Browser, product: dict[str, Any]
) -> None:
    slug, *_ = shop.ask("SELECT slug FROM shop_category WHERE id = ?", product["category_id"])[0]
    tags = [f"category:{product['category_id']}"]
    parts = (f"category:{product['category_id']}:in-stock", "the fragment category_page")
    change(keeper, product, stock="6")
    for answer in (MADE, HIT):
        looks = get_looks(ask(shop, f"/category/{slug}/?debug=cache").text)
        assert looks == dict.fromkeys(parts, (tags, answer))
    change(keeper, product, stock="0")
    assert get_looks(ask(shop, f"/category/{slug}/?debug=cache").text)[parts[1]] == (tags, MADE)


def test_other_programs_that_have_the_product_are_answered_with_304(
    shop: Shop, keeper: Browser, product: dict[str, Any]
) -> None:
    path = f"/api/product/{product['slug']}/"
    change(keeper, product, stock="8")
    answer = ask(shop, path)
    assert json.loads(answer.text)["stock"] == 8
    known = {"If-None-Match": answer.headers["ETag"]}
    assert ask(shop, path, **known).status == 304
    told = ask(shop, f"{path}?debug=cache", **known)
    assert told.headers["X-Cache"] == "the page hit"
    assert told.headers["X-Cache-Tags"] == f"product:{product['slug']} categories"
    change(keeper, product, stock="9")
    answer = ask(shop, path, **known)
    assert (answer.status, json.loads(answer.text)["stock"]) == (200, 9)


def test_a_tag_or_a_category_that_is_renamed_is_on_the_page_at_once(
    shop: Shop, keeper: Browser
) -> None:
    row = shop.ask(
        "SELECT p.slug, p.category_id, t.id FROM shop_product p JOIN shop_product_tags l "
        "ON l.product_id = p.id JOIN shop_tag t ON t.id = l.tag_id ORDER BY p.sku",
        live=True,
    )[0]
    path = f"/product/{row['slug']}/"
    for kind, pk, name in (
        ("tag", row["id"], "renamed"),
        ("category", row["category_id"], "Moved"),
    ):
        assert name not in ask(shop, path).text
        page = keeper.get(f"/admin/shop/{kind}/{pk}/change/")
        assert keeper.send(page, name=name).status == 200
        assert f">{name}</a>" in ask(shop, path).text


def test_it_is_told_in_no_other_place(shop: Shop, product: dict[str, Any]) -> None:
    code = (
        "from django.conf import settings; from django.test import Client; settings.DEBUG = False;"
        f"page = Client(headers={{'host': 'localhost'}}).get('/product/{product['slug']}/', "
        "{'debug': 'cache'}); print(page.status_code, b'looks' in page.content)"
    )
    answer = run_manage(shop.var, "shell", "-c", code, cwd=shop.var)
    assert "200 False" in answer.stdout, answer.stderr
