"""Who did it, whatever is given as an actor; and why, whatever is given as a reason."""

from __future__ import annotations

import logging
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core.management import call_command
from django.utils.functional import SimpleLazyObject

from django_signal_kit import context
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.receivers import AuditLog, DeletionLog
from tests.apps.testapp.models import Tag
from tests.audit.capture.both import alone
from tests.audit.capture.installing import installed
from tests.factories import ProductFactory, TagFactory, UserFactory

pytestmark = pytest.mark.django_db(transaction=True)

TAGS = {"models": ["testapp.Tag"]}


class Client:
    """A client of an interface, which has a key and is no user."""

    pk = id = 1
    is_anonymous = False

    def __str__(self) -> str:
        return "robot"


class Mute:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __str__(self) -> str:
        raise RuntimeError


class HushedLog(AuditLog):
    """Another log, which says less."""


def make(actor: Any) -> Any:
    with context(actor=actor):
        Tag.objects.create(name="a")
    return AuditEntry.objects.latest("pk")


@pytest.mark.parametrize(
    ("actor", "text"),
    [
        (Client(), "robot"),
        ("a nightly script", "a nightly script"),
        (42, "42"),
        pytest.param(Mute(), "<Mute>", id="mute"),
        ({"name": "robot"}, "{'name': 'robot'}"),
        ("x" * 1000, "x" * 255),
        (lambda: "late", "late"),
        (AnonymousUser(), ""),
        (None, ""),
    ],
)
def test_what_is_no_user_is_kept_as_text_and_blames_nobody(
    wire: Any, actor: Any, text: str
) -> None:
    wire((AuditLog, TAGS))
    entry = make(actor)
    assert (entry.actor_id, entry.actor_text) == (None, text)


@pytest.mark.parametrize("capture", ["python", "triggers"])
def test_one_who_has_to_be_found_is_asked_for_once_a_write(wire: Any, capture: str) -> None:
    asked = []

    def find_actor() -> str:
        asked.append(1)
        return "late"

    with alone():
        wire((AuditLog, {**TAGS, "capture": capture}))
        with installed():
            tag = TagFactory()
            AuditEntry.objects.all().delete()
            with context(actor=find_actor, reason="a"):
                tag.name = "b"
                tag.save()
    entry = AuditEntry.objects.get()
    assert (entry.actor_text, entry.context) == ("late", {"reason": "a"})
    assert len(asked) == 1


@pytest.mark.parametrize("capture", ["python", "triggers"])
def test_each_block_is_told_of_as_it_is_when_it_writes(wire: Any, capture: str) -> None:
    """Though what cannot change is put into words once."""
    with alone():
        wire(
            (AuditLog, {**TAGS, "capture": capture}),
            (HushedLog, {**TAGS, "redact": ["reason"]}),
        )
        with installed():
            with context(reason="a"):
                TagFactory()
                TagFactory()
                with context(steps=(steps := [1])):
                    TagFactory()
                    steps.append(2)
                    TagFactory()
            TagFactory()
    told = [entry.context for entry in AuditEntry.objects.order_by("pk")]
    plain = [each for each in told if each.get("reason") != "[redacted]"]
    hushed = [each for each in told if each.get("reason") == "[redacted]"]
    rows = [{"reason": "a"}] * 2 + [
        {"reason": "a", "steps": [1]},
        {"reason": "a", "steps": [1, 2]},
    ]
    assert [each for each in plain if each] == rows
    assert hushed == [{**each, "reason": "[redacted]"} for each in rows]
    assert told.count({}) == 2


def test_one_who_has_to_be_found_is_asked_for_once_a_line(wire: Any, caplog: Any) -> None:
    asked: list[int] = []
    wire((DeletionLog, TAGS))
    tag = TagFactory()
    with caplog.at_level(logging.INFO), context(actor=lambda: asked.append(1) or "late"):
        tag.delete()
    assert caplog.records[0].actor == "late"
    assert len(asked) == 1


def test_a_row_of_another_model_is_kept_as_text_whatever_its_key(wire: Any) -> None:
    wire((AuditLog, TAGS))
    user = UserFactory()
    entry = make(ProductFactory(pk=user.pk, name="Saw"))
    assert (entry.actor_id, entry.actor_text) == (None, "Saw")
    assert not AuditEntry.objects.by(user).exists()


def test_a_user_is_a_user_however_he_comes(wire: Any, make_model: Any) -> None:
    admin = make_model("Admin", User, meta={"proxy": True})
    wire((AuditLog, TAGS))
    user = UserFactory(username="ann")
    for actor in (user, SimpleLazyObject(lambda: user), lambda: user, admin.objects.get()):
        entry = make(actor)
        assert (entry.actor_id, entry.actor_text) == (user.pk, "ann")
    assert (make(User(username="new")).actor_id, make(User(username="new")).actor_text) == (
        None,
        "new",
    )


def test_a_line_of_a_deletion_has_the_key_of_users_alone(wire: Any, caplog: Any) -> None:
    wire((DeletionLog, TAGS))
    caplog.set_level(logging.INFO, "django_signal_kit.deletions")
    user = UserFactory(username="ann")
    for actor in (user, Client(), Mute(), ProductFactory(name="Saw")):
        with context(actor=actor):
            TagFactory().delete()
    told = [(r.__dict__["actor"], r.__dict__["actor_pk"]) for r in caplog.records]
    assert told == [("ann", user.pk), ("robot", None), ("<Mute>", None), ("Saw", None)]


@pytest.mark.parametrize("number", [10**23, -(10**23)])
def test_nobody_with_a_number_that_no_column_holds_did_anything(wire: Any, number: int) -> None:
    wire((AuditLog, TAGS))
    TagFactory()
    assert list(AuditEntry.objects.by(number)) == []
    said = StringIO()
    call_command("exportauditlog", f"--actor={number}", "--format=jsonl", stdout=said)
    assert said.getvalue() == ""


# Why


def test_a_reason_that_holds_itself_or_is_no_json_harms_no_write(wire: Any, caplog: Any) -> None:
    wire((AuditLog, TAGS), (DeletionLog, TAGS))
    caplog.set_level(logging.INFO, "django_signal_kit.deletions")
    job: dict[str, Any] = {"name": "import", "api_key": "K-4711"}
    job["steps"] = [{"number": 1, "job": job}]
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    with context(job=job, deep=deep, odd=Mute(), size=10**5000, many={"a": {1, 2}}):
        TagFactory().delete()
    for entry in AuditEntry.objects.all():
        told = entry.context
        assert told["job"]["steps"] == [{"number": 1, "job": "<dict…>"}]
        assert told["job"]["api_key"] == "[redacted]"
        assert (told["odd"], told["size"], told["many"]) == ("<Mute>", "<int>", {"a": [1, 2]})
    assert AuditEntry.objects.count() == 2
    assert len(caplog.records) == 1
    assert "K-4711" not in str(caplog.records[0].__dict__)
