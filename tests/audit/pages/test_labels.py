"""Keys of other rows are read as what those rows are called, by those who may see them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import AnonymousUser, Permission, User
from django.test import RequestFactory

from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.audit.pages.diff import get_rows
from django_signal_kit.audit.pages.labels import Labels
from tests.apps.testapp.models import Category, Club, Line, Membership, Product, Tag
from tests.factories import CategoryFactory, ProductFactory, TagFactory, UserFactory

pytestmark = pytest.mark.django_db


@pytest.fixture
def site() -> admin.AdminSite:
    return admin.AdminSite()


def get_request(*codenames: str, is_superuser: bool = False) -> Any:
    request = RequestFactory().get("/")
    user = UserFactory(is_superuser=is_superuser)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    request.user = User.objects.get(pk=user.pk)
    return request


def read(
    site: admin.AdminSite,
    changes: Any,
    model: Any = Product,
    request: Any = None,
    using: str = "default",
    log: Any = None,
) -> list[str]:
    """The labels of all values of ``changes``."""
    labels = Labels(request or get_request(is_superuser=True), site, log)
    rows = get_rows(changes, model)
    labels.want(rows, using)
    return [value.label for row in rows for value in labels.put(row, using).get_values()]


def test_a_foreign_key_is_called_by_its_row_and_keeps_its_key(site):
    old, new = CategoryFactory(name="Tea"), CategoryFactory(name="Coffee")
    assert read(site, {"category": [old.pk, new.pk]}) == ["Tea", "Coffee"]
    labels = Labels(get_request(is_superuser=True), site)
    (row,) = get_rows({"category": [old.pk, None]}, Product)
    labels.want([row], "default")
    row = labels.put(row, "default")
    assert (row.old.text, row.old.label) == (str(old.pk), "Tea")
    assert (row.new.kind, row.new.label) == ("none", "")


def test_members_of_a_relation_are_called_by_their_rows(site):
    tags = [TagFactory(name="hot"), TagFactory(name="cold")]
    changes = {"tags": {"added": [tags[0].pk], "removed": [tags[1].pk, 999_999]}}
    assert read(site, changes) == ["hot", "cold", ""]


def test_a_row_that_is_gone_has_its_key_only(site):
    gone = CategoryFactory()
    key = gone.pk
    gone.delete()
    assert read(site, {"category": [key, CategoryFactory(name="Tea").pk]}) == ["", "Tea"]


@pytest.mark.usefixtures("log")
def test_a_row_that_is_gone_is_called_as_the_log_knows_it(site, django_assert_num_queries):
    tags = [TagFactory(name=f"tag {n}") for n in range(4)]
    keys = [tag.pk for tag in tags]
    changes = {"tags": {"added": keys}}
    for tag in tags[:2]:
        tag.name += "\u202e"
        tag.save()
        tag.delete()
    log = AuditEntry.objects.all()
    expected = ["tag 0[U+202E]", "tag 1[U+202E]", "tag 2", "tag 3"]
    assert read(site, changes, log=log) == expected
    request = get_request(is_superuser=True)
    with django_assert_num_queries(2):
        assert read(site, changes, request=request, log=log) == expected
    with django_assert_num_queries(1):
        read(site, {"tags": {"added": keys[2:]}}, request=request, log=log)
    assert read(site, changes, request=get_request("view_auditentry"), log=log) == [""] * 4


@pytest.mark.usefixtures("log")
@pytest.mark.django_db(databases=["default", "other"])
def test_the_log_names_what_was_deleted_there_and_nothing_that_is_hidden(site):
    class Limited(admin.ModelAdmin):
        def get_queryset(self, request: Any) -> Any:
            return super().get_queryset(request).exclude(name="hidden")

    site.register(Tag, Limited)
    gone, hidden = TagFactory(name="gone"), TagFactory(name="hidden")
    changes = {"tags": {"added": [gone.pk, hidden.pk]}}
    gone.delete()
    log = AuditEntry.objects.all()
    assert read(site, changes, log=log) == ["gone", ""]
    assert read(site, changes, using="other", log=log) == ["", ""]


def test_there_is_one_query_for_each_model_of_a_page(site, django_assert_num_queries):
    categories = [CategoryFactory() for _ in range(3)]
    user, tag = UserFactory(), TagFactory()
    labels = Labels(get_request(is_superuser=True), site)
    pages = [
        get_rows(
            {
                "category": [one.pk, other.pk],
                "editor": [None, user.pk],
                "tags": {"added": [tag.pk]},
                "name": ["a", "b"],
            },
            Product,
        )
        for one, other in pairwise(categories)
    ]
    with django_assert_num_queries(3):
        for rows in pages:
            labels.want(rows, "default")
        for rows in pages:
            for row in rows:
                labels.put(row, "default")


def test_only_those_who_may_view_the_other_model_read_its_names(site, django_assert_num_queries):
    changes = {"category": [None, CategoryFactory(name="Tea").pk]}
    for codename, expected in (("view_category", "Tea"), ("view_tag", "")):
        assert read(site, changes, request=get_request(codename)) == ["", expected]
    request = RequestFactory().get("/")
    request.user = AnonymousUser()
    with django_assert_num_queries(0):
        assert read(site, changes, request=request) == ["", ""]


def test_the_admin_of_the_other_model_has_a_say(site):
    seen, hidden = CategoryFactory(name="Tea"), CategoryFactory(name="Secret")

    class Limited(admin.ModelAdmin):
        def get_queryset(self, request: Any) -> Any:
            return super().get_queryset(request).exclude(name="Secret")

    class Closed(admin.ModelAdmin):
        def has_view_permission(self, request: Any, obj: Any = None) -> bool:
            return False

        has_change_permission = has_view_permission

    site.register(Category, Limited)
    assert read(site, {"category": [seen.pk, hidden.pk]}) == ["Tea", ""]
    site.unregister(Category)
    site.register(Category, Closed)
    assert read(site, {"category": [seen.pk, hidden.pk]}) == ["", ""]


@pytest.mark.parametrize(
    "stored", ["abc", 2**70, -(2**70), 1.5, True, [1], {"a": 1}, "", "a" * 300]
)
def test_what_cannot_be_a_key_has_no_name_and_does_no_harm(site, stored):
    CategoryFactory(name="Tea")
    assert read(site, {"category": [stored, None], "tags": {"added": [stored]}})[0] in ("", "Yes")


def test_a_secret_key_has_no_name(site):
    CategoryFactory()
    assert read(site, {"category": ["[redacted]", "[redacted]"]}) == ["", ""]


def test_a_name_hides_nothing_and_a_row_that_cannot_say_it_has_none(site, monkeypatch):
    tag = TagFactory(name="gnp.\u202eexe")
    assert read(site, {"tags": {"added": [tag.pk]}}) == ["gnp.[U+202E]exe"]
    monkeypatch.setattr(Tag, "__str__", lambda self: 1 / 0)
    assert read(site, {"tags": {"added": [tag.pk]}}) == [""]


@pytest.mark.django_db(databases=["default", "other"])
def test_names_are_those_of_the_database_that_the_entry_tells_of(site):
    here = CategoryFactory(name="here")
    Category.objects.using("other").create(pk=here.pk, name="there")
    changes = {"category": [None, here.pk]}
    assert read(site, changes) == ["", "here"]
    assert read(site, changes, using="other") == ["", "there"]
    assert read(site, changes, using="gone") == ["", ""]


def test_rows_of_any_model_are_named(site):
    product = ProductFactory(name="Lamp")
    assert read(site, {"product": [None, product.pk]}, Line) == ["", "Lamp"]
    club = Club.objects.create(name="Chess")
    (_, label) = read(site, {"club": [None, club.pk]}, Membership)
    assert label == f"Club object ({club.pk})"


def test_only_so_many_rows_are_named(site, monkeypatch):
    monkeypatch.setattr("django_signal_kit.audit.pages.labels._MOST", 2)
    tags = [TagFactory(name=f"tag {n}") for n in range(3)]
    changes = {"tags": {"added": [tag.pk for tag in tags]}}
    assert read(site, changes) == ["tag 0", "tag 1", ""]


class ApartRouter:
    """Categories live in the other database."""

    def db_for_read(self, model, **hints):
        return "other" if model is Category else None

    def allow_migrate(self, db, app_label, model_name=None, **hints):
        return (db == "other") == (model_name == "category")


@pytest.mark.django_db(databases=["default", "other"])
def test_rows_of_another_database_are_named_from_there(site, settings):
    pk = Category.objects.using("other").create(name="there").pk
    Category.objects.using("default").create(pk=pk, name="left over")
    settings.DATABASE_ROUTERS = [ApartRouter()]
    assert read(site, {"category": [None, pk]}) == ["", "there"]
