"""What is wired follows the settings, into an override and out of it."""

from __future__ import annotations

import datetime
import io
import sys
import unittest
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from django.apps import apps
from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, User
from django.contrib.auth.signals import user_logged_in
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.base import BaseHandler
from django.core.management import call_command
from django.db import connection, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model, QuerySet
from django.db.models.deletion import Collector
from django.db.models.fields import related_descriptors
from django.db.models.query_utils import DeferredAttribute
from django.db.models.sql import UpdateQuery
from django.dispatch import Signal
from django.test import RequestFactory, SimpleTestCase, TransactionTestCase
from django.test.utils import modify_settings, override_settings
from django.utils import timezone
from hypothesis import example, given

from django_signal_kit import ModelReceiver, Receiver, current, register
from django_signal_kit.apps import wire as wire_now
from django_signal_kit.audit.models import AbstractAuditEntry, AuditEntry
from django_signal_kit.conf import KEYS, conf
from django_signal_kit.middleware import get_ip
from django_signal_kit.receivers import AuditLog, LastModified, LoginLog, WelcomeEmail
from django_signal_kit.rows import memory, snapshots
from django_signal_kit.sight import watching
from django_signal_kit.sight.counting import get_counters
from django_signal_kit.tasks.options import read_options
from django_signal_kit.units.unit import get_unit
from django_signal_kit.wiring import catalog, dispatch
from django_signal_kit.wiring.declaring import Declaration, declarations
from django_signal_kit.wiring.registry import registry
from django_signal_kit.writes import bulk, covered, updates
from tests.apps.testapp.models import Product, Tag
from tests.conftest import as_entry
from tests.factories import UserFactory

rung = Signal()


class Saves(ModelReceiver):
    def post_save(self, instance: Any, **kwargs: Any) -> None:
        heard.append(instance.name)


class Rings(Receiver):
    def rung(self, **kwargs: Any) -> None:
        heard.append("rung")


class Slow(ModelReceiver):
    async def post_save(self, instance: Any, **kwargs: Any) -> None:
        pass


class Unwilling(Receiver):
    """Cannot be connected, and says so late."""

    def get_methods(self, signal_names: Any) -> Any:
        raise ImproperlyConfigured("not today")


heard: list[str] = []


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    yield
    heard.clear()


def make(*entries: Any, **keys: Any) -> dict[str, Any]:
    return {"RECEIVERS": [as_entry(entry) for entry in entries], **keys}


# What can be seen of the wiring

WRAPPED: list[tuple[Any, str]] = [
    (Model, "save_base"),
    (Collector, "delete"),
    (related_descriptors, "create_forward_many_to_many_manager"),
    *((BaseDatabaseWrapper, f"savepoint{suffix}") for suffix in ("", "_commit", "_rollback")),
    (BaseDatabaseWrapper, "commit"),
    (BaseDatabaseWrapper, "rollback"),
    *((QuerySet, name) for name in ("bulk_create", "bulk_update", "update")),
    (UpdateQuery, "update_batch"),
    (DeferredAttribute, "fetch_many"),
    *((model, name) for model in (Product, Tag, User) for name in ("from_db", "refresh_from_db")),
]


def get_methods() -> list[Any]:
    """What Django's own methods are, or what is in their place."""
    return [vars(owner).get(name) for owner, name in WRAPPED]


def get_connected() -> dict[str, list[Any]]:
    """What of the kit is connected to each signal of Django, of the kit and of these tests.

    Not what Django itself connects, which comes and goes with models, storages and AppConfigs.
    """
    paths = {name: catalog.get_signal(name) for name in CATALOG} | {"rung": rung}
    return {
        name: [item[0] for item in signal.receivers if is_of_the_kit(item[0][0], item[1])]
        for name, signal in paths.items()
    }


def is_of_the_kit(uid: Any, function: Any) -> bool:
    if isinstance(uid, str):
        return uid.startswith("signal_kit")
    function = function() if isinstance(function, weakref.ReferenceType) else function
    return str(getattr(function, "__module__", "")).startswith("django_signal_kit")


CATALOG = [*catalog.DJANGO_SIGNALS, *catalog.KIT_SIGNALS]


def get_wiring() -> dict[str, Any]:
    """All that the kit has done to the process."""
    return {
        "connected": get_connected(),
        "receivers": [(receiver.name, type(receiver)) for receiver in registry.receivers],
        "wrapped": [
            method is not plain for method, plain in zip(get_methods(), PLAIN, strict=True)
        ],
        "saved": dict(covered.saved),
        "deleted": dict(covered.deleted),
        "linked": dict(covered.linked),
        "bulk": (dict(bulk.covered), set(updates.read)),
        "old": {model: len(columns) for model, columns in snapshots.old_columns.items()},
        "loaded": dict(memory.kept),
    }


PLAIN = get_methods()


# Each key, into an override and back


def see_receivers() -> Any:
    return [receiver.name for receiver in registry.receivers]


def see_extra_signals() -> Any:
    heard.clear()
    rung.send(sender=None)
    return list(heard)


def see_request_unit() -> Any:
    """Is the view of a request that may change something in a unit of work?"""
    view = BaseHandler().make_view_atomic(lambda request: get_unit() is not None)
    return view(RequestFactory().post("/"))


def see_bulk_writes() -> Any:
    heard.clear()
    Product.objects.bulk_create([Product(name="many")])
    return list(heard)


def see_redacted() -> Any:
    Product.objects.create(name="Tea")
    return AuditEntry.objects.latest("pk").changes["name"]


def see_proxies() -> Any:
    request = RequestFactory(REMOTE_ADDR="10.0.0.1", HTTP_X_FORWARDED_FOR="192.0.2.7")
    return get_ip(request.get("/"))


def see_retention() -> Any:
    at = timezone.now() - datetime.timedelta(days=40)
    AuditEntry.objects.all().delete()
    AuditEntry.objects.create(at=at, action="create", using="default")
    call_command("pruneauditlog", stdout=io.StringIO(), stderr=io.StringIO(), verbosity=0)
    return AuditEntry.objects.count()


SAVES = (Saves, {"models": ["testapp.Product"]})
LOG = (AuditLog, {"models": ["testapp.Product"]})
EXTRA = {"EXTRA_SIGNALS": {"rung": f"{__name__}.rung"}}

#: Key -> what is set outside and inside, what is looked at, and what is seen outside and inside.
CASES: dict[str, tuple[Any, Any, Callable[[], Any], Any, Any]] = {
    "RECEIVERS": (make(SAVES), make(Slow), see_receivers, ["Saves"], ["Slow"]),
    "EXTRA_SIGNALS": (make(), make(Rings, **EXTRA), see_extra_signals, [], ["rung"]),
    "BULK_SIGNALS": (
        make(SAVES),
        make(SAVES, BULK_SIGNALS=False),
        see_bulk_writes,
        ["many"],
        [],
    ),
    "REDACT": (
        make(LOG),
        make(LOG, REDACT=["name"]),
        see_redacted,
        [None, "Tea"],
        [None, "[redacted]"],
    ),
    "TRUSTED_PROXIES": (
        make(),
        make(TRUSTED_PROXIES=["10.0.0.0/8"]),
        see_proxies,
        "10.0.0.1",
        "192.0.2.7",
    ),
    "RETENTION": (
        make(RETENTION={"__all__": "1y"}),
        make(RETENTION={"__all__": "30d"}),
        see_retention,
        1,
        0,
    ),
    "REQUEST_UNIT": (
        make(),
        make(REQUEST_UNIT=True),
        see_request_unit,
        False,
        True,
    ),
    "CACHE_TAG_HEADERS": (
        make(),
        make(CACHE_TAG_HEADERS={"Surrogate-Key": " "}),
        lambda: [*conf.CACHE_TAG_HEADERS],
        ["Cache-Tag"],
        ["Surrogate-Key"],
    ),
    "WATCH": (
        make(WATCH=False),
        make(WATCH=True),
        lambda: watching.look in connection.execute_wrappers,
        False,
        True,
    ),
    "COUNTERS": (
        make(),
        make(COUNTERS=True),
        lambda: get_counters().is_on,
        False,
        True,
    ),
    "ADMIN_MUTING": (
        make(),
        make(ADMIN_MUTING=True),
        lambda: dispatch.get_muted is current.get_muted,
        True,
        False,
    ),
    "TASKS": (
        make(TASKS={"ATTEMPTS": 3}),
        make(TASKS={"ATTEMPTS": 7}),
        lambda: read_options().attempts,
        3,
        7,
    ),
}


def test_each_key_has_a_case() -> None:
    assert {*CASES, "DISCOVER_EXCLUDE"} == set(KEYS)


@pytest.mark.django_db
@pytest.mark.parametrize("key", CASES)
def test_a_key_counts_inside_an_override_and_no_longer_after_it(key: str) -> None:
    outside, inside, see, seen_outside, seen_inside = CASES[key]
    with override_settings(SIGNAL_KIT=outside):
        assert see() == seen_outside
        with override_settings(SIGNAL_KIT=inside):
            assert see() == seen_inside
            with override_settings(SIGNAL_KIT=outside):
                assert see() == seen_outside
            assert see() == seen_inside
        assert see() == seen_outside


@pytest.mark.django_db
@pytest.mark.parametrize("key", CASES)
def test_a_key_counts_no_longer_after_an_exception(key: str) -> None:
    outside, inside, see, seen_outside, seen_inside = CASES[key]
    with override_settings(SIGNAL_KIT=outside):
        with pytest.raises(ZeroDivisionError):
            with override_settings(SIGNAL_KIT=inside):
                assert see() == seen_inside
                raise ZeroDivisionError
        assert see() == seen_outside


# signals.py


@pytest.fixture
def planets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An app with a signals module, which is not installed."""
    app = tmp_path / "planets"
    app.mkdir()
    (app / "__init__.py").touch()
    (app / "signals.py").write_text(
        "from django_signal_kit import register\n"
        f"from {__name__} import Saves\n"
        'register(name="Planets", models=["testapp.Product"])(Saves)\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    before = list(declarations)
    yield "planets"
    declarations[:] = before
    for name in ("planets", "planets.signals"):
        sys.modules.pop(name, None)


def test_the_signals_of_an_app_count_as_long_as_it_is_installed(planets: str) -> None:
    with override_settings(SIGNAL_KIT=make(LOG)):
        for _ in range(2):
            with modify_settings(INSTALLED_APPS={"append": planets}):
                assert see_receivers() == ["AuditLog", "Planets"]
            assert see_receivers() == ["AuditLog"]


def test_an_app_that_is_excluded_for_a_while_is_heard_again_afterwards(planets: str) -> None:
    with modify_settings(INSTALLED_APPS={"append": planets}):
        assert see_receivers() == ["Planets"]
        with override_settings(SIGNAL_KIT={"DISCOVER_EXCLUDE": [planets]}):
            assert see_receivers() == []
        assert see_receivers() == ["Planets"]


def test_an_app_that_is_excluded_is_imported_once_it_no_longer_is(planets: str) -> None:
    with override_settings(
        INSTALLED_APPS=[*settings.INSTALLED_APPS, planets],
        SIGNAL_KIT={"DISCOVER_EXCLUDE": [planets]},
    ):
        assert "planets.signals" not in sys.modules
        with override_settings(SIGNAL_KIT={}):
            assert see_receivers() == ["Planets"]
        assert see_receivers() == []


def test_the_order_of_the_apps_is_that_of_their_receivers(planets: str) -> None:
    class Mine(Saves):
        pass

    Mine.__module__ = "tests.apps.testapp.signals"
    rest = [name for name in settings.INSTALLED_APPS if name != "tests.apps.testapp"]
    declarations.append(Declaration("test", Mine, None, {}, "tests.apps.testapp.signals"))
    with override_settings(INSTALLED_APPS=[planets, "tests.apps.testapp", *rest]):
        assert see_receivers() == ["Planets", "Mine"]
    with override_settings(INSTALLED_APPS=["tests.apps.testapp", planets, *rest]):
        assert see_receivers() == ["Mine", "Planets"]


def test_what_is_registered_outside_of_any_app_comes_last_and_stays() -> None:
    before = list(declarations)
    register(name="Loose")(Slow)
    try:
        wire_now()
        assert declarations[-1].module == __name__
        rest = [name for name in settings.INSTALLED_APPS if name != "tests.apps.rarities"]
        with override_settings(INSTALLED_APPS=rest):
            assert see_receivers() == ["Loose"]
    finally:
        declarations[:] = before
        wire_now()


def test_a_broken_signals_module_leaves_what_was_wired(planets: str, tmp_path: Path) -> None:
    (tmp_path / "planets" / "signals.py").write_text("1 / 0")
    with override_settings(SIGNAL_KIT=make(SAVES)):
        before = get_wiring()
        with pytest.raises(ZeroDivisionError):
            with modify_settings(INSTALLED_APPS={"append": planets}):
                pass
        assert get_wiring() == before
        assert planets not in settings.INSTALLED_APPS


# Other settings


def test_without_the_kit_nothing_is_wired() -> None:
    with override_settings(SIGNAL_KIT=make(SAVES, LOG)):
        before = get_wiring()
        with modify_settings(
            INSTALLED_APPS={"remove": ["django_signal_kit", "django_signal_kit.audit"]}
        ):
            assert see_receivers() == []
            assert get_methods() == PLAIN
            with override_settings(SIGNAL_KIT=make(SAVES)):
                assert see_receivers() == []
        assert get_wiring() == before


@pytest.fixture
def own_log(transactional_db: None, make_model: Any) -> Any:
    return make_model(
        "OwnEntry", AbstractAuditEntry, meta={"indexes": ()}, tenant=models.CharField(max_length=9)
    )


def test_another_model_of_the_log_is_written_to_inside_and_the_former_one_after(
    own_log: Any, wire: Any
) -> None:
    wire(LOG, LoginLog)
    Product.objects.create(name="before")
    with override_settings(SIGNAL_KIT_AUDIT_ENTRY_MODEL="testapp.OwnEntry"):
        Product.objects.create(name="inside")
        user_logged_in.send(sender=User, request=None, user=UserFactory(username="ann"))
        assert own_log in apps.get_models()
        assert AuditEntry not in apps.get_models()
    Product.objects.create(name="after")
    assert AuditEntry in apps.get_models()
    told = [entry.object_text for entry in own_log.objects.order_by("pk")]
    assert told == ["inside", "ann"]
    told = [entry.object_text for entry in AuditEntry.objects.order_by("pk")]
    assert told == ["before", "after"]


def test_a_model_of_the_log_that_is_not_there_leaves_what_was_wired(wire: Any) -> None:
    wire(LOG)
    before = get_wiring()
    with pytest.raises(ImproperlyConfigured, match="E011"):
        with override_settings(SIGNAL_KIT_AUDIT_ENTRY_MODEL="testapp.Nothing"):
            pass
    assert get_wiring() == before


def test_another_user_model_is_covered_inside_and_the_former_one_after(
    transactional_db: None, make_model: Any, wire: Any
) -> None:
    member = make_model(
        "Member",
        AbstractBaseUser,
        name=models.CharField(max_length=20, unique=True),
        email=models.EmailField(),
        USERNAME_FIELD="name",
    )
    wire(WelcomeEmail)

    def get_senders() -> set[Any]:
        return {connection.sender for connection in registry.connections}

    assert get_senders() == {User}
    with override_settings(AUTH_USER_MODEL="testapp.Member"):
        assert get_senders() == {member}
    assert get_senders() == {User}


# Mistakes


@pytest.mark.parametrize(
    "wrong",
    [
        {"RECIEVERS": []},
        {"RECEIVERS": 5},
        make(("django_signal_kit.receivers.AuditLog", {"models": ["testapp.Nothing"]})),
        make("no.such.Receiver"),
        make(Saves, Saves),
        {"EXTRA_SIGNALS": {"rung": "no.such.signal"}},
        {"DISCOVER_EXCLUDE": ["no_such_app"]},
        {"DISCOVER_EXCLUDE": 5},
        {"BULK_SIGNALS": 1},
        {"TRUSTED_PROXIES": ["proxy"]},
        make(Unwilling),
        [],
        None,
    ],
    ids=repr,
)
def test_a_mistake_leaves_what_was_wired_as_it_was(wrong: Any) -> None:
    with override_settings(SIGNAL_KIT=make(SAVES, LOG)):
        before = get_wiring()
        with override_settings(SIGNAL_KIT=make(LoginLog)):
            inside = get_wiring()
            with pytest.raises(ImproperlyConfigured):
                with override_settings(SIGNAL_KIT=wrong):
                    raise AssertionError("it was accepted")
            assert get_wiring() == inside
        assert get_wiring() == before
        # Not by luck of the way back: before it nothing had been touched.
        receivers = registry.receivers
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(settings, "SIGNAL_KIT", wrong)
            with pytest.raises(ImproperlyConfigured):
                apps.get_app_config("signal_kit").start()  # type: ignore[attr-defined]
        assert registry.receivers is receivers
        assert get_wiring() == before


# In the forms that tests have


def run(case: Any) -> None:
    result = unittest.TestResult()
    unittest.TestSuite([case]).run(result)
    assert (result.errors, result.failures, result.testsRun) == ([], [], 1)


def test_a_test_case_wires_by_decorator_and_by_method() -> None:
    seen: list[Any] = []

    @override_settings(SIGNAL_KIT=make(SAVES))
    class Cases(SimpleTestCase):
        def runTest(self) -> None:  # noqa: N802
            seen.append(see_receivers())
            with self.settings(SIGNAL_KIT=make(Slow)):
                seen.append(see_receivers())
            seen.append(see_receivers())

    run(Cases())
    assert seen == [["Saves"], ["Slow"], ["Saves"]]
    assert see_receivers() == []


def test_the_settings_fixture_of_pytest_wires(settings: Any) -> None:
    settings.SIGNAL_KIT = make(SAVES)
    assert see_receivers() == ["Saves"]
    settings.SIGNAL_KIT = make(Slow)
    assert see_receivers() == ["Slow"]


@pytest.mark.django_db(transaction=True)
def test_a_test_case_of_few_apps_may_override_too() -> None:
    seen: list[Any] = []

    class FewApps(TransactionTestCase):
        available_apps = ["tests.apps.testapp", "django_signal_kit"]

        def runTest(self) -> None:  # noqa: N802
            with override_settings(SIGNAL_KIT=make(SAVES)):
                seen.extend(see_receivers())

    with override_settings(SIGNAL_KIT=make((Saves, {"models": ["__all__"]}))):
        before = get_wiring()
        run(FewApps())
        assert seen == ["Saves"]
        assert get_wiring() == before


# Whatever comes

KITS: list[Any] = [
    {},
    make(LOG),
    make((AuditLog, {"models": ["testapp.*"], "old_values": "snapshot"}), LoginLog),
    make((AuditLog, {"models": ["__all__"], "bulk": "statement"}), LoginLog),
    make((LastModified, {"models": ["testapp.Product"]}), WelcomeEmail, BULK_SIGNALS=False),
    make((Saves, {"models": ["testapp.*"], "bulk": "all"}), (Slow, {"models": [Tag]})),
    make(Rings, {"RECEIVER": f"{__name__}.Saves", "NAME": "Other"}, **EXTRA),
    # Wrong
    {"RECIEVERS": []},
    make(SAVES, Unwilling),
]

ALL = list(settings.INSTALLED_APPS)
APPS: list[list[str]] = [
    ALL,
    [*ALL, "django.contrib.humanize"],
    [name for name in ALL if name != "django_signal_kit.audit"],
    [name for name in ALL if name != "tests.apps.testapp"],
    [name for name in ALL if name not in ("django_signal_kit", "django_signal_kit.audit")],
]


@cache
def get_expected() -> dict[tuple[int, int], Any]:
    """Each pair of settings -> the wiring that it makes of nothing; None if it is wrong."""
    found: dict[tuple[int, int], Any] = {}
    for kit in range(len(KITS)):
        for some in range(len(APPS)):
            try:
                with override_settings(SIGNAL_KIT=KITS[kit], INSTALLED_APPS=APPS[some]):
                    found[kit, some] = get_wiring()
            except ImproperlyConfigured:
                found[kit, some] = None
    return found


def test_some_pairs_of_settings_are_right_and_some_are_wrong() -> None:
    expected = get_expected()
    right = [wiring for wiring in expected.values() if wiring is not None]
    assert 15 < len(right) < len(expected)
    assert sum(not wiring["receivers"] for wiring in right) < len(right) / 2


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("kit"), st.integers(0, len(KITS) - 1)),
        st.tuples(st.just("apps"), st.integers(0, len(APPS) - 1)),
        st.tuples(st.just("leave"), st.integers(1, 3)),
        st.tuples(st.just("raise"), st.integers(1, 3)),
    ),
    min_size=3,
    max_size=12,
)


@example(
    # Apps that do not come up leave nothing behind that waits for models.
    steps=[
        ("apps", 4),
        ("kit", 2),
        ("apps", 2),
        ("kit", 2),
        ("leave", 1),
        ("raise", 2),
        ("apps", 2),
        ("apps", 3),
        ("kit", 2),
    ]
)
@given(steps=STEPS)
def test_whatever_is_overridden_the_wiring_is_that_of_the_settings(
    steps: list[tuple[str, int]],
) -> None:
    expected = get_expected()
    first, methods = get_wiring(), get_methods()
    # Each level: what its override is left by, and the pair of settings that is in force in it.
    levels: list[tuple[Any, tuple[int, int]]] = [(None, (0, 0))]
    for step, number in steps:
        kit, some = levels[-1][1]
        if step in ("leave", "raise"):
            error = ValueError("inside") if step == "raise" else None
            for _ in range(min(number, len(levels) - 1)):
                stack, _ = levels.pop()
                stack.__exit__(type(error) if error else None, error, None)
        else:
            pair = (number, some) if step == "kit" else (kit, number)
            stack = ExitStack()
            override = (
                override_settings(SIGNAL_KIT=KITS[number])
                if step == "kit"
                else override_settings(INSTALLED_APPS=APPS[number])
            )
            if expected[pair] is None:
                with pytest.raises(ImproperlyConfigured):
                    stack.enter_context(override)
            else:
                stack.enter_context(override)
                levels.append((stack, pair))
        assert get_wiring() == expected[levels[-1][1]]
    while len(levels) > 1:
        levels.pop()[0].close()
    assert get_wiring() == first
    assert get_methods() == methods == PLAIN


@pytest.mark.django_db
def test_a_user_is_still_made_after_all_that() -> None:
    assert UserFactory().pk
