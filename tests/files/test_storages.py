"""One file may have two names, and be in two storages."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage

from tests.apps.testapp.models import Contract, Product
from tests.factories import ProductFactory
from tests.files.uploads import VAULT, exist, put, with_image

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


def test_the_same_name_in_another_storage_is_another_file(cleanup: Any) -> None:
    name = put("documents/a.txt")
    assert put("documents/a.txt", VAULT) == name
    contract = Contract.objects.create(file=name, scan=name)
    contract.scan = None
    contract.save()
    assert exist(name) == [name]
    assert not VAULT.exists(name)
    put(name, VAULT)
    contract.delete()
    assert exist(name) == []
    assert VAULT.exists(name)


def test_two_storages_of_one_folder_keep_the_same_files(cleanup: Any) -> None:
    VAULT.location = default_storage.location
    product, name = with_image()
    contract = Contract.objects.create(scan=name)
    product.delete()
    assert exist(name) == [name]
    contract.delete()
    assert exist(name) == []


@pytest.mark.parametrize(
    "spelling", ["./{name}", "products/../{name}", "products//a.txt", "{path}"]
)
def test_another_spelling_of_its_name_deletes_no_file_of_anybody_else(
    cleanup: Any, spelling: str
) -> None:
    _, name = with_image()
    assert name == "products/a.txt"
    mine = ProductFactory(image=spelling.format(name=name, path=default_storage.path(name)))
    mine.delete()
    assert exist(name) == [name]


def test_a_path_that_leads_out_of_the_storage_deletes_nothing(cleanup: Any, caplog: Any) -> None:
    with tempfile.NamedTemporaryFile(dir=Path(default_storage.location).parent) as outside:
        ProductFactory(image=f"../{Path(outside.name).name}")
        _, name = with_image()
        Product.objects.all().delete()
        assert Path(outside.name).exists()
    assert exist(name) == []
    assert "the name leads out of its storage" in caplog.text
