"""The panel of django-debug-toolbar, in a project that has it, under WSGI and ASGI."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.projects import KIT, SHOP, Project

FILES = {
    **SHOP,
    "shop/signals.py": """
from django.db.models.signals import post_save
from django.dispatch import receiver
from django_signal_kit import ModelReceiver, register
from shop.models import Product

@register(models=["shop.Product"])
class Index(ModelReceiver):
    def post_save(self, instance, **kwargs):
        self.collect(instance.pk)
    def flush(self, items):
        Product.objects.count()

@receiver(post_save, sender=Product)
def escape(instance, **kwargs):
    if instance.name == "bad":
        raise ValueError("<script>alert(1)</script>")
""",
    "shop/urls.py": """
from debug_toolbar.toolbar import debug_toolbar_urls
from django.http import HttpResponse
from django.urls import path
from shop.models import Product

def add(request, name):
    try:
        Product.objects.create(name=name)
    except ValueError:
        pass
    return HttpResponse("<html><body>done</body></html>")

async def aadd(request, name):
    await Product.objects.acreate(name=name)
    return HttpResponse("<html><body>done</body></html>")

def nothing(request):
    return HttpResponse("<html><body>nothing</body></html>")

urlpatterns = [path("add/<name>/", add), path("aadd/<name>/", aadd), path("nothing/", nothing),
               *debug_toolbar_urls()]
""",
}

SETTINGS = """
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
DEBUG = True
ROOT_URLCONF = "shop.urls"
STATIC_URL = "/static/"
INTERNAL_IPS = ["127.0.0.1"]
MIDDLEWARE = ["debug_toolbar.middleware.DebugToolbarMiddleware"]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
DEBUG_TOOLBAR_PANELS = ["django_signal_kit.contrib.toolbar.SignalKitPanel"]
DEBUG_TOOLBAR_CONFIG = {"SHOW_TOOLBAR_CALLBACK": lambda request: True, "IS_RUNNING_TESTS": False}
"""

START = """
import asyncio, re
from django.core.management import call_command
from django.dispatch import Signal
from django.test import AsyncClient, Client
from debug_toolbar.toolbar import DebugToolbar
call_command("migrate", run_syncdb=True, verbosity=0)
send = Signal.__dict__["send"]

def panel(url):
    if url.startswith("/aadd"):
        page = asyncio.run(AsyncClient().get(url)).content.decode()
    else:
        page = Client().get(url).content.decode()
    found = re.search('data-request-id="([^"]+)"', page)[1]
    toolbar = DebugToolbar.fetch(found, "SignalKitPanel")
    it = toolbar.get_panel_by_id("SignalKitPanel")
    return it.nav_subtitle, it.content
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    apps = ["django.contrib.staticfiles", "debug_toolbar", KIT, "shop"]
    return Project(tmp_path, FILES, apps, SETTINGS)


@pytest.mark.parametrize("url", ["/add/tea/", "/aadd/tea/"])
def test_a_request_shows_its_receivers(project: Project, url: str) -> None:
    text = project.run(f"{START}print(*panel({url!r}))")
    # Under ASGI connections are opened, which others hear.
    assert int(text.partition(" calls, ")[0]) >= 3
    # A coroutine is not on the stack of the thread that runs its queries.
    place = "" if url.startswith("/aadd") else " (shop/urls.py:"
    assert f"post_save shop.Product 1{place}" in text
    assert "shop.signals.escape" in text
    # In one element: the toolbar gives each a line of its own.
    assert '<code title="shop.signals.Index">│  └─ Index: collected 1 item</code>' in text
    assert "Index: collected 1 item" in text
    assert "flush Index: after commit, 1 item" in text


def test_errors_are_there_and_escaped(project: Project) -> None:
    text = project.run(f"{START}print(*panel('/add/bad/'))")
    assert "ValueError: &lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "<script>" not in text


def test_a_request_without_signals_says_so_and_leaves_nothing_behind(project: Project) -> None:
    code = "print(*panel('/nothing/')); print(Signal.__dict__['send'] is send)"
    text = project.run(START + code)
    assert "No signal with a receiver was sent." in text
    assert text.rstrip().endswith("True")
