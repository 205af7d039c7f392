"""What was made for a row gives way to what its creator makes himself, and to nothing else."""

from __future__ import annotations

import copy
import gc
import pickle
from contextlib import suppress
from typing import Any

import pytest
from django import forms
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, models, transaction
from django.test import Client, TestCase, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import path

from django_signal_kit import batch, muted
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.receivers import AuditLog, CreateRelated, Validate
from tests.apps.belongings.models import Board, Garden, Gate, IronGate, Orchard, Passport, Profile
from tests.conftest import run_async
from tests.factories import UserFactory
from tests.threads import in_threads

pytestmark = pytest.mark.django_db(transaction=True)

PROFILES = {"related": "belongings.Profile"}


@pytest.fixture
def profiles(wire: Any) -> Any:
    return wire((CreateRelated, PROFILES))


def themes() -> dict[str, str]:
    return dict(Profile._base_manager.values_list("user__username", "theme"))


# It gives way


@pytest.mark.parametrize("is_atomic", [True, False])
def test_who_makes_it_right_after_its_parent_has_his_own(profiles: Any, is_atomic: bool) -> None:
    def make() -> None:
        ann = User.objects.create(username="ann")
        assert ann.profile.theme == "light"
        assert Profile.objects.create(user=ann, theme="dark") == ann.profile
        bea = UserFactory(username="bea")
        Profile(user_id=bea.pk, theme="blue").save()
        assert bea.profile.theme == "blue"
        cid = UserFactory(username="cid")
        Profile.objects.bulk_create([Profile(user=cid, theme="red")])

    if is_atomic:
        with transaction.atomic():
            make()
    else:
        make()
    assert themes() == {"ann": "dark", "bea": "blue", "cid": "red"}


def test_what_is_made_for_many_gives_way_to_many(profiles: Any) -> None:
    users = User.objects.bulk_create([User(username=f"u{number}") for number in range(5)])
    users = list(users)
    with CaptureQueriesContext(connection) as queries:
        Profile.objects.bulk_create([Profile(user=user, theme="dark") for user in users[:4]])
    assert set(themes().values()) == {"dark", "light"}
    assert Profile.objects.count() == 5
    assert sum(query["sql"].startswith("DELETE") for query in queries) == 1


def test_an_upsert_and_get_or_create_use_what_is_there(profiles: Any) -> None:
    user = UserFactory(username="ann")
    pk = user.profile.pk
    Profile.objects.get_or_create(user=user, defaults={"theme": "dark"})
    Profile.objects.bulk_create([Profile(user=user, theme="dark")], ignore_conflicts=True)
    assert themes() == {"ann": "light"}
    Profile.objects.update_or_create(user=user, defaults={"theme": "dark"})
    assert themes() == {"ann": "dark"}
    assert Profile.objects.get().pk == pk


def test_async_calls_have_their_own_too(profiles: Any) -> None:
    async def make() -> None:
        user = await User.objects.acreate(username="ann")
        await Profile.objects.acreate(user=user, theme="dark")

    run_async(make())
    assert themes() == {"ann": "dark"}


def test_a_key_to_another_column_and_multi_table_models_are_no_exception(wire: Any) -> None:
    wire((CreateRelated, {"related": "belongings.Passport"}))
    board = Board.objects.create(name="a", code="home")
    first = Passport.objects.get()
    Passport.objects.create(board=board)
    assert Passport.objects.get() != first
    wire((CreateRelated, {"related": "belongings.Gate"}))
    # The child of a row that may have been there before.
    for garden in (Garden.objects.create(name="a"), Orchard.objects.create(name="b")):
        gate = IronGate.objects.create(garden_id=garden.pk, weight=5)
        assert Gate.objects.get(garden=garden.pk).pk == gate.pk


def test_a_unique_foreign_key_is_one_too(wire: Any, make_model: Any) -> None:
    plot = make_model(
        "Plot",
        models.Model,
        board=models.ForeignKey(Board, models.CASCADE, unique=True, related_name="plots"),
        name=models.CharField(max_length=10, default="made"),
    )
    wire((CreateRelated, {"related": plot}))
    board = Board.objects.create(name="a", code="a")
    board.plots.create(name="own")
    assert [found.name for found in plot.objects.all()] == ["own"]


def test_what_follows_a_field_is_no_touch(wire: Any) -> None:
    wire((CreateRelated, {**PROFILES, "sync": {"email": "email"}}))
    user = UserFactory(username="ann")
    user.email = "other@shop.example"
    user.save()
    Profile.objects.create(user=user, theme="dark")
    assert themes() == {"ann": "dark"}


def test_what_was_made_for_it_in_turn_goes_with_it(wire: Any, make_model: Any) -> None:
    badge = make_model(
        "Badge",
        models.Model,
        profile=models.OneToOneField(Profile, models.CASCADE),
        name=models.CharField(max_length=10, default="made"),
    )
    wire(
        (CreateRelated, PROFILES),
        {
            "RECEIVER": "django_signal_kit.receivers.CreateRelated",
            "OPTIONS": {"related": badge},
            "NAME": "badges",
        },
    )
    user = UserFactory(username="ann")
    profile = Profile.objects.create(user=user, theme="dark")
    assert [found.profile_id for found in badge.objects.all()] == [profile.pk]
    badge.objects.create(profile=profile, name="own")
    # Somebody's own badge keeps its profile.
    user = UserFactory(username="bea")
    badge.objects.create(profile=user.profile, name="own")
    with pytest.raises(IntegrityError):
        Profile.objects.create(user=user, theme="dark")
    assert themes() == {"ann": "dark", "bea": "light"}


def test_the_log_tells_what_happened(wire: Any) -> None:
    wire((CreateRelated, PROFILES), (AuditLog, {"models": ["belongings.Profile"]}))
    with transaction.atomic():
        user = UserFactory()
        Profile.objects.create(user=user, theme="dark")
    assert [entry.action for entry in AuditEntry.objects.order_by("pk")] == [
        "create",
        "delete",
        "create",
    ]


def test_a_rollback_brings_it_back_and_it_gives_way_again(profiles: Any) -> None:
    user = UserFactory(username="ann")
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        Profile.objects.create(user=user, theme="dark")
        raise ZeroDivisionError
    assert themes() == {"ann": "light"}
    Profile.objects.create(user=user, theme="dark")
    assert themes() == {"ann": "dark"}


def test_one_that_cannot_be_saved_leaves_what_was_there(wire: Any) -> None:
    slug = {"full_clean": False, "validators": {"theme": ["django.core.validators.validate_slug"]}}
    wire((CreateRelated, PROFILES), (Validate, {"models": [Profile], **slug}))
    user = UserFactory(username="ann")
    with pytest.raises(ValidationError):
        Profile.objects.create(user=user, theme="no slug")
    with pytest.raises(ValidationError), transaction.atomic():
        Profile.objects.create(user=user, theme="no slug")
    # Whoever swallows the error cannot commit the half of it.
    with transaction.atomic():
        with pytest.raises(ValidationError):
            Profile.objects.create(user=user, theme="no slug")
        assert connection.needs_rollback
    assert themes() == {"ann": "light"}
    Profile.objects.create(user=user, theme="dark")
    assert themes() == {"ann": "dark"}


@pytest.mark.parametrize("is_first", [True, False])
def test_validation_lets_it_pass_in_whichever_order(wire: Any, is_first: bool) -> None:
    validate = (Validate, {"models": [Gate]})
    create = (CreateRelated, {"related": "belongings.Gate"})
    wire(*((validate, create) if is_first else (create, validate)))
    garden = Garden.objects.create(name="a")
    first = Gate.objects.get()
    Gate.objects.create(garden=garden)
    assert Gate.objects.get() != first
    with pytest.raises(ValidationError):
        Gate.objects.create(garden=garden)
    some = Garden.objects.bulk_create([Garden(name="b"), Garden(name="c")])
    Gate.objects.bulk_create([Gate(garden=garden) for garden in some])
    with pytest.raises(ValidationError):
        Gate.objects.bulk_create([Gate(garden=some[0])])
    other = Garden.objects.create(name="d")
    with pytest.raises(ValidationError):
        Gate.objects.bulk_create([Gate(garden=other), Gate(garden=other)])
    assert Gate.objects.count() == 4


def test_it_works_in_a_test_case_of_django(profiles: Any) -> None:
    class Case(TestCase):
        def runTest(self) -> None:  # noqa: N802
            Profile.objects.create(user=UserFactory(username="ann"), theme="dark")
            assert themes() == {"ann": "dark"}

    result = Case().run()
    assert result is not None
    assert (result.errors, result.failures) == ([], [])


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_each_database_has_its_own(profiles: Any) -> None:
    User.objects.create(pk=5, username="ann")
    user = User.objects.using("other").create(pk=5, username="ann")
    Profile.objects.using("other").create(user=user, theme="dark")
    assert themes() == {"ann": "light"}
    assert [found.theme for found in Profile.objects.using("other")] == ["dark"]


# It does not


def test_a_second_one_of_the_callers_own_is_refused_as_ever(profiles: Any) -> None:
    user = UserFactory(username="ann")
    Profile.objects.create(user=user, theme="dark")
    with pytest.raises(IntegrityError):
        Profile.objects.create(user=user, theme="blue")
    assert themes() == {"ann": "dark"}


@pytest.mark.parametrize("how", ["save", "update"])
def test_one_that_somebody_has_changed_stays(profiles: Any, how: str) -> None:
    user = UserFactory(username="ann")
    if how == "save":
        user.profile.theme = "mine"
        user.profile.save()
    else:
        Profile.objects.update(data={"a": 1})
    before = Profile.objects.values().get()
    with pytest.raises(IntegrityError):
        Profile.objects.create(user=user, theme="dark")
    assert Profile.objects.values().get() == before


def test_one_of_which_its_creator_knows_nothing_any_more_stays(profiles: Any) -> None:
    user = UserFactory(username="ann")
    again = User.objects.get()
    clone = pickle.loads(pickle.dumps(user))
    deep = copy.deepcopy(user)
    del user
    gc.collect()
    for found in (again, clone, deep):
        with pytest.raises(IntegrityError):
            Profile.objects.create(user=found, theme="dark")
    assert themes() == {"ann": "light"}


@pytest.mark.skipif(connection.vendor == "sqlite", reason="A second connection is what it takes.")
def test_what_another_thread_makes_is_refused_as_ever(profiles: Any) -> None:
    user = UserFactory(username="ann")
    with pytest.raises(IntegrityError):
        in_threads(lambda: Profile.objects.create(user_id=user.pk, theme="dark"))
    assert themes() == {"ann": "light"}


def test_one_of_another_row_with_the_key_of_one_that_was_rolled_back_stays(
    profiles: Any,
) -> None:
    with suppress(ZeroDivisionError), transaction.atomic():
        user = UserFactory(username="bob")
        raise ZeroDivisionError
    with muted("CreateRelated"):
        again = UserFactory(pk=user.pk, username="ann")
        Profile.objects.create(pk=user.profile.pk, user=again)
    with pytest.raises(IntegrityError), transaction.atomic():
        Profile.objects.create(user=again, theme="dark")
    assert themes() == {"ann": "light"}


def test_one_of_a_row_that_was_there_before_stays(wire: Any) -> None:
    user = UserFactory(username="ann")
    receiver = wire((CreateRelated, PROFILES))
    receiver.create_missing(User.objects.all(), "default")
    with pytest.raises(IntegrityError):
        Profile.objects.create(user=user, theme="dark")
    assert themes() == {"ann": "light"}


def test_what_is_muted_makes_no_way(profiles: Any) -> None:
    user = UserFactory(username="ann")
    with muted("CreateRelated"), pytest.raises(IntegrityError):
        Profile.objects.create(user=user, theme="dark")


def test_children_of_a_plain_foreign_key_stay_beside_those_of_the_caller(wire: Any) -> None:
    wire((CreateRelated, {"related": "belongings.Column"}))
    board = Board.objects.create(name="a", code="a")
    board.columns.create(name="own")
    assert sorted(column.name for column in board.columns.all()) == ["", "own"]


def test_nonsense_is_told_by_the_database_as_ever(profiles: Any) -> None:
    UserFactory()
    with pytest.raises(ValueError, match="expected a number"):
        Profile.objects.create(user_id="nobody")


def test_other_saves_cost_no_query_more(profiles: Any, wire: Any) -> None:
    user = UserFactory()

    def count() -> int:
        profile = Profile.objects.get(user=user)
        with CaptureQueriesContext(connection) as queries, transaction.atomic():
            profile.save()
        return len(queries)

    with_it = count()
    wire()
    assert count() == with_it


# Formsets and the admin

ProfileFormSet: Any = forms.inlineformset_factory(User, Profile, fk_name="user", fields=("theme",))


class UserForm(forms.ModelForm):  # type: ignore[type-arg]
    class Meta:
        model = User
        fields = ("username",)


DATA = {
    "username": "ann",
    "profile-TOTAL_FORMS": 1,
    "profile-INITIAL_FORMS": 0,
    "profile-0-theme": "dark",
}


@pytest.mark.parametrize("is_atomic", [True, False])
@pytest.mark.parametrize("is_saved_first", [True, False])
def test_a_formset_of_a_view_has_its_row(
    profiles: Any, is_atomic: bool, is_saved_first: bool
) -> None:
    def view() -> None:
        form = UserForm(DATA)
        assert form.is_valid()
        user = form.save(commit=is_saved_first)
        formset = ProfileFormSet(DATA, instance=user)
        assert formset.is_valid(), formset.errors
        if not is_saved_first:
            user.save()
        formset.save()

    if is_atomic:
        with transaction.atomic():
            view()
    else:
        view()
    assert themes() == {"ann": "dark"}


def test_a_form_of_another_row_is_refused_as_ever(profiles: Any) -> None:
    user = UserFactory(username="ann")
    user.profile.theme = "mine"
    user.profile.save()
    formset = ProfileFormSet(DATA, instance=user)
    assert formset.errors == [{"user": ["Profile with this User already exists."]}]
    bea = UserFactory(username="bea")
    assert ProfileFormSet(DATA, instance=bea).is_valid()
    with muted("CreateRelated"):
        assert not ProfileFormSet(DATA, instance=bea).is_valid()
    profile = Profile(user=user)
    with pytest.raises(ValidationError, match="already exists"):
        profile.validate_unique()


class ProfileInline(admin.StackedInline):  # type: ignore[type-arg]
    model = Profile
    fk_name = "user"
    fields = ("theme",)


class WithProfile(admin.ModelAdmin):  # type: ignore[type-arg]
    fields = ("username",)
    inlines = (ProfileInline,)


site = admin.AdminSite(name="provisional")
site.register(User, WithProfile)
urlpatterns = [path("admin/", site.urls)]


@override_settings(ROOT_URLCONF=__name__)
def test_an_inline_of_the_admin_has_its_row(profiles: Any) -> None:
    client = Client()
    client.force_login(User.objects.create_superuser("keeper"))
    assert client.post("/admin/auth/user/add/", DATA).status_code == 302
    assert themes() == {"ann": "dark", "keeper": "light"}
    # Left as it is shown, it is no row of the caller's: the one that was made stays.
    data = {**DATA, "username": "bea", "profile-0-theme": "light"}
    assert client.post("/admin/auth/user/add/", data).status_code == 302
    assert themes()["bea"] == "light"
    # And the page of a user who has one changes it.
    user = User.objects.get(username="bea")
    data |= {
        "profile-INITIAL_FORMS": 1,
        "profile-0-id": user.profile.pk,
        "profile-0-user": user.pk,
        "profile-0-theme": "blue",
    }
    assert client.post(f"/admin/auth/user/{user.pk}/change/", data).status_code == 302
    assert themes()["bea"] == "blue"


def test_in_a_batch_there_is_nothing_to_give_way(profiles: Any) -> None:
    with batch():
        user = UserFactory(username="ann")
        Profile.objects.create(user=user, theme="dark")
    assert themes() == {"ann": "dark"}
