"""What was uploaded for a row that was not written is taken away, if nobody names it."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.files.storage import default_storage
from django.db import IntegrityError, connection, transaction
from django.db.models.signals import post_save
from django.test import TestCase

from django_signal_kit import batch, muted
from django_signal_kit.receivers import AuditLog, FileCleanup
from tests.apps.testapp.models import Document, Gallery, Product
from tests.factories import ProductFactory
from tests.files.uploads import ALL, exist, get_kept, put, upload, with_image

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


def list_files(folder: str = "products") -> list[str]:
    try:
        return sorted(default_storage.listdir(folder)[1])
    except FileNotFoundError:
        return []


def test_an_upload_of_a_transaction_that_was_rolled_back_goes(cleanup: Any) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        _, name = with_image()
        assert exist(name) == [name]
        raise ZeroDivisionError
    assert exist(name) == []
    assert [*get_kept()] == [name]


def test_so_does_one_of_a_batch(cleanup: Any) -> None:
    with pytest.raises(ZeroDivisionError), batch():
        _, name = with_image()
        raise ZeroDivisionError
    assert exist(name) == []


def test_and_one_of_a_savepoint_when_the_transaction_is_over(cleanup: Any) -> None:
    with transaction.atomic():
        _, kept = with_image()
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            _, name = with_image()
            raise ZeroDivisionError
        assert exist(kept, name) == [kept, name]
    assert exist(kept, name) == [kept]


def test_and_one_of_a_savepoint_in_what_is_rolled_back(cleanup: Any) -> None:
    names = []
    with transaction.atomic():
        names.append(with_image()[1])
        with transaction.atomic():
            names.append(with_image()[1])
            with transaction.atomic():
                names.append(with_image()[1])
                transaction.set_rollback(True)
        with transaction.atomic():
            names.append(with_image()[1])
        transaction.set_rollback(True)
    assert len({*names}) == 4
    assert exist(*names) == []


def test_and_one_of_a_savepoint_made_by_hand(cleanup: Any) -> None:
    with transaction.atomic():
        sid = connection.savepoint()
        _, name = with_image()
        connection.savepoint_rollback(sid)
        _, kept = with_image()
        connection.savepoint_rollback(connection.savepoint())
    assert exist(name, kept) == [kept]


def test_and_one_while_autocommit_is_off(cleanup: Any) -> None:
    transaction.set_autocommit(False)
    try:
        name = ProductFactory(image=upload("b.txt")).image.name
        transaction.rollback()
        _, kept = with_image()
        transaction.commit()
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)
    assert exist(name, kept) == [kept]


def test_what_the_transaction_saves_after_all_stays(cleanup: Any) -> None:
    product = ProductFactory.build(image=upload())
    with transaction.atomic():
        with transaction.atomic():
            product.save()
            transaction.set_rollback(True)
        product.pk, product._state.adding = None, True
        product.save()
    assert exist(product.image.name) == [product.image.name]


def test_a_transaction_that_is_tried_again_gets_its_file_back(cleanup: Any) -> None:
    product = ProductFactory.build(image=upload())
    for attempt in range(2):
        with transaction.atomic():
            product.pk, product._state.adding = None, True
            product.save()
            transaction.set_rollback(attempt == 0)
        assert exist(product.image.name) == [product.image.name] * attempt


def test_an_upload_of_a_save_that_raised_in_autocommit_goes(cleanup: Any) -> None:
    product = ProductFactory.build(name=None, image=upload())
    with pytest.raises(IntegrityError):
        product.save()
    assert list_files() == []
    product.name = "Tea"
    product.save()
    assert exist(product.image.name) == [product.image.name]


def test_so_does_one_beside_a_receiver_that_opens_a_transaction(wire: Any) -> None:
    wire((AuditLog, ALL), (FileCleanup, ALL))
    with pytest.raises(IntegrityError):
        ProductFactory(name=None, image=upload())
    assert list_files() == []
    _, name = with_image()
    assert exist(name) == [name]


def test_the_file_of_a_row_that_is_saved_stays_though_a_receiver_raised(cleanup: Any) -> None:
    def fail(**kwargs: Any) -> None:
        raise ZeroDivisionError

    post_save.connect(fail, sender=Product)
    try:
        with pytest.raises(ZeroDivisionError):
            with_image()
    finally:
        post_save.disconnect(fail, sender=Product)
    name = Product.objects.get().image.name
    assert exist(name) == [name]


def test_one_that_was_uploaded_before_its_row_is_saved_goes_with_it(cleanup: Any) -> None:
    product = ProductFactory.build(name=None)
    with pytest.raises(IntegrityError):
        product.image.save("a.txt", upload())
    product.image.save("b.txt", upload(), save=False)
    with pytest.raises(IntegrityError):
        product.save()
    assert list_files() == []
    product.image.save("c.txt", upload(), save=False)
    product.name = "Tea"
    with transaction.atomic():
        product.save()
        transaction.set_rollback(True)
    assert list_files() == []
    with transaction.atomic():
        product = ProductFactory()
        product.image.save("d.txt", upload(), save=False)
        transaction.set_rollback(True)
    assert list_files() == []


def test_a_replacement_that_was_rolled_back_leaves_the_file_before(cleanup: Any) -> None:
    product, old = with_image()
    with transaction.atomic():
        product.image = upload("new.txt")
        product.save()
        new = product.image.name
        transaction.set_rollback(True)
    assert exist(old, new) == [old]


def test_what_was_not_uploaded_here_is_nobodys_business(cleanup: Any) -> None:
    name = put("products/staged.txt")
    with transaction.atomic():
        ProductFactory(image=name)
        transaction.set_rollback(True)
    assert exist(name) == [name]


def test_uploads_of_bulk_create_go_too(cleanup: Any) -> None:
    with pytest.raises(IntegrityError):
        Product.objects.bulk_create(
            [Product(name="a", image=upload()), Product(name=None, image=upload())]
        )
    assert list_files() == []
    rows = Product.objects.bulk_create([Product(name=name, image=upload()) for name in "ab"])
    names = [row.image.name for row in rows]
    assert exist(*names) == names


def test_uploads_for_another_database_follow_its_transaction(cleanup: Any) -> None:
    gallery = Gallery(cover=upload())
    with transaction.atomic(using="other"):
        gallery.save(using="other")
        transaction.set_rollback(True, using="other")
    assert exist(gallery.cover.name) == []
    gallery = Gallery(cover=upload())
    with transaction.atomic():
        gallery.save(using="other")
        transaction.set_rollback(True)
    assert exist(gallery.cover.name) == [gallery.cover.name]


def test_an_asynchronous_save_that_fails_leaves_nothing(cleanup: Any) -> None:
    async def save() -> None:
        await ProductFactory.build(name=None, image=upload()).asave()

    with pytest.raises(IntegrityError):
        async_to_sync(save)()
    assert list_files() == []


def test_a_connection_that_is_closed_in_the_transaction_leaves_nothing(cleanup: Any) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        _, name = with_image()
        connection.close()
        raise ZeroDivisionError
    ProductFactory()
    assert exist(name) == []


def test_models_that_are_not_covered_and_what_is_muted_are_left_alone(wire: Any) -> None:
    wire((FileCleanup, {"models": ["testapp.Product"], "fields": ["image"]}))
    with transaction.atomic():
        left = Document.objects.create(file=upload()).file.name
        other = ProductFactory(manual=upload()).manual.name
        with muted("FileCleanup"):
            _, quiet = with_image()
        transaction.set_rollback(True)
    assert exist(left, other, quiet) == [left, other, quiet]


class TestInATestCase(TestCase):
    databases = frozenset(("default", "other"))

    @pytest.fixture(autouse=True)
    def _wire(self, cleanup: Any) -> None:
        pass

    def test_callbacks_take_the_uploads_away(self) -> None:
        with self.captureOnCommitCallbacks(execute=True):
            with transaction.atomic():
                _, kept = with_image()
            with transaction.atomic():
                _, name = with_image()
                transaction.set_rollback(True)
            assert exist(kept, name) == [kept, name]
        assert exist(kept, name) == [kept]


def test_uploads_for_rows_that_an_insert_has_passed_over_go(cleanup: Any) -> None:
    product = ProductFactory(image=upload("old.txt"))
    old = product.image.name
    made = [Product(pk=product.pk, name="x", image=upload("new.txt")), Product(name="y")]
    made[1].image = upload("kept.txt")
    Product.objects.bulk_create(made, ignore_conflicts=True)
    assert exist(old, made[0].image.name, made[1].image.name) == [old, made[1].image.name]
