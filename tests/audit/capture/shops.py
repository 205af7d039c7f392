"""The models with which a shop begins, and a shop that nobody has migrated yet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.audit.capture.deployed import Shop, drop_database, make_database

TAG = """
class Tag(models.Model):
    name = models.CharField(max_length=50)
    def __str__(self):
        return self.name
"""

FIRST = (
    TAG
    + """
class Product(models.Model):
    name = models.CharField(max_length=100)
    price = models.DecimalField(max_digits=8, decimal_places=2, default="1.50")
    tags = models.ManyToManyField(Tag)
    def __str__(self):
        return self.name
"""
)

CREATE = """
    migrations.CreateModel("Tag", [
        ("id", models.BigAutoField(primary_key=True)),
        ("name", models.CharField(max_length=50)),
    ]),
    migrations.CreateModel("Product", [
        ("id", models.BigAutoField(primary_key=True)),
        ("name", models.CharField(max_length=100)),
        ("price", models.DecimalField(max_digits=8, decimal_places=2, default="1.50")),
        ("tags", models.ManyToManyField("shop.Tag")),
    ]),
"""

STOCKED = FIRST.replace("    tags =", "    stock = models.IntegerField(default=0)\n    tags =")
ADD_STOCK = 'migrations.AddField("product", "stock", models.IntegerField(default=0)),'


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    make_database()
    shop = Shop(tmp_path)
    shop.change(FIRST, CREATE)
    yield shop
    drop_database()
