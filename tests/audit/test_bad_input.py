"""Whatever is written, by whom and in which request: a write that Django accepts has a true entry
that can be read, and one that it refuses is refused for Django's own reason."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.db import models, transaction
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.urls import reverse

from django_signal_kit import context
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.middleware import RequestContextMiddleware
from django_signal_kit.receivers import AuditLog
from django_signal_kit.rows.values import to_json
from tests.apps.rarities.models import LongKey, OrderLine, Reading, Speechless
from tests.apps.testapp.models import Tag
from tests.factories import ProductFactory, TagFactory, UserFactory

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.filterwarnings("ignore:.*received a naive datetime:RuntimeWarning"),
    pytest.mark.usefixtures("fresh_content_types"),
]

LOG = (AuditLog, {"models": ["testapp.*", "rarities.*"]})
MARKUP = "<script>alert('x')</script>\"'&lt;"
LIST = "admin:signal_kit_audit_auditentry_changelist"
PAGE = "admin:signal_kit_audit_auditentry_change"


@pytest.fixture
def root() -> Client:
    client = Client()
    client.force_login(UserFactory(username="root", is_staff=True, is_superuser=True))
    return client


def assert_is_readable(client: Client) -> None:
    """The list and the page of each entry are shown, without anybody's markup."""
    addresses = [reverse(LIST)]
    addresses += [reverse(PAGE, args=[entry.pk]) for entry in AuditEntry.objects.all()]
    for address in addresses:
        response = client.get(address)
        assert response.status_code == 200, address
        assert "<script>alert" not in response.content.decode()


def attempt(write: Callable[[], Any]) -> tuple[type[Exception] | None, Any]:
    """The exception that a write ends with, and what it returns."""
    try:
        with transaction.atomic():
            return None, write()
    except Exception as error:
        return type(error), None


VALUES: dict[str, dict[str, Any]] = {
    "markup": {"text": MARKUP},
    "NUL": {"text": "a\x00b"},
    "half of a surrogate pair": {"text": "a\ud800b"},
    "text that runs the other way": {"text": "\u202eabc\u2066"},
    "a million letters": {"text": "ñ" * 1_000_000},
    "JSON of 5 MB": {"data": {"x": "y" * 5_000_000}},
    "deep JSON": {"data": [[[[[[[[[["x"]]]]]]]]]]},
    "NUL in JSON": {"data": {"a\x00": "b\x00"}},
    "half of a surrogate pair in JSON": {"data": {"a": "\udfff"}},
    "markup in JSON": {"data": {MARKUP: MARKUP}},
    "a large number in JSON": {"data": {"a": 2**70, "b": 1e300, "c": -0.0}},
    "no number in JSON": {"data": {"a": math.nan}},
    "infinity in JSON": {"data": {"a": math.inf}},
    "no decimal": {"amount": Decimal("NaN")},
    "an infinite decimal": {"amount": Decimal("-Infinity")},
    "more digits than the column has": {"amount": Decimal("1." + "3" * 30)},
    "a decimal that is too large": {"amount": Decimal("1e30")},
    "no float": {"number": math.nan},
    "an infinite float": {"number": math.inf},
    "the smallest float": {"number": 5e-324},
    "a number that is too large": {"whole": 2**70},
    "a number that is text": {"whole": "12", "amount": "1.5", "number": "2.5"},
    "no number at all": {"whole": "a dozen"},
    "a naive time": {"at": datetime(2026, 3, 29, 2, 30)},
    "a time elsewhere": {"at": datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=14)))},
    "the first moment": {"at": datetime(1, 1, 1, tzinfo=UTC)},
    "the last moment": {"at": datetime.max.replace(tzinfo=UTC)},
    "a negative duration": {"lasted": timedelta(days=-3, microseconds=1)},
    "bytes that are no text": {"content": b"\x00\xff\xfe'\\"},
    "a choice that is none": {"size": "?"},
}


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES.keys())
@pytest.mark.parametrize("act", ["create", "update", "bulk_create", "queryset.update"])
def test_a_value(wire: Any, root: Client, values: dict[str, Any], act: str) -> None:
    wire()
    without = attempt(lambda: write(act, values))
    wire(LOG)
    error, reading = attempt(lambda: write(act, values))
    assert error == without[0]
    if error is None:
        assert_is_true(reading)
    else:
        assert not AuditEntry.objects.exists()
    assert_is_readable(root)


def write(act: str, values: dict[str, Any]) -> Reading:
    if act == "create":
        return Reading.objects.create(**values)
    if act == "bulk_create":
        return Reading.objects.bulk_create([Reading(**values)])[0]
    # Not by the manager's create(): its entry is not what this is about.
    reading = Reading()
    reading.save()
    AuditEntry.objects.all().delete()
    if act == "update":
        for name, value in values.items():
            setattr(reading, name, value)
        reading.save()
    else:
        Reading.objects.filter(pk=reading.pk).update(**values)
    return reading


def assert_is_true(reading: Reading) -> None:
    """The last entry tells what the database holds, as far as it differs from what was there."""
    entries = list(AuditEntry.objects.filter(object_pk=str(reading.pk)))
    try:
        stored = Reading.objects.get(pk=reading.pk)
    except InvalidOperation:
        # SQLite stores what Django cannot read again; nobody can say what is true then.
        assert len(entries) == 1
        return
    before = {} if entries and entries[0].action == "create" else to_row(Reading())
    expected = {name: value for name, value in to_row(stored).items() if value != before.get(name)}
    del expected["id"]
    if not expected:
        assert entries == []
        return
    [entry] = entries
    told = {name: new for name, (_, new) in entry.changes.items() if name != "id"}
    assert told.keys() == expected.keys()
    for name, value in told.items():
        assert read(name, value) == read(name, expected[name])


def to_row(reading: Reading) -> dict[str, Any]:
    return {
        field.name: to_json(field.value_from_object(reading))
        for field in Reading._meta.concrete_fields
    }


def read(name: str, value: Any) -> Any:
    # One moment has as many texts as there are zones.
    return datetime.fromisoformat(value) if name == "at" and value is not None else value


def test_an_object_that_cannot_say_its_name(wire: Any, root: Client) -> None:
    wire(LOG)
    instance = Speechless.objects.create()
    key = instance.pk
    instance.value = 1
    instance.save()
    instance.delete()
    assert [(entry.action, entry.object_text) for entry in AuditEntry.objects.order_by("pk")] == [
        (action, f"Speechless {key}") for action in ("create", "update", "delete")
    ]
    assert_is_readable(root)


@pytest.mark.parametrize(
    "key",
    [
        "k" * 400,
        "ñ" * 300,
        "k" * 255,
        MARKUP,
        "",
        " ",
        "a/b?c#d",
        "_5F",
    ],
)
def test_a_key(wire: Any, root: Client, key: str) -> None:
    wire(LOG)
    LongKey.objects.create(key=key)
    [entry] = AuditEntry.objects.all()
    assert entry.changes["key"] == [None, key]
    assert (entry.object_pk == key) is (len(key) <= 255)
    assert len(entry.object_pk) <= 255
    assert_is_readable(root)


def test_a_key_of_two_columns(wire: Any, root: Client) -> None:
    wire(LOG)
    OrderLine.objects.create(order=-1, number=2**31 - 1, text=MARKUP)
    assert AuditEntry.objects.get().object_pk == "[-1, 2147483647]"
    assert_is_readable(root)


# Who


@pytest.mark.parametrize(
    "words",
    ["a" * 10_000, "ñ" * 300, MARKUP, "a\x00b", "\ud800", "", "\u202eabc"],
    ids=["long", "long in bytes", "markup", "NUL", "surrogate", "empty", "reversed"],
)
def test_an_actor_of_a_strange_name(wire: Any, root: Client, monkeypatch: Any, words: str) -> None:
    wire(LOG)
    actor = UserFactory()
    monkeypatch.setattr(User, "__str__", lambda user: words)
    with context(actor=actor):
        TagFactory()
    entry = AuditEntry.objects.get()
    assert entry.actor_id == actor.pk
    assert entry.actor_text[:1] in ("", words[:1], "\N{REPLACEMENT CHARACTER}")
    assert_is_readable(root)


def test_an_actor_who_cannot_say_his_name(wire: Any, root: Client, monkeypatch: Any) -> None:
    def refuse(user: User) -> str:
        raise RuntimeError("no name")

    wire(LOG)
    actor = UserFactory()
    with monkeypatch.context() as patched, context(actor=actor):
        patched.setattr(User, "__str__", refuse)
        TagFactory()
    assert AuditEntry.objects.get().actor_id == actor.pk
    assert_is_readable(root)


class Mute:
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    "value",
    [
        Mute(),
        {Mute(): 1},
        [Mute()],
        MARKUP,
        {MARKUP: [MARKUP]},
        "a\x00\ud800b",
        math.nan,
        [-math.inf],
        Decimal("NaN"),
        b"\xff",
        "x" * 5_000_000,
        lambda: 1,
        Speechless(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_context(wire: Any, root: Client, value: Any) -> None:
    wire(LOG)
    with context(value=value):
        TagFactory()
    assert "value" in AuditEntry.objects.get().context
    assert_is_readable(root)


# In which request


@pytest.mark.parametrize(
    "headers",
    [
        {"HTTP_X_REQUEST_ID": "r" * 10_000},
        {"HTTP_X_REQUEST_ID": MARKUP},
        {"HTTP_X_FORWARDED_FOR": "1, , 999.1.1.1, ::g, " + "9." * 5_000},
        {"HTTP_X_FORWARDED_FOR": MARKUP},
        {"HTTP_USER_AGENT": "a" * 10_000, "HTTP_COOKIE": "b" * 10_000},
        {"REMOTE_ADDR": "unix:"},
        {"REMOTE_ADDR": "999.999.999.999"},
        {"REMOTE_ADDR": "fe80::1%" + "e" * 10_000},
        {"REMOTE_ADDR": ""},
        {"PATH_INFO": "/" + "p" * 10_000},
        {"PATH_INFO": "/\x00\xff<script>alert(1)</script>"},
        {"REQUEST_METHOD": "M" * 10_000},
        {"REQUEST_METHOD": MARKUP},
        {"HTTP_HOST": "a" * 10_000},
    ],
    ids=str,
)
def test_a_request(wire: Any, root: Client, headers: dict[str, str]) -> None:
    def view(request: Any) -> HttpResponse:
        TagFactory(name="written")
        return HttpResponse()

    wire(LOG, TRUSTED_PROXIES=["127.0.0.0/8"])
    request = RequestFactory().get("/")
    request.META.update(headers)
    request = type(request)({**request.META, "wsgi.input": request.META["wsgi.input"]})
    assert RequestContextMiddleware(view)(request).status_code == 200
    assert Tag.objects.filter(name="written").exists()
    found = AuditEntry.objects.get().context
    assert set(found) == {"request_id", "ip", "method", "path"}
    assert len(str(found["path"])) <= 2048
    assert_is_readable(root)


# What is no longer there


def test_content_types_that_are_deleted(wire: Any, root: Client) -> None:
    wire(LOG)
    product = ProductFactory()
    ContentType.objects.filter(app_label__in=["testapp", "rarities"]).delete()
    product.name = "written while the cache knows an old one"
    product.save()
    assert_is_readable(root)
    ContentType.objects.clear_cache()
    product.name = "written with a new one"
    product.save()
    assert [entry.action for entry in AuditEntry.objects.order_by("pk")] == [
        "create",
        "update",
        "update",
    ]
    assert_is_readable(root)


def test_entries_of_values_that_no_field_has_any_more(wire: Any, root: Client) -> None:
    wire(LOG)
    TagFactory()
    entry = AuditEntry.objects.get()
    changes: list[Any] = [
        {MARKUP: [MARKUP, None]},
        {"name": MARKUP},
        {"name": {"added": MARKUP}},
        {"name": []},
        [MARKUP],
        MARKUP,
        None,
        1,
        {},
    ]
    for value in changes:
        AuditEntry.objects.filter(pk=entry.pk).update(
            changes=models.Value(value, output_field=models.JSONField()), context={"a": value}
        )
        assert_is_readable(root)
