"""What belongs to a row is there as soon as the row is, once, and follows it."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.core import serializers
from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, connection, connections, transaction
from django.db.models import F, Value
from django.db.models.functions import Concat
from django.db.models.signals import post_save
from django.test import TestCase
from django.test.utils import CaptureQueriesContext

from django_signal_kit import ModelReceiver, batch, muted
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.receivers import AuditLog, CreateRelated, LastModified
from django_signal_kit.wiring.registry import registry
from tests.apps.belongings.models import (
    AnyGarden,
    Board,
    Column,
    Garden,
    Gate,
    IronGate,
    Orchard,
    Passport,
    Profile,
)
from tests.conftest import run_async
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db(transaction=True)

PROFILES = {"related": "belongings.Profile"}
IN_STEP = {**PROFILES, "sync": {"email": "email", "first_name": "first_name"}}
COLUMNS = {
    "related": "belongings.Column",
    "defaults": {"number": 1},
    "children": [{"name": "To do"}, {"name": "Done", "number": lambda: 2}],
}
AUDIT = {"models": ["belongings.Profile"]}


class Invited(CreateRelated):
    """Knows what the view has left on the instance, and who is a robot."""

    def get_defaults(self, instance: Any) -> Any:
        return {**super().get_defaults(instance), "theme": getattr(instance, "_theme", "none")}

    def should_create(self, instance: Any) -> bool:
        return not instance.username.startswith("robot")


class OneColumnEach(CreateRelated):
    def get_children(self, instance: Any) -> Any:
        return [{"name": letter} for letter in instance.name]


class ByHand(CreateRelated):
    def create_related(self, rows: Any, using: str) -> None:
        for row in rows:
            row.theme = "by hand"
            row.save(using=using)


class NoEnd(CreateRelated):
    def create_related(self, rows: Any, using: str) -> None:
        raise RuntimeError("no")


class Eager(ModelReceiver):
    """The code of a user that makes the profile in the same transaction."""

    def post_save(self, instance: Any, created: bool, **kwargs: Any) -> None:
        if created:
            Profile.objects.create(user=instance, theme="own")


def users(count: int, start: int = 0) -> list[Any]:
    return [
        User(username=f"u{number}", email=f"u{number}@shop.example")
        for number in range(start, start + count)
    ]


def statements(queries: Any, *words: str) -> list[str]:
    """Those that read or write a table."""
    verbs = words or ("SELECT", "INSERT", "UPDATE", "DELETE")
    return [query["sql"] for query in queries if query["sql"].startswith(verbs)]


def themes() -> dict[str, str]:
    return dict(Profile._base_manager.values_list("user__username", "theme"))


# New rows


def test_each_new_user_has_a_profile_as_soon_as_he_is_saved(wire: Any) -> None:
    wire((CreateRelated, PROFILES))
    user = UserFactory()
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert user.profile.theme == "light"
    assert len(queries) == 0
    assert user.profile == Profile.objects.get()
    user.save()
    User.objects.get().save()
    assert Profile.objects.count() == 1


def test_it_covers_what_the_field_points_to_unless_told_otherwise(wire: Any) -> None:
    receiver = wire((CreateRelated, PROFILES))
    assert registry.get_models(receiver) == [get_user_model()]
    receiver = wire((CreateRelated, {"related": Gate, "models": ["belongings.Orchard"]}))
    assert registry.get_models(receiver) == [Orchard]
    receiver = wire((CreateRelated, {"related": Gate, "models": ["belongings.*"]}))
    assert set(registry.get_models(receiver)) == {Garden, Orchard, AnyGarden}


def test_user_and_profile_are_rolled_back_together(wire: Any) -> None:
    wire((CreateRelated, PROFILES))
    with pytest.raises(RuntimeError), transaction.atomic():
        UserFactory()
        assert Profile.objects.count() == 1
        raise RuntimeError
    assert not User.objects.exists()
    assert not Profile.objects.exists()


def test_a_profile_that_cannot_be_made_refuses_the_user_even_in_autocommit(wire: Any) -> None:
    wire((NoEnd, PROFILES))
    with pytest.raises(RuntimeError):
        UserFactory()
    assert not User.objects.exists()


def test_with_on_error_log_the_user_stays(wire: Any, caplog: Any) -> None:
    wire((CreateRelated, {**PROFILES, "on_error": "log", "defaults": {"theme": None}}))
    with transaction.atomic():
        UserFactory()
        assert User.objects.count() == 1
    assert User.objects.count() == 1
    assert not Profile.objects.exists()
    assert "CreateRelated failed in flush" in caplog.text


def test_a_profile_of_the_users_own_code_is_not_made_twice(wire: Any) -> None:
    wire((CreateRelated, PROFILES), (Eager, {"models": [User]}))
    UserFactory(username="a")
    User.objects.bulk_create(users(3))
    assert themes() == {"a": "own", "u0": "own", "u1": "own", "u2": "own"}


def test_a_profile_that_is_made_in_the_same_block_is_not_made_twice(wire: Any) -> None:
    wire((CreateRelated, PROFILES))
    with batch():
        Profile.objects.create(user=UserFactory(username="a"), theme="own")
        UserFactory(username="b")
    assert themes() == {"a": "own", "b": "light"}


def test_a_plain_receiver_of_django_that_makes_it_first_is_not_in_the_way(wire: Any) -> None:
    def make(instance: Any, created: bool, **kwargs: Any) -> None:
        if created:
            Profile.objects.get_or_create(user=instance, theme="own")

    post_save.connect(make, sender=User)
    try:
        wire((CreateRelated, PROFILES))
        UserFactory(username="a")
    finally:
        post_save.disconnect(make, sender=User)
    assert themes() == {"a": "own"}


def test_get_or_create_and_update_or_create_make_one(wire: Any) -> None:
    wire((CreateRelated, PROFILES))
    for _ in range(2):
        User.objects.get_or_create(username="a")
        User.objects.update_or_create(username="b", defaults={"email": "b@shop.example"})
    assert set(themes()) == {"a", "b"}


def test_async_twins_make_one(wire: Any) -> None:
    wire((CreateRelated, PROFILES))

    async def create() -> None:
        await User.objects.acreate(username="a")
        await User(username="b").asave()
        await User.objects.abulk_create(users(2))

    run_async(create())
    assert set(themes()) == {"a", "b", "u0", "u1"}


def test_fixtures_bring_their_own(wire: Any) -> None:
    wire((CreateRelated, PROFILES))
    text = serializers.serialize("json", [User(pk=5, username="a")])
    for found in serializers.deserialize("json", text):
        found.save()
    assert User.objects.exists()
    assert not Profile.objects.exists()


def test_what_is_muted_is_not_made(wire: Any) -> None:
    wire((CreateRelated, PROFILES))
    with muted("CreateRelated"):
        UserFactory()
    assert not Profile.objects.exists()


def test_a_user_who_is_deleted_in_the_same_block_leaves_nothing(wire: Any) -> None:
    wire((CreateRelated, PROFILES))
    with batch():
        gone = UserFactory(username="gone")
        UserFactory(username="stays")
        User.objects.filter(pk=gone.pk).delete()
    assert set(themes()) == {"stays"}


def test_a_savepoint_that_is_rolled_back_takes_its_profile_along(wire: Any) -> None:
    wire((CreateRelated, PROFILES))
    with batch():
        UserFactory(username="a")
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            UserFactory(username="b")
            raise ZeroDivisionError
    assert set(themes()) == {"a"}


def test_what_its_own_manager_hides_counts_as_there(wire: Any) -> None:
    wire((CreateRelated, PROFILES))
    with batch():
        user = UserFactory()
        Profile.objects.create(user=user, is_hidden=True)
    assert Profile._base_manager.count() == 1


def test_it_works_in_a_test_case_of_django(wire: Any) -> None:
    wire((CreateRelated, PROFILES), (AuditLog, AUDIT))

    class Case(TestCase):
        def runTest(self) -> None:  # noqa: N802
            assert UserFactory().profile.pk is not None

    result = Case().run()
    assert result is not None
    assert (result.errors, result.failures) == ([], [])


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_it_is_made_in_the_database_of_its_user(wire: Any) -> None:
    wire((CreateRelated, PROFILES))
    User.objects.using("other").create(username="a")
    User.objects.using("other").bulk_create(users(2))
    assert Profile.objects.using("other").count() == 3
    assert not Profile.objects.using("default").exists()


# Options and hooks


def test_defaults_are_values_and_functions_and_nothing_mutable_is_shared(wire: Any) -> None:
    wire((CreateRelated, {**PROFILES, "defaults": {"theme": lambda: "dark", "data": {"a": []}}}))
    first, second = UserFactory().profile, UserFactory().profile
    assert (first.theme, first.data) == ("dark", {"a": []})
    first.data["a"].append(1)
    assert second.data == {"a": []}


def test_hooks_see_the_instance_that_was_saved(wire: Any) -> None:
    wire((Invited, PROFILES))
    user = User(username="a")
    user._theme = "dark"  # type: ignore[attr-defined]
    user.save()
    UserFactory(username="b")
    UserFactory(username="robot 1")
    assert themes() == {"a": "dark", "b": "none"}


def test_default_children_are_made_in_their_order(wire: Any) -> None:
    wire((CreateRelated, COLUMNS))
    board = Board.objects.create(name="Home", code="home")
    found = board.columns.order_by("pk").values_list("name", "number")
    assert list(found) == [("To do", 1), ("Done", 2)]
    Board.objects.bulk_create([Board(name="a", code="a"), Board(name="b", code="b")])
    assert Column.objects.count() == 6


def test_a_board_that_has_a_column_gets_no_default_ones(wire: Any) -> None:
    wire((CreateRelated, COLUMNS))
    with batch():
        board = Board.objects.create(name="Home", code="home")
        board.columns.create(name="Mine")
    assert [column.name for column in board.columns.all()] == ["Mine"]


def test_a_hook_says_how_many_children(wire: Any) -> None:
    wire((OneColumnEach, {"related": "belongings.Column"}))
    board = Board.objects.create(name="abc", code="home")
    assert "".join(sorted(column.name for column in board.columns.all())) == "abc"
    assert not Board.objects.create(name="", code="empty").columns.exists()


def test_a_hook_says_how_they_are_written(wire: Any) -> None:
    wire((ByHand, PROFILES))
    UserFactory(username="a")
    assert themes() == {"a": "by hand"}


def test_a_field_may_point_to_a_unique_column_and_have_no_way_back(wire: Any) -> None:
    wire((CreateRelated, {"related": "belongings.Passport"}))
    Board.objects.create(name="Home", code="home")
    Board.objects.bulk_create([Board(name="a", code="a")])
    assert set(Passport.objects.values_list("board", flat=True)) == {"home", "a"}


def test_proxies_and_multi_table_children_get_one(wire: Any) -> None:
    wire((CreateRelated, {"related": "belongings.Gate"}))
    plain = Garden.objects.create(name="a")
    proxy = AnyGarden.objects.create(name="b")
    child = Orchard.objects.create(name="c")
    Orchard(garden_ptr=plain, name="d").save()
    found = Gate.objects.order_by("garden").values_list("garden", flat=True)
    assert list(found) == [plain.pk, proxy.pk, child.pk]


def test_a_multi_table_child_can_be_what_is_made(wire: Any) -> None:
    wire((CreateRelated, {"related": "belongings.IronGate", "defaults": {"weight": 9}}))
    garden = Garden.objects.create(name="a")
    Garden.objects.bulk_create([Garden(name="b"), Garden(name="c")])
    assert IronGate.objects.get(garden=garden).weight == 9
    assert IronGate.objects.count() == Gate.objects.count() == 3


# Bulk writes


def test_a_thousand_users_cost_one_select_and_one_insert_more(wire: Any) -> None:
    wire((CreateRelated, PROFILES))
    with CaptureQueriesContext(connection) as queries:
        User.objects.bulk_create(users(1000))
    of_profiles = [sql for sql in statements(queries) if "belongings_profile" in sql]
    inserts = [sql for sql in of_profiles if sql.startswith("INSERT")]
    # As many as the database's limits force, and as Django makes for the users.
    assert len(of_profiles) - len(inserts) == 1
    limit = connection.ops.bulk_batch_size(Profile._meta.concrete_fields[1:], users(1000))
    assert len(inserts) == -(-1000 // (limit or 1000))
    assert Profile.objects.count() == 1000


def test_many_saves_in_a_block_cost_one_select_and_one_insert_more(wire: Any) -> None:
    wire((CreateRelated, PROFILES))
    with CaptureQueriesContext(connection) as queries, batch():
        UserFactory.create_batch(20)
    assert len([sql for sql in statements(queries) if "belongings_profile" in sql]) == 2
    assert Profile.objects.count() == 20


def test_after_ignored_conflicts_each_user_has_one(wire: Any) -> None:
    UserFactory(username="u0")
    old = UserFactory(username="u1")
    Profile.objects.create(user=old, theme="old")
    wire((CreateRelated, PROFILES))
    User.objects.bulk_create(users(4), ignore_conflicts=True)
    assert themes() == {"u0": "light", "u1": "old", "u2": "light", "u3": "light"}


def test_after_ignored_conflicts_a_key_that_was_given_is_asked_for(wire: Any) -> None:
    wire((CreateRelated, COLUMNS))
    Board.objects.create(name="Home", code="home")
    boards = [Board(name="Other", code="home"), Board(name="New", code="new")]
    Board.objects.bulk_create(boards, ignore_conflicts=True)
    assert Column.objects.count() == 4


def test_an_upsert_makes_what_is_missing_and_brings_the_rest_in_step(wire: Any) -> None:
    old = UserFactory(username="u0", email="old@shop.example")
    Profile.objects.create(user=old, email="old@shop.example", theme="old")
    wire((CreateRelated, IN_STEP))
    unique = {} if connection.vendor == "mysql" else {"unique_fields": ["username"]}
    User.objects.bulk_create(users(2), update_conflicts=True, update_fields=["email"], **unique)
    found = Profile.objects.order_by("user__username").values_list("theme", "email")
    assert list(found) == [("old", "u0@shop.example"), ("light", "u1@shop.example")]


def test_rows_whose_keys_nobody_can_find_are_warned_of(wire: Any, caplog: Any) -> None:
    wire((CreateRelated, {"related": "belongings.Gate"}))
    with caplog.at_level(logging.WARNING):
        Garden.objects.bulk_create([Garden(name="a")], ignore_conflicts=True)
    assert "CreateRelated cannot find 1 rows of belongings.Garden" in caplog.text
    assert not Gate.objects.exists()


def test_without_bulk_no_bulk_write_is_heard(wire: Any) -> None:
    wire((CreateRelated, {**PROFILES, "bulk": False}))
    User.objects.bulk_create(users(2))
    assert not Profile.objects.exists()


# Others hear of it


def test_other_receivers_hear_of_the_profile_in_the_same_unit(wire: Any) -> None:
    wire(
        (CreateRelated, IN_STEP),
        (AuditLog, {"models": ["belongings.Profile", "auth.User"]}),
        (LastModified, {"models": ["belongings.Profile"]}),
    )
    user = UserFactory(email="a@shop.example")
    assert Profile.objects.get().updated_at is not None
    made = AuditEntry.objects.get(content_type__model="profile")
    assert (made.action, made.object_pk) == ("create", str(user.profile.pk))
    assert made.unit == AuditEntry.objects.get(content_type__model="user").unit
    user.email = "b@shop.example"
    user.save()
    changed = AuditEntry.objects.filter(content_type__model="profile").latest("pk")
    assert changed.changes["email"] == ["a@shop.example", "b@shop.example"]
    assert "certain" not in changed.context
    User.objects.bulk_create(users(3))
    made = AuditEntry.objects.filter(content_type__model="profile", action="create")
    assert len({entry.object_pk for entry in made}) == 4
    User.objects.bulk_create(users(2, start=2), ignore_conflicts=True)
    assert made.all().count() == 5


# In step


def email() -> Any:
    return Profile._base_manager.values_list("email", "first_name").get()


@pytest.fixture
def ann(wire: Any) -> Any:
    wire((CreateRelated, {**IN_STEP, "bulk": "all"}))
    return UserFactory(email="ann@shop.example", first_name="Ann")


def save(user: Any) -> None:
    user.email, user.first_name = "new", "New"
    user.save()


def save_email(user: Any) -> None:
    user.email, user.first_name = "new", "not written"
    user.save(update_fields=["email"])


def save_deferred(user: Any) -> None:
    user = User.objects.only("email").get()
    user.email = "new"
    user.save()


def save_expression(user: Any) -> None:
    user.email = Concat(Value("n"), Value("ew"))
    user.save()


def update_or_create(user: Any) -> None:
    User.objects.update_or_create(pk=user.pk, defaults={"email": "new"})


def bulk_update(user: Any) -> None:
    user.email = "new"
    User.objects.bulk_update([user], ["email"])


def update(user: Any) -> None:
    User.objects.update(email="new")


def update_by_expression(user: Any) -> None:
    User.objects.update(email=Concat(Value("new"), F("last_name")))


@pytest.mark.parametrize(
    "write",
    [
        save,
        save_email,
        save_deferred,
        save_expression,
        update_or_create,
        bulk_update,
        update,
        update_by_expression,
    ],
)
def test_chosen_fields_follow_however_they_are_written(
    ann: Any, write: Callable[[Any], None]
) -> None:
    assert email() == ("ann@shop.example", "Ann")
    write(ann)
    assert email() == ("new", "New" if write is save else "Ann")


def test_an_update_of_the_queryset_is_heard_only_if_asked_for(wire: Any) -> None:
    wire((CreateRelated, IN_STEP))
    UserFactory(email="old", first_name="Ann")
    User.objects.update(email="new")
    assert email() == ("old", "Ann")


def test_a_save_costs_one_update_of_the_profile_and_none_if_nothing_differs(ann: Any) -> None:
    with CaptureQueriesContext(connection) as queries:
        ann.email = "new"
        ann.save()
    of_profiles = [sql for sql in statements(queries) if "belongings_profile" in sql]
    assert [sql.split()[0] for sql in of_profiles] == ["SELECT", "UPDATE"]
    with CaptureQueriesContext(connection) as queries:
        ann.save()
    of_profiles = [sql for sql in statements(queries) if "belongings_profile" in sql]
    assert [sql.split()[0] for sql in of_profiles] == ["SELECT"]
    with CaptureQueriesContext(connection) as queries:
        ann.save(update_fields=["last_name"])
    assert [sql for sql in statements(queries) if "belongings_profile" in sql] == []


def test_many_saves_in_a_block_are_one_select_and_one_update(ann: Any) -> None:
    everybody = [ann, *UserFactory.create_batch(9)]
    with CaptureQueriesContext(connection) as queries, batch():
        for user in everybody:
            user.email = f"new-{user.pk}"
            user.save()
    of_profiles = [sql for sql in statements(queries) if "belongings_profile" in sql]
    assert [sql.split()[0] for sql in of_profiles] == ["SELECT", "UPDATE"]
    for user in everybody:
        assert Profile.objects.get(user=user).email == f"new-{user.pk}"


def test_without_anything_to_follow_an_update_costs_no_query(wire: Any) -> None:
    wire((CreateRelated, PROFILES))
    user = UserFactory()
    with CaptureQueriesContext(connection) as queries:
        user.save()
    assert len(statements(queries)) == 1


def test_a_profile_that_is_loaded_does_not_bring_the_old_value_back(ann: Any) -> None:
    assert ann.profile.email == "ann@shop.example"
    ann.email = "new"
    ann.save()
    ann.profile.theme = "dark"
    ann.profile.save()
    assert email()[0] == "new"


def test_a_change_that_is_rolled_back_leaves_the_profile(ann: Any) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        ann.email = "new"
        ann.save()
        raise ZeroDivisionError
    assert email() == ("ann@shop.example", "Ann")


def test_all_children_follow(wire: Any) -> None:
    wire((CreateRelated, {**COLUMNS, "sync": {"number": "number"}}))
    board = Board.objects.create(name="Home", code="home", number=7)
    assert {column.number for column in board.columns.all()} == {7}
    board.number = F("number") + 1
    board.save()
    assert {column.number for column in board.columns.all()} == {8}


def test_two_who_change_the_same_user_leave_both_alike(ann: Any) -> None:
    start = threading.Barrier(2, timeout=60)

    def change(number: int) -> None:
        try:
            user = User.objects.get(pk=ann.pk)
            start.wait()
            for turn in range(10):
                user.email = f"{number}-{turn}"
                user.save(update_fields=["email"])
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(change, range(2)))
    assert email()[0] == User.objects.get().email


# At the same time


def test_many_who_make_the_same_user_at_once_make_one_profile(wire: Any) -> None:
    wire((CreateRelated, PROFILES))
    start = threading.Barrier(4, timeout=60)

    def sign_up(number: int) -> None:
        try:
            for turn in range(5):
                start.wait()
                user, _ = User.objects.get_or_create(username=f"same {turn}")
                assert user.profile.pk is not None
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(sign_up, range(4)))
    assert Profile.objects.count() == User.objects.count() == 5


def test_who_imports_beside_others_gets_no_error_and_loses_nothing(wire: Any) -> None:
    """Imports with conflicts, and code that makes profiles on demand, in open transactions."""
    with muted_wire(wire):
        User.objects.bulk_create(users(20))
    everybody = list(User.objects.order_by("pk"))
    start = threading.Barrier(4, timeout=60)

    def work(number: int) -> None:
        try:
            start.wait()
            with transaction.atomic():
                if number % 2:
                    User.objects.bulk_create(users(20), ignore_conflicts=True)
                    # The transaction is still usable.
                    assert User.objects.count() == 20
            for user in everybody if not number % 2 else ():
                Profile.objects.get_or_create(user=user)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert Profile.objects.count() == 20


def muted_wire(wire: Any) -> Any:
    wire((CreateRelated, PROFILES))
    return muted("CreateRelated")


class Interrupted(CreateRelated):
    _others: Any = ()

    def should_create(self, instance: Any) -> bool:
        """Asked after it has been read who has one."""
        others, self._others = self._others, []

        def make() -> None:
            try:
                Profile.objects.bulk_create(Profile(user=user, theme="own") for user in others)
            finally:
                connections.close_all()

        if connection.vendor == "postgresql":
            thread = threading.Thread(target=make)
            thread.start()
            thread.join(60)
        else:
            # There the lock on the user keeps other connections out.
            Profile.objects.bulk_create(Profile(user=user, theme="own") for user in others)
        return True


def test_a_row_that_comes_between_the_look_and_the_write_is_no_error(wire: Any) -> None:
    receiver = wire((Interrupted, PROFILES))
    with muted("Interrupted"):
        User.objects.bulk_create(users(3))
    receiver._others = list(User.objects.filter(username="u1"))
    with transaction.atomic():
        User.objects.bulk_create(users(3), ignore_conflicts=True)
        assert Profile.objects.count() == 3
    assert themes() == {"u0": "light", "u1": "own", "u2": "light"}


def test_an_error_that_is_no_race_reaches_the_user(wire: Any) -> None:
    with muted_wire(wire):
        User.objects.bulk_create(users(2))
    wire((CreateRelated, {**PROFILES, "defaults": {"code": "same"}}))
    with pytest.raises(IntegrityError), transaction.atomic():
        User.objects.bulk_create(users(2), ignore_conflicts=True)
    with pytest.raises(IntegrityError):
        User.objects.bulk_create(users(2, start=5))
    assert not Profile.objects.exists()
    assert User.objects.count() == 2


# What is wrong


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, ["'related'", "''", "signal_kit.E035"]),
        ({"related": "belongings.Profil"}, ["Did you mean 'belongings.Profile'?", "E035"]),
        ({"related": "belongings.Treaty"}, ["it has 2", "'first', 'second'", "E035"]),
        ({"related": "belongings.Board"}, ["it has 0", "'related'", "E035"]),
        ({**PROFILES, "field": "email"}, ["'email' is none", "'user'", "E035"]),
        ({**PROFILES, "field": "usr"}, ["'usr' is none", "'user'", "E035"]),
        ({**PROFILES, "children": [{}, {}]}, ["2 rows", "belongings.Profile.user", "E036"]),
        ({**PROFILES, "defaults": {"them": 1}}, ["'them'", "Did you mean 'theme'?", "E012"]),
        ({**PROFILES, "defaults": {"user": 1}}, ["'defaults'", "'user'", "E012"]),
        ({**COLUMNS, "children": [{"nam": 1}]}, ["'children'", "'name'", "E012"]),
        ({**PROFILES, "sync": {"emial": "email"}}, ["'emial'", "auth.User", "E012"]),
        ({**PROFILES, "sync": {"email": "emial"}}, ["'sync'", "'emial'", "E012"]),
        ({**PROFILES, "sync": {"email": "id"}}, ["'sync'", "'id'", "E012"]),
        ({**PROFILES, "models": ["belongings.Garden"]}, ["belongings.Profile.user", "E012"]),
    ],
)
def test_what_cannot_work_is_told_with_a_remedy(
    wire: Any, options: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        wire((CreateRelated, options))
    for word in words:
        assert word in str(caught.value)


def test_a_field_says_which_of_two_is_meant(wire: Any) -> None:
    receiver = wire((CreateRelated, {"related": "belongings.Treaty", "field": "second"}))
    assert registry.get_models(receiver) == [Garden, Orchard, AnyGarden]


def test_a_key_that_is_given_as_text_is_the_same_key(wire: Any) -> None:
    wire((CreateRelated, COLUMNS))
    Board.objects.create(pk=str(uuid.uuid4()), name="Home", code="home")
    assert Column.objects.count() == 2
