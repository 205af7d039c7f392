"""From "shop.*" and abstract bases to concrete models, one connection each."""

from __future__ import annotations

from typing import Any

import pytest
from django.apps import apps
from django.db import connection, models
from django.db.migrations.loader import MigrationLoader
from django.db.models.signals import m2m_changed, post_delete, post_save

from django_signal_kit import ModelReceiver
from django_signal_kit.catalog import MODEL_SIGNALS
from django_signal_kit.receivers import LastModified
from django_signal_kit.registry import registry
from tests.testapp.models import (
    Category,
    Club,
    Colourful,
    Membership,
    Person,
    Place,
    Plain,
    Product,
    ProductProxy,
    Restaurant,
    Stamped,
    Tag,
)

pytestmark = pytest.mark.django_db


class Hearing(ModelReceiver):
    def post_save(self, sender: Any, **kwargs: Any) -> None: ...

    def post_delete(self, **kwargs: Any) -> None: ...

    def m2m_changed(self, **kwargs: Any) -> None: ...


def covered(wire: Any, *models: Any, exclude: Any = ()) -> set[type[models.Model]]:
    receiver = wire((Hearing, {"models": list(models), "exclude": list(exclude)}))
    found = registry.get_models(receiver)
    senders = {c.sender for c in registry.connections if c.signal_name == "post_save"}
    assert senders == set(found)
    return senders


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (Tag, {Tag}),
        ("testapp.Tag", {Tag}),
        ("testapp.Product", {Product, ProductProxy}),
        ("testapp.ProductProxy", {ProductProxy}),
        ("testapp.Place", {Place, Restaurant}),
        ("testapp.Restaurant", {Restaurant}),
        (Stamped, {Product, ProductProxy, Place, Restaurant}),
        ("tests.testapp.models.Stamped", {Product, ProductProxy, Place, Restaurant}),
        (Colourful, {Product, ProductProxy}),
        ("tests.testapp.models.Colourful", {Product, ProductProxy}),
    ],
)
def test_each_way_to_say_it(wire: Any, spec: Any, expected: Any) -> None:
    assert covered(wire, spec) == expected


def test_all_models_of_an_app(wire: Any) -> None:
    found = covered(wire, "testapp.*")
    assert found == set(apps.get_app_config("testapp").get_models())
    assert Product.tags.through not in found


def test_all_models_but_the_kits_own(wire: Any) -> None:
    labels = {model._meta.label for model in covered(wire, "__all__")}
    assert "auth.User" in labels
    assert "testapp.Tag" in labels
    assert not {label for label in labels if label.startswith("signal_kit")}
    assert "testapp.Product_tags" not in labels


@pytest.mark.parametrize(
    ("exclude", "left_out"),
    [
        (["testapp.Tag"], {Tag}),
        ([Stamped], {Product, ProductProxy, Place, Restaurant}),
        (["testapp.Product", "testapp.Restaurant"], {Product, ProductProxy, Restaurant}),
        (["auth.*"], set()),
    ],
)
def test_exclude_takes_the_same_forms(wire: Any, exclude: Any, left_out: Any) -> None:
    everything = set(apps.get_app_config("testapp").get_models())
    assert covered(wire, "testapp.*", exclude=exclude) == everything - left_out


def test_no_models_means_none(wire: Any) -> None:
    assert covered(wire) == set()
    assert not post_save.receivers


def test_a_pattern_skips_a_model_that_lacks_the_field(wire: Any) -> None:
    receiver = wire((LastModified, {"models": ["testapp.*"]}))
    assert set(registry.get_models(receiver)) == {Product, ProductProxy, Place, Restaurant}


def test_each_model_is_connected_once_and_never_everybody(wire: Any) -> None:
    wire((Hearing, {"models": ["testapp.*", "testapp.Tag", Stamped, "testapp.Product"]}))
    seen = [(c.signal_name, c.sender) for c in registry.connections]
    assert len(seen) == len(set(seen))
    for signal_name, sender in seen:
        assert signal_name in MODEL_SIGNALS | {"m2m_changed"}
        assert sender is not None


def test_uncovered_models_keep_their_fast_delete(wire: Any) -> None:
    wire((Hearing, {"models": ["testapp.*"], "exclude": ["testapp.Plain"]}))
    assert not post_delete.has_listeners(Plain)
    assert post_delete.has_listeners(Tag)


def test_m2m_is_heard_on_the_through_models_of_the_fields_that_are_declared(wire: Any) -> None:
    wire((Hearing, {"models": ["testapp.Product", "testapp.Club"]}))
    assert m2m_changed.has_listeners(Product.tags.through)
    assert m2m_changed.has_listeners(Membership)
    assert not m2m_changed.has_listeners(Person.friends.through)
    wire((Hearing, {"models": ["testapp.Tag"]}))
    assert not m2m_changed.has_listeners(Product.tags.through)


def test_a_model_made_later_is_picked_up(wire: Any) -> None:
    wire((Hearing, {"models": [Stamped]}), (Hearing.__module__ + ".Other", {"models": [Tag]}))
    later = type(
        "Later",
        (Stamped,),
        {
            "__module__": __name__,
            "Meta": type("Meta", (), {"app_label": "testapp"}),
            "clubs": models.ManyToManyField(Club, related_name="+"),
        },
    )
    try:
        assert post_save.has_listeners(later)
        assert m2m_changed.has_listeners(later.clubs.through)
        uids = [c.uid for c in registry.connections if c.sender is later]
        assert all(uid.startswith("signal_kit:Hearing:") for uid in uids)
    finally:
        del apps.all_models["testapp"]["later"]
        del apps.all_models["testapp"]["later_clubs"]
        apps.clear_cache()
    wire()
    assert not post_save.has_listeners(later)


class Other(Hearing):
    pass


def test_historical_models_of_migrations_are_not_heard(wire: Any) -> None:
    wire((Hearing, {"models": ["testapp.*", "__all__"]}))
    before = len(registry.connections)
    state = MigrationLoader(connection).project_state()
    historical = state.apps.get_model("testapp", "Tag")
    assert historical is not Tag
    assert not post_save.has_listeners(historical)
    assert len(registry.connections) == before


def test_named_outright_one_model_is_enough(wire: Any) -> None:
    assert covered(wire, "testapp.Category", Category) == {Category}
