"""Receivers are muted from their page by who may, and never without a trace of it."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.core.cache.backends.locmem import LocMemCache
from django.test import Client, override_settings

from django_signal_kit import ModelReceiver, current
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.receivers import AuditLog
from django_signal_kit.sight import mutes
from tests.factories import TagFactory
from tests.sight.test_page import LIST, OFFICE, get, get_text, log_in_with, page_of

pytestmark = pytest.mark.django_db(databases=["default", "other"])

HEARD: list[str] = []
FORM = {"duration": "60", "reason": "floods the ERP <b>"}


class First(ModelReceiver):
    models = ["testapp.Tag"]

    def post_save(self, instance: Any, **kwargs: Any) -> None:
        HEARD.append(instance.name)


class Second(First): ...


@pytest.fixture(autouse=True)
def _site(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.sight.signals_site"
    HEARD.clear()


@pytest.fixture
def wired(wire: Any) -> Any:
    return wire(
        First,
        Second,
        (AuditLog, {"models": ["testapp.Tag", "admin.LogEntry"]}),
        ADMIN_MUTING=True,
    )


@pytest.fixture
def changer() -> Client:
    return log_in_with("change_receiver")


def post(client: Client, path: str, **data: str) -> int:
    return client.post(path, data).status_code


def test_it_is_muted_and_unmuted(wired: Any, changer: Client) -> None:
    assert post(changer, page_of("First"), **FORM) == 302
    TagFactory(name="tea")
    assert HEARD == ["tea"]  # Second's
    assert current.get_muted() == {"First"}
    page = get_text(get(changer, page_of("First")))
    assert "It is muted By change_receiver since" in page
    assert "floods the ERP <b>" in page
    assert post(changer, page_of("First"), unmute="1") == 302
    TagFactory(name="milk")
    assert HEARD == ["tea", "milk", "milk"]
    assert "It is muted" not in get_text(get(changer, page_of("First")))


def test_each_page_says_that_something_is_muted_and_until_when(
    wired: Any, changer: Client
) -> None:
    post(changer, page_of("First"), **FORM)
    text = get_text(get(changer))
    assert "1 receiver is muted First by change_receiver until" in text
    assert "First muted" in text
    response = get(changer, show="muted")
    assert [row.wired.key for row in response.context["page"].object_list] == ["First"]


def test_the_page_says_how_long_it_may_take(wired: Any, changer: Client) -> None:
    text = get_text(get(changer, page_of("First")))
    assert "each knows of it within 10 seconds" in text
    assert "The default cache is of this process alone: no other will know of it." in text


def test_who_when_which_and_why_stand_in_the_log_of_the_admin(wired: Any, changer: Client) -> None:
    post(changer, page_of("First"), **FORM)
    post(changer, page_of("First"), unmute="1")
    second, first = LogEntry.objects.order_by("-pk")
    assert (first.user.username, first.object_id, first.object_repr) == (
        *("change_receiver", "First", "First"),
    )
    assert first.get_change_message() == "Muted for 1 hour: floods the ERP <b>"
    assert second.get_change_message() == "Unmuted."
    assert first.get_admin_url() == page_of("First")
    history = get(changer, page_of("First")).context["history"]
    assert [entry.pk for entry in history] == [second.pk, first.pk]
    assert first.object_repr in changer.get("/admin/").content.decode()


def test_an_audit_log_that_covers_the_log_of_the_admin_tells_it_too(
    wired: Any, changer: Client
) -> None:
    post(changer, page_of("First"), **FORM)
    (entry,) = AuditEntry.objects.filter(content_type__model="logentry")
    assert entry.actor_text == "change_receiver"
    assert entry.changes["object_id"] == [None, "First"]
    assert "floods the ERP" in entry.changes["change_message"][1]


@pytest.mark.parametrize(
    "data", [{}, {**FORM, "reason": " "}, {**FORM, "duration": "0"}, {**FORM, "duration": "x"}]
)
def test_nobody_mutes_without_saying_for_how_long_and_why(
    wired: Any, changer: Client, data: dict[str, str]
) -> None:
    response = changer.post(page_of("First"), data)
    assert response.status_code == 200
    assert mutes.get_mutes() == []
    assert LogEntry.objects.count() == 0
    if data:
        assert "Say for how long, and why." in get_text(response)


def test_who_may_only_look_mutes_nothing(wired: Any) -> None:
    viewer = log_in_with("view_receiver")
    assert "You do not have the permission" in get_text(get(viewer, page_of("First")))
    assert post(viewer, page_of("First"), **FORM) == 403
    assert mutes.get_mutes() == []


def test_a_site_may_say_who_mutes_what(wired: Any, changer: Client) -> None:
    assert post(changer, page_of("Second", OFFICE), **FORM) == 403
    assert post(changer, page_of("First", OFFICE), **FORM) == 302
    assert [mute.name for mute in mutes.get_mutes()] == ["First"]


def test_nothing_can_be_muted_where_the_project_does_not_allow_it(
    wire: Any, changer: Client
) -> None:
    wire(First)
    assert "Mute" not in get_text(get(changer, page_of("First")))
    assert post(changer, page_of("First"), **FORM) == 403


def test_what_keeps_a_record_cannot_be_muted(wired: Any, changer: Client) -> None:
    text = get_text(get(changer, page_of("AuditLog")))
    assert "It cannot be muted. It keeps a record of what people do." in text
    assert 'name="reason"' not in get(changer, page_of("AuditLog")).content.decode()
    assert post(changer, page_of("AuditLog"), **FORM) == 403
    assert LogEntry.objects.count() == 0


def test_a_form_from_elsewhere_does_nothing(wired: Any, changer: Client) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = changer.cookies
    assert post(strict, page_of("First"), **FORM) == 403
    assert mutes.get_mutes() == []
    assert strict.get(page_of("First")).status_code == 200


class Broken(LocMemCache):
    def set(self, *args: Any, **kwargs: Any) -> Any:
        raise ConnectionError("nobody is there")

    def get(self, *args: Any, **kwargs: Any) -> Any:
        raise ConnectionError("nobody is there")


def test_a_cache_that_does_not_answer_is_told_and_leaves_no_entry(
    wired: Any, changer: Client
) -> None:
    with override_settings(CACHES={"default": {"BACKEND": f"{__name__}.Broken"}}):
        response = changer.post(page_of("First"), FORM, follow=True)
    text = " ".join(response.content.decode().split())
    assert "Nothing was changed. nobody is there" in text
    assert "What is muted is not known, because the cache does not answer." in text
    assert LogEntry.objects.count() == 0


def test_a_look_at_the_page_mutes_nothing(wired: Any, changer: Client) -> None:
    get(changer, page_of("First"), **FORM)
    assert mutes.get_mutes() == []


def test_the_page_of_all_receivers_takes_no_form(wired: Any, changer: Client) -> None:
    changer.post(LIST, FORM)
    assert mutes.get_mutes() == []
