"""The pages of the log, and of signals, that are worth a look."""

from __future__ import annotations

from tests.e2e.browser import ADMIN, LOG, SIGNALS, Shop

#: As long as the names of functions get.
LONG = "django_signal_kit.wiring.registry.Registry._on_class_prepared"


def get_pages(shop: Shop) -> dict[str, str]:
    """Name -> address."""
    return {
        "list": LOG,
        "filtered": f"{LOG}?action__exact=update",
        "searched": f"{LOG}?q={shop.product}",
        "entry": f"{LOG}{shop.entry}/change/",
        "tags": f"{LOG}{shop.tags_entry}/change/",
        "created": f"{LOG}1/change/",
        "history": f"{ADMIN}shop/order/{shop.order}/history/",
        "product": f"{ADMIN}shop/product/{shop.product}/history/",
        "signals": f"{SIGNALS}?app=shop",
        "signals-failing": f"{SIGNALS}?show=failing",
        "signals-inner": f"{SIGNALS}?show=inner",
        "signals-function": f"{SIGNALS}{LONG}/change/",
        "signals-receiver": f"{SIGNALS}ProductPages/change/",
    }
