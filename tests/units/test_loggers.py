"""The kit's log records: their loggers, levels and keys, and that none gives a secret away."""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, NamedTuple
from unittest import mock

import pytest
from django.contrib.auth.models import User
from django.core.cache.backends.locmem import LocMemCache
from django.db import connection, transaction
from django.db.models import ProtectedError
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path

from django_signal_kit import ModelReceiver, context, trace
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.cache import cached
from django_signal_kit.contrib.prometheus import SignalKitCollector
from django_signal_kit.receivers import (
    AuditLog,
    CacheInvalidation,
    DeletionLog,
    ExceptionAlert,
    FileCleanup,
    InstanceMonitor,
    LoginLog,
    OrphanCleanup,
    RequestTimer,
    WelcomeEmail,
)
from django_signal_kit.sight import counting, mutes, watching
from django_signal_kit.sight.publishing import Publisher
from django_signal_kit.units.loggers import get_logger
from django_signal_kit.writes import migrating
from tests.apps.relations.models import Article, Topic
from tests.apps.testapp.models import Product, Tag
from tests.docs.blocks import ROOT
from tests.sources import get_modules
from tests.tasks.queues import LATER, Broker, work
from tests.test_public_names import LOGGERS

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = ROOT / "docs" / "reference" / "logging.md"

#: What a record has by itself, or is given by a formatter.
OWN = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}

METHODS = ("debug", "info", "warning", "error", "exception", "critical", "log")
#: What the level of a call depends on, if it is given when it is called.
LEVELS = {
    "django_signal_kit.sight": "DEBUG, WARNING",
    "django_signal_kit.deletions": "`level`",
    "django_signal_kit.logins": "INFO, WARNING",
}


class Call(NamedTuple):
    """A line of the package that logs something."""

    logger: str
    level: str
    message: str
    keys: frozenset[str]


def list_calls() -> Iterator[Call]:
    for name, tree in get_modules().items():
        for function in ast.walk(tree):
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for node in ast.walk(function):
                match node:
                    case ast.Call(func=ast.Attribute(ast.Name("logger"), method)):
                        if method in METHODS:
                            yield read_call(node, method, function, get_name(name, tree))


def get_name(module: str, tree: ast.Module) -> str:
    for node in tree.body:
        match node:
            case ast.Assign(
                [ast.Name("logger")], ast.Call(ast.Name("get_logger"), [ast.Constant(value=name)])
            ):
                return str(name)
    assert module == "audit.deletion_log", f"{module}: use get_logger() of units.loggers"
    return DeletionLog.logger


def read_call(node: ast.Call, method: str, function: ast.AST, logger: str) -> Call:
    level = {"log": LEVELS.get(logger, ""), "exception": "ERROR"}.get(method, method.upper())
    message = node.args[1 if method == "log" else 0]
    text = message.value if isinstance(message, ast.Constant) else "%s"
    extra = [keyword.value for keyword in node.keywords if keyword.arg == "extra"]
    assert extra, f"{logger}: {text!r} has no extra"
    return Call(logger, level, shorten(text), frozenset(get_keys(extra[0], function)))


def get_keys(extra: ast.expr, function: ast.AST) -> Iterator[str]:
    """Those of a dict that is written there, or above in the same function."""
    if isinstance(extra, ast.Name):
        values = [
            node.value
            for node in ast.walk(function)
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == extra.id
        ]
        # What a receiver has put together elsewhere is on its own page.
        extra = values[0] if values else ast.Dict([], [])
    assert isinstance(extra, ast.Dict)
    for key, value in zip(extra.keys, extra.values, strict=True):
        if key is None:
            yield from get_keys(value, function)
        else:
            assert isinstance(key, ast.Constant)
            yield str(key.value)


def shorten(message: str) -> str:
    """As the page has it: on one line, with ``…`` for each value."""
    return re.sub(r"%(\.\d)?[a-z]", "…", " ".join(message.split()))


def read_rows() -> Iterator[Call]:
    """The table of the page."""
    pattern = r"^\| `(django_signal_kit\.\w+)` \| (.*?) \| (.*?) \| (.*?) \|$"
    for logger, level, message, keys in re.findall(
        pattern, PAGE.read_text(encoding="utf-8"), re.MULTILINE
    ):
        yield Call(logger, level, message, frozenset(re.findall(r"`(\w+)`", keys)))


def test_each_line_that_logs_is_in_the_table_and_nothing_else() -> None:
    calls, rows = list(list_calls()), list(read_rows())
    assert len(calls) > 30
    assert sorted(map(render, rows)) == sorted(map(render, calls))


def render(call: Call) -> str:
    return f"| `{call.logger}` | {call.level} | {call.message} | {render_keys(call.keys)} |"


def render_keys(keys: frozenset[str]) -> str:
    return " ".join(f"`{key}`" for key in sorted(keys))


def test_no_key_is_one_of_the_records_own() -> None:
    keys = {key for call in list_calls() for key in call.keys} | {"request_id", "unit"}
    assert keys & OWN == set()


def test_each_key_is_explained_once() -> None:
    keys = {key for call in list_calls() for key in call.keys} | {"request_id", "unit"}
    rows = re.findall(r"^\| `(\w+)` \| (?!\w+ \|)", PAGE.read_text(encoding="utf-8"), re.M)
    assert sorted(rows) == sorted(keys)


def test_whoever_logs_goes_through_the_kits_loggers() -> None:
    found = {n for n, tree in get_modules().items() if "logging.getLogger(" in ast.unparse(tree)}
    assert found == {"units.loggers", "audit.deletion_log"}


# What a record tells


class Says(ModelReceiver):
    models = ["testapp.Tag"]

    def post_save(self, instance: Any, **kwargs: Any) -> None:
        get_logger("django_signal_kit.units").warning("here", extra={"receiver": self.name})


@pytest.mark.parametrize("atomic", [False, True])
def test_a_record_has_the_unit_of_the_log_and_the_request(
    wire: Any, caplog: Any, atomic: bool
) -> None:
    wire(Says, (AuditLog, {"models": ["testapp.Tag"]}))

    def save() -> None:
        Tag.objects.create(name="a")
        Tag.objects.create(name="b")

    with context(request_id="r-1"):
        if atomic:
            with transaction.atomic():
                save()
        else:
            save()
    get_logger("django_signal_kit.units").warning("outside")
    *inside, outside = caplog.records
    assert [(r.receiver, r.request_id) for r in inside] == [("Says", "r-1")] * 2
    units = AuditEntry.objects.order_by("pk").values_list("unit", flat=True)
    assert [record.unit for record in inside] == list(map(str, units))
    assert (len({*units}) == 1) is atomic
    assert (outside.request_id, outside.unit) == (None, None)
    assert inside[0].funcName == "post_save"


def test_what_is_given_counts_more(caplog: Any) -> None:
    with context(request_id="r-1"):
        get_logger("django_signal_kit.units").warning("x", extra={"request_id": "r-2"})
        get_logger("django_signal_kit.units").warning("x", extra=None)
    assert [record.request_id for record in caplog.records] == ["r-2", "r-1"]


def test_a_line_of_a_deletion_has_the_same_keys(wire: Any, caplog: Any) -> None:
    caplog.set_level(logging.INFO)
    wire((DeletionLog, {"models": ["testapp.Tag"]}))
    tag = Tag.objects.create(name="a")
    with context(request_id="r-1"):
        tag.delete()
    (record,) = caplog.records
    assert (record.receiver, record.request_id) == ("DeletionLog", "r-1")
    assert record.model == "testapp.Tag"


# What no record tells

#: Looks like a token of Django's.
SECRET = "c5kq1a-1f0c3d5e7a9b0c2d4e6f8a0b1c3d5e7f"


class Breaks(ModelReceiver):
    models = ["testapp.Tag"]
    on_error = "log"

    def post_save(self, instance: Any, **kwargs: Any) -> None:
        raise ValueError(instance.name)


class HookBreaks(AuditLog):
    models = ["testapp.Tag"]

    def get_object_text(self, instance: Any) -> str:
        raise ValueError(instance.name)


class TaskFails(ModelReceiver):
    models = ["testapp.Tag"]
    flush_on = "task"

    def post_save(self, instance: Any, **kwargs: Any) -> None:
        self.collect(instance.name)

    def flush(self, items: list[Any]) -> None:
        raise ValueError(items)


class Refuses(ModelReceiver):
    models = ["relations.Topic"]

    def pre_delete(self, instance: Any, **kwargs: Any) -> None:
        raise ProtectedError("Topics stay.", {instance})


class Down(LocMemCache):
    def _fail(self, *args: Any, **kwargs: Any) -> Any:
        raise ConnectionError(f"redis://:{SECRET}@cache.example/0 does not answer")

    get = get_many = set = set_many = delete = delete_many = add = incr = _fail


def fail(request: HttpRequest) -> HttpResponse:
    raise ValueError("no")


def list_tags(request: HttpRequest, token: str) -> HttpResponse:
    return HttpResponse(str(len(Tag.objects.all())))


urlpatterns = [path("fail/", fail), path("reset/<str:token>/", list_tags)]


def have_units_log(wire: Any, settings: Any) -> None:
    wire(Breaks, HookBreaks)
    Tag.objects.create(name=SECRET)


def have_cache_log(wire: Any, settings: Any) -> None:
    settings.CACHES = {"default": {"BACKEND": f"{__name__}.Down"}}
    wire((CacheInvalidation, {"models": ["testapp.Tag"], "keys": ["tag:{pk}"]}))
    cached(tags=["tag:1"], key="x")(lambda: SECRET)()
    Tag.objects.create(name=SECRET)


def have_tasks_log(wire: Any, settings: Any) -> None:
    settings.TASKS = LATER
    wire(TaskFails, TASKS={"ATTEMPTS": 2})
    Tag.objects.create(name=SECRET)
    work()
    work()
    Broker.messages.clear()


def have_relations_log(wire: Any, settings: Any) -> None:
    wire((OrphanCleanup, {"models": [Topic]}), Refuses)
    article = Article.objects.create()
    article.topics.add(Topic.objects.create(name=SECRET))
    article.topics.clear()


def have_mail_log(wire: Any, settings: Any) -> None:
    wire(WelcomeEmail)
    User.objects.create(username=SECRET, email=f"{SECRET}, b@shop.example")


def have_files_log(wire: Any, settings: Any) -> None:
    wire((FileCleanup, {"models": ["testapp.Product"]}))
    Product.objects.create(name=SECRET, image="../outside.txt").delete()


def have_writes_log(wire: Any, settings: Any) -> None:
    wire((AuditLog, {"models": ["testapp.Tag"]}))
    with migrating._silent("A migration writes to %s."):
        Tag.objects.create(name=SECRET)


def have_unheard_log(wire: Any, settings: Any) -> None:
    watching._told.clear()
    wire((AuditLog, {"models": ["testapp.Tag"]}), WATCH=True)
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO testapp_tag (name) VALUES (%s)", [SECRET])


def have_trace_log(wire: Any, settings: Any) -> None:
    wire((AuditLog, {"models": ["testapp.Tag"]}))
    trace()(lambda: Tag.objects.create(name=SECRET))()


def have_logins_log(wire: Any, settings: Any) -> None:
    wire(LoginLog)
    Client().post("/admin/login/", {"username": "ann", "password": SECRET})


def have_deletions_log(wire: Any, settings: Any) -> None:
    wire((DeletionLog, {"models": ["auth.User"], "fields": "__all__"}))
    User.objects.create(username="ann", password=SECRET).delete()


def have_requests_log(wire: Any, settings: Any) -> None:
    settings.ROOT_URLCONF = __name__
    wire((RequestTimer, {"slow_after": 0}))
    Client().get(f"/reset/{SECRET}/", {"key": SECRET})
    Client().get(f"/nowhere/{SECRET}/")


def have_instances_log(wire: Any, settings: Any) -> None:
    settings.ROOT_URLCONF = __name__
    wire((InstanceMonitor, {"models": ["testapp.Tag"], "limit": 1}))
    Tag.objects.bulk_create(Tag(name=SECRET) for _ in range(3))
    Client().get(f"/reset/{SECRET}/")


def have_alerts_log(wire: Any, settings: Any) -> None:
    settings.ROOT_URLCONF = __name__
    wire((ExceptionAlert, {"channels": ["log"]}))
    Client(raise_request_exception=False).post("/fail/", {"password": SECRET})


def have_sight_log(wire: Any, settings: Any) -> None:
    def fail(is_due: bool, is_last: bool) -> None:
        raise ConnectionError(f"no cache at redis://:{SECRET}@127.0.0.1")

    Publisher(fail).publish()


def have_contrib_log(wire: Any, settings: Any) -> None:
    with mock.patch.object(counting, "get_tasks", side_effect=ValueError(SECRET)):
        list(SignalKitCollector().collect())


def have_muting_log(wire: Any, settings: Any) -> None:
    settings.SIGNAL_KIT = {
        "RECEIVERS": [{"RECEIVER": f"{__name__}.Says", "OPTIONS": {"models": ["testapp.Tag"]}}],
        "ADMIN_MUTING": True,
    }
    mutes.mute("Says", by="ada", reason="it fails", duration=timedelta(hours=1))
    mutes.unmute("Says", by="ada")


ROOMS: dict[str, Callable[[Any, Any], None]] = {
    f"django_signal_kit.{name.removeprefix('have_').removesuffix('_log')}": function
    for name, function in list(globals().items())
    if name.startswith("have_")
}


def test_each_logger_has_a_run() -> None:
    assert {*ROOMS, "django_signal_kit"} == LOGGERS


@pytest.mark.parametrize("logger", ROOMS)
def test_no_record_gives_a_secret_away(
    wire: Any, settings: Any, caplog: Any, media: Any, logger: str
) -> None:
    caplog.set_level(logging.DEBUG, "django_signal_kit")
    ROOMS[logger](wire, settings)
    records = [r for r in caplog.records if r.name.startswith("django_signal_kit")]
    assert logger in {record.name for record in records}
    for record in records:
        extra = {key: value for key, value in vars(record).items() if key not in OWN}
        told = f"{record.getMessage()} {extra}"
        assert SECRET not in told
        assert {"request_id", "unit"} <= extra.keys()
        # That of whoever raised it is in the traceback, which every handler may leave out.
        assert record.exc_info is None or "error" in extra
