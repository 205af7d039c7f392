"""No file that a row names is deleted, and none stays that a committed row named and none does."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import ContentFile
from django.db import IntegrityError, connection, models, transaction
from django.db.models.signals import post_save, pre_save
from django.test import TestCase
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_signal_kit import batch
from django_signal_kit.files.file_cleanup import StoredFile
from django_signal_kit.receivers import FileCleanup
from django_signal_kit.signals import post_file_delete, pre_file_delete
from tests.apps.testapp.models import Contract, Document, Gallery, Product, ProductProxy
from tests.factories import ProductFactory
from tests.files.uploads import ALL, VAULT, exist, put, upload, with_image

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


class Thumbnails(FileCleanup):
    """Takes what was made of a file along, and lets samples be."""

    def should_delete(self, file: StoredFile) -> bool:
        return "sample" not in file.name

    def get_derived(self, file: StoredFile) -> Iterator[str]:
        if "broken" in file.name:
            raise RuntimeError("no thumbnails")
        yield f"{file.name}.small"


class Bin(FileCleanup):
    """Keeps what it deletes."""

    def delete_file(self, file: StoredFile) -> None:
        with file.storage.open(file.name) as content:
            file.storage.save(f"bin/{file.name}", content)
        super().delete_file(file)


class OneFieldOnly(FileCleanup):
    """Chooses its fields itself."""

    def get_file_fields(self, model: Any) -> list[Any]:
        return [field for field in super().get_file_fields(model) if field.name == "manual"]


# What goes


def test_a_file_that_was_replaced_is_deleted(cleanup: Any) -> None:
    product, old = with_image()
    product.image = upload()
    product.save()
    assert product.image.name != old
    assert exist(old, product.image.name) == [product.image.name]


def test_what_it_takes_away_is_counted(wire: Any) -> None:
    receiver = wire((Thumbnails, ALL))
    before = receiver.get_own_figures().get("files_removed", 0)
    gallery = Gallery.objects.create(cover=upload("a.png"))
    put("a.png.small")
    Gallery.objects.create(cover=upload("sample.png")).delete()
    assert receiver.get_own_figures().get("files_removed", 0) == before
    gallery.delete()
    assert receiver.get_own_figures()["files_removed"] == before + 2


def test_a_file_that_was_replaced_is_deleted_whatever_others_make_of_the_instance(
    cleanup: Any, wire: Any
) -> None:
    product, old = with_image()

    def put_back(instance: Any, **kwargs: Any) -> None:
        instance.image = old

    wire()
    post_save.connect(put_back, sender=Product)
    try:
        wire((FileCleanup, ALL))
        product.image = upload()
        product.save()
    finally:
        post_save.disconnect(put_back, sender=Product)
    new = Product.objects.get().image.name
    assert exist(old, new) == [new]


def test_a_file_that_was_named_in_pre_save_is_deleted(cleanup: Any) -> None:
    product, old = with_image()
    between = put("between.txt")

    def name_it(instance: Any, **kwargs: Any) -> None:
        Product.objects.filter(pk=instance.pk).update(image=between)

    pre_save.connect(name_it, sender=Product)
    try:
        with transaction.atomic():
            product.image = upload()
            product.save()
    finally:
        pre_save.disconnect(name_it, sender=Product)
    new = Product.objects.get().image.name
    assert exist(old, between, new) == [new]


def test_a_file_that_was_cleared_is_deleted(cleanup: Any) -> None:
    product, old = with_image()
    product.image = ""
    product.save(update_fields=["image"])
    assert exist(old) == []
    contract = Contract.objects.create(scan=upload())
    name = contract.scan.name
    contract.scan = None
    contract.save()
    assert not VAULT.exists(name)


def test_files_of_a_deleted_row_are_deleted(cleanup: Any) -> None:
    product = ProductFactory(image=upload(), manual=upload())
    names = [product.image.name, product.manual.name]
    product.delete()
    assert exist(*names) == []


def test_files_of_a_deleted_queryset_and_of_a_cascade_are_deleted(cleanup: Any) -> None:
    names = [with_image()[1] for _ in range(3)]
    Product.objects.filter(image__in=names[:2]).delete()
    assert exist(*names) == names[2:]
    ProductProxy.objects.all().delete()
    assert exist(*names) == []
    contract = Contract.objects.create(file=upload(), scan=upload())
    names = [contract.file.name, contract.scan.name]
    Document.objects.get().delete()
    assert exist(names[0]) == []
    assert not VAULT.exists(names[1])


def test_a_stale_instance_deletes_what_the_database_named(cleanup: Any) -> None:
    stale, first = with_image()
    second = put("second.txt")
    Product.objects.filter(pk=stale.pk).update(image=second)
    assert exist(first, second) == [second]
    stale.delete()
    assert exist(first, second) == []


def test_a_row_of_another_database_loses_its_file(cleanup: Any) -> None:
    gallery = Gallery(cover=upload())
    gallery.save(using="other")
    name = gallery.cover.name
    with transaction.atomic(using="other"):
        gallery.cover = ""
        gallery.save()
        with transaction.atomic():
            pass
        assert exist(name) == [name]
    assert exist(name) == []


# What stays


def test_files_that_two_rows_swapped_stay(cleanup: Any) -> None:
    (a, first), (b, second) = with_image(), with_image()
    with transaction.atomic():
        a.image, b.image = second, first
        a.save()
        b.save()
    assert exist(first, second) == [first, second]


def test_a_file_that_was_replaced_and_put_back_in_one_transaction_stays(cleanup: Any) -> None:
    product, first = with_image()
    with transaction.atomic():
        product.image = upload()
        product.save()
        second = product.image.name
        product.image = first
        product.save()
    assert exist(first, second) == [first]


def test_the_file_of_a_row_that_was_deleted_and_made_again_stays(cleanup: Any) -> None:
    product, name = with_image()
    with transaction.atomic():
        product.delete()
        ProductFactory(image=name)
    assert exist(name) == [name]


def test_a_parent_that_is_kept_keeps_its_file(cleanup: Any) -> None:
    contract = Contract.objects.create(file=upload(), scan=upload())
    names = contract.file.name, contract.scan.name
    contract.delete(keep_parents=True)
    assert exist(names[0]) == [names[0]]
    assert not VAULT.exists(names[1])
    Document.objects.get().delete()
    assert exist(names[0]) == []


def test_a_change_that_was_not_saved_deletes_nothing(cleanup: Any) -> None:
    product, name = with_image()
    product.image = upload()
    with CaptureQueriesContext(connection) as queries:
        product.save(update_fields=["name"])
    assert exist(name) == [name]
    assert len(queries) == 2
    product.image = ""
    Product.objects.get(pk=product.pk).save()
    assert exist(name) == [name]


def test_a_deferred_file_costs_one_query_and_stays(cleanup: Any) -> None:
    product, name = with_image()
    product = Product.objects.only("name").get(pk=product.pk)
    product.name = "new"
    with CaptureQueriesContext(connection) as queries:
        product.save()
    assert [query["sql"].split()[0] for query in queries] == ["SELECT", "UPDATE"]
    assert exist(name) == [name]


def test_after_a_rollback_everything_stays(cleanup: Any) -> None:
    (product, name), (doomed, other) = with_image(), with_image()
    with transaction.atomic():
        product.image = ""
        product.save()
        doomed.delete()
        transaction.set_rollback(True)
    with transaction.atomic():
        ProductFactory()
    assert exist(name, other) == [name, other]


def test_after_a_savepoint_that_was_rolled_back_everything_of_it_stays(cleanup: Any) -> None:
    (kept, name), (gone, other) = with_image(), with_image()
    with transaction.atomic():
        with transaction.atomic():
            kept.delete()
            transaction.set_rollback(True)
        gone.delete()
    assert exist(name, other) == [name]


def test_a_save_that_fails_deletes_nothing(cleanup: Any) -> None:
    product, name = with_image()
    taken = Document.objects.create(file=name)
    product.image = ""
    product.name = None
    with pytest.raises(IntegrityError):
        product.save()
    with pytest.raises(IntegrityError):
        Document(pk=taken.pk, file=upload()).save(force_insert=True)
    assert exist(name) == [name]


def test_nothing_is_deleted_before_the_commit(cleanup: Any) -> None:
    product, name = with_image()
    with transaction.atomic():
        product.delete()
        assert exist(name) == [name]
    assert exist(name) == []


# What may go wrong


def say(failures: list[dict[str, Any]]) -> list[tuple[Any, str, type[Exception]]]:
    return [(f["receiver"], f["signal_name"], type(f["exception"])) for f in failures]


def test_a_file_that_cannot_be_deleted_leaves_the_others_to_go(
    cleanup: Any, failures: Any
) -> None:
    # A folder that is not empty cannot be deleted as a file.
    stuck = put("products/folder/x.txt").rpartition("/")[0]
    names = [with_image()[1], with_image()[1]]
    with batch():
        ProductFactory(image=stuck)
    with transaction.atomic():
        for product in Product.objects.order_by("-image"):
            product.delete()
    assert exist(*names) == []
    assert say(failures) == [(cleanup, "flush", IsADirectoryError)]


class TestInATestCase(TestCase):
    databases = frozenset(("default", "other"))

    @pytest.fixture(autouse=True)
    def _wire(self, cleanup: Any) -> None:
        pass

    def test_callbacks_delete_the_files(self) -> None:
        product, name = with_image()
        with self.captureOnCommitCallbacks(execute=True):
            product.delete()
            assert exist(name) == [name]
        assert exist(name) == []


# What it costs


def sql(queries: CaptureQueriesContext) -> list[str]:
    return [query["sql"].split()[0] for query in queries]


def test_a_save_that_leaves_its_files_costs_one_query(cleanup: Any) -> None:
    product, _ = with_image()
    with CaptureQueriesContext(connection) as queries:
        product.save()
    assert sql(queries) == ["SELECT", "UPDATE"]


def test_after_the_commit_each_file_field_of_the_storage_is_asked_once(cleanup: Any) -> None:
    # Product.image, Product.manual, Gallery.cover, Document.file
    fields = 4
    with batch():
        products, names = zip(*[with_image() for _ in range(20)], strict=True)
    products[0].image = upload()
    with CaptureQueriesContext(connection) as queries:
        products[0].save()
    # Before it is moved into quarantine, and after.
    asked = ["SELECT"] * fields * 2
    assert sql(queries) == ["SELECT", "BEGIN", "SELECT", "UPDATE", "COMMIT", *asked]
    with CaptureQueriesContext(connection) as queries:
        with batch():
            for product in products:
                product.image = ""
                product.save()
    commit = sql(queries).index("COMMIT")
    assert sql(queries)[commit + 1 :] == ["SELECT"] * fields * 2
    assert exist(*names) == []


def test_deleting_many_rows_reads_their_names_together(cleanup: Any) -> None:
    with batch():
        names = [with_image()[1] for _ in range(20)]
    with CaptureQueriesContext(connection) as queries:
        Product.objects.all().delete()
    reads = [query["sql"] for query in queries if '"image"' in query["sql"].replace("`", '"')]
    # The rows, then all their names, and after the commit who else names them, twice.
    assert len(reads) == 4
    assert exist(*names) == []


# Options and hooks


def test_fields_can_be_chosen_and_left_out(wire: Any) -> None:
    def delete_one() -> list[str]:
        product = ProductFactory(image=upload("i.txt"), manual=upload("m.txt"))
        names = [product.image.name, product.manual.name]
        product.delete()
        return [Path(name).name[0] for name in exist(*names)]

    wire((FileCleanup, {**ALL, "fields": ["image"]}))
    assert delete_one() == ["m"]
    wire((FileCleanup, {**ALL, "exclude_fields": ["image"]}))
    assert delete_one() == ["i"]
    wire((OneFieldOnly, ALL))
    assert delete_one() == ["i"]


def test_signals_tell_of_each_deletion(cleanup: Any) -> None:
    told: list[Any] = []

    def hear(signal: Any, sender: Any, storage: Any, name: str, **more: Any) -> None:
        told.append((signal, sender, storage, name, storage.exists(name), more))

    pre_file_delete.connect(hear)
    post_file_delete.connect(hear)
    try:
        contract = Contract.objects.create(scan=upload())
        name, key = contract.scan.name, contract.pk
        contract.delete()
    finally:
        pre_file_delete.disconnect(hear)
        post_file_delete.disconnect(hear)
    row = {"receiver": cleanup, "model": Contract, "field": "scan", "key": key, "using": "default"}
    well = {"success": True, "exception": None}
    assert told == [
        (pre_file_delete, FileCleanup, VAULT, name, True, row),
        (post_file_delete, FileCleanup, VAULT, name, False, {**row, **well}),
    ]


def test_a_receiver_of_the_signal_can_forbid_a_deletion(cleanup: Any, failures: Any) -> None:
    def forbid(name: str, **kwargs: Any) -> None:
        if name == kept:
            raise PermissionError(name)

    (first, kept), (second, gone) = with_image(), with_image()
    pre_file_delete.connect(forbid)
    try:
        with batch():
            first.delete()
            second.delete()
    finally:
        pre_file_delete.disconnect(forbid)
    assert exist(kept, gone) == [kept]
    assert say(failures) == [(cleanup, "flush", PermissionError)]


def test_what_was_made_of_a_file_goes_with_it(wire: Any, failures: Any) -> None:
    wire((Thumbnails, ALL))
    product, name = with_image()
    small = put(f"{name}.small")
    product.delete()
    assert exist(name, small) == []
    # No thumbnail was made of this one.
    product, name = with_image()
    product.delete()
    assert exist(name) == []
    assert failures == []


def test_what_was_made_of_a_file_and_cannot_be_deleted_does_not_keep_it(
    wire: Any, failures: Any
) -> None:
    receiver = wire((Thumbnails, ALL))
    product, name = with_image()
    put(f"{name}.small/x.txt")
    product.delete()
    assert exist(name) == []
    assert say(failures) == [(receiver, "flush", IsADirectoryError)]


def test_a_last_word_can_save_a_file(wire: Any) -> None:
    wire((Thumbnails, ALL))
    products = [ProductFactory(image=upload(name)) for name in ("sample.txt", "b.txt")]
    names = [product.image.name for product in products]
    Product.objects.all().delete()
    assert exist(*names) == names[:1]


def test_a_hook_that_raises_keeps_its_file_only(wire: Any, failures: Any) -> None:
    receiver = wire((Thumbnails, ALL))
    files = ("a.txt", "broken.txt", "b.txt")
    products = [ProductFactory(image=upload(name)) for name in files]
    names = [product.image.name for product in products]
    Product.objects.all().delete()
    assert exist(*names) == names[1:2]
    assert say(failures) == [(receiver, "flush", RuntimeError)]


def test_a_file_can_be_deleted_in_a_way_of_its_own(wire: Any) -> None:
    wire((Bin, ALL))
    product, name = with_image()
    product.delete()
    assert exist(name, f"bin/{name}") == [f"bin/{name}"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fields": ["imgae"]}, "Did you mean 'image'"),
        ({"exclude_fields": ["name"]}, "no model has such a file field"),
        ({"models": ["testapp.Category"]}, "no file field to clean up"),
    ],
)
def test_what_cannot_work_is_said_when_it_is_wired(wire: Any, options: Any, words: str) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        wire((FileCleanup, {"models": ["testapp.Product"], **options}))
    assert words in str(caught.value)


# All at once

VERBS = ("create", "upload", "take", "swap", "move", "clear", "copy", "delete", "again", "unsaved")
STEPS = st.lists(
    st.tuples(st.sampled_from(VERBS), st.integers(0, 3), st.integers(0, 3)), max_size=5
)
HOW = ("autocommit", "commit", "rollback", "batch", "savepoint")


@settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(st.tuples(STEPS, st.sampled_from(HOW)), max_size=4))
def test_whatever_happens_to_rows_files_follow_what_is_committed(
    cleanup: Any, blocks: Any
) -> None:
    Product.objects.all().delete()
    Gallery.objects.all().delete()
    once: set[str] = set()

    def look() -> None:
        named = get_named()
        once.update(named)
        assert exist(*named) == sorted(named)
        assert exist(*(once.difference(named))) == []

    for steps, how in blocks:
        if how == "autocommit":
            for step in steps:
                run(*step)
                look()
        elif how == "batch":
            with batch():
                for step in steps:
                    run(*step)
        else:
            with transaction.atomic():
                for step in steps:
                    run(*step)
                if how == "savepoint":
                    with transaction.atomic():
                        for step in reversed(steps):
                            run(*step)
                        transaction.set_rollback(True)
                transaction.set_rollback(how == "rollback")
        look()


def get_named() -> list[str]:
    names: set[str] = set()
    for model, field in ((Product, "image"), (Product, "manual"), (Gallery, "cover")):
        names.update(model.objects.values_list(field, flat=True))
    return sorted(names - {""})


def new_upload() -> ContentFile:
    # It may not take a name of the past.
    return upload(f"{uuid.uuid4().hex}.txt")


def run(verb: str, which: int, other: int) -> None:
    places = [
        *((row, "image") for row in Product.objects.order_by("pk")),
        *((row, "cover") for row in Gallery.objects.order_by("pk")),
        *((row, "manual") for row in Product.objects.order_by("pk")),
    ]
    if verb == "create" or not places:
        ProductFactory(image=new_upload(), manual=new_upload() if which % 2 else "")
        if other % 2:
            Gallery.objects.create(cover=new_upload())
        return
    (a, one), (b, two) = places[which % len(places)], places[other % len(places)]
    if verb == "upload":
        setattr(a, one, new_upload())
        a.save()
    elif verb == "take":
        setattr(a, one, getattr(b, two).name)
        a.save()
    elif verb == "swap":
        first, second = getattr(a, one).name, getattr(b, two).name
        with transaction.atomic():
            setattr(a, one, second)
            a.save(update_fields=[one])
            setattr(b, two, first)
            b.save(update_fields=[two])
    elif verb == "move" and isinstance(a, Product):
        a.image, a.manual = a.manual.name, a.image.name
        a.save()
    elif verb == "clear":
        setattr(a, one, "")
        a.save()
    elif verb == "copy":
        a.pk, a._state.adding = None, True
        a.save()
    elif verb == "delete":
        type(a).objects.filter(pk__in=[a.pk, b.pk]).delete()
    elif verb == "again":
        with transaction.atomic():
            a.delete()
            a._state.adding = True
            a.save()
    elif verb == "unsaved" and isinstance(a, Product):
        a.image = ""
        a.save(update_fields=["name"])


@pytest.mark.parametrize("keeps", [False, True], ids=["replaced", "kept"])
def test_the_file_of_a_parent_that_a_child_is_made_of(
    make_model: Any, wire: Any, keeps: bool
) -> None:
    image = models.FileField(upload_to="parents", blank=True)
    parent = make_model("Project", models.Model, image=image)
    child = make_model("Poster", parent)
    wire((FileCleanup, {"models": ["testapp.*"], "quarantine": None}))
    project = parent()
    project.image.save("old.txt", ContentFile(b"old"))
    name, storage = project.image.name, project.image.storage
    child(project_ptr=project, image=name if keeps else "").save()
    assert storage.exists(name) is keeps
