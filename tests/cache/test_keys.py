"""Keys of several columns, of UUIDs, of other rows: what is made of them is dropped as well."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.core.cache import cache
from django.db import models

from django_signal_kit.receivers import CacheInvalidation
from tests.apps.testapp.models import (
    Place,
    Restaurant,
    Tag,
)
from tests.factories import (
    TagFactory,
)

pytestmark = pytest.mark.django_db(transaction=True)


def drops(row: Any, name: str, *keys: str) -> bool:
    """Are all of these gone when the row is saved with another name?"""
    cache.set_many(dict.fromkeys(keys, "page"))
    row.name = name
    row.save()
    return not cache.get_many(keys)


@pytest.fixture
def line(make_model: Any) -> Any:
    """A model whose key is of two columns."""
    return make_model(
        "LineOfKeys",
        models.Model,
        pk=models.CompositePrimaryKey("order", "number"),
        order=models.IntegerField(),
        number=models.IntegerField(),
        name=models.CharField(max_length=9),
    )


# Memcached takes no spaces.
@pytest.mark.filterwarnings("ignore::django.core.cache.CacheKeyWarning")
def test_a_template_may_name_the_key_of_several_columns(wire: Any, line: Any) -> None:
    keys = ["{pk}", "{pk[1]}", "of:{order}", "named:{name}"]
    wire((CacheInvalidation, {"models": [line], "keys": keys}))
    row = line.objects.create(order=1, number=2, name="a")
    assert drops(row, "b", "(1, 2)", "2", "of:1", "named:a", "named:b")
    cache.set("named:b", "page")
    line.objects.update(name="c")
    assert cache.get("named:b") is None
    cache.set("named:c", "page")
    line.objects.all().delete()
    assert cache.get("named:c") is None


# Memcached takes no spaces.
@pytest.mark.filterwarnings("ignore::django.core.cache.CacheKeyWarning")
def test_a_template_of_nothing_but_a_key_of_several_columns(wire: Any, line: Any) -> None:
    wire((CacheInvalidation, {"models": [line], "keys": ["{pk}"]}))
    assert drops(line.objects.create(order=1, number=2, name="a"), "b", "(1, 2)")


class LooksInFromDb(models.Model):
    name = models.CharField(max_length=9)

    class Meta:
        abstract = True

    @classmethod
    def from_db(cls, *args: Any, **kwargs: Any) -> Any:
        instance = super().from_db(*args, **kwargs)
        instance.loaded = (instance.pk, instance._state.db)
        assert instance.pk is not None
        return instance


class LooksInInit(models.Model):
    name = models.CharField(max_length=9)

    class Meta:
        abstract = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.was = (self.pk, str(self.pk))


class LooksInManager(models.Model):
    name = models.CharField(max_length=9)

    class Rows(models.Manager):
        def get_queryset(self) -> Any:
            return super().get_queryset().filter(pk__gt=0).order_by(self.model._meta.pk.attname)

    objects = Rows()

    class Meta:
        abstract = True
        base_manager_name = "objects"


@pytest.mark.parametrize("base", [LooksInFromDb, LooksInInit, LooksInManager])
@pytest.mark.parametrize("key", ["id", "uuid", "owner", "parent"])
def test_a_model_that_looks_at_its_key(wire: Any, make_model: Any, base: Any, key: str) -> None:
    fields: dict[str, Any] = {}
    bases: tuple[Any, ...] = (base,)
    if key == "uuid":
        fields["code"] = models.UUIDField(primary_key=True, default=uuid.uuid4)
        if base is LooksInManager:
            pytest.skip("its manager compares the key with a number")
    elif key == "owner":
        fields["owner"] = models.OneToOneField(Tag, models.CASCADE, primary_key=True)
    elif key == "parent":
        bases = (make_model("LookedAt", models.Model, size=models.IntegerField(default=1)), base)
        bases = (base, bases[0])
    model = make_model("Looks", *bases, **fields)
    wire((CacheInvalidation, {"models": [model], "keys": ["named:{name}"]}))
    given = {"owner": TagFactory()} if key == "owner" else {}
    row = model.objects.create(name="a", **given)
    assert drops(row, "b", "named:a", "named:b")
    cache.set("named:b", "page")
    model.objects.get().delete()
    assert cache.get("named:b") is None


def test_the_old_values_of_a_parent_that_a_child_is_made_of(wire: Any) -> None:
    wire((CacheInvalidation, {"models": [Place], "keys": ["place:{name}"]}))
    place = Place.objects.create(name="plain")
    cache.set_many({"place:plain": 1, "place:prom": 1, "place:other": 1})
    Restaurant(place_ptr=place, name="prom").save()
    found = cache.get_many(["place:plain", "place:prom", "place:other"])
    assert found == {"place:other": 1}
