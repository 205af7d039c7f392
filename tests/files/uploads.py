"""Files of rows, in two storages."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from django_signal_kit.files.quarantine import Quarantine
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


def get_kept(storage: Any = default_storage) -> dict[str, str]:
    """Name -> where it waits in quarantine, of all that does."""
    found: dict[str, str] = {}
    quarantine = Quarantine(storage)
    for day in quarantine.list_days():
        for place in quarantine._walk(f"quarantine/{day}"):
            parts = place.split("/")[2:]
            found["/".join(parts[1:] if parts[0].startswith("~") else parts)] = place
    return found


def read(name: str, storage: Any = default_storage) -> bytes:
    with storage.open(name) as content:
        return content.read()


def backdate(place: str, days: int) -> str:
    """As if it had come so many days ago. Returns where it is now."""
    root = Path(default_storage.location)
    _, day, name = place.split("/", 2)
    moved = (date.fromisoformat(day) - timedelta(days=days)).isoformat()
    target = root / "quarantine" / moved / name
    target.parent.mkdir(parents=True, exist_ok=True)
    (root / place).rename(target)
    return f"quarantine/{moved}/{name}"
