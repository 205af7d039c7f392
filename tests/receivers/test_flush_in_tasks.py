"""Which of the ready-mades flush in a task, and what the others say."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from django_signal_kit import Receiver, receivers
from tests.tasks.queues import IMMEDIATE

TAG = {"models": ["testapp.Tag"]}
PRODUCT = {"models": ["testapp.Product"]}
SUBJECT = "signal_kit/welcome/subject.txt"

#: Receiver -> options that it works with, and why it flushes in no task; None if it does.
TABLE: dict[str, tuple[dict[str, Any], str | None]] = {
    "AuditLog": (TAG, "an entry is written in the transaction of its change"),
    "CacheInvalidation": ({**TAG, "keys": ["tag:{pk}"]}, "readers would get the old values"),
    "ConnectionSetup": ({"sql": {"default": ["SELECT 1"]}}, "it has no flush()"),
    "CreateRelated": (
        {"models": ["auth.User"], "related": "belongings.Profile"},
        "a row would lack what belongs to it",
    ),
    "DeletionLog": (TAG, None),
    "Email": (
        {"models": ["auth.User"], "subject_template": SUBJECT, "text_template": SUBJECT},
        None,
    ),
    "ExceptionAlert": ({"channels": ["log"]}, None),
    "FileCleanup": (PRODUCT, None),
    "InitialAttributes": ({**TAG, "attributes": {"seen": False}}, "it has no flush()"),
    "InstanceMonitor": (TAG, "it has no flush()"),
    "LastModified": ({**PRODUCT, "field": "updated_at"}, "a stamp would be older than its row"),
    "LoginLog": ({}, "an entry is written before the answer is sent"),
    "M2MCount": (
        {"models": ["relations.Article"], "relation": "topics", "field": "topic_count"},
        "others would see a wrong count",
    ),
    "M2MLimit": (
        {"models": ["testapp.Product"], "relation": "tags", "maximum": 3},
        "nothing can be refused any more",
    ),
    "MigrationActions": ({"groups": {"Editors": []}}, "it has no flush()"),
    "ModelExtension": ({**TAG, "attributes": {"extra": 1}}, "it has no flush()"),
    "Normalize": ({**TAG, "fields": {"name": ["strip"]}}, "it has no flush()"),
    "OrphanCleanup": (TAG, "orphans go in the transaction"),
    "RequestTimer": ({}, "it has no flush()"),
    "Validate": (TAG, "it has no flush()"),
    "WelcomeEmail": ({}, None),
}


def test_all_are_in_the_table() -> None:
    assert set(TABLE) == set(receivers.__all__)


@pytest.mark.parametrize("name", TABLE)
def test_a_ready_made_flushes_in_a_task_or_says_why_not(
    name: str, wire: Any, settings: Any
) -> None:
    settings.TASKS = IMMEDIATE
    options, reason = TABLE[name]
    cls = getattr(receivers, name)
    if reason is None:
        assert wire((cls, {**options, "flush_on": "task"})).flush_on == "task"
        return
    with pytest.raises(ImproperlyConfigured) as caught:
        wire((cls, {**options, "flush_on": "task"}))
    told = str(caught.value)
    assert f"{name} has flush_on='task', " in told
    assert reason in told
    assert "Leave 'flush_on' out" in told


class Silent(Receiver):
    """Never flushes, whatever its base class says."""

    flush_on = "task"

    def user_logged_in(self, **kwargs: Any) -> None: ...


def test_a_class_that_collects_nothing_may_inherit_the_option(wire: Any, settings: Any) -> None:
    settings.TASKS = IMMEDIATE
    assert wire(Silent).flush_on == "task"
    with pytest.raises(ImproperlyConfigured, match=r"it has no flush\(\)"):
        wire((Silent, {"flush_on": "task"}))
