"""Whatever refuses a revert, there is a RevertError that says why, nothing is half done, and a
transaction that was open can go on and be committed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import DEFAULT_DB_ALIAS, OperationalError, connection, models, transaction
from django.db.models.deletion import Collector
from django.db.models.signals import ModelSignal, post_delete, post_save, pre_save

from django_signal_kit import muted
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.audit.reverting import RevertError
from django_signal_kit.receivers import AuditLog, Validate
from tests.apps.rarities.models import Keeper, Reading, Speechless
from tests.apps.testapp.models import Line, Note, Page, Product, Restaurant, Tag, Token
from tests.apps.validity.models import Hotel
from tests.factories import ProductFactory, RestaurantFactory, TagFactory

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

ALL = (AuditLog, {"models": ["testapp.*", "validity.*", "rarities.*"]})
nested = pytest.mark.parametrize("is_nested", [False, True], ids=["alone", "in a transaction"])


@pytest.fixture(autouse=True)
def _log(wire: Any) -> Iterator[None]:
    ContentType.objects.clear_cache()
    wire(ALL)
    yield
    ContentType.objects.clear_cache()


def last(**lookups: Any) -> Any:
    return AuditEntry.objects.filter(**lookups).latest("id")


def read(*models: Any) -> list[Any]:
    return [list(model._base_manager.order_by("pk").values()) for model in (*models, AuditEntry)]


def refuse(
    entry: Any, *models: Any, is_nested: bool, match: str | None, force: bool = False
) -> None:
    """Nothing but a RevertError, and nothing done; the user's transaction is what it was."""
    before, pages = read(*models), Page.objects.count()
    with transaction.atomic() if is_nested else nullcontext():
        if is_nested:
            Page.objects.create(title="before")
        noted = read(*models)
        with pytest.raises(RevertError, match=match) as caught:
            entry.revert(force=force)
        assert str(caught.value).startswith(caught.value.reason)
        assert read(*models) == noted
        if is_nested:
            Page.objects.create(title="after")
    assert Page.objects.count() == pages + 2 * is_nested
    assert read(*models)[: len(models)] == before[: len(models)]


@contextmanager
def heard(signal: ModelSignal, sender: Any, receiver: Callable[..., Any]) -> Iterator[None]:
    signal.connect(receiver, sender=sender)
    try:
        yield
    finally:
        signal.disconnect(receiver, sender=sender)


# What a database refuses


@nested
@pytest.mark.parametrize("force", [False, True])
def test_a_unique_value_that_is_taken(is_nested: bool, force: bool) -> None:
    Hotel.objects.create(name="Ritz", number=1).delete()
    entry = last()
    other = Hotel.objects.create(name="Ritz", number=2)
    options: Any = {"is_nested": is_nested, "force": force, "match": "the database refused it"}
    refuse(entry, Hotel, **options)
    other.name = "Astoria"
    other.save()
    entry = last()
    Hotel.objects.create(name="Ritz", number=3)
    refuse(entry, Hotel, **options)


@nested
def test_a_constraint_that_came_later(is_nested: bool) -> None:
    hotel = Hotel.objects.create(name="Ritz", rooms=5, free_rooms=3)
    hotel.free_rooms = 1
    hotel.save()
    entry = last()
    Hotel.objects.update(rooms=2)
    refuse(entry, Hotel, is_nested=is_nested, match=r"cannot be reverted: the database refused")


@nested
@pytest.mark.parametrize("force", [False, True])
def test_a_row_that_others_protect(is_nested: bool, force: bool) -> None:
    row = Speechless.objects.create()
    entry = last()
    Keeper.objects.create(keeps=row)
    refuse(entry, Speechless, Keeper, is_nested=is_nested, force=force, match="others need by now")


@nested
def test_a_key_of_a_row_that_is_gone(is_nested: bool) -> None:
    Line.objects.create(product=ProductFactory()).delete()
    entry = last()
    Product.objects.all().delete()
    refuse(entry, Product, Line, is_nested=is_nested, match="product of entry .* is gone")


@nested
@pytest.mark.parametrize("force", [False, True])
def test_rows_that_django_leaves_to_the_database(
    make_model: Any, is_nested: bool, force: bool
) -> None:
    made = make_model("Left", models.Model, to=models.ForeignKey(Tag, models.DO_NOTHING))
    tag = TagFactory()
    entry = last(content_type__model="tag")
    made.objects.create(to=tag)
    match = "the database refused it" if force else "1 of testapp.Left point to the row"
    refuse(entry, Tag, made, is_nested=is_nested, force=force, match=match)
    made.objects.all().delete()


@nested
@pytest.mark.skipif(connection.vendor != "postgresql", reason="Only PostgreSQL defers it.")
def test_a_constraint_that_is_looked_at_at_the_commit(make_model: Any, is_nested: bool) -> None:
    unique = models.UniqueConstraint(
        fields=["place"], name="late_place", deferrable=models.Deferrable.DEFERRED
    )
    made = make_model(
        "Late", models.Model, place=models.IntegerField(), meta={"constraints": [unique]}
    )
    with muted():
        row = made.objects.create(place=1)
    ContentType.objects.clear_cache()
    entry = AuditEntry.objects.create(
        action="update",
        content_type=ContentType.objects.get_for_model(made),
        object_pk=str(row.pk),
        using="default",
        changes={"place": [2, 1]},
    )
    made.objects.create(place=2)
    refuse(entry, made, is_nested=is_nested, match="the database refused it: .*late_place")
    with transaction.atomic():
        # What the user has broken himself, and will mend, is not the revert's fault.
        extra = made.objects.create(place=1)
        made.objects.filter(place=2).update(place=4)
        entry.revert()
        extra.delete()
        # Nor is it looked at any earlier than before.
        extra = made.objects.create(place=2)
        extra.delete()
    assert set(made.objects.values_list("place", flat=True)) == {2, 4}


@nested
@pytest.mark.parametrize(
    ("name", "old", "new", "match"),
    [
        ("size", "small", "s", "size has room for 1 characters, and not for 'small'"),
        ("amount", "1.23456", "1.0000", "amount has 4 decimal places"),
        ("amount", "1e30", "1.0000", None),
        ("whole", 2**70, 1, None),
        ("whole", "dozen", 1, "whole does not understand the value 'dozen'"),
        ("at", "yesterday", None, "at does not understand the value 'yesterday'"),
    ],
)
def test_a_value_that_does_not_fit(
    is_nested: bool, name: str, old: Any, new: Any, match: str | None
) -> None:
    values = {} if new is None else {name: new}
    row = Reading.objects.create(**values)
    entry = AuditEntry.objects.create(
        action="update",
        content_type=ContentType.objects.get_for_model(Reading),
        object_pk=str(row.pk),
        using="default",
        changes={name: [old, new]},
    )
    refuse(entry, Reading, is_nested=is_nested, match=match)


def test_a_table_that_is_not_in_that_database(wire: Any) -> None:
    entry = AuditEntry.objects.create(
        action="update",
        content_type=ContentType.objects.get_for_model(AuditEntry),
        object_pk="x",
        using="other",
        changes={"object_text": ["a", "b"]},
    )
    for key in ("x", "1"):
        entry.object_pk = key
        with pytest.raises(RevertError):
            entry.revert()


def test_a_transaction_that_is_broken_already() -> None:
    tag = TagFactory(name="a")
    tag.name = "b"
    tag.save()
    entry = last()
    with transaction.atomic():
        transaction.set_rollback(True)
        with pytest.raises(RevertError, match=f"Entry {entry.pk} cannot be reverted"):
            entry.revert()
        assert transaction.get_rollback()
    assert Tag.objects.get().name == "b"


# What a model or a receiver refuses


@nested
@pytest.mark.parametrize(
    "error",
    [
        ValidationError(["No lamps.", "No more."]),
        ValidationError({"name": ["No lamps."]}),
        RuntimeError("No lamps."),
        PermissionDenied("No lamps."),
        LookupError(),
        OperationalError("No lamps."),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_receiver_or_a_model_that_raises(
    monkeypatch: Any, is_nested: bool, error: Exception
) -> None:
    def raise_it(*args: Any, **kwargs: Any) -> None:
        raise error

    def act_and_raise(self: Any, *args: Any, **kwargs: Any) -> None:
        models.Model.save(self, *args, **kwargs)
        raise error

    match = "LookupError" if isinstance(error, LookupError) else r"No lamps\."
    tag = TagFactory(name="a")
    created = last()
    tag.name = "b"
    tag.save()
    changed = last()
    for signal in (pre_save, post_save):
        with heard(signal, Tag, raise_it):
            refuse(changed, Tag, is_nested=is_nested, match=match)
    with monkeypatch.context() as patched:
        patched.setattr(Tag, "save", act_and_raise)
        refuse(changed, Tag, is_nested=is_nested, match=match)
    with heard(post_delete, Tag, raise_it):
        refuse(created, Tag, is_nested=is_nested, match=match)
    tag.delete()
    with heard(post_save, Tag, raise_it):
        refuse(last(content_type__model="tag"), Tag, is_nested=is_nested, match=match)


@nested
def test_rules_that_a_value_breaks_by_now(wire: Any, is_nested: bool) -> None:
    hotel = Hotel.objects.create(name="spam")
    hotel.name = "Ritz"
    hotel.save()
    wire(ALL, (Validate, {"models": ["validity.*"]}))
    refuse(last(), Hotel, is_nested=is_nested, match=r"No spam\.")


class Broken(AuditLog):
    """Cannot write its entries."""

    def flush(self, items: Any) -> None:
        super().flush(items)
        raise OSError("the log is full")


@nested
def test_a_flush_that_fails(wire: Any, is_nested: bool) -> None:
    tag = TagFactory(name="a")
    tag.name = "b"
    tag.save()
    entry = last()
    wire((Broken, {"models": ["testapp.Tag"]}))
    refuse(entry, Tag, is_nested=is_nested, match="the log is full")


def test_what_fails_after_the_commit_is_no_refusal() -> None:
    def call(**kwargs: Any) -> None:
        transaction.on_commit(fail)

    def fail() -> None:
        raise RuntimeError("too late")

    tag = TagFactory(name="a")
    tag.name = "b"
    tag.save()
    with heard(post_save, Tag, call), pytest.raises(RuntimeError, match="too late"):
        last().revert()
    assert Tag.objects.get().name == "a"
    assert last().changes == {"name": ["b", "a"]}


def test_an_interruption_is_none_either() -> None:
    def interrupt(**kwargs: Any) -> None:
        raise KeyboardInterrupt

    tag = TagFactory(name="a")
    tag.name = "b"
    tag.save()
    with heard(post_save, Tag, interrupt), pytest.raises(KeyboardInterrupt):
        last().revert()
    assert Tag.objects.get().name == "b"


# What a model has no more


@nested
@pytest.mark.parametrize("action", ["update", "delete", "m2m_add"])
@pytest.mark.parametrize("name", ["colour", "lines", "tags", "name"])
def test_a_field_that_is_another_by_now(is_nested: bool, action: str, name: str) -> None:
    product = ProductFactory()
    change = {"added": [1]} if action == "m2m_add" else ["a", "b"]
    kind = ContentType.objects.get_for_model(Product)
    key = "4711" if action == "delete" else str(product.pk)
    entry = AuditEntry.objects.create(
        action=action, content_type=kind, object_pk=key, using="default", changes={name: change}
    )
    # These two are what they were.
    if (action, name) not in {("m2m_add", "tags"), ("delete", "name")}:
        refuse(entry, Product, is_nested=is_nested, match=f"{name}|has changed since")


@nested
@pytest.mark.parametrize("changes", [None, [], "x", {"name": "x"}, {"name": []}, {"name": None}])
@pytest.mark.parametrize("action", ["update", "delete", "m2m_add"])
def test_an_entry_of_a_form_of_its_own(is_nested: bool, changes: Any, action: str) -> None:
    tag = TagFactory()
    key = "4711" if action == "delete" else str(tag.pk)
    entry = AuditEntry.objects.create(
        action=action,
        content_type=ContentType.objects.get_for_model(Tag),
        object_pk=key,
        using="default",
        changes=models.Value(changes, models.JSONField()),
    )
    entry.refresh_from_db()
    if action == "update" and not changes and changes is not None:
        return
    refuse(entry, Tag, is_nested=is_nested, match=None)


# Has it changed since?


def test_what_the_database_holds_is_compared() -> None:
    product = ProductFactory(price="1.50")
    product.price = "2.00"
    product.save()
    entry = last()
    AuditEntry.objects.filter(pk=entry.pk).update(changes={"price": ["1.50", "2"]})
    entry.refresh_from_db()
    entry.revert()
    product.refresh_from_db()
    assert str(product.price) == "1.50"


def test_json_of_another_type_has_changed() -> None:
    product = ProductFactory(data={"a": 0})
    product.data = {"a": 1}
    product.save()
    entry = last()
    Product.objects.update(data={"a": True})
    with pytest.raises(RevertError, match=r"data has changed since"):
        entry.revert()


def test_a_secret_of_now_is_not_told() -> None:
    product = ProductFactory(api_token="")
    entry = AuditEntry.objects.create(
        action="update",
        content_type=ContentType.objects.get_for_model(Product),
        object_pk=str(product.pk),
        using="default",
        changes={"api_token": [None, "[redacted]"], "name": [product.name, product.name]},
    )
    Product.objects.update(api_token="s3cret")
    AuditEntry.objects.filter(pk=entry.pk).update(changes={"api_token": ["", "[redacted]"]})
    entry.refresh_from_db()
    with pytest.raises(RevertError, match=r"Nobody can tell whether .*api_token") as caught:
        entry.revert()
    assert "s3cret" not in str(caught.value)
    entry.revert(force=True)
    assert Product.objects.get().api_token == ""


# A deletion of which the log does not have all


def test_fields_that_have_a_default_need_not_be_known(wire: Any, make_model: Any) -> None:
    made = make_model(
        "Kept",
        models.Model,
        name=models.CharField(max_length=10),
        plain=models.IntegerField(default=7),
        called=models.JSONField(default=list),
        by_database=models.IntegerField(db_default=8),
        nothing=models.IntegerField(null=True),
        rather=models.IntegerField(null=True, default=9),
        empty=models.CharField(max_length=10, blank=True),
        made_at=models.DateTimeField(auto_now_add=True),
        changed_at=models.DateTimeField(auto_now=True),
    )
    wire((AuditLog, {"models": ["testapp.*"], "fields": ["name"]}))
    row = made.objects.create(
        name="a", plain=1, called=[1], by_database=1, nothing=1, rather=1, empty="x"
    )
    key = row.pk
    row.delete()
    last().revert()
    found = made.objects.get()
    assert found.pk == key
    assert (found.name, found.plain, found.called, found.by_database) == ("a", 7, [], 8)
    assert (found.nothing, found.rather, found.empty) == (None, 9, "")
    assert found.made_at is not None
    found.delete()
    wire((AuditLog, {"models": ["testapp.*"], "exclude_fields": ["price"]}))
    # NULL is not in an entry, and is known all the same.
    made.objects.create(name="b")
    made.objects.update(rather=None)
    made.objects.get().delete()
    last().revert()
    assert made.objects.get().rather is None


@nested
def test_a_field_without_a_default_is_named(wire: Any, is_nested: bool) -> None:
    wire((AuditLog, {"models": ["testapp.*"], "exclude_fields": ["text"]}))
    Note.objects.create(text="a").delete()
    refuse(
        last(), Note, is_nested=is_nested, match=r"testapp.Note.text is not known: entry \d+ .*"
    )


def test_the_key_need_not_be_among_the_values(wire: Any) -> None:
    fields = ["id", "place_ptr"]
    wire((AuditLog, {"models": ["testapp.*"], "exclude_fields": fields}))
    filler = RestaurantFactory()
    restaurant, token = RestaurantFactory(name="a", stars=2), Token.objects.create(name="t")
    filler.delete()
    for row in (restaurant, token):
        model, key = type(row), row.pk
        before = model.objects.filter(pk=key).values().get()
        row.delete()
        last(action="delete").revert()
        assert model.objects.filter(pk=key).values().get() == before
    found = Restaurant.objects.get()
    assert found.id == found.place_ptr_id == found.pk


# A router


class Elsewhere:
    """Writes the links to another database."""

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return "other" if model is Product.tags.through else None


@nested
def test_links_that_a_router_keeps_elsewhere(settings: Any, is_nested: bool) -> None:
    product = ProductFactory()
    product.tags.add(TagFactory())
    entry = last(action="m2m_add")
    settings.DATABASE_ROUTERS = [Elsewhere()]
    refuse(entry, Product, is_nested=is_nested, match="a router writes .* elsewhere")
    assert Product.tags.through.objects.using(DEFAULT_DB_ALIAS).count() == 1


def test_a_collector_that_fails(monkeypatch: Any) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("no")

    TagFactory()
    entry = last()
    monkeypatch.setattr(Collector, "collect", fail)
    with pytest.raises(RevertError, match="cannot be reverted: no"):
        entry.revert()
