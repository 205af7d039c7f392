"""The context of a request, on its way to a worker as JSON."""

from __future__ import annotations

import asyncio
import json
from datetime import date
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.db.models import Model
from django.test import RequestFactory
from django.utils.functional import SimpleLazyObject
from hypothesis import given
from hypothesis import strategies as st

from django_signal_kit import context, get_context
from django_signal_kit.current import get_scope
from django_signal_kit.middleware import get_request_context
from django_signal_kit.receivers import AuditLog, LastModified
from django_signal_kit.rows.values import REDACTED
from django_signal_kit.tasks.actors import TravelledActor
from django_signal_kit.tasks.context import pack, pack_scope, unpack
from tests.apps.rarities.models import OrderLine
from tests.apps.testapp.models import Category, Product, Token
from tests.factories import CategoryFactory, ProductFactory, UserFactory

pytestmark = pytest.mark.django_db(transaction=True)


def travel(packed: Any) -> Any:
    """Through a queue."""
    return json.loads(json.dumps(packed))


def arrive(**values: Any) -> dict[str, Any]:
    with context(**values):
        packed = pack()
    with unpack(travel(packed)):
        return get_context()


def test_nothing_travels_outside_of_any_block() -> None:
    assert pack() is None
    with unpack(None):
        assert get_context() == {"actor": None}


def test_the_request_and_the_reason_are_there() -> None:
    request = RequestFactory().get("/shop/", headers={"x-request-id": "abcdefgh"})
    with context(**get_request_context(request)), context(reason="import"):
        packed = travel(pack())
    with unpack(packed):
        assert get_context() == {
            "actor": None,
            "request_id": "abcdefgh",
            "ip": "127.0.0.1",
            "method": "GET",
            "path": "/shop/",
            "reason": "import",
        }
    assert get_context() == {"actor": None}


def test_what_the_worker_itself_says_stays_where_the_sender_says_nothing() -> None:
    with context(reason="sale"):
        packed = travel(pack())
    with context(worker="w1", reason="work"), unpack(packed):
        assert get_context() == {"actor": None, "worker": "w1", "reason": "sale"}


def test_secrets_do_not_travel(settings: Any) -> None:
    settings.SIGNAL_KIT = {"REDACT": ["iban"]}
    with context(actor="cron", api_token="geheim", order={"iban": "geheim", "total": 7}):
        packed = pack()
    assert "geheim" not in json.dumps(packed)
    assert packed == {
        "actor": "cron",
        "api_token": REDACTED,
        "order": {"iban": REDACTED, "total": 7},
    }


class Strange:
    def __str__(self) -> str:
        raise ZeroDivisionError

    def __reduce__(self) -> Any:
        raise ZeroDivisionError


def test_what_json_does_not_know_becomes_what_the_log_makes_of_it() -> None:
    knot: dict[str, Any] = {}
    knot["self"] = knot
    found = arrive(day=date(2026, 1, 2), strange=Strange(), knot=knot, text="a\x00b")
    assert found == {
        "actor": None,
        "day": "2026-01-02",
        "strange": "<Strange>",
        "knot": {"self": "<dict…>"},
        "text": "a\N{REPLACEMENT CHARACTER}b",
    }


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(st.dictionaries(st.text(min_size=1), JSON, max_size=4))
def test_whatever_is_given_travels_and_a_second_time_unchanged(values: dict[str, Any]) -> None:
    values.pop("actor", None)
    once = travel(pack_scope(values))
    assert travel(pack_scope(once)) == once


# The actor


def test_a_user_is_known_without_a_query(django_assert_num_queries: Any) -> None:
    user = UserFactory(username="ann")
    with django_assert_num_queries(0):
        actor = arrive(actor=user)["actor"]
        assert isinstance(actor, get_user_model())
        assert (str(actor), actor.pk, actor.id) == ("ann", user.pk, user.pk)
        assert (actor.is_authenticated, actor.is_anonymous) == (True, False)
        assert actor == user
        assert user == actor
        assert (actor != user) is False
        assert actor != UserFactory.build(id=user.pk + 1)
        assert actor != user.pk
        assert len({actor, user}) == 1
        assert bool(actor)
        assert repr(actor) == "<User: ann>"
        assert arrive(actor=actor)["actor"] == user
    with django_assert_num_queries(1):
        assert actor.email == user.email
        assert actor.get_username() == "ann"
        assert actor._state.db == "default"


def test_a_user_who_was_deleted_has_still_a_name(django_assert_num_queries: Any) -> None:
    user = UserFactory(username="ann")
    pk = user.pk
    with context(actor=user):
        packed = travel(pack())
    user.delete()
    with unpack(packed), django_assert_num_queries(0):
        actor = get_context()["actor"]
        assert (str(actor), actor.pk) == ("ann", pk)
        # A task that sends another one.
        assert travel(pack()) == packed
    with pytest.raises(get_user_model().DoesNotExist):
        _ = actor.email


def test_an_entry_in_a_worker_names_who_caused_it_even_if_he_is_deleted(wire: Any) -> None:
    wire((AuditLog, {"models": [Category]}))
    user = UserFactory(username="ann")
    pk = user.pk
    with context(actor=user, request_id="abcdefgh"):
        packed = travel(pack())
    user.delete()
    with unpack(packed):
        CategoryFactory()
    entry = get_entries().get()
    assert (entry.actor_id, entry.actor_text) == (pk, "ann")
    assert entry.context == {"request_id": "abcdefgh"}


def get_entries() -> Any:
    from django_signal_kit.audit.models import AuditEntry

    return AuditEntry.objects.all()


def test_an_entry_in_a_worker_costs_no_query_for_its_actor(
    wire: Any, django_assert_num_queries: Any
) -> None:
    wire((AuditLog, {"models": [Category]}))
    with context(actor=UserFactory()):
        packed = travel(pack())
    CategoryFactory()
    with unpack(packed):
        actor = get_context()["actor"]
        CategoryFactory()
    assert "_wrapped" in actor.__dict__
    assert actor.__dict__["_wrapped"].__class__ is object
    assert get_entries().filter(actor_id=actor.pk).count() == 1


@pytest.mark.parametrize("is_gone", [False, True])
def test_a_stamp_in_a_worker_names_an_editor_who_is_there(wire: Any, is_gone: bool) -> None:
    wire((LastModified, {"models": [Product], "field": "updated_at", "by_field": "editor"}))
    product, user = ProductFactory(), UserFactory()
    with context(actor=user):
        packed = travel(pack())
    if is_gone:
        user.delete()
    with unpack(packed):
        product.save()
    product.refresh_from_db()
    assert product.editor == (None if is_gone else user)


def test_an_actor_that_is_no_user(django_assert_num_queries: Any) -> None:
    category = CategoryFactory(name="Teas")
    with django_assert_num_queries(0):
        actor = arrive(actor=category)["actor"]
        assert (type(actor), actor.__class__) == (TravelledActor, Category)
        assert (str(actor), actor.pk) == (str(category), category.pk)
    assert not hasattr(actor, "is_anonymous")
    assert arrive(actor="cron")["actor"] == "cron"
    assert arrive(actor=AnonymousUser())["actor"] is None
    # One that is not stored has no key.
    assert arrive(actor=UserFactory.build(username="new"))["actor"] == "new"


def test_a_key_that_json_does_not_know(django_assert_num_queries: Any) -> None:
    token = Token.objects.create()
    line = OrderLine.objects.create(order=7, number=8)
    with django_assert_num_queries(0):
        first, second = arrive(actor=token)["actor"], arrive(actor=line)["actor"]
        assert (first.pk, second.pk) == (token.pk, line.pk)
    assert (first, second) == (token, line)
    assert {first._state.db, second._state.db} == {"default"}


def test_a_model_that_the_worker_does_not_know() -> None:
    with unpack({"actor": {"model": "gone.User", "pk": 1, "text": "ann", "using": None}}):
        assert get_context() == {"actor": "ann"}


# Asked when a task is sent, and not before


@pytest.mark.parametrize("key", ["d1a5", [1, 2]])
def test_a_model_that_has_another_key_in_the_worker(key: Any) -> None:
    packed = {"actor": {"model": "auth.User", "pk": key, "text": "ann", "using": "default"}}
    with unpack(packed):
        assert get_context() == {"actor": "ann"}


def test_a_lazy_user_is_asked_once_and_only_when_something_is_packed(
    django_assert_num_queries: Any,
) -> None:
    user = UserFactory()
    request: Any = RequestFactory().get("/")
    request.user = SimpleLazyObject(lambda: get_user_model().objects.get(pk=user.pk))
    with context(**get_request_context(request)):
        with django_assert_num_queries(0):
            scope = get_scope()
        with django_assert_num_queries(1):
            first, second = pack(), pack_scope(scope)
    assert first == second
    assert first is not None
    assert first["actor"]["pk"] == user.pk


def test_async_code_that_sends_without_awaiting_finds_out_who_it_is() -> None:
    user = UserFactory()
    request: Any = RequestFactory().get("/")
    request.user = SimpleLazyObject(lambda: get_user_model().objects.get(pk=user.pk))

    async def send() -> Any:
        with context(**get_request_context(request)):
            return pack()

    assert asyncio.run(send())["actor"]["pk"] == user.pk


def test_an_actor_who_cannot_be_found_out_stops_no_task(caplog: Any) -> None:
    def fail() -> Model:
        raise ZeroDivisionError

    with context(actor=fail, reason="sale"):
        assert pack() == {"actor": None, "reason": "sale"}
    assert "without its actor" in caplog.text
