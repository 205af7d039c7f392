"""The shop with django-debug-toolbar, for a picture of the panel: ``python -m tests.e2e.toolbar
PORT``. Its page ``/price/`` changes the price of a product."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import django

from tests.e2e.shop import EXAMPLE, fill

PANEL = "django_signal_kit.contrib.toolbar.SignalKitPanel"


def change_price(request: Any) -> Any:
    from django.http import HttpResponse
    from shop.models import Product

    product = Product.objects.order_by("pk")[0]
    product.price += 1
    product.save()
    return HttpResponse("<!doctype html><title>Price</title><body><p>Changed.</p></body>")


def main(port: str) -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
    sys.path.insert(0, str(EXAMPLE))

    from django.conf import settings
    from django.core.management import call_command

    settings.DEBUG = True
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "debug_toolbar"]
    settings.MIDDLEWARE.insert(0, "debug_toolbar.middleware.DebugToolbarMiddleware")
    settings.DEBUG_TOOLBAR_PANELS = [
        *("debug_toolbar.panels.timer.TimerPanel", "debug_toolbar.panels.sql.SQLPanel", PANEL)
    ]
    settings.DEBUG_TOOLBAR_CONFIG = {"SHOW_TOOLBAR_CALLBACK": lambda request: True}
    django.setup()

    from config import urls
    from debug_toolbar.toolbar import debug_toolbar_urls
    from django.urls import path

    urls.urlpatterns += [path("price/", change_price), *debug_toolbar_urls()]
    call_command("migrate", verbosity=0)
    (settings.VAR / "ready.json").write_text(json.dumps(fill()), encoding="utf-8")
    call_command("runserver", f"127.0.0.1:{port}", use_reloader=False, skip_checks=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
