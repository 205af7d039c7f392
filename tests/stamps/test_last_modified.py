"""A stamp is never older than the row's last save, and it costs nothing."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.core import serializers
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, IntegrityError, connection, models, transaction
from django.db.models import F
from django.db.models.signals import post_save, pre_save
from django.test import RequestFactory, TestCase
from django.test.utils import CaptureQueriesContext, override_settings
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from django_signal_kit import context
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.middleware import RequestContextMiddleware
from django_signal_kit.receivers import AuditLog, LastModified
from django_signal_kit.wiring.registry import registry
from tests.apps.testapp.models import Note, Page, Place, Product, ProductProxy, Restaurant
from tests.conftest import run_async
from tests.factories import ProductFactory, RestaurantFactory, UserFactory

pytestmark = pytest.mark.django_db(transaction=True)

OLD = datetime.datetime(2001, 2, 3, 4, 5, 6, 7, tzinfo=datetime.UTC)
NOTES = {
    "models": [Note],
    "field": "changed_on",
    "created_field": "written_on",
    "by_field": "editor",
    "created_by_field": "author",
}


class Minutes(LastModified):
    """Full minutes, drafts unstamped, and always the same editor."""

    def should_stamp(self, instance: Any) -> bool:
        return instance.name != "draft"

    def get_timestamp(self, instance: Any) -> datetime.datetime:
        return super().get_timestamp(instance).replace(second=0, microsecond=0)

    def get_editor(self, instance: Any) -> Any:
        return get_user_model().objects.get(username="robot")


class AtMidnight(LastModified):
    """Half an hour before midnight, in London."""

    def get_timestamp(self, instance: Any) -> datetime.datetime:
        moment = datetime.datetime(2023, 12, 31, 23, 30)
        return timezone.make_aware(moment, datetime.UTC) if settings.USE_TZ else moment


@pytest.fixture
def stamps(wire: Any) -> Any:
    return wire((LastModified, {"models": ["testapp.*"]}))


def make_old(instance: models.Model) -> None:
    """Give the row and the instance the stamps of long ago."""
    type(instance)._base_manager.update(updated_at=OLD, created_at=OLD)
    instance.refresh_from_db()


def assert_stamped(instance: Any) -> None:
    """The row was stamped just now, and the instance knows."""
    stored = type(instance)._base_manager.get(pk=instance.pk)
    assert stored.updated_at > OLD
    assert instance.updated_at == stored.updated_at


# Every way to save


def test_a_new_row_is_stamped(stamps: Any) -> None:
    before = timezone.now()
    product = ProductFactory()
    assert before <= product.updated_at <= timezone.now()
    assert_stamped(product)


def save(product: Product) -> Product:
    product.save()
    return product


def save_some(product: Product) -> Product:
    product.name = "new"
    product.save(update_fields=["name"])
    return product


def save_by_position_of_column(product: Product) -> Product:
    product.category = None
    product.save(update_fields=("category_id",))
    return product


def save_with_stamp(product: Product) -> Product:
    product.save(update_fields={"name", "updated_at"})
    return product


def save_only(product: Product) -> Product:
    product = Product.objects.only("name").get()
    product.name = "new"
    product.save()
    return product


def save_deferred(product: Product) -> Product:
    product = Product.objects.defer("updated_at", "price").get()
    product.name = "new"
    product.save()
    return product


def save_deferred_some(product: Product) -> Product:
    product = Product.objects.defer("updated_at", "price").get()
    product.save(update_fields=["stock"])
    return product


def update_or_create(product: Product) -> Product:
    return Product.objects.update_or_create(name=product.name, defaults={"stock": 8})[0]


def get_or_create(product: Product) -> Product:
    return Product.objects.get_or_create(name="another")[0]


def save_proxy(product: Product) -> Product:
    proxy = ProductProxy.objects.get()
    proxy.save(update_fields=["name"])
    return proxy


def save_expression(product: Product) -> Product:
    product.stock = F("stock") + 1
    product.save(update_fields=["stock"])
    return product


def save_async(product: Product) -> Product:
    product.name = "new"
    run_async(product.asave(update_fields=["name"]))
    return product


def save_base(product: Product) -> Product:
    product.save_base(update_fields=frozenset(["name"]))
    return product


WAYS = [
    save,
    save_some,
    save_by_position_of_column,
    save_with_stamp,
    save_only,
    save_deferred,
    save_deferred_some,
    update_or_create,
    get_or_create,
    save_proxy,
    save_expression,
    save_async,
    save_base,
]


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_save_stores_the_stamp(
    stamps: Any, way: Callable[[Product], Product]
) -> None:
    product = ProductFactory()
    make_old(product)
    assert_stamped(way(product))


@pytest.mark.parametrize("way", [way for way in WAYS if way is not save_async])
def test_a_stamp_costs_no_query(wire: Any, way: Callable[[Product], Product]) -> None:
    def count() -> list[str]:
        Product.objects.all().delete()
        product = ProductFactory(name="same")
        with CaptureQueriesContext(connection) as queries:
            way(product)
        return [query["sql"].split()[0] for query in queries]

    bare = count()
    wire((LastModified, {"models": ["testapp.*"]}))
    assert count() == bare


def test_a_child_stamps_the_column_of_its_parent(stamps: Any) -> None:
    restaurant = RestaurantFactory()
    make_old(restaurant)
    restaurant.stars = 3
    restaurant.save(update_fields=["stars"])
    assert_stamped(restaurant)
    make_old(restaurant)
    restaurant = Restaurant.objects.only("stars").get()
    restaurant.stars = 4
    restaurant.save()
    assert_stamped(restaurant)
    make_old(restaurant)
    place = Place.objects.get()
    place.save()
    assert_stamped(place)


def test_a_field_that_stamps_itself_is_stored_under_update_fields(wire: Any) -> None:
    wire((LastModified, {"models": [Page], "field": "changed_at"}))
    page = Page.objects.create(title="a")
    Page.objects.update(changed_at=OLD)
    page.save(update_fields=["title"])
    assert page.changed_at == Page.objects.get().changed_at > OLD


class TestInATestCase(TestCase):
    @pytest.fixture(autouse=True)
    def _stamps(self, stamps: Any) -> None:
        pass

    def test_stamps_are_stored(self) -> None:
        product = ProductFactory()
        make_old(product)
        assert_stamped(save_only(product))
        make_old(product)
        with transaction.atomic():
            assert_stamped(save_some(product))


# What others see


def test_others_see_update_fields_as_they_expect_them(stamps: Any) -> None:
    product = ProductFactory()
    seen: list[Any] = []

    def hear(update_fields: Any, **kwargs: Any) -> None:
        seen.append((update_fields == frozenset(["name", "updated_at"]), {update_fields}))

    post_save.connect(hear, sender=Product)
    try:
        product.save(update_fields=["name"])
    finally:
        post_save.disconnect(hear, sender=Product)
    assert seen == [(True, {frozenset(["name", "updated_at"])})]


def test_the_arguments_of_the_caller_stay_his(stamps: Any) -> None:
    product = ProductFactory()
    names = ["name"]
    product.save(update_fields=names)
    assert names == ["name"]


def test_an_empty_update_fields_saves_and_stamps_nothing(stamps: Any) -> None:
    product = ProductFactory()
    make_old(product)
    product.save(update_fields=[])
    assert product.updated_at == Product.objects.get().updated_at == OLD


def test_a_change_of_nothing_but_the_stamp_is_no_audit_entry(wire: Any) -> None:
    wire(
        (AuditLog, {"models": [Product]}),
        (LastModified, {"models": [Product], "by_field": "editor"}),
    )
    assert registry.get_stamp_fields(Product) == {"updated_at", "editor"}
    product = ProductFactory()
    AuditEntry.objects.all().delete()
    with context(actor=UserFactory()):
        product.save()
        product.save(update_fields=["name"])
        assert not AuditEntry.objects.exists()
        product.name = "new"
        product.save(update_fields=["name"])
    entry = AuditEntry.objects.get()
    assert entry.changes["name"][1] == "new"


# What fails


def test_a_save_that_fails_leaves_the_instance_its_stamp(stamps: Any) -> None:
    product = ProductFactory()
    make_old(product)
    product.name = None
    with pytest.raises(IntegrityError):
        product.save(update_fields=["name"])
    assert product.updated_at == Product.objects.get().updated_at == OLD
    with pytest.raises(IntegrityError), transaction.atomic():
        product.save()
    assert product.updated_at == Product.objects.get().updated_at == OLD
    copy = ProductFactory.build(pk=product.pk)
    with pytest.raises(IntegrityError):
        copy.save(force_insert=True)
    assert copy.updated_at is None
    product.name = "fine again"
    product.save()
    assert_stamped(product)


def test_a_receiver_that_refuses_a_save_leaves_the_instance_its_stamp(stamps: Any) -> None:
    product = ProductFactory()
    make_old(product)

    def refuse(**kwargs: Any) -> None:
        raise PermissionError

    pre_save.connect(refuse, sender=Product)
    try:
        with pytest.raises(PermissionError):
            product.save()
    finally:
        pre_save.disconnect(refuse, sender=Product)
    assert product.updated_at == OLD


def test_a_save_of_a_row_that_is_gone_leaves_the_instance_its_stamp(stamps: Any) -> None:
    product = ProductFactory()
    make_old(product)
    Product.objects.all().delete()
    with pytest.raises(DatabaseError):
        product.save(update_fields=["name"])
    assert product.updated_at == OLD


# Fixtures


def test_fixtures_keep_the_stamps_that_they_bring(stamps: Any) -> None:
    product = ProductFactory()
    make_old(product)
    text = serializers.serialize("json", [product])
    Product.objects.all().delete()
    for loaded in serializers.deserialize("json", text):
        loaded.save()
    assert Product.objects.get().updated_at == OLD.replace(microsecond=0)


def test_fixtures_can_be_stamped(wire: Any) -> None:
    wire((LastModified, {"models": [Product], "raw": True}))
    product = ProductFactory()
    make_old(product)
    for loaded in serializers.deserialize("json", serializers.serialize("json", [product])):
        loaded.save()
    assert Product.objects.get().updated_at > OLD


# The other fields


def test_the_moment_of_creation_is_stamped_once(wire: Any) -> None:
    wire((LastModified, {"models": [Product], "created_field": "created_at"}))
    product = ProductFactory()
    first = product.created_at
    assert first == product.updated_at == Product.objects.get().created_at
    product.save()
    product.save(update_fields=["name"])
    assert product.created_at == Product.objects.get().created_at == first
    assert product.updated_at > first
    Product.objects.update(created_at=None)
    product.refresh_from_db()
    product.save()
    assert Product.objects.get().created_at is None


def test_a_moment_of_creation_that_is_given_is_kept(wire: Any) -> None:
    wire((LastModified, {"models": [Product], "created_field": "created_at"}))
    assert ProductFactory(created_at=OLD).created_at == OLD
    assert Product.objects.get().created_at == OLD


def test_the_editor_is_the_actor_of_the_context(wire: Any) -> None:
    wire((LastModified, NOTES))
    ann, bob = UserFactory(), UserFactory()
    with context(actor=ann):
        note = Note.objects.create(text="a")
    with context(actor=lambda: SimpleLazyObject(lambda: bob)):
        note.save(update_fields=["text"])
    assert (note.author, note.editor) == (ann, bob)
    assert Note.objects.values_list("author", "editor").get() == (ann.pk, bob.pk)


@pytest.mark.parametrize("nobody", [None, AnonymousUser(), "a nightly script"])
def test_where_nobody_is_known_the_editor_stays(wire: Any, nobody: Any) -> None:
    wire((LastModified, NOTES))
    ann = UserFactory()
    with context(actor=ann):
        note = Note.objects.create(text="a")
    note.save()
    with context(actor=nobody):
        note.save(update_fields=["text"])
        other = Note.objects.create(text="b")
    assert Note.objects.get(pk=note.pk).editor == note.editor == ann
    assert (other.author, other.editor) == (None, None)


def test_the_editor_is_the_user_of_the_request(wire: Any) -> None:
    wire((LastModified, NOTES))
    request = RequestFactory().get("/")
    request.user = UserFactory()
    RequestContextMiddleware(lambda request: Note.objects.create(text="a"))(request)
    assert Note.objects.get().author == request.user
    request.user = AnonymousUser()
    RequestContextMiddleware(lambda request: Note.objects.create(text="b"))(request)
    assert Note.objects.get(text="b").author is None


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_a_user_of_another_database_is_nobody(wire: Any) -> None:
    wire((LastModified, NOTES))
    with context(actor=UserFactory()):
        note = Note.objects.using("other").create(text="a")
        note.save()
    note = Note.objects.using("other").get()
    assert (note.author, note.editor) == (None, None)
    assert note.changed_on is not None
    here = UserFactory.build()
    here.save(using="other")
    with context(actor=here):
        note.save(update_fields=["text"])
    assert Note.objects.using("other").get().editor == here


def test_a_date_field_is_stamped_with_the_local_day(wire: Any) -> None:
    wire((AtMidnight, NOTES))
    note = Note.objects.create(text="a")
    # In Madrid it is the next day already.
    assert note.changed_on == note.written_on == datetime.date(2024, 1, 1)
    note.refresh_from_db()
    assert note.changed_on == note.written_on == datetime.date(2024, 1, 1)


@pytest.fixture
def naive() -> Iterator[None]:
    with override_settings(USE_TZ=False):
        yield


def test_without_time_zones_stamps_are_local_and_naive(naive: None, wire: Any) -> None:
    wire((LastModified, {"models": [Product]}), (AtMidnight, NOTES))
    product = ProductFactory()
    assert timezone.is_naive(product.updated_at)
    first = product.updated_at
    save_some(product)
    assert product.updated_at == Product.objects.get().updated_at > first
    note = Note.objects.create(text="a")
    note.refresh_from_db()
    assert note.changed_on == datetime.date(2023, 12, 31)


# Hooks


def test_hooks_say_whether_when_and_who(wire: Any) -> None:
    wire((Minutes, {"models": [Product], "by_field": "editor"}))
    robot = UserFactory(username="robot")
    product = ProductFactory(name="draft")
    assert (product.updated_at, product.editor) == (None, None)
    product.name = "done"
    with context(actor=UserFactory()):
        product.save(update_fields=["name"])
    product.refresh_from_db()
    assert product.editor == robot
    assert (product.updated_at.second, product.updated_at.microsecond) == (0, 0)
    make_old(product)
    product.name = "draft"
    product.save()
    assert Product.objects.get().updated_at == OLD


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        ("Product", {"field": "changed_at"}, "no field 'changed_at'"),
        ("Product", {"by_field": "changed_by"}, "no field 'changed_by'"),
        ("Product", {"field": "name"}, "no date or datetime field 'name'"),
        ("Product", {"created_field": "lines"}, "no date or datetime field 'lines'"),
    ],
)
def test_a_model_that_lacks_a_field_is_an_error_by_name_and_skipped_by_pattern(
    wire: Any, model: str, options: Any, words: str
) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        wire((LastModified, {"models": [f"testapp.{model}"], **options}))
    assert words in str(caught.value)
    receiver = wire((LastModified, {"models": ["testapp.*"], **options}))
    assert Product not in registry.get_models(receiver)
    ProductFactory()


# Stamps that the caller gives to bulk writes


@pytest.mark.parametrize("names", [["updated_at"], ["name", "updated_at"]], ids=str)
def test_a_stamp_that_a_bulk_update_names_is_kept(stamps: Any, names: list[str]) -> None:
    products = ProductFactory.create_batch(2)
    for product in products:
        product.updated_at = OLD
    Product.objects.bulk_update(products, names)
    assert set(Product.objects.values_list("updated_at", flat=True)) == {OLD}
    assert {product.updated_at for product in products} == {OLD}
    Product.objects.bulk_update(products, ["stock"])
    assert not Product.objects.filter(updated_at=OLD).exists()


@pytest.mark.parametrize("name", ["editor", "editor_id"])
@pytest.mark.parametrize("is_cached", [True, False])
def test_an_editor_that_a_bulk_update_names_is_kept(wire: Any, name: str, is_cached: bool) -> None:
    wire((LastModified, {"models": [Product], "by_field": "editor"}))
    ann, bea = UserFactory(), UserFactory()
    product = ProductFactory()
    if is_cached:
        product.editor = bea
    else:
        product.editor_id = bea.pk
    with context(actor=ann), CaptureQueriesContext(connection) as queries:
        Product.objects.bulk_update([product], [name])
    assert [query["sql"].split()[0] for query in queries] == ["BEGIN", "UPDATE", "COMMIT"]
    stored = Product.objects.get()
    assert stored.editor == product.editor == bea
    # The one that is not named is stamped.
    assert stored.updated_at == product.updated_at is not None
    with context(actor=ann):
        Product.objects.bulk_update([product], ["updated_at"])
    assert Product.objects.get().editor == product.editor == ann


@pytest.mark.parametrize("name", ["editor", "editor_id"])
def test_an_editor_that_an_update_names_is_kept(wire: Any, name: str) -> None:
    wire((LastModified, {"models": [Product], "by_field": "editor"}))
    ann, bea = UserFactory(), UserFactory()
    product = ProductFactory()
    make_old(product)
    for value in (bea, bea.pk, None):
        if name == "editor_id" and value is bea:
            continue
        with context(actor=ann):
            Product.objects.update(**{name: value})
        stored = Product.objects.get()
        assert stored.editor_id == (None if value is None else bea.pk)
        assert stored.updated_at > OLD
    with context(actor=ann):
        Product.objects.update(updated_at=OLD)
    assert Product.objects.values_list("editor", "updated_at").get() == (ann.pk, OLD)


def test_a_stamp_that_was_not_loaded_is_not_made_up(wire: Any) -> None:
    wire((LastModified, {"models": [Product]}))
    make_old(ProductFactory())
    product = Product.objects.only("name").get()
    Product.objects.bulk_update([product], ["updated_at"])
    assert Product.objects.get().updated_at == product.updated_at == OLD


class ByHand(LastModified):
    """Stamps in a way of its own."""

    def pre_save(self, instance: Any, update_fields: Any, **kwargs: Any) -> None:
        super().pre_save(instance=instance, update_fields=update_fields, **kwargs)
        instance.slug = "stamped"
        if update_fields is not None:
            update_fields.add("slug")


def test_a_bulk_update_asks_an_overridden_method(wire: Any) -> None:
    product = ProductFactory()
    wire((ByHand, {"models": [Product]}))
    product.updated_at = OLD
    Product.objects.bulk_update([product], ["updated_at"])
    assert Product.objects.values_list("slug", "updated_at").get() == ("stamped", OLD)
