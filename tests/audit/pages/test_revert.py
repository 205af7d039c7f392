"""A change is taken back in the admin by those who may, once they have confirmed it."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.core.exceptions import ValidationError
from django.db import connections
from django.db.models.signals import post_save
from django.test import Client
from django.urls import reverse

from django_signal_kit.audit.models import AuditEntry
from tests.apps.testapp.models import Line, Product, Tag
from tests.audit.browsing import Inline, change_product, get_page, get_text, log_in
from tests.factories import CategoryFactory, ProductFactory, TagFactory, UserFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("log")]


def get_url(entry: Any = None) -> str:
    entry = entry or AuditEntry.objects.latest("pk")
    return reverse("admin:signal_kit_audit_auditentry_revert", args=[entry.pk])


def make_reader(*codenames: str) -> Client:
    user = UserFactory(username="reader", is_staff=True)
    codenames = ("view_auditentry", *codenames)
    user.user_permissions.add(*Permission.objects.filter(codename__in=codenames))
    return log_in(user)


def test_a_change_is_taken_back_after_it_was_confirmed(root: Client) -> None:
    product = change_product(name="Lamp Sol", price="12.00")
    entry = AuditEntry.objects.latest("pk")
    assert get_url(entry) in get_page(root, entry).content.decode()
    asked = root.get(get_url(entry))
    assert "The old values will be set back." in get_text(asked)
    assert "Lamp Sol" in get_text(asked)
    product.refresh_from_db()
    assert product.name == "Lamp Sol"

    answer = root.post(get_url(entry), follow=True)
    assert "It was taken back." in answer.content.decode()
    product.refresh_from_db()
    assert product.name == "Lamp"
    own = AuditEntry.objects.latest("pk")
    assert own.changes["name"] == ["Lamp Sol", "Lamp"]
    assert own.context["reverts"] == entry.pk
    assert own.actor_text == "root"
    assert answer.redirect_chain[0][0].endswith(f"/{own.pk}/change/")


def test_each_kind_of_change_says_what_will_be_done(root: Client) -> None:
    tag = TagFactory()
    product = ProductFactory()
    product.tags.add(tag)
    assert "What was added will be removed." in get_text(root.get(get_url()))
    product.tags.clear()
    assert "What was removed will be added." in get_text(root.get(get_url()))
    key = tag.pk
    tag.delete()
    assert "made again, with its old key" in get_text(root.get(get_url()))
    root.post(get_url())
    assert Tag.objects.get().pk == key
    assert "The object will be deleted." in get_text(root.get(get_url()))
    root.post(get_url())
    assert not Tag.objects.exists()


@pytest.mark.parametrize(
    ("codenames", "may"),
    [
        ((), False),
        (("revert_auditentry",), False),
        (("change_product",), False),
        (("revert_auditentry", "change_product"), True),
    ],
)
def test_who_reverts_needs_both_permissions(codenames: tuple[str, ...], may: bool) -> None:
    product = change_product(name="Lamp Sol")
    reader = make_reader(*codenames)
    entry = AuditEntry.objects.latest("pk")
    assert (get_url(entry) in get_page(reader, entry).content.decode()) is may
    assert reader.get(get_url(entry)).status_code == (200 if may else 403)
    assert reader.post(get_url(entry)).status_code == (302 if may else 403)
    product.refresh_from_db()
    assert product.name == ("Lamp" if may else "Lamp Sol")


def test_who_may_not_view_the_log_does_not_revert() -> None:
    change_product(name="Lamp Sol")
    user = UserFactory(is_staff=True)
    codenames = ("revert_auditentry", "change_product")
    user.user_permissions.add(*Permission.objects.filter(codename__in=codenames))
    assert log_in(user).post(get_url()).status_code == 403
    assert Product.objects.get().name == "Lamp Sol"


def test_a_stranger_is_sent_to_the_login() -> None:
    change_product(name="Lamp Sol")
    assert "/login/" in Client().post(get_url()).headers["Location"]
    assert Product.objects.get().name == "Lamp Sol"


def test_a_form_of_another_site_is_refused(root: Client) -> None:
    change_product(name="Lamp Sol")
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = root.cookies
    assert strict.post(get_url()).status_code == 403
    assert Product.objects.get().name == "Lamp Sol"


@pytest.mark.parametrize("in_transaction", [False, True])
def test_what_has_changed_since_is_set_back_by_force_only(
    root: Client, monkeypatch: pytest.MonkeyPatch, in_transaction: bool
) -> None:
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", in_transaction)
    product = change_product(name="Lamp Sol")
    entry = AuditEntry.objects.latest("pk")
    product.name = "Lamp Luna"
    product.save()
    refused = root.post(get_url(entry))
    assert refused.status_code == 409
    text = get_text(refused)
    assert "It was not taken back." in text
    assert "name has changed since" in text
    assert "force=True" not in text
    assert Product.objects.get().name == "Lamp Luna"
    assert root.post(get_url(entry), {"force": "on"}).status_code == 302
    assert Product.objects.get().name == "Lamp"


def test_what_no_force_can_do_is_not_offered(root: Client) -> None:
    product = change_product(name="Lamp Sol")
    entry = AuditEntry.objects.latest("pk")
    product.delete()
    refused = root.post(get_url(entry))
    assert "is gone" in get_text(refused)
    assert 'type="submit"' not in refused.content.decode().split('id="content-main"')[1]


def test_other_rows_are_taken_along_by_force_only(root: Client) -> None:
    product = ProductFactory()
    entry = AuditEntry.objects.latest("pk")
    product.lines.create()
    assert "would delete 1 of testapp.Line along with it" in get_text(root.post(get_url(entry)))
    assert Line.objects.exists()
    root.post(get_url(entry), {"force": "on"})
    assert not Line.objects.exists()


@pytest.mark.parametrize("in_transaction", [False, True])
def test_what_a_receiver_refuses_is_told(
    root: Client, monkeypatch: pytest.MonkeyPatch, in_transaction: bool
) -> None:
    def refuse(**kwargs: Any) -> None:
        raise ValidationError("Lamps are <b>sold out</b>.")

    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", in_transaction)
    # The name of the category is looked up for the page.
    change_product(name="Lamp Sol", category=CategoryFactory())
    post_save.connect(refuse, sender=Product)
    try:
        refused = root.post(get_url())
    finally:
        post_save.disconnect(refuse, sender=Product)
    assert refused.status_code == 409
    assert "Lamps are &lt;b&gt;sold out&lt;/b&gt;." in refused.content.decode()
    assert Product.objects.get().name == "Lamp Sol"


def test_what_is_no_change_of_a_row_has_no_button(root: Client) -> None:
    login = AuditEntry.objects.create(action="login", object_pk="1")
    assert get_url(login) not in get_page(root, login).content.decode()
    assert root.get(get_url(login)).status_code == 403
    assert root.get(get_url(login).replace(str(login.pk), "4711")).status_code == 404


def test_the_page_has_no_script_and_no_style_of_its_own(root: Client) -> None:
    change_product(name="<script>alert(1)</script>")
    html = root.get(get_url()).content.decode()
    parser = Inline()
    parser.feed(html.split('id="content-main"')[1])
    assert parser.found == []
    assert "<script>alert" not in html
