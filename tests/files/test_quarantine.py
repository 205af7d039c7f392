"""What is taken away waits in quarantine, and comes back if a row names it."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import ContentFile
from django.core.files.storage import InMemoryStorage, default_storage, storages
from django.db import transaction
from django.utils import timezone

from django_signal_kit import batch
from django_signal_kit.files import removal
from django_signal_kit.files.quarantine import Quarantine
from django_signal_kit.receivers import FileCleanup
from django_signal_kit.signals import pre_file_delete
from tests.apps.testapp.models import Contract, Product
from tests.factories import ProductFactory
from tests.files.uploads import (
    ALL,
    VAULT,
    backdate,
    exist,
    get_kept,
    put,
    read,
    upload,
    with_image,
)

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


def test_a_file_waits_under_the_day_on_which_it_went(cleanup: Any) -> None:
    product, name = with_image()
    product.delete()
    day = datetime.now(UTC).date().isoformat()
    assert get_kept() == {name: f"quarantine/{day}/{name}"}
    assert read(f"quarantine/{day}/{name}") == b"content"


def test_each_storage_has_a_quarantine_of_its_own(cleanup: Any) -> None:
    contract = Contract.objects.create(file=upload(), scan=upload())
    names = contract.file.name, contract.scan.name
    contract.delete()
    assert [*get_kept()] == [names[0]]
    assert [*get_kept(VAULT)] == [names[1]]


def test_a_name_that_is_used_again_is_kept_twice(cleanup: Any) -> None:
    for content in (b"one", b"two"):
        product = ProductFactory(image=ContentFile(content, "a.txt"))
        product.delete()
    quarantine = Quarantine(default_storage)
    assert read(quarantine.find("products/a.txt") or "") == b"two"
    assert quarantine.find("products/b.txt") is None
    assert quarantine.take_back("products/a.txt")
    assert read("products/a.txt") == b"two"
    with pytest.raises(FileExistsError, match="is the name of another file by now"):
        quarantine.take_back("products/a.txt")
    default_storage.delete("products/a.txt")
    assert quarantine.take_back("products/a.txt")
    assert read("products/a.txt") == b"one"
    assert get_kept() == {}


def test_a_file_is_found_by_the_moment_at_which_it_was_there(cleanup: Any) -> None:
    moments = []
    for content in (b"one", b"two", b"three"):
        product = ProductFactory(image=ContentFile(content, "a.txt"))
        moments.append(timezone.now())
        product.delete()
    quarantine = Quarantine(default_storage)
    found = [quarantine.find("products/a.txt", moment) or "" for moment in moments]
    assert [read(place) for place in found] == [b"one", b"two", b"three"]
    assert quarantine.find("products/a.txt", timezone.now()) is None


def test_without_quarantine_it_is_gone_at_once(wire: Any) -> None:
    wire((FileCleanup, {**ALL, "quarantine": None}))
    product, name = with_image()
    product.delete()
    assert exist(name) == []
    assert get_kept() == {}


def test_each_clean_up_deletes_what_has_waited_its_time(cleanup: Any) -> None:
    old, new = with_image(), with_image()
    with batch():
        old[0].delete()
        new[0].delete()
    old_place = backdate(get_kept()[old[1]], 31)
    young = backdate(get_kept()[new[1]], 29)
    third, last = with_image()
    third.delete()
    assert exist(old_place, young) == [young]
    assert sorted(get_kept()) == sorted({new[1], last})


def test_a_clean_up_deletes_no_more_than_a_few_at_once(cleanup: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(removal, "EXPIRED_AT_ONCE", 2)
    with batch():
        for product in [with_image()[0] for _ in range(5)]:
            product.delete()
    places = [backdate(place, 40) for place in get_kept().values()]
    left = []
    for _ in range(3):
        with_image()[0].delete()
        left.append(len(exist(*places)))
    assert left == [3, 1, 0]


def test_the_longest_time_of_those_that_share_a_place_counts(wire: Any) -> None:
    wire(
        {"RECEIVER": "django_signal_kit.receivers.FileCleanup", "NAME": "long"}
        | {"OPTIONS": {"models": ["testapp.Gallery"], "quarantine": "2y"}},
        (FileCleanup, {"models": ["testapp.Product"], "quarantine": "1d"}),
    )
    product, _ = with_image()
    product.delete()
    [place] = get_kept().values()
    place = backdate(place, 100)
    with_image()[0].delete()
    assert exist(place) == [place]
    place = backdate(place, 1000)
    with_image()[0].delete()
    assert exist(place) == []


def test_files_can_wait_in_another_storage(wire: Any, settings: Any) -> None:
    settings.STORAGES = {
        **settings.STORAGES,
        "attic": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    }
    wire((FileCleanup, {**ALL, "quarantine_storage": "attic"}))
    attic = storages["attic"]
    assert isinstance(attic, InMemoryStorage)
    contract = Contract.objects.create(file=ContentFile(b"file", "a.txt"))
    contract.scan = ContentFile(b"scan", "a.txt")
    contract.save()
    name = contract.file.name
    assert contract.scan.name == name
    contract.delete()
    assert exist(name) == []
    assert not VAULT.exists(name)
    assert get_kept() == get_kept(VAULT) == {}
    # Of two storages with one name in both.
    for storage, content in ((default_storage, b"file"), (VAULT, b"scan")):
        quarantine = Quarantine(storage, attic)
        assert read(quarantine.find(name) or "", attic) == content
        assert quarantine.take_back(name)
        assert read(name, storage) == content
        assert quarantine.find(name) is None


def test_a_row_that_names_it_later_gets_it_back(cleanup: Any) -> None:
    product, name = with_image()
    product.delete()
    assert exist(name) == []
    ProductFactory(image=name)
    assert exist(name) == [name]
    assert get_kept() == {}


def test_so_does_one_that_is_changed_by_an_update_or_in_bulk(cleanup: Any) -> None:
    for write in (
        lambda row: Product.objects.filter(pk=row.pk).update(image=row.image.name),
        lambda row: Product.objects.bulk_update([row], ["image"]),
        lambda row: Product.objects.bulk_create([Product(name="c", image=row.image.name)]),
    ):
        product, name = with_image()
        product.delete()
        row = ProductFactory()
        row.image = name
        write(row)
        assert exist(name) == [name]
        Product.objects.all().delete()


def test_one_that_was_rolled_back_does_not(cleanup: Any) -> None:
    product, name = with_image()
    product.delete()
    with transaction.atomic():
        ProductFactory(image=name)
        transaction.set_rollback(True)
    assert exist(name) == []


def test_a_row_that_names_it_while_it_goes_gets_it_back(cleanup: Any) -> None:
    def name_it(name: str, **kwargs: Any) -> None:
        # Between the question and the deletion, past all that is heard.
        field = Product._meta.get_field("image")
        Product.objects.filter(pk=other.pk)._update([(field, None, name)])

    product, name = with_image()
    other = ProductFactory()
    pre_file_delete.connect(name_it)
    try:
        product.delete()
    finally:
        pre_file_delete.disconnect(name_it)
    assert Product.objects.get(pk=other.pk).image.name == name
    assert exist(name) == [name]
    assert get_kept() == {}


def test_what_was_made_of_a_file_comes_back_with_it(wire: Any) -> None:
    wire((WithSmall, ALL))
    product, name = with_image()
    small = put(f"{name}.small")
    product.delete()
    assert exist(name, small) == []
    assert sorted(get_kept()) == sorted([name, small])
    ProductFactory(image=name)
    assert exist(name, small) == [name, small]


class WithSmall(FileCleanup):
    def get_derived(self, file: Any) -> list[str]:
        return [f"{file.name}.small"]


def test_names_in_quarantine_itself_are_left_alone(cleanup: Any) -> None:
    product, name = with_image()
    product.delete()
    [place] = get_kept().values()
    thief = ProductFactory(image=place)
    thief.delete()
    assert exist(place) == [place]
    assert get_kept() == {name: place}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"quarantine": "30 days"}, "E052"),
        ({"quarantine": "0d"}, "no length of time"),
        ({"quarantine_storage": "defualt"}, "Did you mean 'default'"),
    ],
)
def test_what_cannot_be_is_said_when_it_is_wired(wire: Any, options: Any, words: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=words):
        wire((FileCleanup, {**ALL, **options}))


def test_a_file_may_go_whose_folder_has_the_name_of_one_that_went(cleanup: Any) -> None:
    for name in ("x", "x/y.txt", "x/y.txt/z/a.txt"):
        ProductFactory(image=put(name)).delete()
        assert exist(name) == []
        shutil.rmtree(Path(default_storage.location, "x"), ignore_errors=True)
    assert sorted(get_kept()) == ["x", "x/y.txt", "x/y.txt/z/a.txt"]
