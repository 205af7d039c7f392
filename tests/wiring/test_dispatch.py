"""A method named after a signal receives that signal, with the signal's own arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import django
import pytest
from django.apps import apps
from django.apps.registry import Apps
from django.contrib.auth import user_logged_in
from django.core import serializers
from django.core.management import call_command
from django.db import DatabaseError, connection, models, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.models.signals import post_save
from django.dispatch import Signal
from django.http import HttpResponse
from django.template import engines
from django.test import Client, RequestFactory, override_settings
from django.urls import path

from django_signal_kit import ModelReceiver, Receiver
from django_signal_kit.signals import receiver_failed
from django_signal_kit.wiring.catalog import BULK_SIGNALS, DJANGO_SIGNALS, get_signal
from django_signal_kit.wiring.registry import registry
from tests.apps.testapp.models import Tag
from tests.conftest import run_async
from tests.factories import ProductFactory, TagFactory, UserFactory, store

pytestmark = pytest.mark.django_db(transaction=True)

HEARD: list[tuple[str, dict[str, Any]]] = []
signed_up = Signal()


class Everything(ModelReceiver):
    """A method for every signal there is."""

    models = ["testapp.Tag", "testapp.Product"]


def make_method(name: str) -> Any:
    def method(self: Any, **kwargs: Any) -> None:
        HEARD.append((name, kwargs))

    method.__name__ = name
    return method


for signal_name in (*DJANGO_SIGNALS, *BULK_SIGNALS, "signed_up"):
    setattr(Everything, signal_name, make_method(signal_name))


@pytest.fixture
def everything(wire: Any) -> Any:
    connection.ensure_connection()
    receiver = wire(Everything, EXTRA_SIGNALS={"signed_up": f"{__name__}.signed_up"})
    # Else the first query would be heard as well.
    connection.ensure_connection()
    HEARD.clear()
    yield receiver
    HEARD.clear()


def names() -> list[str]:
    found = [name for name, _ in HEARD]
    HEARD.clear()
    return found


def view(request: Any) -> HttpResponse:
    if "fail" in request.GET:
        raise ZeroDivisionError
    return HttpResponse("fine")


urlpatterns = [path("", view)]


def test_rows(everything: Any) -> None:
    tag = Tag(name="a")
    assert names() == ["pre_init", "post_init"]
    tag.save()
    assert names() == ["pre_save", "post_save"]
    tag.delete()
    assert names() == ["pre_delete", "post_delete"]
    product, tag = ProductFactory(), TagFactory()
    names()
    product.tags.add(tag)
    assert [kwargs["action"] for name, kwargs in HEARD if name == "m2m_changed"] == [
        "pre_add",
        "post_add",
    ]


def test_bulk_writes(everything: Any) -> None:
    tags = Tag.objects.bulk_create([Tag(name="a")])
    Tag.objects.bulk_update(tags, ["name"])
    Tag.objects.update(name="b")
    heard = [name for name in names() if name in BULK_SIGNALS]
    assert heard == [
        f"{phase}_{what}"
        for what in ("bulk_create", "bulk_update", "queryset_update")
        for phase in ("pre", "post")
    ]


def test_requests(everything: Any) -> None:
    with override_settings(ROOT_URLCONF=__name__):
        client = Client(raise_request_exception=False)
        assert client.get("/").content == b"fine"
        assert client.get("/?fail=1").status_code == 500
    heard = [name for name in names() if "request" in name]
    assert heard.count("request_started") == 2
    assert heard.count("request_finished") == 2
    assert heard.count("got_request_exception") == 1


def test_log_ins(everything: Any) -> None:
    user = UserFactory()
    user.set_password("secret")
    user.save()
    client = Client()
    client.login(username=user.username, password="secret")
    client.login(username=user.username, password="wrong")
    client.logout()
    heard = [name for name in names() if name.startswith("user_")]
    assert heard == ["user_logged_in", "user_login_failed", "user_logged_out"]


def test_migrations(everything: Any) -> None:
    call_command("migrate", verbosity=0)
    heard = names()
    count = len([config for config in apps.get_app_configs() if config.models_module])
    assert heard.count("pre_migrate") == heard.count("post_migrate") == count


def test_the_rest(everything: Any) -> None:
    engines["django"].from_string("x").render()
    assert names() == ["template_rendered"]
    connection.close()
    connection.ensure_connection()
    assert names() == ["connection_created"]
    with override_settings(USE_I18N=True):
        pass
    assert names() == ["setting_changed", "setting_changed"]
    signed_up.send(sender=None, user="ann")
    assert HEARD[0][1]["user"] == "ann"
    names()
    type("Fleeting", (models.Model,), {"__module__": __name__, "Meta": _Meta})
    assert names() == ["class_prepared"]
    del apps.all_models["testapp"]["fleeting"]
    apps.clear_cache()


class _Meta:
    app_label = "testapp"


def test_every_signal_in_the_catalog_has_been_sent_above() -> None:
    """A signal that is added to the catalog has to be added to the tests above."""
    assert set(DJANGO_SIGNALS) == {
        *("pre_init", "post_init", "pre_save", "post_save", "pre_delete", "post_delete"),
        *("m2m_changed", "class_prepared", "pre_migrate", "post_migrate"),
        *("request_started", "request_finished", "got_request_exception"),
        *("setting_changed", "connection_created", "template_rendered"),
        *("user_logged_in", "user_logged_out", "user_login_failed"),
    }
    assert all(isinstance(get_signal(name), Signal) for name in DJANGO_SIGNALS)


@pytest.mark.parametrize("name", ["pre_save", "post_save", "pre_delete", "post_delete"])
def test_arguments_are_exactly_those_of_a_plain_receiver(everything: Any, name: str) -> None:
    plain: list[dict[str, Any]] = []

    def receive(**kwargs: Any) -> None:
        plain.append(kwargs)

    get_signal(name).connect(receive, sender=Tag)
    try:
        tag = Tag.objects.create(name="a")
        tag.delete()
    finally:
        get_signal(name).disconnect(receive, sender=Tag)
    [ours] = [kwargs for heard, kwargs in HEARD if heard == name]
    assert ours == plain[0]


def test_a_signal_sent_by_hand_may_leave_arguments_out(everything: Any) -> None:
    tag = Tag(name="a")
    names()
    post_save.send(sender=Tag, instance=tag)
    assert HEARD[0][1]["created"] is False
    names()
    post_save.send(sender=Tag, instance=tag, created=True, extra=1)
    assert HEARD[0][1]["created"] is True
    assert HEARD[0][1]["extra"] == 1


# Async


class Async(ModelReceiver):
    models = ["testapp.Tag"]

    async def post_save(self, instance: Any, **kwargs: Any) -> None:
        HEARD.append((instance.name, kwargs))

    async def request_finished(self, **kwargs: Any) -> None:
        raise ZeroDivisionError


def test_async_methods_are_awaited_from_sync_and_async_code(wire: Any) -> None:
    wire(Async)
    HEARD.clear()
    Tag.objects.create(name="a")
    run_async(Tag.objects.acreate(name="b"))
    assert names() == ["a", "b"]


# Errors


class Failing(ModelReceiver):
    models = ["testapp.Tag"]

    def post_save(self, **kwargs: Any) -> None:
        raise ZeroDivisionError

    def request_started(self, **kwargs: Any) -> None:
        raise ZeroDivisionError

    request_finished = got_request_exception = user_logged_in = request_started


class AsyncFailing(ModelReceiver):
    models = ["testapp.Tag"]

    async def post_save(self, **kwargs: Any) -> None:
        raise ZeroDivisionError


class Breaking(ModelReceiver):
    """Swallowed plainly, its error would break the caller's transaction."""

    models = ["testapp.Tag"]
    on_error = "log"

    def post_save(self, **kwargs: Any) -> None:
        self.collect("never")
        with connection.cursor() as cursor:
            cursor.execute("SELECT nonsense")

    def flush(self, items: Any) -> None:
        raise AssertionError


@pytest.mark.parametrize("cls", [Failing, AsyncFailing])
def test_an_error_reaches_whoever_caused_the_signal(wire: Any, failures: Any, cls: Any) -> None:
    wire(cls)
    with pytest.raises(ZeroDivisionError):
        Tag.objects.create(name="a")
    assert failures == []


@pytest.mark.parametrize("cls", [Failing, AsyncFailing])
def test_a_logged_error_is_told_and_harms_nobody(
    wire: Any, failures: Any, caplog: Any, cls: Any
) -> None:
    wire((cls, {"on_error": "log"}))
    Tag.objects.create(name="a")
    [failure] = failures
    assert (failure["sender"], failure["receiver"].name) == (cls, cls.__name__)
    assert (failure["signal_name"], type(failure["exception"])) == ("post_save", ZeroDivisionError)
    assert "ZeroDivisionError" in caplog.text
    assert Tag.objects.count() == 1


def test_a_swallowed_database_error_leaves_the_transaction_whole(wire: Any, failures: Any) -> None:
    wire(Breaking)
    with transaction.atomic():
        Tag.objects.create(name="a")
        Tag.objects.create(name="b")
    assert Tag.objects.count() == 2
    assert len(failures) == 2
    assert all(isinstance(failure["exception"], DatabaseError) for failure in failures)
    assert type(failures[0]["exception"]) is type(failures[1]["exception"])


def test_request_signals_are_always_isolated(wire: Any, failures: Any) -> None:
    wire(Failing)
    with override_settings(ROOT_URLCONF=__name__):
        client = Client(raise_request_exception=False)
        assert client.get("/").content == b"fine"
        assert client.get("/?fail=1").status_code == 500
    assert {failure["signal_name"] for failure in failures} == {
        "request_started",
        "request_finished",
        "got_request_exception",
    }


def test_other_signals_are_isolated_only_on_request(wire: Any, failures: Any) -> None:
    wire(Failing)
    user, request = UserFactory(), RequestFactory().get("/")
    with pytest.raises(ZeroDivisionError):
        user_logged_in.send(sender=type(user), request=request, user=user)
    assert failures == []


class Fails(Receiver):
    def receiver_failed(self, **kwargs: Any) -> None:
        raise ZeroDivisionError


def test_a_receiver_of_failures_that_fails_is_logged_too(wire: Any, caplog: Any) -> None:
    wire((Failing, {"on_error": "log"}), Fails)
    Tag.objects.create(name="a")
    assert Tag.objects.count() == 1
    assert "Fails.receiver_failed" in caplog.text


# Fixtures


class Rows(ModelReceiver):
    models = ["testapp.*"]

    def post_save(self, sender: Any, raw: bool, **kwargs: Any) -> None:
        HEARD.append((sender.__name__, {"raw": raw}))


def test_fixtures_are_heard_only_with_raw(wire: Any, tmp_path: Path) -> None:
    fixture = tmp_path / "tags.json"
    fixture.write_text(serializers.serialize("json", [Tag(pk=1, name="a")]))
    for raw, expected in ((False, []), (True, [("Tag", {"raw": True})])):
        wire((Rows, {"raw": raw}))
        HEARD.clear()
        call_command("loaddata", str(fixture), verbosity=0)
        assert expected == HEARD


# The kit's own signals, and what others mean by their arguments


class Told(ModelReceiver):
    models = ["testapp.Product"]

    def receiver_failed(self, **kwargs: Any) -> None:
        HEARD.append(("receiver_failed", kwargs))

    def pre_file_delete(self, **kwargs: Any) -> None:
        HEARD.append(("pre_file_delete", kwargs))

    def post_file_delete(self, **kwargs: Any) -> None:
        HEARD.append(("post_file_delete", kwargs))

    def audit_entries_created(self, **kwargs: Any) -> None:
        HEARD.append(("audit_entries_created", kwargs))


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_the_kits_signals_are_sent(wire: Any, media: Path) -> None:
    wire(
        (Failing, {"on_error": "log"}),
        ("django_signal_kit.receivers.AuditLog", {"models": ["testapp.Tag"]}),
        ("django_signal_kit.receivers.FileCleanup", {"models": ["testapp.Product"]}),
        Told,
    )
    product = ProductFactory.build()
    store(product.image, "a.txt")
    product.save()
    HEARD.clear()
    product.delete()
    assert names() == ["pre_file_delete", "post_file_delete"]
    Tag.objects.create(name="a")
    (failed, failure), (created, entries) = HEARD
    assert (failed, created) == ("receiver_failed", "audit_entries_created")
    assert failure.keys() >= {"receiver", "signal_name", "exception"}
    assert entries.keys() >= {"entries", "using"}


# What sends each signal of Django, given a row.
TRIGGERS: dict[str, Any] = {
    "pre_init": lambda tag: Tag(name="b"),
    "post_init": lambda tag: Tag(name="b"),
    "pre_save": lambda tag: tag.save(update_fields=["name"]),
    "post_save": lambda tag: tag.save(update_fields=["name"]),
    "pre_delete": lambda tag: tag.delete(),
    "post_delete": lambda tag: tag.delete(),
    "m2m_changed": lambda tag: tag.products.add(ProductFactory()),
    "pre_migrate": lambda tag: call_command("migrate", "testapp", verbosity=0),
    "post_migrate": lambda tag: call_command("migrate", "testapp", verbosity=0),
    "request_started": lambda tag: Client().get("/"),
    "request_finished": lambda tag: Client().get("/"),
    "got_request_exception": lambda tag: Client(raise_request_exception=False).get("/?fail=1"),
    "setting_changed": lambda tag: override_settings(USE_I18N=True)(len)(""),
    "connection_created": lambda tag: (connection.close(), connection.ensure_connection()),
    "template_rendered": lambda tag: engines["django"].from_string("x").render(),
    "user_logged_in": lambda tag: Client().force_login(UserFactory()),
    "user_logged_out": lambda tag: log_out(),
    "user_login_failed": lambda tag: Client().login(username="nobody", password="x"),
}


def log_out() -> None:
    client = Client()
    client.force_login(UserFactory())
    client.logout()


@pytest.mark.parametrize("name", TRIGGERS)
def test_each_signal_comes_with_the_arguments_that_django_sends(
    everything: Any, name: str, settings: Any
) -> None:
    settings.ROOT_URLCONF = __name__
    plain: list[dict[str, Any]] = []
    tag = TagFactory()
    covered = {c.sender for c in registry.connections if c.signal_name == name}

    def receive(**kwargs: Any) -> None:
        if kwargs["sender"] in covered or covered == {None}:
            plain.append(kwargs)

    get_signal(name).connect(receive)
    HEARD.clear()
    try:
        TRIGGERS[name](tag)
        found = [kwargs for heard, kwargs in HEARD if heard == name]
    finally:
        get_signal(name).disconnect(receive)
    if name == "m2m_changed" and django.VERSION < (6, 1):
        # The kit gives what Django sends since 6.1.
        assert [kwargs.pop("raw") for kwargs in found] == [False] * len(found)
    assert found != []
    assert found == plain


def test_the_arguments_of_each_signal_are_tried() -> None:
    assert {*TRIGGERS, "class_prepared"} == set(DJANGO_SIGNALS)


class ByName(ModelReceiver):
    models = ["testapp.Tag"]

    def post_save(self, instance: Any, created: bool, raw: bool, using: str, **rest: Any) -> None:
        HEARD.append(("sync", {"created": created, "raw": raw, "using": using}))


class AsyncByName(ModelReceiver):
    models = ["testapp.Tag"]

    async def post_save(
        self, instance: Any, created: bool, raw: bool, using: str, **rest: Any
    ) -> None:
        HEARD.append(("async", {"created": created, "raw": raw, "using": using}))


def test_what_is_left_out_has_its_default_in_async_methods_too(wire: Any) -> None:
    wire(ByName, AsyncByName)
    HEARD.clear()
    post_save.send(sender=Tag, instance=Tag(name="a"))
    default = {"created": False, "raw": False, "using": "default"}
    assert [kwargs for _, kwargs in HEARD] == [default, default]
    assert names() == ["sync", "async"]
    HEARD.clear()
    post_save.send(sender=Tag, instance=Tag(name="a"), created=True, using="other")
    given = {"created": True, "raw": False, "using": "other"}
    assert [kwargs for _, kwargs in HEARD] == [given, given]
    assert names() == ["sync", "async"]


def test_raw_is_not_heard_by_async_methods_either(wire: Any) -> None:
    wire(AsyncByName)
    HEARD.clear()
    post_save.send(sender=Tag, instance=Tag(name="a"), raw=True)
    assert HEARD == []
    wire((AsyncByName, {"raw": True}))
    post_save.send(sender=Tag, instance=Tag(name="a"), raw=True)
    assert names() == ["async"]


class FailsOnSignUp(Receiver):
    def signed_up(self, **kwargs: Any) -> None:
        raise ZeroDivisionError


@pytest.mark.parametrize("using", ["sms", "", None, 5, ["default"]])
def test_another_meaning_of_using_harms_nobody(wire: Any, failures: Any, using: Any) -> None:
    wire(
        (FailsOnSignUp, {"on_error": "log"}), EXTRA_SIGNALS={"signed_up": f"{__name__}.signed_up"}
    )
    signed_up.send(sender=None, using=using)
    assert [failure["signal_name"] for failure in failures] == ["signed_up"]


class FailsOnFailure(Receiver):
    on_error = "log"
    calls = 0

    def receiver_failed(self, **kwargs: Any) -> None:
        type(self).calls += 1
        raise ZeroDivisionError


def test_a_receiver_of_failures_is_not_told_of_its_own(wire: Any, caplog: Any) -> None:
    wire((Failing, {"on_error": "log"}), FailsOnFailure)
    FailsOnFailure.calls = 0
    Tag.objects.create(name="a")
    assert FailsOnFailure.calls == 1
    assert "FailsOnFailure failed in receiver_failed" in caplog.text


def test_the_arguments_of_a_failure(wire: Any, failures: Any) -> None:
    receiver = wire((Failing, {"on_error": "log"}))
    Tag.objects.create(name="a")
    [kwargs] = failures
    assert isinstance(kwargs.pop("exception"), ZeroDivisionError)
    assert kwargs == {
        "signal": receiver_failed,
        "sender": Failing,
        "receiver": receiver,
        "signal_name": "post_save",
        "items": [],
    }


class FailsAfterwards(ModelReceiver):
    models = ["testapp.Tag"]

    def post_save(self, **kwargs: Any) -> None:
        HEARD.append(("afterwards", kwargs))


def test_after_a_logged_error_the_next_receiver_is_called(wire: Any) -> None:
    wire((Failing, {"on_error": "log"}), FailsAfterwards)
    HEARD.clear()
    Tag.objects.create(name="a")
    assert names() == ["afterwards"]


def test_the_models_of_migrations_prepare_no_class(everything: Any) -> None:
    apps_of_migrations = MigrationExecutor(connection).loader.project_state().apps
    HEARD.clear()
    assert apps_of_migrations.get_model("testapp", "Tag") is not Tag
    type("Elsewhere", (models.Model,), {"__module__": __name__, "Meta": _MetaElsewhere})
    assert [name for name in names() if name == "class_prepared"] == []


class _MetaElsewhere:
    app_label = "testapp"
    apps = Apps()
