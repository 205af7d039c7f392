"""The "History" button of an admin tells what the audit log knows of the object."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.models import Session
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from django_signal_kit import batch, context
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.audit.pages import rollup
from django_signal_kit.receivers import AuditLog
from tests.apps.testapp.models import Line, Place, Product, ProductProxy, Token
from tests.audit.browsing import Inline, Text, change_product, get_text, log_in
from tests.audit.history_site import ProductAdmin, site
from tests.audit.plans import get_plans, get_scanned, has_seq_scan
from tests.factories import ProductFactory, RestaurantFactory, TagFactory, UserFactory

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.usefixtures("log"),
    pytest.mark.urls("tests.audit.history_site"),
]

EVIL = "<script>alert('x')</script>"


@pytest.fixture(autouse=True)
def remarks(wire: Any, log: None) -> None:
    models = ["testapp.*", "admin.LogEntry", "sessions.Session"]
    wire((AuditLog, {"models": models}))


def ask(client: Any, row: Any, key: Any = None, **params: Any) -> Any:
    options = row._meta
    name = f"admin:{options.app_label}_{options.model_name}_history"
    return client.get(reverse(name, args=[quote(str(row.pk if key is None else key))]), params)


def get_history(client: Any, row: Any, **params: Any) -> Any:
    response = ask(client, row, **params)
    assert response.status_code == 200
    return response


def get_groups(response: Any) -> list[list[tuple[str, str]]]:
    """Each group as the actions and objects of its entries."""
    return [
        [(line.shown.entry.action, line.shown.entry.object_text) for line in group.lines]
        for group in response.context["groups"]
    ]


def get_actions(response: Any) -> list[tuple[str, str]]:
    return [line for group in get_groups(response) for line in group]


def make_remark(product: Any, text: str = "Nice") -> Any:
    return LogEntry.objects.create(
        user=UserFactory(),
        content_type=ContentType.objects.get_for_model(product),
        object_id=str(product.pk),
        object_repr=text,
        action_flag=1,
    )


@pytest.fixture(params=["few entries", "many entries"])
def each_way(request: Any, monkeypatch: Any) -> None:
    """Rows that are gone are looked for among all entries of their kind, or by units of work."""
    if request.param == "many entries":
        monkeypatch.setattr(rollup, "FEW", 0)


# What it tells


def test_the_history_has_the_entries_of_the_object_newest_first(root):
    with context(actor=UserFactory(username="maria"), reason="Spring prices"):
        product = change_product(price="12.00")
    ProductFactory()
    response = get_history(root, product)
    assert get_actions(response) == [("update", "Lamp"), ("create", "Lamp")]
    text = get_text(response)
    assert "Change history: Lamp" in response.content.decode()
    assert re.search(r"\d\d:\d\d:\d\d maria Spring prices", text)
    assert "changed entry" in text
    assert "Price 9.50 12.00" in text


def test_changes_of_relations_are_told(root):
    product = ProductFactory(name="Lamp")
    tag = TagFactory(name="bright")
    product.tags.add(tag)
    tag.products.remove(product)
    response = get_history(root, product)
    assert [action for action, _ in get_actions(response)] == ["m2m_remove", "m2m_add", "create"]
    assert f"Tags Added + bright {tag.pk}" in get_text(response)


def test_what_was_one_unit_of_work_is_one_group(root):
    with context(actor=UserFactory(username="maria"), reason="A set"), batch():
        product = ProductFactory(name="Lamp")
        product.lines.create(text="one")
        product.tags.add(TagFactory())
    product.price = 3
    product.save()
    response = get_history(root, product)
    kinds = [[action for action, _ in group] for group in get_groups(response)]
    assert kinds == [["update"], ["m2m_add", "create", "create"]]
    assert get_text(response).count("A set") == 1
    assert get_text(response).count("The whole unit of work") == 2


def test_what_is_saved_on_one_page_is_one_unit(root):
    product = ProductFactory(name="Lamp")
    page = reverse("admin:testapp_product_change", args=[product.pk])
    forms = {"lines": 1, "Product_tags": 0, "admin-logentry-content_type-object_id": 0}
    data = {"name": "Sun", "price": "9.50", "lines-0-text": "new", "lines-0-product": product.pk}
    for prefix, total in forms.items():
        data |= {f"{prefix}-TOTAL_FORMS": total, f"{prefix}-INITIAL_FORMS": 0}
    response = root.post(page, data)
    assert response.status_code == 302, response.context["errors"]
    first, *_ = get_groups(get_history(root, product))
    # The line, the row that Django's own log has of it, and the product.
    assert sorted(action for action, _ in first) == ["create", "create", "update"]


def test_a_page_that_is_refused_saves_nothing(root):
    product = ProductFactory(name="Lamp")
    page = reverse("admin:testapp_product_change", args=[product.pk])
    assert root.post(page, {"name": ""}).status_code == 200
    assert len(get_actions(get_history(root, product))) == 1


def test_entries_without_a_unit_stand_alone(root):
    product = ProductFactory()
    kind = ContentType.objects.get_for_model(product)
    for _ in range(2):
        AuditEntry.objects.create(action="update", content_type=kind, object_pk=product.pk)
    assert [len(group) for group in get_groups(get_history(root, product))] == [1, 1, 1]


def test_the_history_is_turned_by_key(root, monkeypatch):
    monkeypatch.setattr(ProductAdmin, "audit_history_per_page", 2)
    product = ProductFactory(name="0")
    for number in range(1, 5):
        product.name = str(number)
        product.save()
    response = get_history(root, product)
    assert [text for _, text in get_actions(response)] == ["4", "3"]
    before = response.context["older_url"].removeprefix("?before=")
    assert f'href="?before={before}"' in response.content.decode()
    response = get_history(root, product, before=before)
    assert [text for _, text in get_actions(response)] == ["2", "1"]
    after = response.context["newer_url"].removeprefix("?after=")
    response = get_history(root, product, after=after)
    assert [text for _, text in get_actions(response)] == ["4", "3"]
    response = ask(root, product, before="x")
    assert response.status_code == 302


def test_the_history_of_a_proxy_is_that_of_its_model(root):
    product = change_product(price=1)
    response = get_history(root, ProductProxy.objects.get(pk=product.pk))
    assert len(get_actions(response)) == 2


def test_the_history_of_a_child_has_what_was_done_through_its_parent(root):
    restaurant = RestaurantFactory(name="Rose")
    place = Place.objects.get(pk=restaurant.pk)
    place.name = "Tulip"
    place.save()
    assert get_actions(get_history(root, restaurant)) == [("update", "Tulip"), ("create", "Rose")]


@pytest.mark.parametrize("key", ["a_b/c?d", "_5F", "é ü", "a%2Fb"])
def test_odd_keys_are_understood(root, key):
    session = Session.objects.create(session_key=key, expire_date=timezone.now())
    response = get_history(root, session)
    assert [action for action, _ in get_actions(response)] == ["create"]


def test_keys_that_are_uuids_are_understood(root):
    token = Token.objects.create()
    assert len(get_actions(get_history(root, token))) == 1
    key = token.pk.hex
    assert len(get_actions(ask(root, token, key))) == 1
    Token.objects.all().delete()
    assert len(get_actions(ask(root, Token, key))) == 2


class OneLog:
    """One log tells of all databases."""

    def db_for_write(self, model, **hints):
        return "default" if model._meta.app_label == "signal_kit_audit" else None


@pytest.mark.django_db(databases=["default", "other"])
def test_a_row_of_another_database_with_the_same_key_is_told_apart(root, settings):
    settings.DATABASE_ROUTERS = [OneLog()]
    product = ProductFactory(name="here")
    Product.objects.using("other").create(pk=product.pk, name="there")
    text = get_text(get_history(root, product))
    assert text.count("Database other") == 1


# Rows of inlines


def test_rows_of_inlines_are_told_with_their_parent_and_those_of_others_are_not(root):
    product, other = ProductFactory(name="Lamp"), ProductFactory(name="Sun")
    line = product.lines.create(text="old")
    other.lines.create(text="of another")
    line.text = "new"
    line.save()
    remark, _ = make_remark(product, "Nice"), make_remark(other, "Bad")
    response = get_history(root, product)
    names = [line.name for group in response.context["groups"] for line in group.lines]
    assert names == [f"log entry {remark}", f"line {line}", f"line {line}", ""]
    text = get_text(response)
    assert "Text old new" in text
    assert "of another" not in text
    assert "Bad" not in text


def test_a_row_that_is_deleted_with_its_parent_is_told(root, each_way):
    product = ProductFactory(name="Lamp")
    product.lines.create(text="gone")
    key = product.pk
    product.delete()
    response = ask(root, Product, key)
    assert sorted(action for action, _ in get_actions(response)) == [
        "create",
        "create",
        "delete",
        "delete",
    ]


def test_a_row_that_came_with_its_parent_is_told_to_its_end(root, each_way):
    with batch():
        product = ProductFactory(name="Lamp")
        line = product.lines.create(text="gone")
    line.delete()
    actions = [action for action, _ in get_actions(get_history(root, product))]
    assert sorted(actions) == ["create", "create", "delete"]


def test_a_row_that_went_together_with_a_change_of_another_one_is_told(root, each_way):
    product = ProductFactory(name="Lamp")
    lines = [product.lines.create(text=text) for text in ("kept", "gone")]
    with batch():
        lines[0].text = "changed"
        lines[0].save()
        lines[1].delete()
    assert len(get_actions(get_history(root, product))) == 5


def test_a_row_that_moved_to_another_parent_is_told_by_both(root, each_way):
    one, other = ProductFactory(name="one"), ProductFactory(name="other")
    line = one.lines.create(text="moves")
    with batch():
        one.stock = 1
        one.save()
        line.product = other
        line.save()
    for product in (one, other):
        assert "Product one" in get_text(get_history(root, product))


def test_a_generic_row_that_went_with_its_parent_is_told_and_one_of_another_kind_is_not(
    root, each_way
):
    product = ProductFactory(pk=4711, name="Lamp")
    line = Line.objects.create(pk=4711, product=ProductFactory())
    with batch():
        remark, other = make_remark(product, "of the lamp"), make_remark(line, "of a line")
        product.stock = 1
        product.save()
    told = ("delete", str(remark)), ("delete", str(other))
    remark.delete()
    other.delete()
    actions = get_actions(get_history(root, product))
    assert [entry in actions for entry in told] == [True, False]


def test_a_row_that_came_and_went_alone_is_found_among_few(root):
    product = ProductFactory(name="Lamp")
    product.lines.create(text="gone").delete()
    ProductFactory(name="Other").lines.create(text="of another").delete()
    response = get_history(root, product)
    assert [action for action, _ in get_actions(response)] == ["delete", "create", "create"]
    text = get_text(response)
    assert text.endswith("With the history of lines, log entries.")


def test_a_row_that_came_and_went_alone_is_lost_among_many_and_the_page_says_so(root, monkeypatch):
    monkeypatch.setattr(rollup, "FEW", 0)
    product = ProductFactory(name="Lamp")
    product.lines.create(text="gone").delete()
    response = get_history(root, product)
    assert len(get_actions(response)) == 1
    assert "With the history of lines, log entries. Of those that are gone" in get_text(response)


def test_only_so_many_rows_are_looked_up_and_the_page_says_so(root, monkeypatch):
    monkeypatch.setattr(rollup, "MOST_ROWS", 2)
    product = ProductFactory(name="Lamp")
    note = "only the newest are looked up"
    for number in range(2):
        product.lines.create(text=str(number))
    assert note not in get_text(get_history(root, product))
    product.lines.create(text="2")
    response = get_history(root, product)
    assert note in get_text(response)
    assert len(get_actions(response)) == 3


def test_rows_of_inlines_that_the_user_may_not_view_are_not_told():
    product = ProductFactory(name="Lamp")
    product.lines.create(text="secret")
    make_remark(product)
    client = get_client("view_product", "view_auditentry")
    assert len(get_actions(get_history(client, product))) == 1
    client = get_client("view_product", "view_auditentry", "add_line")
    assert len(get_actions(get_history(client, product))) == 1
    client = get_client("view_product", "view_auditentry", "view_line")
    assert len(get_actions(get_history(client, product))) == 2


def test_the_number_of_queries_does_not_grow_with_the_history(root):
    product = ProductFactory(name="Lamp")

    def grow(count: int) -> None:
        for number in range(count):
            product.lines.create(text=str(number))
            product.stock += 1
            product.save()

    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            get_history(root, product)
        return len(queries)

    grow(1)
    count()
    before = count()
    grow(12)
    assert count() == before


# Who may read it


def get_client(*codenames: str) -> Any:
    user = UserFactory(is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return log_in(user)


def test_who_may_not_read_the_log_has_djangos_own_history():
    product = change_product(price=1)
    response = get_history(get_client("view_product"), product)
    assert "groups" not in response.context
    assert "This object doesn" in get_text(response)


def test_who_may_not_view_the_model_has_no_history_of_it():
    product = change_product(price=1)
    assert ask(get_client("view_auditentry"), product).status_code == 403
    assert ask(get_client(), product).status_code == 403
    key = product.pk
    product.delete()
    assert ask(get_client("view_auditentry"), Product, key).status_code == 403


def test_a_log_that_no_admin_shows_needs_the_permission_of_its_model(monkeypatch):
    product = change_product(price=1)
    monkeypatch.delitem(site._registry, AuditEntry)
    for codename, is_told in (("view_auditentry", True), ("view_tag", False)):
        response = get_history(get_client("view_product", codename), product)
        assert ("groups" in response.context) is is_told


def test_a_subclass_decides_who_may_read(monkeypatch):
    product = change_product(price=1)
    asked = []

    def decide(self: Any, request: Any, obj: Any = None) -> bool:
        asked.append(obj)
        return True

    monkeypatch.setattr(ProductAdmin, "has_audit_history_permission", decide)
    response = get_history(get_client("view_product"), product)
    assert len(get_actions(response)) == 2
    assert asked == [product]
    # The pages of the log are not theirs.
    assert "/auditentry/" not in response.content.decode()


def test_an_object_that_was_deleted_has_its_history(root):
    product = change_product(price=1)
    key = product.pk
    product.delete()
    response = ask(root, Product, key)
    assert [action for action, _ in get_actions(response)] == ["delete", "update", "create"]
    assert "This object was deleted." in get_text(response)
    assert "Change history: Lamp" in response.content.decode()


@pytest.mark.parametrize("key", ["77", "abc", "9" * 40])
def test_an_object_that_never_was_has_none(root, key):
    assert ask(root, Product, key).status_code == 302


def test_an_object_that_the_admin_hides_has_none(root):
    product = change_product(name="hidden")
    assert ask(root, product).status_code == 302


def test_an_object_without_entries_has_djangos_own_history(root):
    product = ProductFactory(name="Lamp")
    AuditEntry.objects.all().delete()
    response = get_history(root, product)
    assert "action_list" in response.context


# Safety


def test_nothing_stored_becomes_markup_and_the_policy_is_obeyed(root):
    with (
        context(actor=UserFactory(username="<b>maria</b>"), reason=EVIL, **{EVIL: EVIL}),
        batch(),
    ):
        product = ProductFactory(name=EVIL, data={EVIL: {EVIL: EVIL}, "a": 1})
        product.lines.create(text=EVIL)
        product.tags.add(TagFactory(name=EVIL))
    product.data = {EVIL: {EVIL: "other"}, "a": 1}
    product.name = f"{EVIL} {EVIL} stands on a heavy foot of brass"
    product.save()
    kind = ContentType.objects.get_for_model(product)
    AuditEntry.objects.create(
        action="<b>",
        content_type=kind,
        object_pk=product.pk,
        object_text=EVIL,
        actor_text=EVIL,
        context={"reason": {EVIL: EVIL}},
        changes={EVIL: [EVIL, None], "tags": {"added": [EVIL]}},
        using=EVIL,
    )
    AuditEntry.objects.create(
        action="update",
        content_type=ContentType.objects.get_for_model(Line),
        object_pk=product.lines.get().pk,
        object_text=EVIL,
    )
    html = get_history(root, product).content.decode()
    assert "<script>alert" not in html
    assert "<b>" not in html
    assert f"line {EVIL}" in Text.of(html)
    parser = Inline()
    parser.feed(html)
    assert parser.found == []
    key = product.pk
    product.delete()
    assert "<script>alert" not in ask(root, Product, key).content.decode()


# On a long log


def test_a_history_is_read_through_indexes(root, long_log):
    user = UserFactory(pk=7, username="seven")
    product = ProductFactory(pk=7)
    Line.objects.bulk_create(Line(pk=pk, product=product) for pk in range(1, 4))
    for row in (user, product):
        for params in ({}, {"before": 99_000}):
            with CaptureQueriesContext(connection) as queries:
                response = get_history(root, row, **params)
            assert get_actions(response)
            nodes = get_plans(queries)
            assert not has_seq_scan(nodes)
            assert get_scanned(nodes) <= 5_000
