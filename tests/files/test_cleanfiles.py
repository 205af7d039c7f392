"""The command that finds what no row names."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import InMemoryStorage, Storage, default_storage
from django.core.management import CommandError, call_command
from django.db import connection, models
from django.test.utils import CaptureQueriesContext

from django_signal_kit.files.models import PendingFile
from django_signal_kit.files.quarantine import Quarantine
from django_signal_kit.files.walking import Walk
from django_signal_kit.receivers import FileCleanup
from django_signal_kit.signals import post_file_delete, pre_file_delete
from tests.apps.testapp.models import Contract, Gallery
from tests.factories import ProductFactory
from tests.files.uploads import ALL, VAULT, backdate, exist, get_kept, put, with_image

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


def age(*names: str, hours: float = 2, storage: Any = default_storage) -> None:
    then = time.time() - hours * 3600
    for name in names:
        os.utime(storage.path(name), (then, then))


def put_old(name: str, **options: Any) -> str:
    name = put(name, **options)
    age(name, **options)
    return name


def clean(*arguments: str, **options: Any) -> str:
    out = StringIO()
    call_command("cleanfiles", *arguments, stdout=out, stderr=StringIO(), **options)
    return out.getvalue()


def test_it_tells_what_no_row_names_and_leaves_it(cleanup: Any) -> None:
    _, named = with_image()
    age(named)
    stray, deep = put_old("stray.txt"), put_old("products/a/b/stray.txt")
    young = put("products/young.txt")
    out = clean()
    assert f"{stray}  7\xa0bytes" in out
    assert deep in out
    assert named not in out
    assert young not in out
    assert f"{default_storage.location}: 2 of 4 files that no row names, 14\xa0bytes." in out
    assert exist(named, stray, deep, young) == [named, stray, deep, young]


def test_with_delete_it_takes_them_away_into_quarantine(cleanup: Any) -> None:
    gallery = Gallery(cover=ContentFile(b"x", "other.txt"))
    gallery.save(using="other")
    stray, named = put_old("products/stray.txt"), gallery.cover.name
    age(named)
    out = clean("--delete")
    assert "1 of 2 files taken away" in out
    assert exist(stray, named) == [named]
    assert [*get_kept()] == [stray]
    assert clean("--delete").count("0 of ") == 2
    assert clean("--restore", stray) == f"{stray} is back.\n"
    assert exist(stray) == [stray]


def test_it_asks_each_storage(cleanup: Any) -> None:
    contract = Contract.objects.create(file=put_old("documents/a.txt"))
    stray = put_old("documents/a.txt", storage=VAULT)
    clean("--delete")
    assert not VAULT.exists(stray)
    assert exist(contract.file.name) == [contract.file.name]


def test_files_can_be_chosen_by_prefix_and_age(cleanup: Any) -> None:
    a, b, c = put_old("products/ab/x.txt"), put_old("products/ac.txt"), put_old("manuals/x.txt")
    age(a, hours=50)
    clean("--delete", "--prefix", "products/a", "--older-than", "2d")
    assert exist(a, b, c) == [b, c]
    clean("--delete", prefix="products/ac")
    assert exist(a, b, c) == [c]
    # No less than an hour.
    young = put("products/young.txt")
    age(young, hours=0.5)
    clean("--delete", "--older-than", "1h")
    assert exist(c, young) == [young]


def test_it_knows_reference_fields_and_last_words(wire: Any) -> None:
    wire((Careful, {**ALL, "reference_fields": ["testapp.Gallery.picture"]}))
    kept, sample, stray = map(put_old, ("x/kept.txt", "x/sample.txt", "x/stray.txt"))
    Gallery.objects.create(picture=kept)
    assert "sample" not in clean()
    clean("--delete")
    assert exist(kept, sample, stray) == [kept, sample]


class Careful(FileCleanup):
    def should_delete(self, file: Any) -> bool:
        return "sample" not in file.name


def test_without_quarantine_or_a_receiver_it_does_as_they_say(wire: Any) -> None:
    wire((FileCleanup, {**ALL, "quarantine": None}))
    stray = put_old("stray.txt")
    clean("--delete")
    assert exist(stray) == []
    assert get_kept() == {}
    wire()
    put_old(stray)
    clean("--delete")
    assert [*get_kept()] == [stray]


def test_quarantine_is_never_looked_into_and_expires(cleanup: Any) -> None:
    with_image()[0].delete()
    [place] = get_kept().values()
    age(place, hours=1000)
    assert "0 of 0" in clean("--delete")
    assert clean("--expire") == "0 files deleted for good.\n"
    place = backdate(place, 31)
    assert clean("--expire") == "1 files deleted for good.\n"
    assert exist(place, "quarantine") == ["quarantine"]


def test_the_report_can_be_json(cleanup: Any) -> None:
    names = sorted(put_old(f"products/{name}.txt") for name in ("a", 'b"', "c"))
    found = json.loads(clean("--format", "json"))
    assert [entry["storage"] for entry in found] == [default_storage.location, VAULT.location]
    assert sorted(file["name"] for file in found[0]["files"]) == names
    assert found[0]["size"] == 21
    assert (found[0]["count"], found[0]["looked_at"]) == (3, 3)
    assert not found[0]["deleted"]
    assert json.loads(clean("--delete", "--format", "json"))[0]["deleted"]
    assert exist(*names) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--restore", "a.txt"], "No file 'a.txt' is in quarantine"),
        (["--restore", "../a.txt"], "leads out of its storage"),
        (["--expire", "--retry"], "Give one"),
        (["--expire", "--delete"], "Give one"),
    ],
)
def test_what_cannot_be_done_is_said(cleanup: Any, arguments: Any, words: str) -> None:
    with pytest.raises(CommandError, match=words):
        clean(*arguments)


def test_a_file_whose_name_is_taken_is_not_restored(cleanup: Any) -> None:
    product, name = with_image()
    product.delete()
    put(name)
    with pytest.raises(CommandError, match="is the name of another file by now"):
        clean("--restore", name)


def test_five_hundred_names_are_asked_for_at_once(cleanup: Any) -> None:
    root = Path(default_storage.location)
    for number in range(1001):
        (root / f"{number}.txt").write_bytes(b"")
        age(f"{number}.txt")
    with CaptureQueriesContext(connection) as queries:
        out = clean(verbosity=0)
    assert "1001 of 1001" in out
    asked = [query["sql"] for query in queries if "scan" not in query["sql"]]
    assert len(asked) == 3 * 4


# What a storage would not give up


@pytest.fixture
def stuck() -> Iterator[set[str]]:
    names: set[str] = set()
    original = Quarantine.put

    def refuse(self: Any, name: str, **options: Any) -> bool:
        if name in names:
            raise ConnectionError(name)
        return original(self, name, **options)

    Quarantine.put = refuse  # type: ignore[method-assign]
    yield names
    Quarantine.put = original  # type: ignore[method-assign]


def test_what_could_not_go_is_remembered_and_tried_again(cleanup: Any, stuck: set[str]) -> None:
    (product, name), (_, other) = with_image(), with_image()
    stuck.add(name)
    key = product.pk
    product.delete()
    ProductFactory._meta.model.objects.all().delete()
    assert exist(name, other) == [name]
    pending = PendingFile.objects.get()
    assert (pending.model, pending.field, pending.name) == ("testapp.Product", "image", name)
    assert (pending.using, pending.key, pending.receiver) == ("default", str(key), "FileCleanup")
    assert pending.error == f"ConnectionError: {name}"
    assert str(pending) == f"{name} (testapp.Product.image)"
    with pytest.raises(CommandError, match="1 files are still there"):
        clean("--retry")
    assert PendingFile.objects.get().attempts == 2
    stuck.clear()
    assert clean("--retry") == f"{name}: done\n"
    assert exist(name) == []
    assert not PendingFile.objects.exists()


def test_signals_tell_of_a_failure(cleanup: Any, stuck: set[str]) -> None:
    told: list[Any] = []

    def hear(name: str, success: bool, exception: Exception | None, **kwargs: Any) -> None:
        told.append((name, success, type(exception)))

    product, name = with_image()
    stuck.add(name)
    post_file_delete.connect(hear)
    try:
        product.delete()
    finally:
        post_file_delete.disconnect(hear)
    assert told == [(name, False, ConnectionError)]


def test_what_a_row_names_by_then_stays(cleanup: Any, stuck: set[str]) -> None:
    product, name = with_image()
    stuck.add(name)
    product.delete()
    stuck.clear()
    ProductFactory(image=name)
    assert clean("--retry") == f"{name}: done\n"
    assert exist(name) == [name]


def test_what_a_field_that_is_gone_named_is_forgotten(cleanup: Any) -> None:
    for model, field in (("shop.Gone", "image"), ("testapp.Product", "gone"), ("x", "y")):
        PendingFile.objects.create(model=model, field=field, name="a", using="x")
    clean("--retry")
    assert not PendingFile.objects.exists()


def test_without_the_app_nothing_is_remembered(
    cleanup: Any, stuck: set[str], settings: Any, caplog: Any
) -> None:
    apps = [app for app in settings.INSTALLED_APPS if app != "django_signal_kit.files"]
    settings.INSTALLED_APPS = apps
    product, name = with_image()
    stuck.add(name)
    product.delete()
    assert exist(name) == [name]
    assert "ConnectionError" in caplog.text
    with pytest.raises(CommandError, match=r"'django_signal_kit\.files' in INSTALLED_APPS"):
        clean("--retry")


def test_a_veto_keeps_the_file_and_is_no_failure(cleanup: Any, caplog: Any) -> None:
    def veto(**kwargs: Any) -> bool:
        return False

    product, name = with_image()
    pre_file_delete.connect(veto)
    try:
        product.delete()
    finally:
        pre_file_delete.disconnect(veto)
    assert exist(name) == [name]
    assert not PendingFile.objects.exists()
    assert caplog.text == ""


# Other storages


class Silent(Storage):
    """Cannot list."""

    def exists(self, name: str) -> bool:
        return False


def test_a_storage_that_is_in_memory_is_gone_through(make_model: Any, wire: Any) -> None:
    storage = InMemoryStorage()
    model = make_model("Sketch", models.Model, file=models.FileField(storage=storage))
    wire((FileCleanup, {"models": [model]}))
    row = model.objects.create(file=ContentFile(b"a", "a.txt"))
    storage.save("a/b/c.txt", ContentFile(b"abc"))
    assert sorted(found.name for found in Walk(storage)) == ["a.txt", "a/b/c.txt"]
    row.delete()
    assert not storage.exists("a.txt")
    assert [*get_kept(storage)] == ["a.txt"]
    model.objects.create(file="a.txt")
    assert storage.exists("a.txt")
    assert [(found.name, found.size) for found in Walk(storage, "a/")] == [("a/b/c.txt", 3)]


def test_a_storage_that_cannot_list_is_told_of(make_model: Any, wire: Any) -> None:
    make_model("Wave", models.Model, file=models.FileField(storage=Silent()))
    wire()
    assert "this storage cannot list its files" in clean()
    notes = [entry["notes"] for entry in json.loads(clean("--format", "json"))]
    assert ["this storage cannot list its files"] in notes
