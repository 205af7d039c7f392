"""A file stays as long as some row names it, wherever that row is."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, connections
from django.test import TestCase
from django.test.utils import CaptureQueriesContext

from django_signal_kit.receivers import FileCleanup
from tests.apps.testapp.models import Document, Gallery, Product
from tests.factories import ProductFactory
from tests.files.uploads import ALL, exist, put, upload, with_image

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


def test_a_file_that_moved_to_another_field_stays(cleanup: Any) -> None:
    product, name = with_image()
    product.manual, product.image = name, ""
    product.save()
    assert exist(name) == [name]
    product.delete()
    assert exist(name) == []


def test_a_file_that_a_copy_of_the_row_names_stays(cleanup: Any) -> None:
    product, name = with_image()
    copy = Product.objects.get(pk=product.pk)
    copy.pk, copy._state.adding = None, True
    copy.save()
    product.delete()
    assert exist(name) == [name]
    copy.image = ""
    copy.save()
    assert exist(name) == []


def test_a_file_that_a_row_of_another_model_names_stays(cleanup: Any) -> None:
    product, name = with_image()
    gallery = Gallery.objects.create(cover=name)
    product.delete()
    assert exist(name) == [name]
    gallery.delete()
    assert exist(name) == []


def test_a_model_that_is_not_covered_may_name_a_file_too(wire: Any) -> None:
    wire((FileCleanup, {"models": [Product]}))
    product, name = with_image()
    Gallery.objects.create(cover=name)
    product.delete()
    assert exist(name) == [name]


def test_a_file_that_a_row_of_another_database_names_stays(cleanup: Any) -> None:
    product, name = with_image()
    gallery = Gallery(cover=name)
    gallery.save(using="other")
    product.delete()
    assert exist(name) == [name]
    gallery.delete()
    assert exist(name) == []


def test_the_default_of_a_field_is_never_deleted(cleanup: Any) -> None:
    name = put("documents/empty.txt")
    first = Document.objects.create()
    first.file = upload()
    first.save()
    Document.objects.create().delete()
    # The next document will name it, though none does now.
    Gallery.objects.create(cover=name).delete()
    assert exist(name) == [name]


def test_a_text_column_may_name_a_file(wire: Any) -> None:
    wire((FileCleanup, {**ALL, "reference_fields": ["testapp.Gallery.picture"]}))
    product, name = with_image()
    gallery = Gallery.objects.create(picture=name)
    product.image = ""
    product.save()
    assert exist(name) == [name]
    gallery.picture = ""
    gallery.save()
    ProductFactory(image=name).delete()
    assert exist(name) == []


def test_a_table_that_cannot_be_asked_keeps_the_files(cleanup: Any, caplog: Any) -> None:
    product, name = with_image()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE testapp_gallery RENAME COLUMN cover TO hidden")
        try:
            with caplog.at_level(logging.ERROR, "django_signal_kit"):
                product.delete()
        finally:
            cursor.execute("ALTER TABLE testapp_gallery RENAME COLUMN hidden TO cover")
    assert exist(name) == [name]
    assert "could not ask testapp.Gallery in 'default'" in caplog.text


def test_a_database_without_the_table_names_no_file(cleanup: Any, caplog: Any) -> None:
    product, name = with_image()
    with connections["other"].cursor() as cursor:
        cursor.execute("ALTER TABLE testapp_gallery RENAME TO hidden")
        try:
            product.delete()
        finally:
            cursor.execute("ALTER TABLE hidden RENAME TO testapp_gallery")
    assert exist(name) == []
    assert caplog.text == ""


class NotMigrated:
    """A router: the tables of the second database are made by others."""

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return False if db != "default" else None


@pytest.fixture
def legacy(settings: Any, cleanup: Any) -> None:
    settings.DATABASE_ROUTERS = [f"{__name__}.NotMigrated"]


def test_a_table_that_is_not_migrated_is_asked_as_well(legacy: None, caplog: Any) -> None:
    product, name = with_image()
    gallery = Gallery(cover=name)
    gallery.save(using="other")
    product.delete()
    assert exist(name) == [name]
    gallery.delete()
    assert exist(name) == []
    assert caplog.text == ""


def test_so_are_two_rows_of_the_same_table_there(legacy: None) -> None:
    one = Product(name="a", image=upload())
    one.save(using="other")
    two = Product(name="b", image=one.image.name)
    two.save(using="other")
    name = one.image.name
    one.delete()
    assert exist(name) == [name]
    Product.objects.using("other").update(image="")
    assert exist(name) == []


def test_so_is_a_view(legacy: None) -> None:
    product, name = with_image()
    Gallery(cover=name).save(using="other")
    with connections["other"].cursor() as cursor:
        cursor.execute("ALTER TABLE testapp_gallery RENAME TO hidden")
        cursor.execute('CREATE VIEW "testapp_gallery" AS SELECT * FROM hidden')
        try:
            product.delete()
        finally:
            cursor.execute("DROP VIEW testapp_gallery")
            cursor.execute("ALTER TABLE hidden RENAME TO testapp_gallery")
    assert exist(name) == [name]


def test_a_database_that_lacks_what_is_not_migrated_there_names_no_file(
    legacy: None, caplog: Any
) -> None:
    product, name = with_image()
    with connections["other"].cursor() as cursor:
        cursor.execute("ALTER TABLE testapp_gallery RENAME TO hidden")
        try:
            with CaptureQueriesContext(connections["other"]) as queries:
                product.delete()
        finally:
            cursor.execute("ALTER TABLE hidden RENAME TO testapp_gallery")
    assert exist(name) == []
    assert caplog.text == ""
    # It is not asked for what it has not.
    assert not any("testapp_gallery" in query["sql"] for query in queries)


@contextmanager
def one_more_database(**values: Any) -> Iterator[None]:
    connections.databases["third"] = {**connections.databases["other"], **values}
    try:
        yield
    finally:
        connections["third"].close()
        del connections.databases["third"], connections["third"]


def test_a_database_that_does_not_answer_keeps_the_files(legacy: None, caplog: Any) -> None:
    product, name = with_image()
    with one_more_database(NAME="/no/such/folder/db.sqlite3"):
        product.delete()
    assert exist(name) == [name]
    assert "could not ask testapp.Gallery in 'third'" in caplog.text


def test_an_alias_without_a_database_is_not_asked(cleanup: Any, caplog: Any) -> None:
    product, name = with_image()
    with one_more_database(ENGINE="django.db.backends.dummy", NAME=""):
        product.delete()
    assert exist(name) == []
    assert caplog.text == ""


def test_a_name_that_tells_more_than_a_table_is_asked_for_in_any_case(
    legacy: None, monkeypatch: Any, caplog: Any
) -> None:
    """A table in a schema of its own is in no list of tables."""
    monkeypatch.setattr(Gallery._meta, "db_table", 'legacy"."gallery')
    product, name = with_image()
    product.delete()
    assert exist(name) == [name]
    assert "could not ask testapp.Gallery in 'other'" in caplog.text


class TestInATestCase(TestCase):
    databases = frozenset(("default", "other"))

    @pytest.fixture(autouse=True)
    def _wire(self, cleanup: Any) -> None:
        pass

    def test_a_table_that_cannot_be_asked_leaves_the_test_its_transaction(self) -> None:
        if not connection.features.can_rollback_ddl:
            return
        product, name = with_image()
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE testapp_gallery RENAME COLUMN cover TO hidden")
        with self.captureOnCommitCallbacks(execute=True):
            product.delete()
        assert exist(name) == [name]
        assert Product.objects.count() == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"reference_fields": ["testapp.Gallery.pic"]}, "which is no field"),
        ({"reference_fields": ["Gallery.picture"]}, "which is no field"),
        ({"reference_fields": ["testapp.Product.lines"]}, "which is no column"),
        ({"reference_fields": ["testapp.Product.tags"]}, "which is no column"),
    ],
)
def test_what_names_no_column_is_said_when_it_is_wired(
    wire: Any, options: Any, words: str
) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        wire((FileCleanup, {"models": ["testapp.Product"], **options}))
    assert words in str(caught.value)
