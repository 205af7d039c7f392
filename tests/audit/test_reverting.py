"""What an entry tells is taken back, as a change of its own."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.core.management import call_command
from django.db import connection, models
from django.test.utils import CaptureQueriesContext

from django_signal_kit import context
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.audit.reverting import RevertError
from django_signal_kit.receivers import AuditLog, LastModified
from tests.apps.rarities.models import Keeper, Speechless
from tests.apps.testapp.models import (
    Category,
    Line,
    Note,
    Page,
    Person,
    Product,
    Restaurant,
    Tag,
    Ticket,
    Token,
)
from tests.factories import (
    PersonFactory,
    ProductFactory,
    RestaurantFactory,
    TagFactory,
    UserFactory,
)

pytestmark = pytest.mark.django_db(databases=["default", "other"])


def last(**lookups: Any) -> Any:
    return AuditEntry.objects.filter(**lookups).latest("id")


def permit(user: Any, *codenames: str) -> Any:
    found = Permission.objects.filter(codename__in=codenames)
    assert len(found) == len(codenames)
    user.user_permissions.add(*found)
    return type(user).objects.get(pk=user.pk)


# What is taken back


def test_a_change_is_set_back(log: None) -> None:
    category = Category.objects.create(name="Tools")
    product = ProductFactory(name="a", price="1.50", data={"x": 1}, category=category)
    product.name, product.price, product.data, product.category = "b", "2.00", [1], None
    product.save()
    entry = last(action="update")
    Product.objects.update(stock=7)
    entry.revert()
    product.refresh_from_db()
    found = (product.name, product.price, product.data, product.category, product.stock)
    assert found == ("a", Decimal("1.50"), {"x": 1}, category, 7)


def test_a_revert_is_told_by_an_entry_of_its_own(log: None) -> None:
    tag = TagFactory(name="a")
    tag.name = "b"
    tag.save()
    entry, user = last(), UserFactory(is_superuser=True)
    entry.revert(user=user)
    own = last()
    assert (own.action, own.changes) == ("update", {"name": ["b", "a"]})
    assert own.context == {"reason": f"revert of entry {entry.pk}", "reverts": entry.pk}
    assert own.actor == user
    own.revert()
    tag.refresh_from_db()
    assert tag.name == "b"


def test_without_a_user_the_actor_is_that_of_the_context(log: None) -> None:
    TagFactory()
    user = UserFactory()
    entry = last()
    with context(actor=user):
        entry.revert()
    assert last().actor == user


def test_a_creation_is_taken_back_by_deleting(log: None) -> None:
    product = ProductFactory()
    last(content_type__model="product").revert()
    assert not Product.objects.filter(pk=product.pk).exists()
    assert last().action == "delete"


def test_a_deletion_is_taken_back_by_the_same_row(log: None, wire: Any) -> None:
    note = Note.objects.create(text="four", written_on=datetime.date(2026, 1, 2))
    restaurant, token = RestaurantFactory(stars=3), Token.objects.create(name="t")
    for row in (note, restaurant, token):
        model, key = type(row), row.pk
        before = model.objects.filter(pk=key).values().get()
        row.delete()
        last(action="delete").revert()
        assert model.objects.filter(pk=key).values().get() == before
        assert last().action == "create"


@pytest.mark.django_db(transaction=True)
def test_the_time_of_a_creation_comes_back_too(log: None, make_model: Any, wire: Any) -> None:
    made = make_model("Made", models.Model, created=models.DateTimeField(auto_now_add=True))
    wire((AuditLog, {"models": ["testapp.*"]}))
    row = made.objects.create()
    before = made.objects.values().get()
    row.delete()
    last(action="delete").revert()
    assert made.objects.values().get() == before


def test_many_to_many_changes_are_taken_back(log: None) -> None:
    product = ProductFactory()
    a, b, c = TagFactory.create_batch(3)
    product.tags.add(a)
    product.tags.add(b, c)
    last(action="m2m_add").revert()
    assert list(product.tags.all()) == [a]
    last(action="m2m_remove").revert()
    assert set(product.tags.all()) == {a, b, c}
    product.tags.clear()
    last(action="m2m_clear").revert()
    assert set(product.tags.all()) == {a, b, c}
    assert last().changes == {"tags": {"added": [a.pk, b.pk, c.pk]}}


def test_links_of_both_sides_are_taken_back_by_either_entry(log: None) -> None:
    ann, ben = PersonFactory.create_batch(2)
    ann.friends.add(ben)
    last(action="m2m_add").revert()
    assert not ann.friends.exists()
    assert not ben.friends.exists()
    assert Person.objects.count() == 2


def test_a_row_of_another_database_is_set_back_there(log: None) -> None:
    tag = Tag.objects.using("other").create(pk=5, name="a")
    Tag.objects.create(pk=5, name="here")
    tag.name = "b"
    tag.save(using="other")
    entries = AuditEntry.objects.using("other")
    entries.get(action="update").revert()
    assert Tag.objects.using("other").get().name == "a"
    assert Tag.objects.get().name == "here"
    assert entries.latest("pk").changes == {"name": ["b", "a"]}


def test_rows_that_a_manager_hides_are_set_back(log: None) -> None:
    ticket = Ticket.objects.create(name="a")
    ticket.is_closed = True
    ticket.save()
    last(action="update").revert()
    assert Ticket.objects.get() == ticket


def test_stamps_say_when_it_was_set_back(wire: Any) -> None:
    wire(
        (AuditLog, {"models": ["testapp.*"]}),
        (LastModified, {"models": ["testapp.Product"]}),
    )
    for row, name in (
        (ProductFactory(name="a"), "name"),
        (Page.objects.create(title="a"), "title"),
    ):
        setattr(row, name, "b")
        row.save()
        entry = last(action="update")
        row.save()
        stamp = "updated_at" if isinstance(row, Product) else "changed_at"
        before = type(row).objects.values_list(stamp, flat=True).get()
        entry.revert()
        found = type(row).objects.get()
        assert getattr(found, name) == "a"
        assert getattr(found, stamp) > before


# What is not


def test_a_field_that_has_changed_since_is_left_alone(log: None) -> None:
    tag = TagFactory(name="a")
    tag.name = "b"
    tag.save()
    entry = last()
    Tag.objects.update(name="c")
    with pytest.raises(RevertError, match=r"testapp.Tag.name has changed .*'c' now, and not 'b'"):
        entry.revert()
    tag.refresh_from_db()
    assert tag.name == "c"
    entry.revert(force=True)
    tag.refresh_from_db()
    assert tag.name == "a"


@pytest.mark.parametrize("force", [False, True])
def test_a_row_that_is_gone_is_not_changed(log: None, force: bool) -> None:
    tag = TagFactory(name="a")
    tag.name = "b"
    tag.save()
    tag.delete()
    for action in ("create", "update"):
        with pytest.raises(RevertError, match=r"row of testapp.Tag with the key \d+ .*is gone"):
            last(action=action).revert(force=force)


@pytest.mark.parametrize("force", [False, True])
def test_a_row_that_is_there_is_not_replaced(log: None, force: bool) -> None:
    tag = TagFactory(name="a")
    key = tag.pk
    tag.delete()
    entry = last()
    Tag.objects.create(pk=key, name="b")
    with pytest.raises(RevertError, match="cannot bring back another"):
        entry.revert(force=force)
    assert Tag.objects.get().name == "b"


@pytest.mark.parametrize("force", [False, True])
def test_what_the_log_does_not_have_is_not_set_back(log: None, force: bool) -> None:
    product = ProductFactory(api_token="a")
    product.name, product.api_token = "b", "c"
    product.save()
    with pytest.raises(RevertError, match="api_token was redacted"):
        last().revert(force=force)
    product.refresh_from_db()
    assert product.name == "b"
    product.delete()
    with pytest.raises(RevertError, match="api_token was redacted"):
        last().revert(force=force)


def test_a_deletion_without_all_fields_is_not_taken_back(wire: Any) -> None:
    wire((AuditLog, {"models": ["testapp.*"], "exclude_fields": ["name"]}))
    TagFactory().delete()
    with pytest.raises(RevertError, match=r"testapp.Tag.name is not known"):
        last().revert()


def test_a_statement_and_a_login_are_not_taken_back(wire: Any, client: Any) -> None:
    wire((AuditLog, {"models": ["testapp.*"], "bulk": "statement"}))
    TagFactory()
    Tag.objects.update(name="b")
    with pytest.raises(RevertError, match="whole statement"):
        last().revert()
    for action in ("login", "logout", "login_failed"):
        entry = AuditEntry.objects.create(action=action, object_pk="1", using="default")
        with pytest.raises(RevertError, match=rf"no change of a row \({action}\)"):
            entry.revert()


def test_a_model_that_is_gone_is_told(log: None) -> None:
    kind = ContentType.objects.create(app_label="testapp", model="gone")
    options = {"action": "update", "object_pk": "1"}
    for content_type_id in (kind.pk, 987_654, None):
        entry = AuditEntry.objects.create(
            content_type_id=content_type_id, using="default", **options
        )
        with pytest.raises(RevertError, match="a model that is gone"):
            entry.revert()
    TagFactory()
    entry = AuditEntry.objects.create(using="archive", **options)
    with pytest.raises(RevertError, match="database 'archive', which is gone"):
        entry.revert()


def test_a_field_that_is_gone_is_told(log: None) -> None:
    tag = TagFactory()
    kind = ContentType.objects.get_for_model(Tag)
    entry = AuditEntry.objects.create(
        action="update",
        content_type=kind,
        object_pk=str(tag.pk),
        using="default",
        changes={"colour": ["a", "b"]},
    )
    with pytest.raises(RevertError, match=r"testapp.Tag has no field 'colour' any more"):
        entry.revert()


def test_a_row_that_was_there_before_the_log_is_not_deleted(wire: Any) -> None:
    TagFactory()
    wire((AuditLog, {"models": ["testapp.Tag"]}))
    call_command("backfillauditlog", verbosity=0)
    with pytest.raises(RevertError, match="there before the log"):
        last().revert(force=True)


def test_a_creation_that_is_not_certain_is_taken_back_by_force_only(log: None) -> None:
    Tag.objects.bulk_create([Tag(pk=90, name="a")], ignore_conflicts=True)
    entry = last()
    with pytest.raises(RevertError, match="not tell for certain"):
        entry.revert()
    entry.revert(force=True)
    assert not Tag.objects.exists()


def test_links_to_rows_that_are_gone_are_not_made(log: None) -> None:
    product, tag = ProductFactory(), TagFactory()
    product.tags.add(tag)
    product.tags.remove(tag)
    entry = last(action="m2m_remove")
    tag.delete()
    with pytest.raises(RevertError, match=r"tags of entry .* was linked to rows that are gone"):
        entry.revert()


@pytest.mark.parametrize("force", [False, True])
def test_a_key_of_a_row_that_is_gone_is_not_set_back(log: None, force: bool) -> None:
    category = Category.objects.create(name="Tools")
    product = ProductFactory(category=category)
    product.category = None
    product.save()
    entry = last()
    category.delete()
    with pytest.raises(RevertError, match=r"category of entry \d+ .* which is gone"):
        entry.revert(force=force)
    last(action="delete").revert()
    entry.revert()
    assert Product.objects.get().category == Category.objects.get(name="Tools")


def test_a_row_without_what_it_pointed_to_is_not_brought_back(log: None) -> None:
    line = Line.objects.create(product=ProductFactory())
    line.delete()
    entry = last()
    Product.objects.all().delete()
    with pytest.raises(RevertError, match=r"product of entry \d+ .* which is gone"):
        entry.revert()
    assert not Line.objects.exists()


def test_what_came_after_a_creation_is_deleted_by_force_only(log: None) -> None:
    product = ProductFactory()
    product.tags.add(TagFactory())
    entry = last(action="create", content_type__model="product")
    product.lines.create()
    product.lines.create()
    with pytest.raises(RevertError, match=r"would delete 2 of testapp\.Line along with it"):
        entry.revert()
    assert Product.objects.filter(pk=product.pk).exists()
    entry.revert(force=True)
    assert not Product.objects.exists()
    assert not Line.objects.exists()


@pytest.mark.parametrize("force", [False, True])
def test_what_others_need_is_not_deleted(wire: Any, force: bool) -> None:
    wire((AuditLog, {"models": ["rarities.*"]}))
    speechless = Speechless.objects.create()
    entry = last()
    Keeper.objects.create(keeps=speechless)
    with pytest.raises(RevertError, match=r"others need by now: .*protected"):
        entry.revert(force=force)
    assert Speechless.objects.exists()


def test_all_of_it_is_taken_back_or_nothing(log: None) -> None:
    product, tag = ProductFactory(name="a", api_token="x"), TagFactory()
    product.tags.add(tag)
    product.name, product.stock, product.api_token = "b", 3, "y"
    product.save()
    count = AuditEntry.objects.count()
    with pytest.raises(RevertError):
        last().revert()
    assert AuditEntry.objects.count() == count


# Who may


@pytest.mark.parametrize(
    ("action", "needed"),
    [("create", "delete_tag"), ("update", "change_tag"), ("delete", "add_tag")],
)
def test_who_reverts_needs_both_permissions(log: None, action: str, needed: str) -> None:
    tag = TagFactory(name="a")
    tag.name = "b"
    tag.save()
    if action == "delete":
        tag.delete()
    entry = last(action=action)
    others = {"add_tag", "change_tag", "delete_tag"} - {needed}
    nobody = UserFactory()
    with pytest.raises(PermissionDenied, match=r"signal_kit_audit.revert_auditentry"):
        entry.revert(user=permit(nobody, needed))
    with pytest.raises(PermissionDenied, match=f"testapp.{needed}"):
        entry.revert(user=permit(UserFactory(), "revert_auditentry", *others))
    entry.revert(user=permit(UserFactory(), "revert_auditentry", needed), force=True)
    assert last().context["reverts"] == entry.pk


def test_many_to_many_changes_need_the_permission_to_change(log: None) -> None:
    product = ProductFactory()
    product.tags.add(TagFactory())
    user = permit(UserFactory(), "revert_auditentry", "add_product", "delete_product")
    with pytest.raises(PermissionDenied, match=r"testapp\.change_product"):
        last(action="m2m_add").revert(user=user)
    last(action="m2m_add").revert(user=permit(user, "change_product"))
    assert not product.tags.exists()


# How


def test_the_row_is_read_locked_and_written_once(log: None) -> None:
    tag = TagFactory(name="a")
    tag.name = "b"
    tag.save()
    entry = last()
    with CaptureQueriesContext(connection) as queries:
        entry.revert()
    told = [query["sql"] for query in queries if "testapp_tag" in query["sql"]]
    reads = [sql for sql in told if sql.startswith("SELECT")]
    # The AuditLog reads what it writes once more.
    assert len(reads) == 2
    assert len([sql for sql in told if sql.startswith("UPDATE") and "WHERE 0" not in sql]) == 1
    if connection.features.has_select_for_update:
        assert all(" FOR " in sql for sql in reads)


def test_a_restaurant_is_one_row_in_two_tables(log: None) -> None:
    restaurant = RestaurantFactory(name="a", stars=1)
    restaurant.name, restaurant.stars = "b", 2
    restaurant.save()
    last(action="update").revert()
    found = Restaurant.objects.get()
    assert (found.name, found.stars) == ("a", 1)
