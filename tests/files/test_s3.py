"""Files on S3, by django-storages, in a bucket that moto keeps."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.management import call_command
from django.db import models, transaction

from django_signal_kit.files.quarantine import Quarantine
from django_signal_kit.files.walking import Walk
from django_signal_kit.receivers import FileCleanup
from tests.files.uploads import get_kept, read

moto = pytest.importorskip("moto")
pytest.importorskip("storages")
boto3 = pytest.importorskip("boto3")

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "other"]),
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(params=["", "media"], ids=["root", "location"])
def storage(request: Any, monkeypatch: Any) -> Iterator[Any]:
    s3 = pytest.importorskip("storages.backends.s3")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "none")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "none")
    with moto.mock_aws():
        boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="shop")
        yield s3.S3Storage(
            bucket_name="shop",
            region_name="us-east-1",
            location=request.param,
            file_overwrite=False,
        )


@pytest.fixture
def model(make_model: Any, wire: Any, storage: Any) -> Any:
    found = make_model(
        "Poster", models.Model, file=models.FileField(storage=storage, upload_to="posters")
    )
    wire((FileCleanup, {"models": [found]}))
    return found


def make(model: Any, content: bytes = b"one") -> tuple[Any, str]:
    row = model.objects.create(file=ContentFile(content, "a.txt"))
    return row, row.file.name


def test_what_goes_waits_and_comes_back(model: Any, storage: Any) -> None:
    row, name = make(model)
    row.file = ContentFile(b"two", "b.txt")
    row.save()
    day = datetime.now(UTC).date().isoformat()
    assert get_kept(storage) == {name: f"quarantine/{day}/{name}"}
    assert not storage.exists(name)
    assert read(f"quarantine/{day}/{name}", storage) == b"one"
    model.objects.create(file=name)
    assert read(name, storage) == b"one"
    assert get_kept(storage) == {}


def test_of_two_with_one_name_each_is_found_by_its_time(model: Any, storage: Any) -> None:
    make(model)[0].delete()
    row, name = make(model, b"two")
    row.delete()
    quarantine = Quarantine(storage)
    assert len({quarantine.find(name), quarantine.find(name, datetime.now(UTC))}) >= 1
    assert quarantine.find(name, datetime.now(UTC) + timedelta(seconds=5)) is None
    assert quarantine.take_back(name)
    with pytest.raises(FileExistsError):
        quarantine.take_back(name)


def test_an_upload_that_was_rolled_back_goes(model: Any, storage: Any) -> None:
    with transaction.atomic():
        _, name = make(model)
        transaction.set_rollback(True)
    assert not storage.exists(name)


def test_what_has_waited_its_time_is_deleted_for_good(model: Any, storage: Any) -> None:
    storage.save("quarantine/2020-01-01/posters/x.txt", ContentFile(b"x"))
    make(model)[0].delete()
    assert not storage.exists("quarantine/2020-01-01/posters/x.txt")


def test_the_bucket_is_gone_through_page_by_page(model: Any, storage: Any) -> None:
    _, name = make(model)
    make(model)[0].delete()
    for number in range(3):
        storage.save(f"posters/stray{number}.txt", ContentFile(b"stray"))
    names = {found.name for found in Walk(storage)}
    assert names == {name, *(f"posters/stray{number}.txt" for number in range(3))}
    assert [(found.name, found.size) for found in Walk(storage, "posters/stray1")] == [
        ("posters/stray1.txt", 5)
    ]
    out = io.StringIO()
    # All is younger than an hour.
    call_command("cleanfiles", "--delete", stdout=out)
    assert "0 of 4 files taken away" in out.getvalue()
