"""A page that a Varnish holds is fresh at the next request after the commit that changed it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from django.core.cache import cache
from django.core.handlers.wsgi import WSGIHandler
from django.db import transaction

from django_signal_kit import batch
from django_signal_kit.cache import tagged
from django_signal_kit.receivers import CacheInvalidation
from tests.apps.testapp.models import Product
from tests.cache import site
from tests.cache.varnish_server import VarnishServer
from tests.factories import ProductFactory
from tests.serving import serve_wsgi

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def varnish(tmp_path: Path, settings: Any, wire: Any) -> Iterator[VarnishServer]:
    settings.ROOT_URLCONF = "tests.cache.site"
    settings.MIDDLEWARE = ["django_signal_kit.cache.CacheTagHeaders", *settings.MIDDLEWARE]
    settings.ALLOWED_HOSTS = ["*"]
    site.called.clear()
    cache.clear()
    with serve_wsgi(WSGIHandler()) as backend:
        server = VarnishServer(tmp_path, backend)
        try:
            options = {"models": ["testapp.Product"], "tags": ["product:{pk}", "products"]}
            purge = {"urls": [server.url], "method": "BAN", "regex": True}
            wire((CacheInvalidation, options), ("django_signal_kit.cache.HTTPPurge", purge))
            yield server
        finally:
            server.stop()


def get(server: VarnishServer, path: str) -> tuple[str, bool, Any]:
    """What Varnish gives, whether from its cache, and the headers."""
    with urlopen(Request(server.url + path), timeout=30) as response:
        return response.read().decode(), response.headers["X-Hits"] != "0", response.headers


def test_a_page_at_the_edge_is_fresh_after_the_commit_and_not_before(
    varnish: VarnishServer,
) -> None:
    one, other = ProductFactory(name="old"), ProductFactory(name="other")
    path, kept = f"/product/{one.pk}/", f"/product/{other.pk}/"
    for url, name in ((path, "old"), (kept, "other")):
        assert get(varnish, url)[:2] == (name, False)
        assert get(varnish, url)[:2] == (name, True)
    assert site.called == [path, kept]
    with transaction.atomic():
        one.name = "new"
        one.save()
        assert get(varnish, path)[:2] == ("old", True)
    assert get(varnish, path)[:2] == ("new", False)
    assert get(varnish, path)[:2] == ("new", True)
    assert get(varnish, kept)[:2] == ("other", True)
    assert "Cache-Tag" not in get(varnish, path)[2]


def test_a_rollback_purges_nothing(varnish: VarnishServer) -> None:
    product = ProductFactory(name="old")
    path = f"/product/{product.pk}/"
    get(varnish, path)
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        product.name = "new"
        product.save()
        Product.objects.update(name="newer")
        raise ZeroDivisionError
    assert get(varnish, path)[:2] == ("old", True)
    with transaction.atomic():
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            product.save()
            raise ZeroDivisionError
    assert get(varnish, path)[:2] == ("old", True)


def test_a_list_that_names_no_tags_is_fresh_when_a_row_comes_or_goes(
    varnish: VarnishServer,
) -> None:
    assert get(varnish, "/names/")[:2] == ("", False)
    assert get(varnish, "/names/")[:2] == ("", True)
    product = ProductFactory(name="tea")
    assert get(varnish, "/names/")[:2] == ("tea", False)
    assert get(varnish, "/names/")[:2] == ("tea", True)
    with batch():
        Product.objects.bulk_create([Product(name="cake"), Product(name="milk")])
    assert get(varnish, "/names/")[:2] == ("tea,cake,milk", False)
    Product.objects.filter(name="cake").update(name="pie")
    assert get(varnish, "/names/")[:2] == ("tea,pie,milk", False)
    product.delete()
    assert get(varnish, "/names/")[:2] == ("pie,milk", False)


def test_tags_are_purged_whole_and_whatever_is_in_them(varnish: VarnishServer) -> None:
    products = [ProductFactory(name="old") for _ in range(12)]
    first, twelfth = products[0].pk, products[0].pk * 10 + 1
    ProductFactory(pk=twelfth, name="old")
    get(varnish, f"/product/{first}/")
    get(varnish, f"/product/{twelfth}/")
    Product.objects.filter(pk=first).update(name="new")
    assert get(varnish, f"/product/{first}/")[0] == "new"
    assert get(varnish, f"/product/{twelfth}/")[:2] == ("old", True)
    tagged().touch(f"product:{twelfth}")
    assert get(varnish, f"/product/{twelfth}/")[1] is False
    tagged().touch()
    assert get(varnish, f"/product/{first}/")[1] is False
    assert get(varnish, f"/product/{twelfth}/")[1] is False
