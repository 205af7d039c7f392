"""What the audit log tells of files: taken back with the file, or not at all."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import transaction
from django.utils import timezone

from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.audit.reverting import RevertError
from django_signal_kit.receivers import AuditLog, FileCleanup
from tests.apps.testapp.models import Gallery
from tests.factories import ProductFactory
from tests.files.uploads import ALL, exist, get_kept, read, with_image

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


@pytest.fixture
def both(wire: Any) -> Any:
    return wire((AuditLog, ALL), (FileCleanup, ALL))


def make() -> tuple[Gallery, str, str]:
    """A gallery whose picture has been replaced."""
    gallery = Gallery.objects.create(cover=ContentFile(b"old", "old.png"))
    old = gallery.cover.name
    gallery.cover = ContentFile(b"new", "new.png")
    gallery.save()
    return gallery, old, gallery.cover.name


def read_file(gallery: Gallery) -> bytes:
    with gallery.cover.open() as content:
        return content.read()  # type: ignore[no-any-return]


def get_entry(action: str) -> Any:
    return AuditEntry.objects.filter(action=action).latest("pk")


def test_a_picture_that_was_changed_is_taken_back(both: Any) -> None:
    gallery, old, new = make()
    get_entry("update").revert()
    gallery.refresh_from_db()
    assert gallery.cover.name == old
    assert read_file(gallery) == b"old"
    # It may be wanted again, and nothing is deleted by taking something back.
    assert read(new) == b"new"
    assert get_kept() == {}
    get_entry("update").revert()
    gallery.refresh_from_db()
    assert read_file(gallery) == b"new"
    assert read(old) == b"old"


def test_a_picture_that_was_deleted_comes_back_with_its_row(both: Any) -> None:
    gallery, old, new = make()
    key = gallery.pk
    gallery.delete()
    assert exist(old, new) == []
    get_entry("delete").revert()
    gallery = Gallery.objects.get(pk=key)
    assert read_file(gallery) == b"new"
    get_entry("update").revert()
    gallery.refresh_from_db()
    assert read_file(gallery) == b"old"


def test_the_files_of_a_row_whose_creation_is_taken_back_go(both: Any) -> None:
    gallery = Gallery.objects.create(cover=ContentFile(b"old", "old.png"))
    get_entry("create").revert()
    assert exist(gallery.cover.name) == []


def test_what_is_gone_for_good_refuses_and_the_present_file_stays(both: Any) -> None:
    gallery, old, new = make()
    default_storage.delete(get_kept()[old])
    with pytest.raises(RevertError, match=r"old\.png'.* is gone for good"):
        get_entry("update").revert()
    gallery.refresh_from_db()
    assert gallery.cover.name == new
    assert exist(new) == [new]
    key = gallery.pk
    gallery.delete()
    default_storage.delete(get_kept()[new])
    with pytest.raises(RevertError, match=r"new\.png'.* is gone for good.* force=True"):
        get_entry("delete").revert()
    assert not Gallery.objects.exists()
    get_entry("delete").revert(force=True)
    assert Gallery.objects.get(pk=key).cover.name == new


def test_without_quarantine_too(wire: Any) -> None:
    wire((AuditLog, ALL), (FileCleanup, {**ALL, "quarantine": None}))
    gallery, _, _ = make()
    with pytest.raises(RevertError, match="is gone for good"):
        get_entry("update").revert()
    gallery.refresh_from_db()
    assert read_file(gallery) == b"new"


def test_and_without_a_clean_up(wire: Any) -> None:
    wire((AuditLog, ALL))
    _, old, new = make()
    default_storage.delete(old)
    with pytest.raises(RevertError, match="is gone for good"):
        get_entry("update").revert()
    assert exist(new) == [new]


def test_a_name_that_is_another_files_by_now_refuses(both: Any) -> None:
    gallery, old, new = make()
    other = Gallery.objects.create(cover=ContentFile(b"other", "old.png"))
    assert other.cover.name == old
    with pytest.raises(RevertError, match="is the name of another file by now"):
        get_entry("update").revert()
    assert read(old) == b"other"
    gallery.refresh_from_db()
    assert gallery.cover.name == new


def test_a_revert_that_is_rolled_back_leaves_the_file_in_quarantine(both: Any) -> None:
    _, old, new = make()
    with transaction.atomic():
        get_entry("update").revert()
        assert exist(old) == [old]
        transaction.set_rollback(True)
    assert exist(old, new) == [new]
    assert [*get_kept()] == [old]
    get_entry("update").revert()
    assert exist(old) == [old]


def test_the_past_shows_its_pictures_and_moves_nothing(both: Any) -> None:
    gallery = Gallery.objects.create(cover=ContentFile(b"old", "old.png"))
    old, first = gallery.cover.name, timezone.now()
    gallery.cover = ContentFile(b"new", "new.png")
    gallery.save()
    second, new, key = timezone.now(), gallery.cover.name, gallery.pk
    gallery.delete()
    kept = get_kept()
    for moment, name, content in ((first, old, b"old"), (second, new, b"new")):
        past = AuditEntry.objects.as_of((Gallery, key), moment)
        assert past.cover.name == name
        assert read_file(past) == content
        assert past.cover.size == 3
        assert past.cover.url == default_storage.url(kept[name])
        assert past.cover.path == default_storage.path(kept[name])
        assert past.cover.storage.exists(name)
    assert get_kept() == kept
    assert exist(old, new) == []


def test_the_past_of_a_file_that_is_in_its_place_shows_that(both: Any) -> None:
    gallery = Gallery.objects.create(cover=ContentFile(b"old", "old.png"))
    past = AuditEntry.objects.as_of(gallery, timezone.now())
    assert read_file(past) == b"old"
    assert past.cover.url == gallery.cover.url
    with pytest.raises(TypeError, match="nothing is written there"):
        past.cover.delete(save=False)
    with pytest.raises(TypeError, match="nothing is written there"):
        past.cover.storage.save("x", ContentFile(b"x"))
    with pytest.raises(TypeError, match="nothing is written there"):
        past.cover.open("wb")


def test_the_past_of_a_file_that_is_gone_says_so(both: Any) -> None:
    gallery, _, _ = make()
    moment, key = timezone.now(), gallery.pk
    gallery.delete()
    for place in get_kept().values():
        default_storage.delete(place)
    past = AuditEntry.objects.as_of((Gallery, key), moment)
    assert not past.cover.storage.exists(past.cover.name)
    with pytest.raises(FileNotFoundError, match="is gone for good"):
        past.cover.open()


def test_a_name_that_is_given_twice_and_taken_back_once_is_looked_after(cleanup: Any) -> None:
    product, name = with_image()
    product.delete()
    assert exist(name) == []
    first, second = ProductFactory(), ProductFactory()
    with transaction.atomic():
        first.image = name
        first.save()
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            second.image = name
            second.save()
            raise ZeroDivisionError
    assert exist(name) == [name]
