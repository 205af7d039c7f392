"""The audit log in the admin: read-only, escaped, and cheap over a long log."""

from __future__ import annotations

import datetime
import re

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from django_signal_kit import batch, context
from django_signal_kit.audit.admin import AuditEntryAdmin
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.audit.pages import together
from django_signal_kit.receivers import AuditLog
from tests.apps.testapp.models import Token
from tests.audit.browsing import (
    LIST,
    PAGE,
    Inline,
    Text,
    change_product,
    get_keys,
    get_list,
    get_page,
    get_text,
    log_in,
    make_entry,
)
from tests.factories import CategoryFactory, PersonFactory, ProductFactory, TagFactory, UserFactory

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("log")]

EVIL = "<script>alert('x')</script>"


# The list


def test_the_list_tells_when_what_who_and_how(root):
    user = UserFactory(username="maria")
    with context(actor=user):
        change_product(price="12.00", name="Lamp Sol")
    text = get_text(get_list(root))
    assert re.search(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d changed Lamp Sol product maria "
        r"Name Lamp → Lamp Sol, Price 9.50 → 12.00",
        text,
    )
    assert "created Lamp product" in text


def test_m2m_changes_are_counted(root):
    product = ProductFactory()
    tags = [TagFactory() for _ in range(3)]
    product.tags.set(tags)
    product.tags.remove(tags[0])
    text = get_text(get_list(root))
    assert "Tags +3" in text
    assert "Tags \N{MINUS SIGN}1" in text


def test_the_newest_entry_comes_first(root):
    change_product(price=1)
    keys = get_keys(root)
    assert keys == sorted(keys, reverse=True)
    assert len(keys) == 2


def test_an_object_leads_to_its_history(root):
    product = change_product(price=1)
    ProductFactory()
    PersonFactory(pk=product.pk)
    html = get_list(root).content.decode()
    kind = ContentType.objects.get_for_model(product)
    link = f"?content_type={kind.pk}&amp;object_pk={product.pk}"
    assert html.count(link) == 2
    response = get_list(root, content_type=kind.pk, object_pk=product.pk)
    assert len(response.context["cl"].result_list) == 2
    assert "History of Lamp Show all" in get_text(response)
    ((_, _, others),) = response.context["cl"].get_narrowings()
    assert others == "?"


def test_times_are_those_of_the_reader(root):
    entry = make_entry({}, at=datetime.datetime(2026, 7, 1, 22, 30, tzinfo=datetime.UTC))
    for response in (get_list(root), get_page(root, entry)):
        assert "2026-07-02 00:30:00" in get_text(response)
        assert 'datetime="2026-07-02T00:30:00+02:00"' in response.content.decode()


def test_an_object_without_a_name_is_called_by_its_key(root):
    make_entry({}, object_text="", object_pk="47\u200b11")
    assert "changed 47[U+200B]11 " in get_text(get_list(root))


def test_an_action_that_is_not_of_the_kit_has_a_badge_like_the_others(root):
    make_entry({}, action="x hidden")
    badge = '<span class="signal-kit-badge signal-kit-other">x hidden</span>'
    assert badge in get_list(root).content.decode()


def test_a_long_name_is_cut_in_the_list_and_whole_on_the_page(root):
    entry = make_entry({}, object_text="x" * 200)
    assert f" {'x' * 80}… " in get_text(get_list(root))
    assert f" {'x' * 200} " in get_text(get_page(root, entry))


def test_a_person_leads_to_everything_he_did(root):
    user = UserFactory(username="maria")
    with context(actor=user):
        ProductFactory()
    ProductFactory()
    assert f"?actor={user.pk}" in get_list(root).content.decode()
    response = get_list(root, actor=user.pk)
    assert len(response.context["cl"].result_list) == 1
    assert "Everything done by maria Show all" in get_text(response)


def test_a_unit_of_work_is_shown_together(root):
    ProductFactory()
    with batch():
        ProductFactory()
        PersonFactory()
    unit = AuditEntry.objects.latest("pk").unit
    response = get_list(root, unit=unit)
    assert len(response.context["cl"].result_list) == 2
    assert f"Everything in the unit of work {unit} Show all" in get_text(response)


def test_a_narrowed_list_that_is_empty_says_what_it_is_narrowed_to(root):
    assert "Everything done by 77 Show all" in get_text(get_list(root, actor=77))


def test_the_list_is_filtered_by_action_kind_and_date(root):
    change_product(price=1)
    PersonFactory()
    created = get_keys(root, action__exact="create")
    assert len(created) == 2
    kind = ContentType.objects.get(app_label="testapp", model="person")
    assert len(get_keys(root, content_type=kind.pk)) == 1
    assert len(get_keys(root, at__gte="2000-01-01 00:00:00+00:00")) == 3
    assert get_keys(root, at__gte="2999-01-01 00:00:00+00:00") == []


def test_only_kinds_that_have_entries_are_offered(root):
    ProductFactory()
    PersonFactory()
    gone = ContentType.objects.create(app_label="an_app", model="a_thing")
    make_entry({}, content_type=gone)
    (kinds,) = (spec for spec in get_list(root).context["cl"].filter_specs if spec.title == "kind")
    first, *others = kinds.lookup_choices
    # How a kind without a model is called differs between versions of Django.
    assert first[0] == gone.pk
    assert [title for _, title in others] == ["Testapp | person", "Testapp | product"]


@pytest.mark.parametrize(
    "params",
    [{"content_type": "abc"}, {"unit": "abc"}, {"actor": "abc"}, {"nonsense": "1"}],
)
def test_a_mangled_address_leads_back_to_the_list(root, params):
    change_product(price=1)
    response = root.get(reverse(LIST), params)
    assert (response.status_code, response["Location"]) == (302, f"{reverse(LIST)}?e=1")


def test_columns_of_the_actor_cannot_be_asked_for(root):
    UserFactory(username="maria")
    assert root.get(reverse(LIST), {"actor__password__startswith": "a"}).status_code == 400


def test_the_search_finds_exact_keys_and_units_and_nothing_else(root):
    product = ProductFactory(pk=4711, name="Lamp")
    other = ProductFactory(pk=47110, name="4711")
    entry, unlike = (AuditEntry.objects.get(object_pk=row.pk) for row in (product, other))
    assert get_keys(root, q=" 4711 ") == [entry.pk]
    assert get_keys(root, q=str(entry.unit)) == [entry.pk]
    assert get_keys(root, q=entry.unit.hex) == [entry.pk]
    assert get_keys(root, q="Lamp") == []
    assert get_keys(root, q="  ") == [unlike.pk, entry.pk]


def test_the_search_finds_objects_whose_key_is_a_uuid(root):
    token = Token.objects.create()
    assert len(get_keys(root, q=str(token.pk))) == 1
    assert len(get_keys(root, q=token.pk.hex)) == 1


def test_the_number_of_queries_does_not_grow_with_the_list(root):
    def fill(count: int) -> None:
        for _ in range(count):
            with context(actor=UserFactory()):
                change_product(price=1)
                PersonFactory()

    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            get_list(root)
        return len(queries)

    fill(1)
    kind = ContentType.objects.create(app_label="gone", model="thing")
    AuditEntry.objects.create(action="create", content_type=kind, object_pk="1")
    count()
    before = count()
    fill(10)
    for key in range(5):
        # A kind that is gone is asked for once, not once an entry.
        AuditEntry.objects.create(action="create", content_type_id=999_999, object_pk=key)
    assert len(get_keys(root)) == 39
    assert count() == before + 1
    # Session, user, kinds, entries, and their days.
    assert before == 5


# The page of an entry


def test_a_change_is_shown_side_by_side(root):
    with context(actor=UserFactory(username="maria"), reason="Spring prices", basket={"id": 3}):
        change_product(price="12.00", data={"w": 1}, slug="", api_token="abc")
    text = get_text(get_page(root))
    assert "When 20" in text
    assert "Action changed Object Lamp product" in text
    assert "By maria" in text
    assert "Field Old New Slug product-" in text
    assert "empty text Price 9.50 12.00" in text
    assert "Data w not there 1 Api token [redacted] [redacted]" in text
    assert 'Context Reason Spring prices basket { "id": 3 }' in text


def test_none_is_not_the_text_none(root):
    html = get_page(root, make_entry({"name": [None, "None"]})).content.decode()
    assert re.search(r'class="signal-kit-nothing">none</span>', html)
    assert re.search(r'class="signal-kit-value signal-kit-text"[^>]*>None</div>', html)


def test_a_new_row_has_no_old_values_and_a_deleted_one_no_new(root):
    product = ProductFactory(name="Lamp")
    text = get_text(get_page(root))
    assert "Field New" in text
    assert "Old" not in text
    product.delete()
    text = get_text(get_page(root))
    assert "Field Old" in text
    assert "New" not in text


def test_members_that_came_and_went_are_listed(root):
    product = ProductFactory()
    tags = [TagFactory(pk=pk, name=f"tag {pk}") for pk in (501, 502)]
    product.tags.set(tags)
    assert "Tags Added + tag 501 501 + tag 502 502" in get_text(get_page(root))
    product.tags.clear()
    tags[0].delete()
    assert "Removed \N{MINUS SIGN} tag 501 501 \N{MINUS SIGN} tag 502 502" in get_text(
        get_page(root, AuditEntry.objects.filter(action="m2m_clear").get())
    )


def test_words_that_differ_are_marked(root):
    product = change_product(name="A lamp that stands on a heavy foot of brass")
    product.name = "A lamp that stands on a round foot of brass"
    product.save()
    html = get_page(root).content.decode()
    assert "<del>heavy</del>" in html
    assert "<ins>round</ins>" in html


def test_an_entry_without_values_says_so(root):
    assert "No value is recorded." in get_text(get_page(root, make_entry({})))


def test_the_page_leads_to_the_history_and_to_the_unit(root):
    product = change_product(price=1)
    entry = AuditEntry.objects.latest("pk")
    html = get_page(root).content.decode()
    kind = ContentType.objects.get_for_model(product).pk
    assert f'href="{reverse(LIST)}?content_type={kind}&amp;object_pk={product.pk}"' in html
    assert f'href="{reverse(LIST)}?unit={entry.unit}"' in html


def test_the_page_leads_to_the_object_of_those_who_may_see_it(root, viewer, wire):
    wire((AuditLog, {"models": ["auth.User"]}))
    user = UserFactory(username="maria")
    link = f'href="{reverse("admin:auth_user_change", args=[user.pk])}"'
    entry = AuditEntry.objects.latest("pk")
    assert link in get_page(root, entry).content.decode()
    assert link not in get_page(viewer, entry).content.decode()
    user.delete()
    assert link not in get_page(root).content.decode()


def test_the_page_leads_to_the_person_of_those_who_may_see_him(root, viewer):
    user = UserFactory(username="maria")
    with context(actor=user):
        ProductFactory()
    link = f'href="{reverse("admin:auth_user_change", args=[user.pk])}"'
    assert link in get_page(root).content.decode()
    assert link not in get_page(viewer).content.decode()
    assert "By maria" in get_text(get_page(viewer))


def test_values_cost_one_query_for_each_model_that_is_named(root, django_assert_num_queries):
    with context(actor=UserFactory()):
        change_product(category=CategoryFactory(), editor=UserFactory(), price=3)
    entry = AuditEntry.objects.latest("pk")
    get_page(root, entry)
    # Session, user, entry; the category and the editor; the unit before the entry and after it.
    with django_assert_num_queries(7):
        get_page(root, entry)


def test_the_page_shows_what_else_was_done_in_the_unit(root):
    with batch():
        product = ProductFactory(name="Lamp")
        product.price = 3
        product.save()
        PersonFactory(name="Ana")
    ProductFactory(name="Other")
    first, middle, last, _ = AuditEntry.objects.order_by("pk")
    response = get_page(root, middle)
    assert "Everything saved together created Lamp product Name Lamp" in get_text(response)
    assert [row["url"] for row in response.context["together_rows"]] == [
        reverse(PAGE, args=[entry.pk]) for entry in (first, last)
    ]
    assert "Other" not in get_text(response)
    assert "Everything saved together" not in get_text(get_page(root))


@pytest.mark.parametrize(
    ("place", "shown"),
    [(0, [1, 2, 3, 4]), (1, [0, 2, 3, 4]), (4, [2, 3, 5, 6]), (9, [5, 6, 7, 8])],
)
def test_of_a_long_unit_the_nearest_entries_are_shown(root, monkeypatch, place, shown):
    monkeypatch.setattr(together, "MOST", 4)
    with batch():
        for _ in range(10):
            PersonFactory()
    entries = list(AuditEntry.objects.order_by("pk"))
    response = get_page(root, entries[place])
    assert [row["url"] for row in response.context["together_rows"]] == [
        reverse(PAGE, args=[entries[number].pk]) for number in shown
    ]
    assert "The nearest 4 are shown. All entries of this unit" in get_text(response)


# What is gone


def test_an_entry_outlives_its_user(root):
    user = UserFactory(username="maria")
    with context(actor=user):
        ProductFactory()
    User.objects.filter(pk=user.pk).delete()
    assert " maria " in get_text(get_list(root))
    assert "By maria" in get_text(get_page(root))


@pytest.mark.parametrize("has_row", [True, False])
def test_an_entry_outlives_its_model_and_its_content_type(root, has_row):
    kind = ContentType.objects.create(app_label="gone", model="thing")
    entry = make_entry({"colour": ["red", "blue"]}, content_type=kind)
    if not has_row:
        ContentType.objects.filter(pk=kind.pk).delete()
    ContentType.objects.clear_cache()
    name = "thing" if has_row else f"kind {kind.pk}, which is gone"
    assert f"changed Lamp {name} - colour red → blue" in get_text(get_list(root))
    text = get_text(get_page(root, entry))
    assert f"Object Lamp {name} 7" in text
    assert "colour red blue" in text


def test_an_entry_about_nothing_by_nobody_is_shown(root):
    entry = AuditEntry.objects.create(action="login_failed", context=["odd"])
    assert "failed to log in - -" in get_text(get_list(root))
    text = get_text(get_page(root, entry))
    assert "Object no name By nobody known" in text
    assert 'Context [ "odd" ]' in text


# Safety


def test_nothing_stored_becomes_markup(root):
    long = "stands on a heavy foot of brass"
    with context(actor=UserFactory(username="<b>maria</b>"), reason=EVIL, **{EVIL: {EVIL: EVIL}}):
        product = change_product(name=EVIL, data={EVIL: [EVIL]})
    make_entry(
        {
            EVIL: [f"{EVIL} {long}", f"{EVIL}{EVIL} {long}"],
            "name": {"added": [EVIL], "removed": [EVIL]},
            "odd": EVIL,
        },
        action="<b>",
        object_text=EVIL,
        object_pk=EVIL,
        actor_text=EVIL,
        using=EVIL,
        # With the entry of the product in one unit, so that each is on the other's page.
        unit=AuditEntry.objects.latest("pk").unit,
        context={EVIL: EVIL},
        content_type=ContentType.objects.get_for_model(product),
    )
    pages = [get_list(root), get_list(root, object_pk=EVIL), get_list(root, q=EVIL)]
    pages += [get_page(root, entry) for entry in AuditEntry.objects.all()]
    assert len(pages) == 6
    for response in pages:
        html = response.content.decode()
        assert "<script>alert" not in html
        assert "<b>" not in html
        assert EVIL in Text.of(html)


def test_odd_characters_are_kept_apart_and_made_visible(root):
    with context(actor=UserFactory(username="مريم"), **{"a\u200bb": "c"}):
        change_product(name="gnp.\u202eexe", slug="مصباح")
    for response in (get_list(root), get_page(root)):
        html = response.content.decode()
        assert "<bdi>gnp.[U+202E]exe</bdi>" in html
        assert "<bdi>مريم</bdi>" in html
    assert 'dir="auto"' in html
    assert "a[U+200B]b" in html


def test_the_pages_obey_a_strict_content_security_policy(root):
    change_product(name=EVIL, data={"a": 1}, slug="x" * 90)
    for response in (get_list(root), get_list(root, actor=1), get_page(root)):
        parser = Inline()
        parser.feed(response.content.decode())
        assert parser.found == []
        assert "signal_kit_audit/audit.css" in response.content.decode()


def test_nothing_can_be_added_changed_or_deleted(root):
    change_product(price=1)
    entry = AuditEntry.objects.latest("pk")
    page = reverse(PAGE, args=[entry.pk])
    base = "admin:signal_kit_audit_auditentry"
    assert root.get(reverse(f"{base}_add")).status_code == 403
    assert root.post(reverse(f"{base}_add"), {"action": "create"}).status_code == 403
    assert root.post(page, {"object_text": "forged"}).status_code == 403
    assert (
        root.post(reverse(f"{base}_delete", args=[entry.pk]), {"post": "yes"}).status_code == 403
    )
    root.post(
        reverse(LIST),
        {"action": "delete_selected", "_selected_action": [entry.pk], "post": "yes"},
    )
    assert AuditEntry.objects.get(pk=entry.pk).object_text == "Lamp"
    assert AuditEntry.objects.count() == 2
    html = get_page(root).content.decode() + get_list(root).content.decode()
    assert 'type="submit" value="Save' not in html
    assert "_selected_action" not in html
    assert "submit-row" not in html
    assert "/add/" not in html.split('id="content"', 1)[1].split('id="footer"')[0]


def test_actions_of_the_whole_site_are_not_offered(root):
    change_product(price=1)
    admin.site.add_action(lambda *args: None, "destroy")
    try:
        assert "destroy" not in get_list(root).content.decode()
    finally:
        admin.site.disable_action("destroy")


def test_those_with_the_view_permission_read_and_others_do_not(viewer):
    change_product(price=1)
    entry = AuditEntry.objects.latest("pk")
    assert len(get_keys(viewer)) == 2
    assert "Price 9.50 1.00" in get_text(get_page(viewer))
    assert viewer.post(reverse(PAGE, args=[entry.pk]), {}).status_code == 403
    stranger = log_in(UserFactory(is_staff=True))
    assert stranger.get(reverse(LIST)).status_code == 403
    assert stranger.get(reverse(PAGE, args=[entry.pk])).status_code == 403
    assert Client().get(reverse(LIST)).status_code == 302


def test_the_kits_own_model_is_registered_and_passes_the_checks():
    entry_admin = admin.site.get_model_admin(AuditEntry)
    assert isinstance(entry_admin, AuditEntryAdmin)
    assert entry_admin.check() == []
