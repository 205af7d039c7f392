"""A field file with a delete() of its own takes along what that takes along."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.db import models, transaction
from django.db.models.fields.files import FieldFile, ImageFieldFile
from django.db.models.signals import post_init, post_save

from django_signal_kit.files.file_cleanup import StoredFile
from django_signal_kit.receivers import FileCleanup
from tests.files.uploads import ALL, exist, upload

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


class PictureFile(FieldFile):
    """Keeps a small copy beside each picture, in a folder of its row."""

    def save(self, name: str, content: Any, save: bool = True) -> None:
        super().save(name, content, save=False)
        self.storage.save(self.small, upload())

    def delete(self, save: bool = True) -> None:
        if "broken" in self.name:
            raise RuntimeError("no small copy")
        self.storage.delete(self.small)
        super().delete(save)
        # Whatever the caller says.
        self.instance.save()
        self.instance.save_base()

    @property
    def small(self) -> str:
        return f"small/{self.instance.folder}/{self.name}"


class PictureField(models.FileField):
    attr_class = PictureFile


class Untidy(FieldFile):
    def delete(self, save: bool = True) -> None:
        self.storage.delete(f"{self.name}.small")
        super().delete(save)


class ImageFile(ImageFieldFile, Untidy):
    """Django's delete() comes first here, and hands on."""


class ImageField(models.ImageField):
    attr_class = ImageFile


class Bin(FileCleanup):
    def delete_file(self, file: StoredFile) -> None:
        storage, name = file.storage, file.name
        assert (file.using, file.field) == ("default", "file")
        storage.save(f"bin/{name}", upload())
        super().delete_file(file)

    def get_derived(self, file: StoredFile) -> Iterator[str]:
        yield f"{file.name}.txt"


@pytest.fixture
def picture(make_model: Any, cleanup: Any) -> Any:
    return make_model(
        "Picture",
        models.Model,
        folder=models.CharField(max_length=20, default="a"),
        file=PictureField(upload_to="pictures"),
    )


def make(model: Any, name: str = "one.png", **values: Any) -> tuple[Any, str, str]:
    row = model.objects.create(file=upload(name), **values)
    small = row.file.small
    assert exist(row.file.name, small) == [row.file.name, small]
    return row, row.file.name, small


def test_the_deletion_of_a_row_is_one_of_its_files(picture: Any) -> None:
    row, *names = make(picture, folder="b")
    row.delete()
    assert exist(*names) == []
    rows = [make(picture, folder=folder) for folder in "cd"]
    picture.objects.all().delete()
    assert exist(*(name for _, *names in rows for name in names)) == []


def test_so_is_the_replacement_of_a_file(picture: Any) -> None:
    row, *names = make(picture)
    row.file = upload("two.png")
    row.save()
    assert exist(*names) == []
    new = [row.file.name, row.file.small]
    assert exist(*new) == new
    row.file = ""
    picture.objects.bulk_update([row], ["file"])
    assert exist(*new) == []
    row, *names = make(picture, folder="e")
    picture.objects.filter(pk=row.pk).update(file="")
    assert exist(*names) == []


def test_so_is_one_to_which_djangos_own_hands_on(make_model: Any, cleanup: Any) -> None:
    model = make_model("Image", models.Model, image=ImageField(upload_to="images"))
    row = model.objects.create(image=upload("a.png"))
    names = [row.image.name, default_storage.save(f"{row.image.name}.small", upload())]
    row.delete()
    assert exist(*names) == []


def test_what_another_row_names_stays_with_all_that_belongs_to_it(picture: Any) -> None:
    row, *names = make(picture)
    copy = picture.objects.create(file=row.file.name)
    row.delete()
    assert exist(*names) == names
    copy.delete()
    assert exist(*names) == []


def test_a_rollback_deletes_nothing(picture: Any) -> None:
    row, *names = make(picture)
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        row.delete()
        raise ZeroDivisionError
    assert exist(*names) == names


def test_the_row_is_not_saved_and_nothing_is_heard_of_it(picture: Any) -> None:
    heard: list[Any] = []

    def hear(signal: Any, **kwargs: Any) -> None:
        heard.append(signal)

    row, *names = make(picture)
    row.file = upload("two.png")
    with transaction.atomic():
        row.save()
        row.folder = "unsaved"
        post_save.connect(hear, sender=picture)
        post_init.connect(hear, sender=picture)
    try:
        assert exist(*names) == []
        new = row.file.name
        row.folder = "a"
        row.delete()
        assert exist(new) == []
    finally:
        post_save.disconnect(hear, sender=picture)
        post_init.disconnect(hear, sender=picture)
    assert heard == []
    assert not picture.objects.exists()


def test_one_that_fails_is_logged_and_leaves_the_others(picture: Any, caplog: Any) -> None:
    _, *broken = make(picture, "broken.png")
    _, *names = make(picture)
    picture.objects.all().delete()
    assert exist(*broken, *names) == broken
    assert "FileCleanup failed in flush: RuntimeError" in caplog.text


def test_hooks_are_asked_as_ever(picture: Any, wire: Any) -> None:
    wire((Bin, ALL))
    row, *names = make(picture)
    derived = default_storage.save(f"{names[0]}.txt", upload())
    row.delete()
    assert exist(*names, derived) == []
    assert exist(f"bin/{names[0]}", f"bin/{derived}") == [f"bin/{names[0]}", f"bin/{derived}"]
