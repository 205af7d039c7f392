"""Who logged in, who logged out, and who failed to."""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Iterator
from functools import partial
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
from django.conf import settings
from django.contrib.auth import (
    aauthenticate,
    alogin,
    alogout,
    authenticate,
    get_user_model,
    login,
    logout,
)
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import AbstractBaseUser, User
from django.contrib.auth.signals import user_logged_in, user_login_failed
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.backends.db import SessionStore
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.db import DatabaseError, OperationalError, connection, connections, models
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, RequestFactory, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import path, reverse
from django.utils import timezone

from django_signal_kit import batch, context, muted
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.audit.reverting import RevertError
from django_signal_kit.receivers import AuditLog, LoginLog
from django_signal_kit.signals import audit_entries_created
from django_signal_kit.wiring.registry import registry
from tests.audit.browsing import get_list, get_page, get_text, log_in
from tests.conftest import run_async
from tests.factories import UserFactory
from tests.threads import in_threads
from tests.urls import urlpatterns as admin_urls

pytestmark = pytest.mark.django_db

BACKEND = "django.contrib.auth.backends.ModelBackend"
PLAIN = [name for name in settings.MIDDLEWARE if "signal_kit" not in name]
LOGGER = "django_signal_kit.logins"


def sign_in(request: HttpRequest) -> HttpResponse:
    """A log-in page of one's own: refuses with 403, and fails on demand."""
    user = authenticate(
        request, username=request.POST["username"], password=request.POST["password"]
    )
    if user is None:
        return HttpResponse("no", status=403)
    login(request, user)
    if "fail" in request.POST:
        raise RuntimeError("after the login")
    return HttpResponse("yes")


async def sign_in_async(request: HttpRequest) -> HttpResponse:
    user = await aauthenticate(
        request, username=request.POST["username"], password=request.POST["password"]
    )
    if user is None:
        return HttpResponse("no", status=403)
    await alogin(request, user)
    if "leave" in request.POST:
        await alogout(request)
    return HttpResponse("yes")


def sign_out(request: HttpRequest) -> HttpResponse:
    logout(request)
    return HttpResponse("bye")


urlpatterns = [
    *admin_urls,
    path("sign-in/", sign_in),
    path("sign-in-async/", sign_in_async),
    path("sign-out/", sign_out),
]


@pytest.fixture(autouse=True)
def _pages(settings: Any) -> Iterator[None]:
    settings.ROOT_URLCONF = __name__
    ContentType.objects.clear_cache()
    yield
    ContentType.objects.clear_cache()


@pytest.fixture
def ann() -> User:
    user = UserFactory(username="ann", is_staff=True, is_superuser=True)
    user.set_password("open sesame")
    user.save()
    return user  # type: ignore[no-any-return]


def get_entries() -> list[AuditEntry]:
    return list(AuditEntry.objects.order_by("pk"))


def get_entry() -> AuditEntry:
    (entry,) = get_entries()
    return entry


def sign_in_with(client: Client, password: str = "open sesame", **data: str) -> HttpResponse:
    return client.post("/sign-in/", {"username": "ann", "password": password, **data})  # type: ignore[return-value]


# What an entry tells


def test_a_login_has_an_entry_about_the_user_and_by_the_user(wire: Any, ann: User) -> None:
    wire(LoginLog)
    sign_in_with(Client(REMOTE_ADDR="192.0.2.7", headers={"x-request-id": "request-1"}))
    entry = get_entry()
    assert entry.action == "login"
    assert entry.content_type == ContentType.objects.get_for_model(User)
    assert (entry.object_pk, entry.object_text) == (str(ann.pk), "ann")
    assert (entry.actor, entry.actor_text) == (ann, "ann")
    assert (entry.changes, entry.unit, entry.using) == ({}, None, "default")
    assert entry.context == {
        "request_id": "request-1",
        "ip": "192.0.2.7",
        "method": "POST",
        "path": "/sign-in/",
        "backend": BACKEND,
    }


def test_a_logout_has_an_entry_and_one_of_nobody_has_none(wire: Any, ann: User) -> None:
    client = Client()
    client.force_login(ann)
    wire(LoginLog)
    client.post("/sign-out/")
    entry = get_entry()
    assert (entry.action, entry.object_pk, entry.actor) == ("logout", str(ann.pk), ann)
    assert entry.context["path"] == "/sign-out/"
    client.post("/sign-out/")
    assert get_entry() == entry


def test_a_login_that_failed_names_no_actor_and_no_password(wire: Any, ann: User) -> None:
    wire(LoginLog)
    sign_in_with(Client(), "guess")
    entry = get_entry()
    assert entry.action == "login_failed"
    assert entry.content_type == ContentType.objects.get_for_model(User)
    assert (entry.object_pk, entry.object_text) == ("", "")
    assert (entry.actor_id, entry.actor_text) == (None, "")
    assert entry.context["path"] == "/sign-in/"
    assert "guess" not in json.dumps(entry.context)
    assert str(entry).strip() == "failed to log in"


def test_somebody_else_who_is_logged_in_is_no_actor_of_a_failure(wire: Any, ann: User) -> None:
    bea = UserFactory(username="bea")
    client = Client()
    client.force_login(bea)
    wire(LoginLog)
    sign_in_with(client, "guess")
    assert get_entry().actor_id is None


def test_a_request_that_the_middleware_has_not_seen_tells_of_itself(
    wire: Any, ann: User, settings: Any
) -> None:
    settings.MIDDLEWARE = PLAIN
    wire(LoginLog)
    sign_in_with(Client(REMOTE_ADDR="192.0.2.7"))
    sign_in_with(Client(headers={"x-request-id": "request-2"}))
    first, second = get_entries()
    assert first.context == {
        "ip": "192.0.2.7",
        "method": "POST",
        "path": "/sign-in/",
        "backend": BACKEND,
    }
    assert second.context["request_id"] == "request-2"
    assert first.actor == ann


@pytest.mark.parametrize("request_", [None, object(), HttpRequest()])
def test_whatever_comes_as_the_request_is_no_obstacle(wire: Any, ann: User, request_: Any) -> None:
    wire((LoginLog, {"on_error": "raise"}))
    user_logged_in.send(sender=User, request=request_, user=ann)
    user_login_failed.send(sender="x", credentials={"username": "ann"}, request=request_)
    user_login_failed.send(sender="x", credentials={})
    assert [entry.action for entry in get_entries()] == ["login", "login_failed", "login_failed"]
    assert get_entries()[0].context == {}
    assert get_entries()[2].context == {}


def test_what_context_says_is_there_and_the_user_is_the_actor(wire: Any, ann: User) -> None:
    wire(LoginLog)
    with context(actor=UserFactory(), reason="single sign-on", api_token="abc", iban="ES1"):
        user_logged_in.send(sender=User, request=None, user=ann)
    entry = get_entry()
    assert entry.actor == ann
    assert entry.context == {
        "reason": "single sign-on",
        "api_token": "[redacted]",
        "iban": "ES1",
    }


def test_more_parts_of_names_are_redacted(wire: Any, ann: User) -> None:
    wire((LoginLog, {"redact": ["iban"]}), REDACT=["card"])
    with context(iban="ES1", card="4711"):
        user_logged_in.send(sender=User, request=None, user=ann)
    assert get_entry().context == {"iban": "[redacted]", "card": "[redacted]"}


def test_the_backend_is_that_of_the_login_and_not_of_another_one(wire: Any, ann: User) -> None:
    wire(LoginLog)
    request = RequestFactory().get("/")
    request.session = SessionStore()
    ann.backend = "not.this.one"  # type: ignore[attr-defined]
    login(request, ann, backend=BACKEND)
    assert get_entry().context["backend"] == BACKEND


def test_a_lazy_user_is_a_user(wire: Any, ann: User) -> None:
    client = Client()
    client.force_login(ann)
    wire(LoginLog)
    client.post("/sign-out/")
    assert get_entry().content_type == ContentType.objects.get_for_model(User)


def test_a_user_of_a_proxy_is_found_as_the_user(wire: Any, ann: User) -> None:
    proxy = type("Staff", (User,), {"__module__": "tests.apps.testapp.models", "Meta": _Proxy})
    try:
        wire(LoginLog)
        user_logged_in.send(sender=proxy, request=None, user=proxy.objects.get())  # type: ignore[attr-defined]
        assert list(AuditEntry.objects.for_object(ann)) == get_entries() != []
    finally:
        from django.apps import apps

        del apps.all_models["testapp"]["staff"]
        apps.clear_cache()


class _Proxy:
    proxy = True
    app_label = "testapp"


def test_a_user_who_is_no_row_is_recorded_as_text(wire: Any, caplog: Any) -> None:
    class Robot:
        pk = "r2"

        def __str__(self) -> str:
            raise ValueError("no name")

        def save(self, **kwargs: Any) -> None:
            """Django sets last_login."""

    wire((LoginLog, {"on_error": "raise"}))
    with caplog.at_level(logging.INFO, LOGGER):
        user_logged_in.send(sender=Robot, request=None, user=Robot())
    assert "Robot" in caplog.text
    entry = get_entry()
    assert (entry.action, entry.object_pk, entry.actor_id) == ("login", "", None)
    assert entry.object_text.endswith("Robot>")


@pytest.mark.django_db(transaction=True)
def test_a_user_of_another_model_is_the_object_and_no_actor(wire: Any, make_model: Any) -> None:
    fields = {"name": models.CharField(max_length=9), "USERNAME_FIELD": "name"}
    member = make_model("Member", AbstractBaseUser, **fields)
    # He has the key of somebody else.
    user = member.objects.create(pk=UserFactory().pk, name="cid")
    wire((LoginLog, {"on_error": "raise"}))
    user_logged_in.send(sender=member, request=None, user=user)
    entry = get_entry()
    assert entry.content_type.model_class() is member
    assert (entry.object_pk, entry.object_text) == (str(user.pk), "cid")
    assert (entry.actor_id, entry.actor_text) == (None, "cid")


def test_who_waits_for_entries_hears_of_logins(wire: Any, ann: User) -> None:
    heard: list[str] = []

    def hear(entries: Any, **kwargs: Any) -> None:
        heard.extend(entry.action for entry in entries)

    audit_entries_created.connect(hear)
    try:
        wire(LoginLog)
        sign_in_with(Client())
    finally:
        audit_entries_created.disconnect(hear)
    assert heard == ["login"] == [entry.action for entry in get_entries()]


def test_a_user_who_is_deleted_can_still_log_out(wire: Any, ann: User) -> None:
    wire((LoginLog, {"on_error": "raise"}))
    request = RequestFactory().get("/")
    request.session, request.user = SessionStore(), ann
    ann.delete()
    logout(request)
    assert (get_entry().action, get_entry().object_text) == ("logout", "ann")


# What was typed


def fail(wire: Any, usernames: str | None, username: Any) -> AuditEntry:
    wire((LoginLog, {"on_error": "raise", **({"usernames": usernames} if usernames else {})}))
    user_login_failed.send(sender="x", credentials={"username": username}, request=None)
    return AuditEntry.objects.latest("pk")


def test_by_default_names_are_told_apart_but_not_kept(wire: Any, ann: User) -> None:
    first, again, other = (fail(wire, None, name) for name in ("ann", "ann", "open sesame"))
    assert first.context == again.context != other.context
    assert first.context["username"].startswith("[redacted ")
    assert "sesame" not in json.dumps(other.context)


def test_none_keeps_nothing(wire: Any, ann: User) -> None:
    entry = fail(wire, "none", "ann")
    assert (entry.context, entry.object_text) == ({}, "")


def test_all_keeps_what_was_typed_up_to_a_length(wire: Any) -> None:
    entry = fail(wire, "all", "ann")
    assert (entry.context, entry.object_text) == ({"username": "ann"}, "ann")
    entry = fail(wire, "all", "x" * 100_000)
    assert entry.context["username"] == "x" * 150 + "…"


def test_known_keeps_the_name_of_a_user_and_nothing_else(wire: Any, ann: User) -> None:
    entry = fail(wire, "known", "ann")
    assert (entry.object_pk, entry.object_text) == (str(ann.pk), "ann")
    assert (entry.actor_id, entry.context) == (None, {"username": "ann"})
    assert list(AuditEntry.objects.for_object(ann)) == [entry]
    for name in ("open sesame", "", "x" * 100_000, "ann\x00", "an\ud800n"):
        entry = fail(wire, "known", name)
        assert (entry.object_pk, entry.object_text, entry.context) == ("", "", {})


@pytest.mark.parametrize("usernames", ["hashed", "known", "all", "none"])
@pytest.mark.parametrize("name", ["\x00", "\ud800", "ä" * 300, 5, ["ann"], {"a": 1}, None, ""])
def test_whatever_is_typed_can_be_stored(wire: Any, usernames: str, name: Any) -> None:
    assert fail(wire, usernames, name).action == "login_failed"


def test_no_other_credential_is_ever_read(wire: Any, caplog: Any) -> None:
    wire((LoginLog, {"usernames": "all", "on_error": "raise"}))
    given = {"username": "ann", "password": "p4ss", "otp": "123456", "code": "654321"}
    with caplog.at_level(logging.INFO, LOGGER):
        # A backend of somebody else's may send them as they are.
        user_login_failed.send(sender="x", credentials=given, request=None)
    written = json.dumps(get_entry().context) + get_entry().object_text + caplog.text
    assert "ann" in written
    assert not [value for value in ("p4ss", "123456", "654321") if value in written]


def test_the_name_is_the_one_of_the_user_models_field(
    wire: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire((LoginLog, {"usernames": "all"}))
    monkeypatch.setattr(User, "USERNAME_FIELD", "email")
    user_login_failed.send(sender="x", credentials={"email": "a@x.example"}, request=None)
    monkeypatch.setattr(User, "USERNAME_FIELD", "access_token")
    user_login_failed.send(sender="x", credentials={"access_token": "abc"}, request=None)
    names = [entry.context.get("username") for entry in get_entries()]
    assert names == ["a@x.example", None]


class ByEmail(LoginLog):
    def get_username(self, credentials: Any) -> str:
        return str(credentials.get("email", ""))

    def get_user(self, username: str) -> Any:
        return get_user_model()._default_manager.filter(email=username).first()

    def should_record(self, action: str, user: Any) -> bool:
        return action != "logout"

    def get_object_text(self, instance: Any) -> str:
        return f"user {instance.pk}"

    def get_actor(self) -> Any:
        return None

    def get_context(self) -> Any:
        return {"only": "this"}


def test_each_hook_is_asked(wire: Any, ann: User) -> None:
    wire((ByEmail, {"usernames": "known", "on_error": "raise"}))
    user_login_failed.send(sender="x", credentials={"email": ann.email}, request=None)
    client = Client()
    client.force_login(ann)
    client.post("/sign-out/")
    failed, entered = get_entries()
    assert (failed.object_pk, failed.context["username"]) == (str(ann.pk), ann.email)
    assert (entered.action, entered.object_text) == ("login", f"user {ann.pk}")
    assert (entered.actor_id, entered.context["only"]) == (None, "this")


def test_only_the_actions_that_are_asked_for_are_recorded(wire: Any, ann: User) -> None:
    wire((LoginLog, {"actions": ["login_failed"]}))
    client = Client()
    sign_in_with(client)
    client.post("/sign-out/")
    sign_in_with(client, "guess")
    assert get_entry().action == "login_failed"
    wire((LoginLog, {"actions": ["login", "logout"], "usernames": "known"}))
    with CaptureQueriesContext(connection) as queries:
        authenticate(username="ann", password="guess")
    # The backend's own look-up alone.
    assert len(queries) == 1
    sign_in_with(client)
    assert [entry.action for entry in get_entries()] == ["login_failed", "login"]


def test_it_can_be_muted(wire: Any, ann: User) -> None:
    wire(LoginLog)
    with muted("LoginLog"):
        sign_in_with(Client())
    assert get_entries() == []


@pytest.mark.parametrize(
    "options",
    [{"usernames": "hash"}, {"actions": "login"}, {"actions": ["signup"]}, {"on_error": "no"}],
)
def test_wrong_options_stop_the_start(wire: Any, options: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match="E007"):
        wire((LoginLog, options))


# Ways to log in


def test_the_admins_login_page_is_heard(wire: Any, ann: User) -> None:
    wire((LoginLog, {"usernames": "known"}))
    client = Client()
    page = reverse("admin:login")
    client.post(page, {"username": "ann", "password": "guess"})
    client.post(page, {"username": "ann", "password": "open sesame"})
    client.post(reverse("admin:logout"))
    told = [(entry.action, entry.object_pk, entry.actor) for entry in get_entries()]
    key = str(ann.pk)
    assert told == [("login_failed", key, None), ("login", key, ann), ("logout", key, ann)]


def test_force_login_is_a_login(wire: Any, ann: User) -> None:
    wire(LoginLog)
    Client().force_login(ann)
    assert (get_entry().action, get_entry().context) == ("login", {"backend": BACKEND})


@pytest.mark.django_db(transaction=True)
def test_the_async_calls_are_heard(wire: Any, ann: User) -> None:
    wire((LoginLog, {"usernames": "known", "on_error": "raise"}))
    client = AsyncClient()

    async def go() -> None:
        for password in ("guess", "open sesame"):
            data = {"username": "ann", "password": password, "leave": "1"}
            await client.post("/sign-in-async/", data, headers={"x-request-id": "request-3"})

    run_async(go())
    told = [(entry.action, entry.object_pk, entry.actor) for entry in get_entries()]
    key = str(ann.pk)
    assert told == [("login_failed", key, None), ("login", key, ann), ("logout", key, ann)]
    assert {entry.context["request_id"] for entry in get_entries()} == {"request-3"}


@pytest.mark.django_db(transaction=True)
def test_the_async_calls_are_heard_without_the_middleware(
    wire: Any, ann: User, settings: Any
) -> None:
    settings.MIDDLEWARE = PLAIN
    wire((LoginLog, {"on_error": "raise"}))
    data = {"username": "ann", "password": "open sesame", "leave": "1"}
    run_async(AsyncClient().post("/sign-in-async/", data))
    assert [entry.action for entry in get_entries()] == ["login", "logout"]
    assert get_entries()[0].context["backend"] == BACKEND


class Refusing(ModelBackend):
    def authenticate(self, request: Any, **credentials: Any) -> Any:
        from django.core.exceptions import PermissionDenied

        raise PermissionDenied


def test_a_backend_that_refuses_is_a_failure(wire: Any, ann: User, settings: Any) -> None:
    settings.AUTHENTICATION_BACKENDS = [f"{__name__}.Refusing", BACKEND]
    wire(LoginLog)
    assert authenticate(username="ann", password="open sesame") is None
    assert get_entry().action == "login_failed"


@pytest.mark.django_db(transaction=True)
def test_a_live_server_writes_one_entry_for_each_of_many_failures_at_once(
    wire: Any, ann: User, live_server: Any
) -> None:
    wire((LoginLog, {"usernames": "all", "on_error": "raise"}))
    start = threading.Barrier(4)
    errors: list[int] = []

    def guess(name: str) -> None:
        start.wait(60)
        for number in range(5):
            data = urlencode({"username": f"{name}{number}", "password": "guess"}).encode()
            try:
                urlopen(f"{live_server.url}/sign-in/", data, timeout=60).close()
            except HTTPError as error:
                errors.append(error.code)
                error.close()

    in_threads(*(partial(guess, name) for name in "abcd"))
    assert errors == [403] * 20
    names = sorted(entry.context["username"] for entry in get_entries())
    assert names == sorted(f"{name}{number}" for name in "abcd" for number in range(5))
    assert len({entry.context["request_id"] for entry in get_entries()}) == 20


# Transactions


@pytest.fixture
def atomic_requests() -> Iterator[None]:
    connection.settings_dict["ATOMIC_REQUESTS"] = True
    yield
    connection.settings_dict["ATOMIC_REQUESTS"] = False


@pytest.mark.django_db(transaction=True)
def test_in_autocommit_an_entry_costs_one_statement(wire: Any, ann: User) -> None:
    wire((LoginLog, {}), (AuditLog, {"models": ["testapp.Tag"]}))
    user_login_failed.send(sender="x", credentials={"username": "ann"}, request=None)
    with CaptureQueriesContext(connection) as queries:
        user_logged_in.send(sender=User, request=None, user=ann)
        user_login_failed.send(sender="x", credentials={"username": "ann"}, request=None)
    words = [query["sql"].split()[0] for query in queries]
    # The first is Django's own, of last_login.
    assert words == ["UPDATE", "INSERT", "INSERT"]


@pytest.mark.django_db(transaction=True)
def test_a_failure_of_a_client_with_a_session_asks_for_no_session(wire: Any, ann: User) -> None:
    client = Client()
    client.force_login(ann)
    wire(LoginLog)
    sign_in_with(client, "guess")
    with CaptureQueriesContext(connection) as queries:
        sign_in_with(client, "guess")
    assert [query["sql"].split()[0] for query in queries] == ["SELECT", "INSERT"]


@pytest.mark.django_db(transaction=True)
def test_known_costs_one_query(wire: Any, ann: User) -> None:
    wire((LoginLog, {"usernames": "known"}))
    user_login_failed.send(sender="x", credentials={"username": "ann"}, request=None)
    with CaptureQueriesContext(connection) as queries:
        user_login_failed.send(sender="x", credentials={"username": "ann"}, request=None)
    assert [query["sql"].split()[0] for query in queries] == ["SELECT", "INSERT"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("atomic_requests")
def test_under_atomic_requests_an_entry_is_kept_or_rolled_back_with_the_request(
    wire: Any, ann: User, caplog: Any
) -> None:
    wire(LoginLog)
    sign_in_with(Client())
    assert sign_in_with(Client(), "guess").status_code == 403
    with caplog.at_level(logging.INFO, LOGGER):
        with pytest.raises(RuntimeError, match="after the login"):
            sign_in_with(Client(), fail="1")
    assert [entry.action for entry in get_entries()] == ["login", "login_failed"]
    # The line stays.
    assert "login 'ann'" in caplog.text


@pytest.mark.django_db(transaction=True)
def test_in_a_batch_the_entries_are_one_insert_and_one_unit(wire: Any, ann: User) -> None:
    wire(LoginLog, (AuditLog, {"models": [User], "exclude_fields": ["password"]}))
    ContentType.objects.get_for_model(User)
    with CaptureQueriesContext(connection) as queries, batch():
        user_logged_in.send(sender=User, request=None, user=ann)
        user_login_failed.send(sender="x", credentials={"username": "ann"}, request=None)
    log = AuditEntry._meta.db_table
    # One of each receiver.
    assert sum(f"INTO {connection.ops.quote_name(log)}" in q["sql"] for q in queries) == 2
    assert len({entry.unit for entry in get_entries()}) == 1
    assert [entry.action for entry in AuditEntry.objects.order_by("action")] == [
        "login",
        "login_failed",
        "update",
    ]


# A log that cannot be written


class Broken(LoginLog):
    """Its log is down."""

    def flush(self, items: Any) -> None:
        with connections["default"].cursor() as cursor:
            cursor.execute("INSERT INTO no_such_table VALUES (1)")


class BrokenEarlier(LoginLog):
    def get_context(self) -> Any:
        with connections["default"].cursor() as cursor:
            cursor.execute("SELECT * FROM no_such_table")
        return {}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_atomic", [True, False])
@pytest.mark.parametrize("cls", [Broken, BrokenEarlier])
def test_who_may_log_in_logs_in_though_the_log_cannot_be_written(
    wire: Any, ann: User, failures: Any, caplog: Any, cls: Any, is_atomic: bool
) -> None:
    wire(cls)
    connection.settings_dict["ATOMIC_REQUESTS"] = is_atomic
    try:
        client = Client()
        assert sign_in_with(client).content == b"yes"
        assert sign_in_with(Client(), "guess").status_code == 403
    finally:
        connection.settings_dict["ATOMIC_REQUESTS"] = False
    assert client.session["_auth_user_id"] == str(ann.pk)
    names = ["flush", "flush"] if cls is Broken else ["user_logged_in", "user_login_failed"]
    assert [failure["signal_name"] for failure in failures] == names
    assert caplog.text.count("no_such_table") >= 2


@pytest.mark.django_db(transaction=True)
def test_strict_nobody_logs_in_without_an_entry(wire: Any, ann: User) -> None:
    wire((Broken, {"on_error": "raise"}))
    client = Client()
    with pytest.raises(DatabaseError):
        sign_in_with(client)
    assert "_auth_user_id" not in client.session
    client = Client(raise_request_exception=False)
    assert sign_in_with(client).status_code == 500
    assert "_auth_user_id" not in client.session


class Elsewhere:
    """Keeps the log in another database."""

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return "other" if model is AuditEntry or model is ContentType else None

    db_for_read = db_for_write


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
@pytest.mark.usefixtures("atomic_requests")
def test_a_log_in_another_database_outlives_the_request(
    wire: Any, ann: User, settings: Any
) -> None:
    settings.DATABASE_ROUTERS = [Elsewhere()]
    ContentType.objects.clear_cache()
    wire((LoginLog, {"on_error": "raise"}))
    with pytest.raises(RuntimeError, match="after the login"):
        sign_in_with(Client(), fail="1")
    entry = AuditEntry.objects.using("other").get()
    assert (entry.action, entry.using) == ("login", "default")
    assert not AuditEntry.objects.using("default").exists()


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
@pytest.mark.parametrize("is_atomic", [True, False])
def test_another_database_that_is_down_keeps_nobody_out(
    wire: Any, ann: User, settings: Any, failures: Any, is_atomic: bool
) -> None:
    settings.DATABASE_ROUTERS = [Elsewhere()]
    ContentType.objects.clear_cache()
    wire(LoginLog)
    other = connections["other"]
    original = other.settings_dict["NAME"]
    other.close()
    other.settings_dict["NAME"] = "/no/such/directory/log.sqlite3"
    connection.settings_dict["ATOMIC_REQUESTS"] = is_atomic
    try:
        with pytest.raises(OperationalError):
            other.ensure_connection()
        assert sign_in_with(Client()).content == b"yes"
    finally:
        connection.settings_dict["ATOMIC_REQUESTS"] = False
        other.settings_dict["NAME"] = original
    assert [failure["signal_name"] for failure in failures] == ["user_logged_in"]


# Lines of text


def test_a_line_is_logged_beside_the_entry(wire: Any, ann: User, caplog: Any) -> None:
    wire((LoginLog, {"usernames": "all"}))
    client = Client(REMOTE_ADDR="192.0.2.7")
    with caplog.at_level(logging.INFO, LOGGER):
        sign_in_with(client)
        client.post("/sign-out/")
        sign_in_with(client, "guess", username="ann\nlogin 'root' from 127.0.0.1")
    assert [(r.levelname, r.getMessage()) for r in caplog.records if r.name == LOGGER] == [
        ("INFO", "login 'ann' from 192.0.2.7"),
        ("INFO", "logout 'ann' from 192.0.2.7"),
        ("WARNING", r"""login_failed "ann\nlogin 'root' from 127.0.0.1" from 192.0.2.7"""),
    ]


def test_without_the_audit_app_lines_are_all(
    wire: Any, ann: User, caplog: Any, settings: Any
) -> None:
    rest = [name for name in settings.INSTALLED_APPS if name != "django_signal_kit.audit"]
    with override_settings(INSTALLED_APPS=rest):
        wire((LoginLog, {"on_error": "raise"}))
        with caplog.at_level(logging.INFO, LOGGER):
            with CaptureQueriesContext(connection) as queries:
                user_logged_in.send(sender=User, request=None, user=ann)
        assert "login 'ann' from an unknown address" in caplog.text
        assert [query["sql"].split()[0] for query in queries] == ["UPDATE"]
        wire()
    assert get_entries() == []


class AsksNobody(LoginLog):
    """Asks no logger."""

    def record(self, action: str, request: Any, user: Any, **more: str) -> None: ...


def test_without_the_audit_app_a_logger_that_takes_no_line_is_told(
    wire: Any, caplog: Any, settings: Any
) -> None:
    def get_warnings(**options: Any) -> list[tuple[Any, ...]]:
        wire((LoginLog, options))
        [receiver] = registry.receivers
        return [(message.id, message.msg) for message in receiver.get_warnings()]

    settings.MIDDLEWARE = []
    with caplog.at_level(logging.WARNING, LOGGER):
        assert [id for id, _ in get_warnings()] == ["signal_kit.W004"]
    rest = [name for name in settings.INSTALLED_APPS if name != "django_signal_kit.audit"]
    with override_settings(INSTALLED_APPS=rest):
        with caplog.at_level(logging.INFO, LOGGER):
            assert get_warnings() == []
        with caplog.at_level(logging.WARNING, LOGGER):
            assert get_warnings() == [
                (
                    "signal_kit.W011",
                    "LoginLog tells nobody of a login or a logout: the logger "
                    "'django_signal_kit.logins' is not enabled for INFO, and there is no audit "
                    "log.",
                )
            ]
            assert get_warnings(actions=["logout"])[0][1].startswith(
                "LoginLog tells nobody of a logout: "
            )
            assert get_warnings(actions=["login_failed"]) == []
            wire(AsksNobody)
            assert registry.receivers[0].get_warnings() == []
        wire()


def test_a_log_model_that_is_not_there_stops_the_start(wire: Any, settings: Any) -> None:
    settings.SIGNAL_KIT_AUDIT_ENTRY_MODEL = "shop.Entry"
    with pytest.raises(ImproperlyConfigured, match=r"'shop.Entry'.*E011"):
        wire(LoginLog)


# last_login


def test_auditlog_tells_of_last_login_unless_that_is_left_out(wire: Any, ann: User) -> None:
    wire(LoginLog, (AuditLog, {"models": [User]}))
    user_logged_in.send(sender=User, request=None, user=ann)
    assert sorted(entry.action for entry in get_entries()) == ["login", "update"]
    wire(LoginLog, (AuditLog, {"models": [User], "exclude_fields": ["last_login"]}))
    user_logged_in.send(sender=User, request=None, user=ann)
    assert sorted(entry.action for entry in get_entries()) == ["login", "login", "update"]


# Reading the log


@pytest.fixture
def story(wire: Any, ann: User) -> list[AuditEntry]:
    """A login, a failure of a known user, one of nobody, and a logout."""
    wire((LoginLog, {"usernames": "known"}), (AuditLog, {"models": ["testapp.Tag"]}))
    client = Client(REMOTE_ADDR="192.0.2.7")
    sign_in_with(client)
    sign_in_with(client, "guess")
    sign_in_with(client, "guess", username="nobody")
    client.post("/sign-out/")
    wire()
    return get_entries()


def test_the_query_helpers_find_logins(story: list[AuditEntry], ann: User) -> None:
    entered, failed, of_nobody, left = story
    assert list(AuditEntry.objects.for_object(ann)) == [left, failed, entered]
    assert list(AuditEntry.objects.by(ann)) == [left, entered]
    assert list(AuditEntry.objects.by(None)) == [of_nobody, failed]
    assert list(AuditEntry.objects.of_unit(entered)) == [entered]


def test_a_login_is_nothing_to_revert(story: list[AuditEntry]) -> None:
    for entry in story:
        with pytest.raises(RevertError, match=rf"no change of a row \({entry.action}\)"):
            entry.revert(force=True)


def test_logins_do_not_disturb_the_past_of_the_user(wire: Any, ann: User) -> None:
    wire(LoginLog, (AuditLog, {"models": [User], "exclude_fields": ["last_login"]}))
    bea = UserFactory(username="bea")
    moment = timezone.now()
    Client().force_login(bea)
    User.objects.filter(pk=bea.pk).update(email="new@shop.example")
    authenticate(username="bea", password="guess")
    past = AuditEntry.objects.as_of(bea, moment, fields=["email", "username"])
    assert past.email == "bea@shop.example"


def test_the_list_shows_logins_and_filters_them(story: list[AuditEntry], ann: User) -> None:
    client = log_in(ann)
    text = get_text(get_list(client))
    assert "logged in ann user ann Address 192.0.2.7" in text
    assert "failed to log in ann user - User name ann, Address 192.0.2.7" in text
    assert "logged out ann user ann Address 192.0.2.7" in text
    found = get_list(client, action__exact="login_failed").context["cl"].result_list
    assert [entry.action for entry in found] == ["login_failed", "login_failed"]


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (0, ["logged in", "ann", "Backend", BACKEND, "Address 192.0.2.7"]),
        (1, ["failed to log in", "nobody known", "User name ann"]),
        (2, ["failed to log in", "no name", "Path /sign-in/"]),
        (3, ["logged out", "ann", "Path /sign-out/"]),
    ],
)
def test_a_page_tells_of_a_login_and_has_no_empty_table_of_changes(
    story: list[AuditEntry], ann: User, number: int, told: list[str]
) -> None:
    text = get_text(get_page(log_in(ann), story[number]))
    assert [part for part in told if part not in text] == []
    assert "Changes" not in text
    assert "No value is recorded" not in text


@pytest.mark.urls("tests.audit.history_site")
def test_the_history_of_a_user_shows_logins_without_empty_tables(
    story: list[AuditEntry], ann: User, settings: Any
) -> None:
    settings.ROOT_URLCONF = "tests.audit.history_site"
    text = get_text(log_in(ann).get(reverse("admin:auth_user_history", args=[ann.pk])))
    times = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "*", text)
    assert "* ann The whole request logged out" in times
    assert "* nobody known The whole request failed to log in" in times
    assert "User name ann Address 192.0.2.7" in times
    assert "No value is recorded" not in text


def test_logins_are_sealed_verified_and_exported(
    story: list[AuditEntry], tmp_path: Any, capsys: Any
) -> None:
    call_command("sealauditlog", verbosity=0)
    call_command("verifyauditlog", verbosity=0)
    file = tmp_path / "log.jsonl"
    call_command("exportauditlog", format="jsonl", output=str(file), verbosity=0)
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert sorted(line["action"] for line in lines) == [
        "login",
        "login_failed",
        "login_failed",
        "logout",
    ]
