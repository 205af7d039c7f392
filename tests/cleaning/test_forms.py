"""What validates before the save validates what will be saved."""

from __future__ import annotations

from typing import Any

import pytest
from django import forms
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.forms import modelform_factory, modelformset_factory
from django.test import Client, override_settings
from django.urls import path

from django_signal_kit import muted
from django_signal_kit.forms import LimitedModelForm
from django_signal_kit.receivers import Normalize
from tests.apps.belongings.models import Board
from tests.apps.validity.models import Country, Hotel

pytestmark = pytest.mark.django_db(transaction=True)

LOWER = {
    "models": ["belongings.Board", "validity.*"],
    "fields": {"code": ["strip", "casefold"], "name": ["strip", "casefold"]},
}
TAKEN = ["Board with this Code already exists."]

BoardForm = modelform_factory(Board, fields=("name", "code"))


@pytest.fixture(autouse=True)
def normalize(wire: Any) -> Any:
    return wire((Normalize, LOWER))


def test_a_form_shows_a_duplicate_that_there_will_be(normalize: Any) -> None:
    board = Board.objects.create(name="a", code="x")
    form = BoardForm({"name": "b", "code": "X"})
    assert form.errors == {"code": TAKEN}
    # What was typed is what the form shows again.
    assert form["code"].value() == "X"
    form = BoardForm({"name": " B ", "code": "X"}, instance=board)
    assert form.is_valid()
    assert form.cleaned_data == {"name": "b", "code": "x"}
    assert form.save().name == "b"


@pytest.mark.parametrize("base", [forms.ModelForm, LimitedModelForm])
def test_so_does_any_model_form(base: Any) -> None:
    Board.objects.create(name="a", code="x")

    class Form(base):  # type: ignore[misc]
        class Meta:
            model = Board
            fields = ("name", "code")

        def clean(self) -> Any:
            assert self.cleaned_data["code"] == " X"
            return super().clean()

        code = forms.CharField(strip=False)

    assert Form({"name": "b", "code": " X"}).errors == {"code": TAKEN}


def test_a_field_of_the_form_alone_is_left_alone() -> None:
    class Form(forms.ModelForm):  # type: ignore[type-arg]
        code = forms.CharField()

        class Meta:
            model = Board
            fields = ("name",)

    form = Form({"name": "A", "code": "SECRET"})
    assert form.is_valid()
    assert form.cleaned_data == {"name": "a", "code": "SECRET"}


def test_uniqueness_of_several_fields_and_of_constraints_is_asked_of_clean_values() -> None:
    Hotel.objects.create(name="sun", street="a", number=1)
    form = modelform_factory(Hotel, fields=("name", "street"))({"name": "SUN", "street": "b"})
    assert form.errors == {"name": ["Hotel with this Name already exists."]}


def test_the_forms_of_one_formset_are_compared_by_clean_values() -> None:
    formset = modelformset_factory(Board, fields=("name", "code"), extra=2)(
        {
            "form-TOTAL_FORMS": 2,
            "form-INITIAL_FORMS": 0,
            "form-0-name": "a",
            "form-0-code": "x",
            "form-1-name": "b",
            "form-1-code": "X",
        }
    )
    assert not formset.is_valid()
    assert formset.non_form_errors() == ["Please correct the duplicate data for code."]


def test_full_clean_says_what_the_save_would_meet() -> None:
    Board.objects.create(name="a", code="x")
    board = Board(name=" B ", code="X")
    with pytest.raises(ValidationError) as caught:
        board.full_clean()
    assert caught.value.message_dict == {"code": TAKEN}
    board = Board(name=" B ", code="X")
    board.full_clean(exclude=["code"])
    assert (board.name, board.code) == ("b", "X")
    board = Board(name=" B ", code="X")
    board.full_clean(None, False)
    assert board.code == "x"


def test_a_row_that_is_older_than_the_receiver_keeps_its_value_unless_it_is_saved() -> None:
    with muted("Normalize"):
        board = Board.objects.create(name="a", code=" x")
        board.full_clean()
        assert BoardForm({"name": "B", "code": "Y"}).is_valid()
    assert board.code == " x"
    Board.objects.create(name="b", code="x")
    assert BoardForm({"name": "a", "code": " x"}, instance=board).errors == {"code": TAKEN}


def refuse(value: str) -> str:
    if "!" in value:
        raise ValidationError("No shouting.")
    return value


def test_what_a_cleaner_refuses_is_an_error_of_the_form(wire: Any) -> None:
    wire((Normalize, {"models": [Board], "fields": {"name": [refuse]}}))
    form = BoardForm({"name": "a!", "code": ""})
    assert form.errors == {
        "__all__": ["No shouting."],
        "code": ["This field is required."],
    }


def test_forms_of_other_models_are_djangos_own(wire: Any) -> None:
    form = modelform_factory(User, fields=("username",))({"username": "ANN"})
    assert form.save().username == "ANN"
    wire()
    form = BoardForm({"name": "A", "code": "X"})
    assert form.save().name == "A"


class BoardAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    fields = ("name", "code")
    list_display = ("__str__", "code")
    list_editable = ("code",)


site = admin.AdminSite(name="cleaning")
site.register(Board, BoardAdmin)
site.register(Country)
urlpatterns = [path("admin/", site.urls)]


@pytest.fixture
def client() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("keeper"))
    return client


@override_settings(ROOT_URLCONF=__name__)
def test_the_plain_admin_shows_the_duplicate_at_its_field(client: Client) -> None:
    Board.objects.create(name="a", code="x")
    url = "/admin/belongings/board/add/"
    response = client.post(url, {"name": "b", "code": "X"})
    assert response.status_code == 200
    assert response.context["adminform"].form.errors == {"code": TAKEN}
    other = {"name": "B", "code": "Y"}
    assert client.post(url, other).status_code == 302
    assert set(Board.objects.values_list("code", flat=True)) == {"x", "y"}


@override_settings(ROOT_URLCONF=__name__)
def test_so_does_its_list_that_can_be_edited(client: Client) -> None:
    boards = [Board.objects.create(name=code, code=code) for code in "xy"]
    boards.sort(key=lambda board: str(board.pk), reverse=True)
    data = {"form-TOTAL_FORMS": 2, "form-INITIAL_FORMS": 2, "_save": "Save"}
    for number, board in enumerate(boards):
        data |= {f"form-{number}-id": str(board.pk), f"form-{number}-code": "z" if number else "Z"}
    response = client.post("/admin/belongings/board/", data)
    assert response.status_code == 200
    assert "Please correct the duplicate" in response.content.decode()
    assert set(Board.objects.values_list("code", flat=True)) == {"x", "y"}
