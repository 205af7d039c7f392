"""A receiver of anybody's may refuse and change rows, and calls that look first keep working."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import connections
from django.db.models import Model, QuerySet
from django.forms import ModelForm

from django_signal_kit import ModelReceiver
from tests.apps.testapp.models import Plain, Tag

pytestmark = pytest.mark.django_db(transaction=True)


class OnlyOne(ModelReceiver):
    """Refuses a second row of a name, though the database would take it."""

    models = ["testapp.Tag"]

    def pre_save(self, instance: Any, **kwargs: Any) -> None:
        if meanwhile:
            with ThreadPoolExecutor(1) as pool:
                pool.submit(meanwhile.pop()).result(60)
        if Tag.objects.filter(name=instance.name).exists():
            raise ValidationError("There is one.")


meanwhile: list[Any] = []


def make_another() -> None:
    try:
        Tag.objects.bulk_create([Tag(name="a")])
    finally:
        connections.close_all()


class Shouting(ModelReceiver):
    models = ["testapp.Tag"]

    def pre_save(self, instance: Any, **kwargs: Any) -> None:
        instance.name = instance.name.upper()

    def clean_fields(self, instance: Any, names: Any, using: str) -> None:
        assert using == "default"
        if "name" in names:
            self.pre_save(instance)


def test_what_a_receiver_refuses_is_looked_for_again(wire: Any) -> None:
    wire((OnlyOne, {"bulk": False}))
    meanwhile.append(make_another)
    assert Tag.objects.get_or_create(name="a")[1] is False
    with pytest.raises(ValidationError, match="There is one"):
        Tag.objects.create(name="a")
    with pytest.raises(ValidationError, match="There is one"):
        Tag.objects.get_or_create(pk=5, defaults={"name": "a"})
    assert Tag.objects.count() == 1


def test_a_receiver_may_say_what_it_will_make_of_a_row(wire: Any) -> None:
    wire(Shouting)
    tag, made = Tag.objects.get_or_create(name="a")
    assert (tag.name, made) == ("A", True)
    assert Tag.objects.get_or_create(name="a") == (tag, False)
    tag = Tag(name="b")
    tag.full_clean()
    assert tag.name == "B"


def test_django_has_its_own_methods_back_when_nothing_is_covered(wire: Any) -> None:
    wire()
    before = QuerySet.get_or_create, Model.full_clean, ModelForm._post_clean
    wire(OnlyOne)
    assert QuerySet.get_or_create is not before[0]
    assert (Model.full_clean, ModelForm._post_clean) == before[1:]
    wire(Shouting)
    assert Model.full_clean is not before[1]
    Plain.objects.get_or_create(name=" a ")
    assert Plain.objects.get_or_create(name=" a ")[1] is False
    Plain(name=" b ").full_clean()
    wire()
    assert (QuerySet.get_or_create, Model.full_clean, ModelForm._post_clean) == before
