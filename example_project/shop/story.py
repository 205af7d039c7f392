"""A day in the shop: the writes that the demo makes, each a function, in the order of the day.

Each adds to ``made`` what it has changed and committed, rows and links between them, and what was
refused. The figures of the demo compare that with what the receivers did.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.files.base import ContentFile
from django.db import transaction
from django.test import Client
from django.urls import reverse

from django_signal_kit import batch, muted
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.exceptions import InvalidRowsError
from shop.catalogue import read_goods, set_picture
from shop.forms import SignUpForm
from shop.models import Category, Destination, Order, OrderLine, Product, Profile, Tag

Made = Counter[str]

NEWCOMER = "noor"
NOBODY = "nobody"
DELETED_TAG = "power"
PASSWORD = "correct horse battery"


class RollbackError(Exception):
    """Raised to roll back, and caught where that was to be shown."""


class SignUpError(Exception):
    """The form of the sign-up refused what the demo wrote into it."""


@contextmanager
def taken_back(made: Made) -> Iterator[None]:
    """What is done inside is rolled back, and the entries that the log had of it are counted."""
    try:
        with transaction.atomic():
            before = AuditEntry.objects.count()
            yield
            made["entry undone"] += AuditEntry.objects.count() - before
            raise RollbackError
    except RollbackError:
        pass


def note_deleted(made: Made, products: list[Product]) -> None:
    """They are going to be deleted. That their links end with them is told by triggers alone."""
    made["delete"] += len(products)
    if settings.CAPTURE == "triggers":
        made["unlink"] += Product.tags.through.objects.filter(product__in=products).count()


def get_sign_up(username: str) -> dict[str, Any]:
    return {
        "username": username,
        "email": f"{username}@customer.example",
        "password1": PASSWORD,
        "password2": PASSWORD,
        "newsletter": "on",
    }


def move_customers(made: Made) -> None:
    """Bring the customers of the old shop along. They have been welcomed there."""
    names = ("ada", "björn", "chiara", "dolores", "emeka", "françois", "goran", "hye-jin")
    with muted("ShopWelcomeEmail"):
        for name in names:
            User.objects.create_user(name, f"{len(name)}{name[0]}@customer.example")
    made["create"] += len(names)  # Their profiles: the log covers those, not the users.


def sign_up(made: Made) -> None:
    """Somebody signs up, through the page."""
    client = Client(headers={"host": "localhost"})
    response = client.post(reverse("sign_up"), get_sign_up(NEWCOMER))
    if response.status_code != 302:
        raise SignUpError(response.content.decode())
    made["create"] += 1  # The profile, and then the wish for the newsletter in it.
    made["update"] += 1


def sign_up_in_vain(made: Made) -> None:
    """Somebody signs up, and the transaction is rolled back: no user, no profile, no mail."""
    with taken_back(made):
        form = SignUpForm(get_sign_up(NOBODY))
        if not form.is_valid():
            raise SignUpError(form.errors.as_text())
        form.save()


def take_orders(made: Made) -> None:
    """Sixty orders. An order, its lines and the stock are one unit of work."""
    chance = random.Random("orders")
    customers = list(Profile.objects.filter(user__is_staff=False).order_by("pk"))
    cities = list(Destination.objects.filter(population__gt=200_000).order_by("geoname_id"))
    products = list(Product.objects.filter(stock__gt=10).order_by("sku"))
    for _ in range(60):
        with batch():
            order = Order.objects.create(
                customer=chance.choice(customers).user, destination=chance.choice(cities)
            )
            for product in chance.sample(products, chance.randint(1, 4)):
                quantity = chance.randint(1, 2)
                OrderLine.objects.create(
                    order=order, product=product, quantity=quantity, price=product.price
                )
                product.stock = max(product.stock - quantity, 0)
                product.save(update_fields=["stock"])
                made["create"] += 1
                made["update"] += 1
        made["create"] += 1


def send_and_cancel_orders(made: Made) -> None:
    """Some orders are sent, others deleted, and their lines with them."""
    orders = list(Order.objects.order_by("pk"))
    for order in orders[:30]:
        order.status = Order.Status.SENT
        order.save()
    made["update"] += 30
    for order in orders[-5:]:
        _, deleted = order.delete()
        made["delete"] += deleted["shop.Order"] + deleted["shop.OrderLine"]


def change_prices(made: Made) -> None:
    """save(), save(update_fields=...), a row loaded in part, and a save that changes nothing."""
    products = list(Product.objects.order_by("sku"))
    for product in products[:40]:
        product.price += Decimal("1.10")
        product.save()
    for product in products[40:70]:
        product.stock += 12
        product.save(update_fields=["stock"])
    for product in Product.objects.only("name", "description").order_by("sku")[70:90]:
        product.description = f"{product.description} New in the shop."
        product.save()
    made["update"] += 90
    for product in products[100:125]:
        product.save()


def change_many(made: Made) -> None:
    """Eighty prices in one unit of work."""
    with batch():
        for product in Product.objects.order_by("sku")[130:210]:
            product.price -= Decimal("0.20")
            product.save()
            made["update"] += 1


def move_and_rename(made: Made) -> None:
    """Goods change their department, a department and a tag their name."""
    garden = Category.objects.get(name="Garden")
    for product in Product.objects.filter(category__name="Paint & decorating")[:4]:
        product.category = garden
        product.save()
        made["update"] += 1
    garden.name = "Garden & shed"
    garden.save()
    tag = Tag.objects.get(name="bestseller")
    tag.name = "well loved"
    tag.save()
    made["update"] += 2


def change_pictures(made: Made) -> None:
    """Pictures are replaced, renamed, shared, swapped and taken away."""
    drawings = {row["sku"]: row["picture"] for row in read_goods()}
    unsold = list(Product.objects.exclude(lines__isnull=False).order_by("sku"))
    screws = [product for product in unsold if drawings[product.sku] == "screw"]
    others = [product for product in unsold if product not in screws]

    # Two products with the same file: it goes with the last of them only.
    first, second, one, other, bare = screws[:5]
    second.image = first.image.name
    second.save()
    note_deleted(made, [first])
    first.delete()
    made["update"] += 1

    one.image, other.image = other.image.name, one.image.name
    with batch():
        one.save(update_fields=["image"])
        other.save(update_fields=["image"])
    made["update"] += 2

    bare.image = ""
    bare.save(update_fields=["image"])
    set_picture(bare, "screw", f"{bare.sku}-new")
    bare.save()
    made["update"] += 2

    some = random.Random("pictures").sample(others, 18)
    for product in some[:12]:
        set_picture(product, drawings[product.sku], f"{product.sku}-new")
        product.save()
    for product in some[12:]:
        with product.image.open() as file:
            content = file.read()
        product.image.save(f"{product.sku.lower()}-front.png", ContentFile(content))
    made["update"] += 18


def change_tags(made: Made) -> None:
    """Many-to-many changes from both sides."""
    gift = Tag.objects.get(name="gift")
    plain = list(Product.objects.exclude(tags=gift).order_by("-sku")[:30])
    for product in plain[:10]:
        product.tags.add(gift)
    gift.products.add(*plain[10:30])
    made["link"] += 30
    for product in plain[:4]:
        product.tags.remove(gift)
    gift.products.remove(*plain[10:16])
    made["unlink"] += 10
    for product in plain[20:23]:
        made["unlink"] += product.tags.count()
        product.tags.clear()
    # He has it already: nothing changes, and nothing is recorded.
    plain[5].tags.add(gift)


def receive_a_bad_delivery(made: Made) -> None:
    """Five new articles at once, three of them wrong: none comes in."""
    category = Category.objects.get(name="Pots & pans")
    rows = [("Ladle", "4.20"), ("", "4.20"), ("Sieve", "-1"), ("Whisk", "3.90"), ("Tongs", "free")]
    try:
        Product.objects.bulk_create(
            Product(sku=f"NEW-{n}", name=name, slug=f"new-{n}", price=price, category=category)
            for n, (name, price) in enumerate(rows)
        )
    except InvalidRowsError as error:
        made["row refused"] += len(error.errors)


def change_tags_too_much(made: Made) -> None:
    """A product gets more tags than it may have, and two tags lose their only product."""
    product, gone = Product.objects.exclude(lines__isnull=False).order_by("sku")[20:22]
    try:
        product.tags.set(Tag.objects.all())
    except ValidationError:
        made["tags refused"] += 1
    last = Tag.objects.create(name="last chance", slug="last-chance")
    product.tags.add(last)
    product.tags.remove(last)
    made.update(("create", "link", "unlink", "delete"))
    gone.tags.add(Tag.objects.create(name="last of its kind", slug="last-of-its-kind"))
    made.update(("create", "link", "delete"))
    note_deleted(made, [gone])
    gone.delete()


def take_all_back(made: Made) -> None:
    """Everything at once, and then a rollback: nothing was made."""
    products = list(Product.objects.exclude(lines__isnull=False).order_by("-sku")[:20])
    with taken_back(made):
        for product in products[:6]:
            product.price *= 2
            product.save()
        products[6].image = ""
        products[6].save()
        products[7].image = products[8].image.name
        products[7].save()
        products[9].tags.clear()
        for product in products[10:14]:
            product.delete()
        Product.objects.create(
            sku="NO-1", name="Sky hook", price="1.00", category=products[14].category
        )
        Category.objects.create(name="Sky hooks", slug="sky-hooks")


def take_half_back(made: Made) -> None:
    """A savepoint is rolled back, and what is round it is kept."""
    first, second, *_ = Product.objects.exclude(lines__isnull=False).order_by("-sku")[30:32]
    with transaction.atomic():
        first.stock += 1
        first.save()
        made["update"] += 1
        with taken_back(made):
            second.delete()


def regret(made: Made) -> None:
    """A product is deleted, and taken back from the log with its picture."""
    goods = Product.objects.exclude(lines__isnull=False).filter(tags=None).exclude(image="")
    product = goods.order_by("sku")[0]
    key, storage = product.pk, product.image.storage
    product.delete()
    AuditEntry.objects.filter(action="delete", object_pk=str(key)).latest("pk").revert()
    if not storage.exists(Product.objects.get(pk=key).image.name):
        raise RuntimeError("The product is back without its picture.")
    made.update(("delete", "create"))


def clear_out(made: Made) -> None:
    """Delete goods, one by one and by a queryset, a tag and a department."""
    goods = Product.objects.exclude(lines__isnull=False).order_by("-sku")
    products = list(goods[:6])
    note_deleted(made, products)
    for product in products:
        product.delete()
    products = list(goods[40:46])
    note_deleted(made, products)
    Product.objects.filter(pk__in=[product.pk for product in products]).delete()
    tag = Tag.objects.get(name=DELETED_TAG)
    # Each product that had it is told to have lost it.
    made["unlink"] += tag.products.count()
    tag.delete()
    empty = Category.objects.create(name="Odds and ends", slug="odds-and-ends")
    empty.delete()
    made["create"] += 1
    made["delete"] += 2


#: What changes the goods, while their pages are in the cache.
DAY = (
    change_prices,
    change_many,
    move_and_rename,
    change_tags,
    receive_a_bad_delivery,
    change_tags_too_much,
    send_and_cancel_orders,
    take_all_back,
    take_half_back,
    change_pictures,
    regret,
    clear_out,
)
