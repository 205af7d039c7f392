"""A receiver that could do nothing as it is set is an error at start-up."""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from django_signal_kit import ModelReceiver, receivers
from django_signal_kit.checks import check_signal_kit
from django_signal_kit.receivers import (
    CacheInvalidation,
    ConnectionSetup,
    ExceptionAlert,
    InitialAttributes,
    LoginLog,
    M2MLimit,
    MigrationActions,
    ModelExtension,
    Normalize,
    Validate,
)
from django_signal_kit.wiring.registry import registry

TAGS = {"models": ["testapp.Tag"]}

# What is set -> what is said. Of each receiver that could be set so.
IDLE: list[tuple[type, dict[str, Any], str]] = [
    (
        CacheInvalidation,
        TAGS,
        "CacheInvalidation can do nothing with keys=(), tags=(), fragments={} and related=(). Set "
        "the option 'keys', 'tags', 'fragments' or 'related', or override get_keys() or "
        "get_tags(). (signal_kit.E046)",
    ),
    (
        CacheInvalidation,
        {**TAGS, "keys": ["tag:{pk}"], "caches": []},
        "CacheInvalidation can do nothing with caches=[]. Set the option 'caches', or override "
        "invalidate(). (signal_kit.E046)",
    ),
    (
        Normalize,
        TAGS,
        "Normalize can do nothing with fields={}. Set the option 'fields', or override "
        "get_cleaners(). (signal_kit.E046)",
    ),
    (Normalize, {**TAGS, "fields": {"name": []}}, "nothing with fields={'name': []}. Set"),
    (Normalize, {"models": ["testapp.*"]}, "Normalize can do nothing with fields={}. Set"),
    (
        Validate,
        {**TAGS, "full_clean": False},
        "Validate can do nothing with full_clean=False and validators={}. Set the option "
        "'full_clean' or 'validators', or override get_validators() or clean(). (signal_kit.E046)",
    ),
    (
        M2MLimit,
        {"models": ["testapp.Product"], "relation": "tags"},
        "M2MLimit can do nothing with maximum=None, minimum=None and allowed={}. Set the option "
        "'maximum', 'minimum' or 'allowed', or override get_maximum(), get_minimum() or "
        "get_allowed(). (signal_kit.E046)",
    ),
    (
        InitialAttributes,
        TAGS,
        "InitialAttributes can do nothing with attributes={}. Set the option 'attributes', or "
        "override get_attributes(). (signal_kit.E046)",
    ),
    (
        ModelExtension,
        TAGS,
        "ModelExtension can do nothing with fields={}, managers={} and attributes={}. Set the "
        "option 'fields', 'managers' or 'attributes', or override get_fields(), get_managers() or "
        "get_attributes(). (signal_kit.E046)",
    ),
    (
        MigrationActions,
        {},
        "MigrationActions can do nothing with ensure=(), groups={}, sites={}, sql=(), "
        "consistency_before=() and consistency=(). Set the option 'ensure', 'groups', 'sites', "
        "'sql', 'consistency_before' or 'consistency', or override get_rows(), get_groups(), "
        "get_sql_objects(), before_migrate() or after_migrate(). (signal_kit.E046)",
    ),
    (
        MigrationActions,
        {"groups": {"Clerks": []}, "databases": []},
        "MigrationActions can do nothing with databases=[]. Set the option 'databases', or "
        "override should_act(). (signal_kit.E046)",
    ),
    (
        ConnectionSetup,
        {"databases": ["default"]},
        "ConnectionSetup can do nothing with sqlite={}, postgresql={}, mysql={}, sql={} and "
        "actor_variable=''. Set the option 'sqlite', 'postgresql', 'mysql', 'sql' or "
        "'actor_variable', or override get_statements(). (signal_kit.E046)",
    ),
    (
        LoginLog,
        {"actions": []},
        "LoginLog can do nothing with actions=[]. Set the option 'actions'. (signal_kit.E046)",
    ),
    (
        ExceptionAlert,
        {"channels": []},
        "ExceptionAlert can do nothing with channels=[]. Set the option 'channels', or override "
        "flush(). (signal_kit.E046)",
    ),
]


@pytest.mark.parametrize(("cls", "options", "sentence"), IDLE)
def test_what_can_do_nothing_as_it_is_set_stops_the_start(
    wire: Any, cls: type, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ImproperlyConfigured) as error:
        wire((cls, options))
    assert sentence in str(error.value)


class Named(CacheInvalidation):
    """Changes nothing that could give it something to do."""

    models = ["testapp.Tag"]
    flush_on = "before_commit"

    def helper(self) -> None: ...


def test_a_subclass_that_changes_nothing_of_it_is_no_exception(wire: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match="Named can do nothing with keys="):
        wire(Named)


class Keys(CacheInvalidation):
    models = ["testapp.Tag"]

    def get_keys(self, instance: Any) -> Any:
        yield f"tag:{instance.pk}"


class KeysOfItsClass(CacheInvalidation):
    models = ["testapp.Tag"]
    keys = ["tag:{pk}"]


class KeysOfAChild(Keys):
    """Inherits the hook."""


class Deletions(CacheInvalidation):
    """Has a method of its own for a signal."""

    models = ["testapp.Tag"]

    def post_delete(self, instance: Any, using: str, **kwargs: Any) -> None: ...


class Elsewhere(CacheInvalidation):
    models = ["testapp.Tag"]
    keys = ["tag:{pk}"]
    caches = ()

    def invalidate(self, keys: Any, tags: Any) -> None: ...


class Cleaners(Normalize):
    models = ["testapp.Tag"]

    def get_cleaners(self, field: Any) -> Any:
        return ["strip"] if field.name == "name" else []


class Whole(Validate):
    models = ["testapp.Tag"]
    full_clean = False

    def clean(self, instance: Any) -> None: ...


class Few(M2MLimit):
    models = ["testapp.Product"]
    relation = "tags"

    def get_maximum(self, instance: Any) -> int | None:
        return 3


class Attributes(InitialAttributes):
    models = ["testapp.Tag"]

    def get_attributes(self, model: Any) -> Any:
        return {"seen": False}


class Methods(ModelExtension):
    models = ["testapp.Tag"]

    def get_attributes(self, model: Any) -> Any:
        return {"shout": lambda tag: tag.name.upper()}


class Afterwards(MigrationActions):
    def after_migrate(self, run: Any) -> None: ...


class AnyDatabase(MigrationActions):
    databases = ()
    groups = {"Clerks": []}

    def should_act(self, using: str) -> bool:
        return True


class Statements(ConnectionSetup):
    def get_statements(self, connection: Any) -> Any:
        return []


class SignUps(LoginLog):
    """Hears another signal."""

    actions = ()

    def setting_changed(self, **kwargs: Any) -> None: ...


class Pager(ExceptionAlert):
    channels = ()

    def flush(self, items: Any) -> None: ...


@pytest.mark.parametrize(
    "cls",
    [
        Keys,
        KeysOfItsClass,
        KeysOfAChild,
        Deletions,
        Elsewhere,
        Cleaners,
        Whole,
        Few,
        Attributes,
        Methods,
        Afterwards,
        AnyDatabase,
        Statements,
        SignUps,
        Pager,
    ],
)
def test_what_a_subclass_says_itself_is_not_asked_of_its_options(wire: Any, cls: type) -> None:
    wire(cls)
    assert [type(receiver) for receiver in registry.receivers] == [cls]


@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (InitialAttributes, {**TAGS, "attributes": {"seen": None}}),
        (M2MLimit, {"models": ["testapp.Product"], "relation": "tags", "maximum": 0}),
        # It drops what was in the list before.
        (MigrationActions, {"sql": []}),
        (MigrationActions, {"groups": {"Clerks": []}}),
        (Validate, {**TAGS, "full_clean": False, "validators": {"name": [len]}}),
        (CacheInvalidation, {**TAGS, "fragments": {"front": []}}),
        (LoginLog, {"actions": ["logout"]}),
    ],
)
def test_a_value_that_is_false_may_be_something_to_do(
    wire: Any, cls: type, options: dict[str, Any]
) -> None:
    wire((cls, options))
    assert len(registry.receivers) == 1


def test_the_check_says_what_the_start_says(monkeypatch: pytest.MonkeyPatch) -> None:
    path = "django_signal_kit.receivers.CacheInvalidation"
    signal_kit = {"RECEIVERS": [{"RECEIVER": path, "NAME": "Pages", "OPTIONS": TAGS}]}
    with pytest.raises(ImproperlyConfigured) as error:
        with override_settings(SIGNAL_KIT=signal_kit):
            pass
    with monkeypatch.context() as patch:
        patch.setattr(settings, "SIGNAL_KIT", signal_kit)
        [message] = check_signal_kit()
    assert f"{message.msg} {message.hint} ({message.id})" == str(error.value)
    assert message.msg.startswith("CacheInvalidation 'Pages' can do nothing")


def test_no_other_ready_made_is_idle_by_its_defaults() -> None:
    # A mail that has no templates of its own asks for them.
    covered = {cls for cls, _, _ in IDLE} | {receivers.Email}
    rest = {name for name in receivers.__all__ if getattr(receivers, name) not in covered}
    # Without models they hear nothing, which W001 tells; other errors ask for their options.
    assert rest == {
        "AuditLog",
        "CreateRelated",
        "DeletionLog",
        "FileCleanup",
        "InstanceMonitor",
        "LastModified",
        "M2MCount",
        "OrphanCleanup",
        "RequestTimer",
        "WelcomeEmail",
    }
    assert all(
        issubclass(getattr(receivers, name), ModelReceiver) for name in rest - {"RequestTimer"}
    )
