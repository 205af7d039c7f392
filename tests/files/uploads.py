"""Files of rows, in two storages."""

from __future__ import annotations

from typing import Any

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from tests.apps.testapp.models import Contract, Product
from tests.factories import ProductFactory

ALL = {"models": ["testapp.*"]}
VAULT = Contract._meta.get_field("scan").storage


def upload(name: str = "a.txt") -> ContentFile:
    return ContentFile(b"content", name)


def put(name: str, storage: Any = default_storage) -> str:
    return storage.save(name, upload(name))


def exist(*names: str) -> list[str]:
    """Those of the names that are a file in the default storage."""
    return [name for name in names if default_storage.exists(name)]


def with_image(**values: Any) -> tuple[Product, str]:
    product = ProductFactory(image=upload(), **values)
    return product, product.image.name
