"""A worker takes files away: once, and only those that were meant."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.db import models, transaction

from django_signal_kit import muted
from django_signal_kit.files.models import PendingFile
from django_signal_kit.files.stored import StoredFile
from django_signal_kit.receivers import FileCleanup
from django_signal_kit.signals import post_file_delete
from tests.apps.testapp.models import Contract, Gallery, Product, Token
from tests.factories import ProductFactory
from tests.files.test_own_deletion import PictureField
from tests.files.uploads import ALL, VAULT, exist, get_kept, put, upload, with_image
from tests.tasks.queues import BROKER, IMMEDIATE, LATER, Broker, get_messages, work

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

OPTIONS = {**ALL, "flush_on": "task"}


class Refusing(FileCleanup):
    """Its storage does not give up what is called "stuck"."""

    is_down = True

    def delete_file(self, file: StoredFile) -> None:
        if "stuck" in file.name and Refusing.is_down:
            raise PermissionError(file.name)
        super().delete_file(file)


class Deriving(Refusing):
    def get_derived(self, file: StoredFile) -> Iterable[str]:
        yield f"{file.name}.stuck"


@pytest.fixture(autouse=True)
def _queue(settings: Any) -> None:
    settings.TASKS = BROKER
    Broker.messages.clear()
    Broker.is_down = False
    Refusing.is_down = True


@pytest.fixture
def gone() -> Iterator[list[str]]:
    """What post_file_delete has told."""
    names: list[str] = []

    def hear(name: str, success: bool, **kwargs: Any) -> None:
        if success:
            names.append(name)

    post_file_delete.connect(hear)
    yield names
    post_file_delete.disconnect(hear)


def wire_cleanup(wire: Any, cls: type = FileCleanup, **options: Any) -> Any:
    return wire((cls, {**OPTIONS, **options}), TASKS={"OUTBOX": False, "ATTEMPTS": 3})


def test_a_worker_takes_the_file_away(wire: Any) -> None:
    wire_cleanup(wire)
    product, name = with_image()
    product.delete()
    assert exist(name) == [name]
    assert work() == []
    assert exist(name) == []
    assert [*get_kept()] == [name]


def test_a_backend_that_runs_it_at_once_does_too(wire: Any, settings: Any) -> None:
    settings.TASKS = IMMEDIATE
    wire_cleanup(wire)
    product, name = with_image()
    product.image = upload("b.txt")
    product.save()
    assert exist(name, product.image.name) == [product.image.name]


def test_a_rollback_sends_nothing(wire: Any) -> None:
    wire_cleanup(wire)
    product, name = with_image()
    with transaction.atomic():
        product.delete()
        transaction.set_rollback(True)
    assert get_messages() == []
    assert exist(name) == [name]


def test_what_was_uploaded_for_a_row_that_is_undone_goes_without_a_task(wire: Any) -> None:
    wire_cleanup(wire)
    with transaction.atomic():
        _, name = with_image()
        transaction.set_rollback(True)
    assert get_messages() == []
    assert exist(name) == []


def test_each_storage_is_found_again_by_its_field(wire: Any) -> None:
    wire_cleanup(wire)
    contract = Contract.objects.create(scan=upload())
    name = contract.scan.name
    assert VAULT.exists(name)
    contract.delete()
    assert work() == []
    assert not VAULT.exists(name)


def test_what_a_row_names_when_the_worker_comes_stays(wire: Any) -> None:
    wire_cleanup(wire)
    product, name = with_image()
    product.delete()
    Gallery.objects.create(cover=name)
    assert work() == []
    assert exist(name) == [name]


def test_a_task_that_runs_twice_takes_away_once(wire: Any, gone: list[str]) -> None:
    wire_cleanup(wire)
    product, name = with_image()
    product.delete()
    waiting = Broker.messages[:]
    for _ in range(2):
        Broker.messages[:] = waiting
        assert work() == []
    assert gone == [name]
    assert [*get_kept()] == [name]


def test_what_has_come_by_a_name_that_was_freed_is_not_what_was_meant(wire: Any) -> None:
    wire_cleanup(wire)
    product, name = with_image()
    product.delete()
    waiting = Broker.messages[:]
    assert work() == []
    # An upload has taken the name; its row is not there yet when the task runs again.
    assert put(name) == name
    Broker.messages[:] = waiting
    assert work() == []
    assert exist(name) == [name]


def test_an_old_file_that_was_meant_goes_whenever_the_worker_comes(wire: Any) -> None:
    wire_cleanup(wire)
    product, name = with_image()
    long_ago = time.time() - 1000
    os.utime(default_storage.path(name), (long_ago, long_ago))
    product.delete()
    assert work() == []
    assert exist(name) == []


def test_only_what_a_storage_would_not_give_up_is_tried_again(
    wire: Any, settings: Any, gone: list[str]
) -> None:
    settings.TASKS = LATER
    wire_cleanup(wire, Refusing)
    names = [with_image()[1], ProductFactory(image=upload("stuck.txt")).image.name]
    Product.objects.all().delete()
    assert work() == []
    assert (gone, exist(*names)) == (names[:1], names[1:])
    # Remembered, should nobody try again.
    assert PendingFile.objects.get().name == names[1]
    (message,) = get_messages()
    assert [item["name"] for item in message["items"]] == names[1:]
    Refusing.is_down = False
    assert work() == []
    assert exist(*names) == []
    assert not PendingFile.objects.exists()


def test_what_is_given_up_is_told_once_and_remembered(
    wire: Any, settings: Any, failures: Any
) -> None:
    settings.TASKS = LATER
    wire_cleanup(wire, Refusing)
    product = ProductFactory(image=upload("stuck.txt"))
    name = product.image.name
    product.delete()
    outcomes = [work() for _ in range(3)]
    assert [len(errors) for errors in outcomes] == [0, 0, 1]
    assert isinstance(outcomes[2][0].__cause__, PermissionError)
    assert name in str(outcomes[2][0])
    [failure] = failures
    assert [file.name for file in failure["items"]] == [name]
    pending = PendingFile.objects.get()
    assert (pending.name, pending.attempts) == (name, 3)


def test_what_was_made_of_a_file_is_tried_again_with_it(
    wire: Any, settings: Any, gone: list[str]
) -> None:
    settings.TASKS = LATER
    wire_cleanup(wire, Deriving)
    product, name = with_image()
    derived = put(f"{name}.stuck")
    product.delete()
    assert work() == []
    assert exist(name, derived) == [derived]
    Refusing.is_down = False
    assert work() == []
    assert exist(name, derived) == []
    assert gone == [name, derived]
    assert not PendingFile.objects.exists()


def test_a_file_with_a_deletion_of_its_own_takes_its_company_along(
    make_model: Any, wire: Any
) -> None:
    model = make_model(
        "Picture",
        models.Model,
        folder=models.CharField(max_length=20, default="a"),
        api_token=models.CharField(max_length=20, default="geheim"),
        drawn_at=models.DateTimeField(auto_now_add=True),
        file=PictureField(upload_to="pictures"),
    )
    wire_cleanup(wire)
    row = model.objects.create(file=upload("one.png"), folder="b")
    names = [row.file.name, row.file.small]
    row.delete()
    assert "geheim" not in json.dumps(get_messages())
    for _ in range(2):
        waiting = Broker.messages[:]
        assert work() == []
        Broker.messages[:] = waiting
    assert exist(*names) == []


def test_keys_come_back_as_they_were(make_model: Any, wire: Any, gone: list[str]) -> None:
    model = make_model(
        "Sheet",
        models.Model,
        token=models.OneToOneField(Token, models.CASCADE, primary_key=True),
        file=models.FileField(upload_to="sheets"),
    )
    keys: list[Any] = []

    def hear(key: Any, **kwargs: Any) -> None:
        keys.append(key)

    wire_cleanup(wire)
    token = Token.objects.create()
    model.objects.create(token=token, file=upload())
    Product.objects.create(image=upload())
    product = Product.objects.get()
    post_file_delete.connect(hear)
    try:
        model.objects.all().delete()
        Product.objects.all().delete()
        assert work() == []
    finally:
        post_file_delete.disconnect(hear)
    # What opens something stays where it is.
    assert sorted(keys, key=str) == sorted([None, product.pk], key=str)


def test_what_a_row_was_given_by_name_comes_back_from_quarantine(wire: Any) -> None:
    wire_cleanup(wire)
    product, name = with_image()
    product.delete()
    assert work() == []
    other = ProductFactory()
    other.image = name
    other.save()
    assert exist(name) == []
    assert work() == []
    assert exist(name) == [name]


def test_what_a_row_was_given_by_name_and_has_lost_again_stays_in_quarantine(wire: Any) -> None:
    wire_cleanup(wire)
    product, name = with_image()
    product.delete()
    work()
    ProductFactory(image=name).delete()
    taken, deleted = Broker.messages
    # The one that looks after the name is late: it was tried again.
    Broker.messages[:] = [deleted, taken]
    assert work() == []
    assert exist(name) == []
    assert [*get_kept()] == [name]


class Interrupted(FileCleanup):
    """While it brings a file back, the row that names it is deleted by somebody else."""

    def get_derived(self, file: StoredFile) -> Iterable[str]:
        with muted(self.name):
            Product.objects.filter(image=file.name).delete()
        return ()


def test_what_is_brought_back_too_late_goes_again(wire: Any) -> None:
    wire_cleanup(wire, Interrupted)
    product, name = with_image()
    product.delete()
    work()
    ProductFactory(image=name)
    assert work() == []
    assert not Product.objects.filter(image=name).exists()
    assert exist(name) == []
    assert [*get_kept()] == [name]
