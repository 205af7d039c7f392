"""Where peers lose a file, or leave one."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, default_storage
from django.db import models, transaction

from django_signal_kit.receivers import FileCleanup
from tests.apps.testapp.models import Document, Product, ProductProxy
from tests.factories import ProductFactory
from tests.files.uploads import ALL, exist, get_kept, put, read, upload, with_image

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


def test_an_instance_that_was_made_by_hand_gives_up_what_the_row_named(cleanup: Any) -> None:
    product, old = with_image()
    made = Product(pk=product.pk, name="x", image=upload("new.txt"))
    made.save(force_update=True)
    assert exist(old, made.image.name) == [made.image.name]
    made = Product(pk=product.pk, name="x")
    made._state.adding = False
    made.save()
    assert exist("products/new.txt") == []
    product, old = with_image()
    Product(pk=product.pk).delete()
    assert exist(old) == []


def test_an_instance_that_was_pickled_or_copied_does_so_too(cleanup: Any) -> None:
    for duplicate in (lambda row: pickle.loads(pickle.dumps(row)), copy.copy, copy.deepcopy):
        product, old = with_image()
        other = duplicate(product)
        other.image = upload("new.txt")
        other.save()
        assert exist(old, other.image.name) == [other.image.name]
        product.refresh_from_db()
        product.image = ""
        product.save()
        assert exist(other.image.name) == []


def test_a_change_that_was_read_over_deletes_nothing(cleanup: Any) -> None:
    product, old = with_image()
    product.image = "products/other.txt"
    product.refresh_from_db()
    product.save()
    product.image = ""
    product.refresh_from_db(fields=["image"])
    product.save()
    assert exist(old) == [old]


def test_a_proxy_is_its_model(cleanup: Any) -> None:
    product, old = with_image()
    proxy = ProductProxy.objects.get(pk=product.pk)
    proxy.image = upload("new.txt")
    proxy.save()
    assert exist(old, proxy.image.name) == [proxy.image.name]
    proxy.delete()
    assert exist("products/new.txt") == []


def test_a_file_that_changes_hands_and_comes_back_stays(cleanup: Any) -> None:
    a, name = with_image()
    b = ProductFactory()
    with transaction.atomic():
        a.image, b.manual = "", name
        a.save()
        b.save()
        with transaction.atomic():
            b.delete()
            transaction.set_rollback(True)
        b.manual, a.image = "", name
        b.save()
        a.save()
    assert exist(name) == [name]
    assert get_kept() == {}


def test_a_default_is_never_taken_away(cleanup: Any) -> None:
    name = put("documents/empty.txt")
    Document.objects.create().delete()
    document = Document.objects.create()
    document.file = upload("new.txt")
    document.save()
    assert exist(name) == [name]


@pytest.mark.parametrize("name", ["/etc/hostname", "../x.txt", "a/../../x.txt", "C:/x.txt", "."])
def test_a_name_that_leads_out_of_the_storage_is_refused(
    cleanup: Any, caplog: Any, name: str
) -> None:
    product = ProductFactory()
    Product.objects.filter(pk=product.pk).update(image=name)
    product.delete()
    assert f"FileCleanup leaves {name!r} alone" in caplog.text
    assert get_kept() == {}


class Overwriting(FileSystemStorage):
    """Saves over what is there."""

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        if self.exists(name):
            self.delete(name)
        return name


@pytest.fixture
def logo(make_model: Any, wire: Any, tmp_path: Any) -> Any:
    field = models.FileField(storage=Overwriting(location=tmp_path))
    model = make_model("Logo", models.Model, file=field)
    wire((FileCleanup, {"models": [model]}))
    return model


def test_a_file_that_is_saved_over_stays(logo: Any) -> None:
    row = logo.objects.create(file=ContentFile(b"one", "a.txt"))
    storage = row.file.storage
    row.file = ContentFile(b"two", "a.txt")
    row.save()
    assert read("a.txt", storage) == b"two"
    with transaction.atomic():
        row.file = ContentFile(b"three", "a.txt")
        row.save()
        transaction.set_rollback(True)
    # The row names it, whatever is in it now.
    assert storage.exists("a.txt")
    with transaction.atomic():
        row.delete()
        row = logo.objects.create(file=ContentFile(b"four", "a.txt"))
    assert read("a.txt", storage) == b"four"
    row.delete()
    assert not storage.exists("a.txt")


def test_a_save_of_the_field_file_itself_is_heard(cleanup: Any) -> None:
    product, old = with_image()
    product.image.save("new.txt", upload(), save=True)
    assert exist(old, product.image.name) == [product.image.name]
    name = product.image.name
    product.image.delete()
    assert exist(name) == []
    assert default_storage.listdir("products") == ([], [])


def test_a_key_of_none_copies_a_row_and_shares_its_file(cleanup: Any) -> None:
    product, name = with_image()
    product.pk, product._state.adding = None, True
    product.save()
    Product.objects.order_by("pk")[0].delete()
    assert exist(name) == [name]
    Product.objects.get().delete()
    assert exist(name) == []


def test_hooks_know_the_row(wire: Any) -> None:
    receiver = wire((Telling, ALL))
    product, name = with_image()
    key = product.pk
    product.delete()
    assert receiver.told == [(name, Product, "image", key, "default")]


class Telling(FileCleanup):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.told: list[Any] = []

    def should_delete(self, file: Any) -> bool:
        self.told.append((file.name, file.model, file.field, file.key, file.using))
        return True
