"""Keys that are secrets, and texts with secrets in them."""

from __future__ import annotations

import datetime
import logging
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.db import models
from django.test import Client
from django.utils import timezone

from django_signal_kit.audit.keys import to_key
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.audit.reverting import RevertError
from django_signal_kit.audit.upkeep.backfill import get_backfills
from django_signal_kit.receivers import AuditLog, DeletionLog
from django_signal_kit.rows.values import redact_with_hash
from django_signal_kit.wiring.registry import registry
from tests.apps.testapp.models import Product, Tag
from tests.factories import ProductFactory, UserFactory

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = "9f8e7d6c5b4a39281706"
ALL = {"models": ["testapp.*"]}


def show_all() -> str:
    """All that is in the log, as one text."""
    return "\n".join(
        str([value for value in vars(entry).values() if value is not entry._state])
        for entry in AuditEntry.objects.all()
    )


@pytest.fixture
def access(make_model: Any) -> Any:
    """A model whose key is a token."""
    return make_model(
        "Access",
        models.Model,
        token=models.CharField(max_length=40, primary_key=True),
        note=models.CharField(max_length=40, default=""),
        __str__=lambda self: f"access {self.token}",
    )


@pytest.fixture
def use(make_model: Any, access: Any) -> Any:
    """A model that points to it, and has a list of them."""
    return make_model(
        "Use",
        models.Model,
        access=models.ForeignKey(access, models.CASCADE, null=True),
        others=models.ManyToManyField(access, related_name="+"),
        __str__=lambda self: f"use of {self.access_id}",
    )


# The same hash everywhere


@pytest.mark.parametrize("hash_secrets", [False, True])
def test_a_secret_key_is_the_same_hash_everywhere(
    wire: Any, access: Any, use: Any, hash_secrets: bool
) -> None:
    wire((AuditLog, {"models": [access, use], "hash_secrets": hash_secrets}))
    row = access.objects.create(token=SECRET)
    using = use.objects.create(access=row)
    using.others.add(row)
    use.objects.update(access=None)
    use.objects.update(access=row)
    row.note = "x"
    row.save()
    using.others.clear()
    row.delete()
    assert SECRET not in show_all()
    key = redact_with_hash(SECRET)
    own = AuditEntry.objects.filter(content_type__model="access").order_by("id")
    assert [(entry.action, entry.object_pk) for entry in own] == [
        ("create", key),
        ("update", key),
        ("delete", key),
    ]
    assert own[0].changes["token"] == [None, key]
    changes = [
        entry.changes
        for entry in AuditEntry.objects.filter(content_type__model="use").order_by("id")
    ]
    assert changes[0]["access"] == [None, key]
    assert changes[1] == {"others": {"added": [key]}}
    assert changes[2:4] == [{"access": [key, None]}, {"access": [None, key]}]
    assert changes[4] == {"others": {"removed": [key]}}
    assert changes[5]["access"] == [key, None]


def test_the_entries_of_such_a_row_are_found(wire: Any, access: Any) -> None:
    wire((AuditLog, {"models": [access]}))
    row, other = (access.objects.create(token=token) for token in (SECRET, "other"))
    AuditEntry.objects.for_object(row).get(action="create")
    row.delete()
    log = AuditEntry.objects.for_object((access, SECRET))
    assert {entry.action for entry in log} == {"create", "delete"}
    assert AuditEntry.objects.for_object(other).count() == 1
    assert AuditEntry.objects.for_object((access, redact_with_hash(SECRET))).count() == 2


def test_a_row_with_such_a_key_is_known_as_it_was(wire: Any, access: Any) -> None:
    wire((AuditLog, {"models": [access]}))
    row = access.objects.create(token=SECRET, note="old")
    moment = timezone.now()
    row.note = "new"
    row.save()
    assert AuditEntry.objects.as_of(row, moment).note == "old"
    row.delete()
    past = AuditEntry.objects.as_of((access, SECRET), moment)
    assert (past.token, past.note) == (SECRET, "old")


def test_what_cannot_be_reverted_says_why_and_not_the_key(
    wire: Any, access: Any, use: Any
) -> None:
    wire((AuditLog, {"models": [access, use]}))
    row = access.objects.create(token=SECRET)
    with pytest.raises(RevertError, match="key is a secret"):
        AuditEntry.objects.get().revert()
    using = use.objects.create()
    using.access = row
    using.save()
    entry = AuditEntry.objects.first()
    assert entry is not None
    with pytest.raises(RevertError, match="was redacted") as caught:
        entry.revert()
    assert SECRET not in str(caught.value)
    entry.revert(force=True)
    using.refresh_from_db()
    assert using.access is None


def test_what_is_there_now_is_not_said_where_it_is_a_secret(wire: Any, make_model: Any) -> None:
    card = make_model("Card", models.Model, api_token=models.CharField(max_length=40, null=True))
    wire((AuditLog, ALL))
    row = card.objects.create()
    row.api_token = SECRET
    row.save()
    entry = AuditEntry.objects.first()
    assert entry is not None
    with pytest.raises(RevertError, match="was redacted") as caught:
        entry.revert()
    assert SECRET not in str(caught.value)


def test_a_key_may_be_given_in_either_spelling(wire: Any, make_model: Any) -> None:
    invitation = make_model(
        "Invitation", models.Model, token=models.UUIDField(primary_key=True, default=uuid4)
    )
    wire((AuditLog, {"models": [invitation]}))
    number = uuid4()
    invitation.objects.create(token=str(number))
    for spelling in (number, str(number), number.hex):
        assert AuditEntry.objects.for_object((invitation, spelling)).count() == 1
    assert str(number) not in show_all()
    assert number.hex not in show_all()
    assert AuditEntry.objects.get().object_pk == redact_with_hash(number)


def test_a_number_may_be_a_secret_key(wire: Any, make_model: Any) -> None:
    locker = make_model(
        "Locker",
        models.Model,
        passcode=models.IntegerField(primary_key=True),
        __str__=lambda self: f"locker {self.passcode} of 47110",
    )
    wire((AuditLog, {"models": [locker]}))
    row = locker.objects.create(passcode=4711)
    entry = AuditEntry.objects.for_object(row).get()
    assert entry.object_pk == redact_with_hash(4711)
    assert entry.object_text == "locker [redacted] of 47110"
    assert entry.changes == {"passcode": [None, redact_with_hash(4711)]}


def test_the_secret_part_of_a_key_of_two_columns_is_hidden(wire: Any, make_model: Any) -> None:
    seat = make_model(
        "Seat",
        models.Model,
        pk=models.CompositePrimaryKey("room", "token"),
        room=models.IntegerField(),
        token=models.CharField(max_length=40),
    )
    wire((AuditLog, {"models": [seat]}))
    row = seat.objects.create(room=1, token=SECRET)
    entry = AuditEntry.objects.for_object(row).get()
    assert entry.object_pk == f'[1, "{redact_with_hash(SECRET)}"]'
    assert AuditEntry.objects.for_object((seat, (1, SECRET))).count() == 1
    assert SECRET not in show_all()


def test_a_child_of_such_a_row_and_a_key_to_another_column_are_hidden(
    wire: Any, make_model: Any, access: Any
) -> None:
    child = make_model("NarrowAccess", access, scope=models.CharField(max_length=9))
    invitation = make_model(
        "Guest", models.Model, access_token=models.CharField(max_length=40, unique=True)
    )
    visit = make_model(
        "Visit",
        models.Model,
        guest=models.ForeignKey(invitation, models.CASCADE, to_field="access_token"),
        __str__=lambda self: f"visit of {self.guest.access_token}",
    )
    wire((AuditLog, {"models": [access, child, invitation, visit]}))
    narrow = child.objects.create(token=SECRET, scope="x")
    guest = invitation.objects.create(access_token="G-4711")
    row = visit.objects.create(guest=guest)
    assert AuditEntry.objects.for_object(narrow).count() == 1
    entry = AuditEntry.objects.for_object(row).get()
    assert entry.changes["guest"] == [None, redact_with_hash("G-4711")]
    assert entry.object_text == "visit of [redacted]"
    for secret in (SECRET, "G-4711"):
        assert secret not in show_all()


@pytest.mark.parametrize(
    ("options", "keys"),
    [({}, {"REDACT": ["badge"]}), ({"redact": ["badge"]}, {})],
)
def test_what_the_project_calls_a_secret_is_one_as_a_key_too(
    wire: Any, make_model: Any, options: Any, keys: Any
) -> None:
    member = make_model(
        "Member", models.Model, badge=models.CharField(max_length=40, primary_key=True)
    )
    wire((AuditLog, {"models": [member], **options}), **keys)
    row = member.objects.create(badge=SECRET)
    assert AuditEntry.objects.for_object(row).get().object_pk == redact_with_hash(SECRET)
    assert SECRET not in show_all()


def test_a_statement_hides_what_it_sets(wire: Any, access: Any, use: Any) -> None:
    wire((AuditLog, {"models": [use], "bulk": "statement"}))
    row = access.objects.create(token=SECRET)
    use.objects.bulk_create([use()])
    for value in (row, row.pk):
        use.objects.update(access=value)
        entry = AuditEntry.objects.first()
        assert entry is not None
        assert entry.changes == {"access": ["[unknown]", redact_with_hash(SECRET)]}


def test_rows_that_were_there_before_the_log_are_recorded_without_their_keys(
    wire: Any, access: Any, use: Any
) -> None:
    row = access.objects.create(token=SECRET)
    using = use.objects.create(access=row)
    wire((AuditLog, {"models": [access, use]}))
    using.access = None
    using.save()
    for backfill in get_backfills():
        list(backfill.run())
    assert SECRET not in show_all()
    assert AuditEntry.objects.for_object(row).get().context["reason"] == "backfill"
    made = AuditEntry.objects.for_object(using).get(action="create")
    assert made.changes["access"] == [None, redact_with_hash(SECRET)]
    assert [list(backfill.run()) for backfill in get_backfills()]
    assert AuditEntry.objects.count() == 3


def test_harmless_keys_stay_as_they_are() -> None:
    assert to_key(Product, 7) == "7"
    assert to_key(User, "7") == "7"


def test_the_line_of_a_deletion_has_the_same_hash(wire: Any, caplog: Any, access: Any) -> None:
    wire((DeletionLog, {**ALL, "fields": "__all__"}))
    access.objects.create(token=SECRET, note="for Ann").delete()
    access.objects.create(token="other").delete()
    lines = [record for record in caplog.records if record.name == "django_signal_kit.deletions"]
    keys = [redact_with_hash(SECRET), redact_with_hash("other")]
    assert [line.__dict__["pk"] for line in lines] == keys
    assert lines[0].__dict__["fields"] == {"token": redact_with_hash(SECRET), "note": "for Ann"}
    assert SECRET not in caplog.text
    assert SECRET not in str([line.__dict__ for line in lines])


@pytest.fixture(autouse=True)
def _hear_deletions(caplog: Any) -> None:
    caplog.set_level(logging.INFO, "django_signal_kit.deletions")


# Sessions and tokens


def test_no_pattern_covers_sessions_and_tokens(wire: Any, access: Any, use: Any) -> None:
    everything = {"models": ["__all__"]}
    log, deletions = wire((AuditLog, everything), (DeletionLog, everything))
    covered = registry.get_models(log)
    assert use in covered
    assert User in covered
    assert {access, Session}.isdisjoint(covered)
    # Its lines show the hash of the key.
    assert access in registry.get_models(deletions)
    assert Session not in registry.get_models(deletions)
    wire((AuditLog, {"models": ["testapp.*", "sessions.*"]}))
    assert {access, Session}.isdisjoint(registry.get_models(registry.receivers[0]))


def test_a_login_leaves_nothing_of_the_session_in_the_log(wire: Any) -> None:
    wire((AuditLog, {"models": ["__all__"]}), (DeletionLog, {"models": ["__all__"]}))
    client = Client()
    client.force_login(UserFactory())
    key = client.session.session_key
    client.logout()
    assert key
    assert key not in show_all()


def test_sessions_are_recorded_if_they_are_named_and_without_their_keys(wire: Any) -> None:
    wire((AuditLog, {"models": ["sessions.Session"]}))
    session = SessionStore()
    session["basket"] = "B-4711"
    session.save()
    data = Session.objects.get().session_data
    session.delete()
    log = AuditEntry.objects.for_object((Session, session.session_key))
    assert {entry.action for entry in log} == {"create", "delete"}
    for secret in (session.session_key, data):
        assert secret
        assert secret not in show_all()


# The text of a row


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (models.UUIDField(), UUID("0f8fad5b-d9cb-469f-a165-70867728950e")),
        (models.IntegerField(), 4711),
        (models.BigIntegerField(), -47110815),
        (models.DecimalField(max_digits=9, decimal_places=2), Decimal("4711.50")),
        (models.DateField(), datetime.date(2026, 1, 2)),
        (models.CharField(max_length=40), "it's T-4711"),
        (models.JSONField(), {"user": "T-4711"}),
        (models.BinaryField(), b"T-4711"),
    ],
)
def test_a_secret_of_any_kind_is_not_in_the_text(
    wire: Any, make_model: Any, field: Any, value: Any
) -> None:
    card = make_model(
        "Card",
        models.Model,
        owner=models.CharField(max_length=9),
        api_token=field,
        __str__=lambda self: f"{self.owner} ({self.api_token}) ({self.api_token!r})",
    )
    wire((AuditLog, ALL))
    card.objects.create(owner="ann", api_token=value)
    text = AuditEntry.objects.get().object_text
    assert str(value) not in text
    assert "4711" not in text
    assert text.startswith("ann (")


def test_secrets_within_json_and_of_a_row_at_hand_are_not_in_the_text(
    wire: Any, make_model: Any
) -> None:
    card = make_model(
        "Card",
        models.Model,
        data=models.JSONField(default=dict),
        product=models.ForeignKey(Product, models.CASCADE),
        __str__=lambda self: f"{self.data} {self.product.api_token}",
    )
    wire((AuditLog, {"models": [card]}))
    product = ProductFactory(api_token="P-4711")
    card.objects.create(data={"a": [{"password": "J-4711", "city": "Bonn"}]}, product=product)
    text = AuditEntry.objects.get().object_text
    assert "4711" not in text
    assert "Bonn" in text


def test_the_name_of_a_user_stays_beside_his_password(wire: Any) -> None:
    wire((AuditLog, {"models": [User]}))
    UserFactory(username="ann")
    assert AuditEntry.objects.get().object_text == "ann"


def test_a_row_that_cannot_say_its_name_does_not_say_its_key(wire: Any, make_model: Any) -> None:
    def fail(self: Any) -> str:
        raise RuntimeError

    card = make_model(
        "Card",
        models.Model,
        token=models.CharField(max_length=40, primary_key=True),
        __str__=fail,
    )
    wire((AuditLog, {"models": [card]}))
    card.objects.create(token=SECRET)
    assert AuditEntry.objects.get().object_text == "Card [redacted]"


def test_the_pages_of_the_admin_show_the_hash_and_no_link(
    wire: Any, access: Any, settings: Any
) -> None:
    wire((AuditLog, {"models": [access]}))
    access.objects.create(token=SECRET)
    client = Client()
    client.force_login(UserFactory(is_staff=True, is_superuser=True))
    entry = AuditEntry.objects.get()
    pages = "/admin/signal_kit_audit/auditentry/"
    for url in (pages, f"{pages}{entry.pk}/change/"):
        response = client.get(url)
        assert response.status_code == 200
        assert SECRET not in response.content.decode()
        assert "/testapp/access/" not in response.content.decode()


def test_tags_are_found_as_ever(wire: Any) -> None:
    wire((AuditLog, ALL))
    tag = Tag.objects.create(name="a")
    assert AuditEntry.objects.for_object(tag).get().object_pk == str(tag.pk)
