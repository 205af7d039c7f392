"""From "shop.*" to the models that are connected, one by one."""

from __future__ import annotations

from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, Permission, User
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, models
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.state import ProjectState
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_save
from django.test.utils import override_settings

from django_signal_kit import ModelReceiver
from django_signal_kit.audit.models import AuditEntry, AuditSeal
from django_signal_kit.files.models import PendingFile
from django_signal_kit.mail.models import MailPace, WelcomeSent
from django_signal_kit.receivers import LastModified
from django_signal_kit.sight.models import Receiver
from django_signal_kit.tasks.models import OutboxTask
from django_signal_kit.tasks.places import QUEUE_APPS
from django_signal_kit.wiring.catalog import MODEL_SIGNALS, get_signal
from django_signal_kit.wiring.registry import registry
from django_signal_kit.writes import covered
from tests.apps.testapp.models import (
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

pytestmark = pytest.mark.django_db(transaction=True)

heard: list[Any] = []


class Saves(ModelReceiver):
    def pre_save(self, **kwargs: Any) -> None: ...

    def post_save(self, sender: Any, **kwargs: Any) -> None:
        heard.append(sender)


class Links(ModelReceiver):
    def m2m_changed(self, sender: Any, action: str, **kwargs: Any) -> None:
        heard.append((self.name, sender, action))


class Everything(Saves, Links):
    def pre_init(self, **kwargs: Any) -> None: ...

    def post_init(self, sender: Any, **kwargs: Any) -> None:
        heard.append(sender)

    bulk = "all"

    def pre_delete(self, **kwargs: Any) -> None: ...

    def post_delete(self, sender: Any, **kwargs: Any) -> None:
        heard.append(sender)


class NeedsPrice(Saves):
    def lacks(self, model: type[models.Model]) -> str | None:
        return None if hasattr(model, "price") else "no field 'price'"


@pytest.fixture(autouse=True)
def _forget() -> None:
    heard.clear()


def cover(wire: Any, *specs: Any, **options: Any) -> set[type[models.Model]]:
    """What a receiver of these models is connected to, from Django's side."""
    receiver = wire((Saves, {"models": specs, **options}))
    names = {id(model): model for model in apps.get_models(include_auto_created=True)}
    keys = [item[0] for item in post_save.receivers if item[0][0] == "signal_kit:Saves:post_save"]
    connected = [names[sender] for _, sender in keys]
    assert len(connected) == len(set(connected))
    assert set(registry.get_models(receiver)) == set(connected)
    return set(connected)


def get_testapp_models() -> set[type[models.Model]]:
    return set(apps.get_app_config("testapp").get_models())


def test_a_class_is_itself(wire: Any) -> None:
    assert cover(wire, Tag) == {Tag}


@pytest.mark.parametrize("label", ["testapp.Tag", "testapp.tag", "tests.apps.testapp.models.Tag"])
def test_a_label_or_a_dotted_path_is_the_model(wire: Any, label: str) -> None:
    assert cover(wire, label) == {Tag}


def test_a_star_is_every_model_of_the_app_but_made_tables(wire: Any) -> None:
    covered = cover(wire, "testapp.*")
    assert covered == get_testapp_models()
    assert {Membership, ProductProxy, Restaurant} <= covered
    assert Product.tags.through not in covered


@pytest.mark.parametrize("spec", [Stamped, "tests.apps.testapp.models.Stamped"])
def test_an_abstract_base_is_all_its_concrete_subclasses(wire: Any, spec: Any) -> None:
    assert cover(wire, spec) == {Product, ProductProxy, Place, Restaurant}


@pytest.mark.parametrize("spec", [Colourful, "tests.apps.testapp.models.Colourful"])
def test_a_mixin_that_is_no_model_is_all_its_subclasses(wire: Any, spec: Any) -> None:
    assert cover(wire, spec) == {Product, ProductProxy}


def test_all_is_everything_but_made_tables_and_the_kits_own(wire: Any) -> None:
    covered = cover(wire, "__all__")
    own = {AuditEntry, AuditSeal, PendingFile, OutboxTask, WelcomeSent, MailPace, Receiver}
    queues = {model for model in apps.get_models() if model._meta.app_label in QUEUE_APPS}
    assert covered == set(apps.get_models()) - own - queues
    assert {User, Group, ContentType, Product} <= covered


def test_the_kits_own_models_are_left_out_even_by_name(wire: Any) -> None:
    assert cover(wire, "signal_kit_audit.*", "testapp.Tag") == {Tag}
    assert cover(wire, AuditEntry, "testapp.Tag") == {Tag}


def test_proxies_and_multi_table_children_come_along(wire: Any) -> None:
    assert cover(wire, "testapp.Product") == {Product, ProductProxy}
    assert cover(wire, "testapp.Place") == {Place, Restaurant}


def test_a_proxy_or_a_child_alone_leaves_its_parent_out(wire: Any) -> None:
    assert cover(wire, "testapp.ProductProxy") == {ProductProxy}
    assert cover(wire, "testapp.Restaurant") == {Restaurant}


@pytest.mark.parametrize(
    ("exclude", "left_out"),
    [
        ([Tag], {Tag}),
        (["testapp.Tag"], {Tag}),
        (["testapp.Product"], {Product, ProductProxy}),
        (["testapp.ProductProxy"], {ProductProxy}),
        ([Stamped], {Product, ProductProxy, Place, Restaurant}),
        (["tests.apps.testapp.models.Stamped"], {Product, ProductProxy, Place, Restaurant}),
        (["tests.apps.testapp.models.Colourful"], {Product, ProductProxy}),
        (("testapp.Tag", Category), {Tag, Category}),
        (["auth.*"], set()),
    ],
)
def test_what_is_excluded_is_left_out_in_every_form(
    wire: Any, exclude: Any, left_out: set[Any]
) -> None:
    covered = cover(wire, "testapp.*", exclude=exclude)
    assert get_testapp_models() - covered == left_out


@pytest.mark.parametrize("exclude", ["__all__", "testapp.*"])
def test_everything_may_be_excluded(wire: Any, exclude: str) -> None:
    assert cover(wire, "testapp.*", exclude=[exclude]) == set()


def test_models_may_be_given_in_several_forms_at_once(wire: Any) -> None:
    assert cover(wire, Tag, "testapp.Tag", "auth.Group", Colourful) == {
        Tag,
        Group,
        Product,
        ProductProxy,
    }


def test_no_models_is_none(wire: Any) -> None:
    assert cover(wire) == set()


def test_a_hook_may_say_which(wire: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Saves, "get_models", lambda self: [Tag, "auth.Group"])
    assert cover(wire) == {Tag, Group}


def test_a_swapped_model_is_left_out() -> None:
    options = {"models": ["auth.*", User]}
    signal_kit = {"RECEIVERS": [{"RECEIVER": f"{__name__}.Saves", "OPTIONS": options}]}
    with override_settings(AUTH_USER_MODEL="testapp.Person", SIGNAL_KIT=signal_kit):
        (receiver,) = registry.receivers
        assert set(registry.get_models(receiver)) == {Group, Permission}
        assert not registry.covers(receiver, User)
    with override_settings(SIGNAL_KIT=signal_kit):
        (receiver,) = registry.receivers
        assert set(registry.get_models(receiver)) == {Group, Permission, User}


def test_a_pattern_skips_a_model_that_lacks_what_is_needed(wire: Any) -> None:
    receiver = wire((NeedsPrice, {"models": ["testapp.*"]}))
    assert registry.get_models(receiver) == [Product, ProductProxy]
    receiver = wire((NeedsPrice, {"models": [Stamped]}))
    assert registry.get_models(receiver) == [Product, ProductProxy]


@pytest.mark.parametrize("spec", [Tag, "testapp.Tag"])
def test_a_model_named_outright_that_lacks_it_is_an_error(wire: Any, spec: Any) -> None:
    with pytest.raises(
        ImproperlyConfigured, match=r"NeedsPrice cannot cover testapp.Tag: it has no field 'price'"
    ):
        wire((NeedsPrice, {"models": [spec]}))


def test_a_ready_made_receiver_skips_models_without_its_field(wire: Any) -> None:
    receiver = wire((LastModified, {"models": ["testapp.*"], "field": "updated_at"}))
    assert set(registry.get_models(receiver)) == {Product, ProductProxy, Place, Restaurant}


def test_a_model_named_twice_is_covered_once(wire: Any) -> None:
    assert cover(wire, "testapp.Category", Category) == {Category}


def test_a_model_that_is_not_covered_keeps_its_fast_deletion(wire: Any) -> None:
    wire((Everything, {"models": ["testapp.*"], "exclude": ["testapp.Plain"]}))
    assert not post_delete.has_listeners(Plain)
    assert post_delete.has_listeners(Tag)


def test_links_are_not_heard_of_the_model_at_their_other_end(wire: Any) -> None:
    wire((Links, {"models": ["testapp.Tag"]}))
    assert not m2m_changed.has_listeners(Product.tags.through)
    wire((Links, {"models": ["testapp.Product", "testapp.Club"]}))
    assert m2m_changed.has_listeners(Product.tags.through)
    assert m2m_changed.has_listeners(Membership)
    assert not m2m_changed.has_listeners(Person.friends.through)


def test_model_signals_are_never_connected_to_all_models(wire: Any) -> None:
    wire((Everything, {"models": ["__all__"]}))
    connected = {
        (name, item[0][1])
        for name in (*MODEL_SIGNALS, "m2m_changed")
        for item in get_signal(name).receivers
        if str(item[0][0]).startswith("signal_kit:")
    }
    assert {name for name, _ in connected} == {*MODEL_SIGNALS, "m2m_changed"}
    assert id(None) not in {sender for _, sender in connected}


def test_there_is_one_connection_for_each_signal_and_model(wire: Any) -> None:
    # Three covered models lead to the table of a product's tags.
    wire((Everything, {"models": ["__all__", "testapp.*", Product]}))
    connections = [(c.signal_name, c.sender) for c in registry.connections]
    assert len(connections) == len(set(connections))
    assert ("m2m_changed", Product.tags.through) in connections
    assert ("post_save", Product) in connections
    for name in (*MODEL_SIGNALS, "m2m_changed"):
        ours = [i for i in get_signal(name).receivers if str(i[0][0]).startswith("signal_kit:")]
        assert len(ours) == len([c for c in connections if c[0] == name])


def test_links_are_heard_of_the_model_that_declares_them(wire: Any) -> None:
    wire((Links, {"models": [Product, Person, Club]}))
    assert {c.sender for c in registry.connections} == {
        Product.tags.through,
        Person.friends.through,
        Person.follows.through,
        Membership,
    }
    tag, product = Tag.objects.create(), Product.objects.create()
    product.tags.add(tag)
    tag.products.clear()
    assert [action for *_, action in heard] == ["pre_add", "post_add", "pre_clear", "post_clear"]


def test_links_of_a_proxy_are_called_in_the_order_of_the_settings(wire: Any) -> None:
    path = f"{__name__}.Links"
    wire(
        {"RECEIVER": path, "NAME": "One", "OPTIONS": {"models": [ProductProxy]}},
        {"RECEIVER": path, "NAME": "Two", "OPTIONS": {"models": [Product]}},
    )
    Product.objects.create().tags.add(Tag.objects.create())
    names = [name for name, *_ in heard]
    assert names == ["One", "Two", "One", "Two"]


def test_nothing_is_heard_of_what_is_not_covered(wire: Any) -> None:
    wire((Everything, {"models": [Tag]}))
    Plain.objects.create(name="x").delete()
    Person.objects.create(name="x").friends.add(Person.objects.create(name="y"))
    assert heard == []


def test_a_model_made_later_is_heard(wire: Any, make_model: Any) -> None:
    wire((Everything, {"models": ["testapp.*"]}))
    late = make_model(
        "Late",
        models.Model,
        name=models.CharField(max_length=10),
        tags=models.ManyToManyField(Tag),
    )
    row = late.objects.create(name="x")
    tag = Tag.objects.create(name="t")
    heard.clear()
    row.save()
    row.tags.add(tag)
    row.delete()
    assert heard == [
        late,
        ("Everything", late.tags.through, "pre_add"),
        ("Everything", late.tags.through, "post_add"),
        late,
    ]
    assert late in covered.saved
    assert late.tags.through in covered.linked


def test_a_later_model_is_heard_once(wire: Any, make_model: Any) -> None:
    wire((Saves, {"models": ["testapp.*"]}))
    late = make_model("LateOnce", models.Model)
    late.objects.create()
    assert heard == [late]


def test_a_later_proxy_or_child_of_a_covered_model_is_heard(wire: Any, make_model: Any) -> None:
    wire((Saves, {"models": [Tag, Stamped]}))
    proxy = make_model("LateProxy", Tag, meta={"proxy": True})
    concrete = make_model("LateStamped", Stamped)
    proxy.objects.create(name="x")
    concrete.objects.create()
    assert heard == [proxy, concrete]


def test_a_later_model_that_is_not_covered_is_not_heard(wire: Any, make_model: Any) -> None:
    wire((Saves, {"models": ["auth.*", "testapp.Tag"], "exclude": [Colourful]}))
    count = len(post_save.receivers)
    late = make_model("LateStranger", models.Model)
    late.objects.create()
    assert heard == []
    assert len(post_save.receivers) == count
    assert late not in covered.saved


def test_models_of_migrations_are_not_heard(wire: Any) -> None:
    wire((Everything, {"models": ["__all__"]}))
    counts = [len(signal.receivers) for signal in (pre_save, post_save, m2m_changed)]
    state = MigrationExecutor(connection).loader.project_state(("testapp", "0001_initial"))
    for old_apps in (state.apps, ProjectState.from_apps(apps).apps):
        old_product = old_apps.get_model("testapp", "Product")
        product = old_product.objects.create(name="old")
        product.tags.add(old_apps.get_model("testapp", "Tag").objects.create(name="old"))
        product.delete()
    assert heard == []
    assert [len(signal.receivers) for signal in (pre_save, post_save, m2m_changed)] == counts
