"""The example shop with four weeks in its log, served: ``python -m tests.e2e.shop PORT``.

Whatever it writes is in the folder ``SHOP_VAR``. Once it serves, it has written what the browser
needs to know into ``ready.json`` there. Each page comes with a policy as strict as can be.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import django

EXAMPLE = Path(__file__).parents[2] / "example_project"
POLICY = "default-src 'self'"
REASON = "Spring catalogue"


def strict_policy(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Middleware."""

    def answer(request: Any) -> Any:
        response = get_response(request)
        response["Content-Security-Policy"] = POLICY
        return response

    return answer


def fill() -> dict[str, Any]:
    """A little of what happens in a shop; returns what there is to look at."""
    from django.contrib.auth.models import User
    from shop.catalogue import load_goods
    from shop.models import Destination

    from django_signal_kit import context
    from django_signal_kit.audit.models import AuditEntry

    password = secrets.token_urlsafe(9)
    keeper = User.objects.create_superuser("keeper", password=password)
    with context(actor=keeper, reason="opening"):
        products = list(load_goods())
    city = Destination.objects.create(
        geoname_id=1, name="Ghent", country="BE", population=1, latitude=51, longitude=4
    )
    wordy = next(product for product in products if " the " in product.description)
    product = change_product(keeper, wordy)
    order = take_orders(keeper, city, products)
    refuse_a_price(product)
    spread()
    own = AuditEntry.objects.filter(object_pk=product.pk)
    return {
        "user": keeper.username,
        "password": password,
        "product": product.pk,
        "order": order.pk,
        "entry": own.get(action="update").pk,
        "tags_entry": own.filter(action="m2m_add").latest("pk").pk,
    }


def change_product(keeper: Any, product: Any) -> Any:
    from shop.models import Category, Tag

    from django_signal_kit import batch, context

    with context(actor=keeper, reason=REASON), batch():
        product.price = "14.90"
        product.category = Category.objects.exclude(pk=product.category_id)[0]
        product.description = product.description.replace(" the ", " every ", 1) + " New."
        product.save()
        product.tags.set(Tag.objects.order_by("name")[:2])
    return product


def refuse_a_price(product: Any) -> None:
    """A slip of the pen that a receiver notices."""
    from django.core.exceptions import ValidationError

    price, product.price = product.price, "-14.90"
    with suppress(ValidationError):
        product.save()
    product.price = price


def take_orders(keeper: Any, city: Any, products: list[Any]) -> Any:
    """Returns one that was changed when the customer called."""
    from django.contrib.auth.models import User
    from shop.models import Order

    from django_signal_kit import batch, context

    for number in range(3):
        with batch():
            customer = User.objects.create_user(f"customer{number}")
            order = Order.objects.create(customer=customer, destination=city)
            for product in products[number * 5 : number * 5 + 3]:
                order.lines.create(product=product, quantity=1 + number, price=product.price)
    with context(actor=keeper, reason="The customer called"), batch():
        order.status = Order.Status.SENT
        order.save()
        line = order.lines.all()[0]
        line.quantity += 2
        line.save()
    return order


def spread() -> None:
    """Move what was done in a moment over the last four weeks."""
    from django.utils import timezone

    from django_signal_kit.audit.models import AuditEntry

    entries = list(AuditEntry.objects.order_by("pk"))
    units = dict.fromkeys(entry.unit for entry in entries)
    chance, now = random.Random("days"), timezone.now()
    weights = [chance.choice([1, 2, 3, 5]) for _ in range(28)]
    days = chance.choices(range(28), weights, k=len(units))
    ages = sorted((timedelta(days, chance.randrange(9, 36_000)) for days in days), reverse=True)
    at = {unit: now - age for unit, age in zip(units, ages, strict=True)}
    for entry in entries:
        entry.at = at[entry.unit]
    AuditEntry.objects.bulk_update(entries, ["at"], batch_size=500)


def main(port: str) -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
    sys.path.insert(0, str(EXAMPLE))
    django.setup()

    from django.conf import settings
    from django.core.management import call_command

    settings.MIDDLEWARE.insert(0, "tests.e2e.shop.strict_policy")
    call_command("migrate", verbosity=0)
    (settings.VAR / "ready.json").write_text(json.dumps(fill()), encoding="utf-8")
    call_command("runserver", f"127.0.0.1:{port}", use_reloader=False, skip_checks=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
