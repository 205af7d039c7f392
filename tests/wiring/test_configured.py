"""What the settings list becomes receivers, in that order and under those names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db.models.signals import post_save
from django.test.utils import override_settings

from django_signal_kit import ModelReceiver, Receiver
from django_signal_kit.wiring.configured import load
from django_signal_kit.wiring.declaring import Declaration, declarations
from django_signal_kit.wiring.registry import registry
from tests.apps.testapp.models import Product, Tag
from tests.projects import KIT, SHOP, Project

pytestmark = pytest.mark.django_db

called: list[str] = []


class First(ModelReceiver):
    models = ["testapp.*"]

    def post_save(self, **kwargs: Any) -> None:
        called.append(self.name)


class Second(First):
    pass


class InNoHurry(ModelReceiver):
    models = ["testapp.*"]

    async def post_save(self, **kwargs: Any) -> None:
        called.append(self.name)


class Deaf(ModelReceiver):
    models = ["testapp.*"]


class Generic(Receiver):
    def setting_changed(self, **kwargs: Any) -> None: ...


@pytest.fixture(autouse=True)
def _forget() -> None:
    called.clear()


def get_names() -> list[str]:
    return [receiver.name for receiver in registry.receivers]


def path(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def test_a_string_is_short_for_no_options(wire: Any) -> None:
    receiver = wire(path(First))
    assert type(receiver) is First
    assert (receiver.name, receiver.models, receiver.raw) == ("First", ["testapp.*"], False)


def test_an_entry_has_options_and_a_name(wire: Any) -> None:
    receiver = wire(
        {
            "RECEIVER": path(First),
            "OPTIONS": {"models": ["testapp.Tag"], "raw": True},
            "NAME": "Tags",
        }
    )
    assert (receiver.name, receiver.models, receiver.raw) == ("Tags", ["testapp.Tag"], True)
    assert registry.get_models(receiver) == [Tag]


def test_options_are_the_instances_and_never_the_classs(wire: Any) -> None:
    wire((First, {"models": ["testapp.Tag"]}))
    assert First.models == ["testapp.*"]


def test_receivers_are_called_in_the_order_of_the_settings(wire: Any) -> None:
    wire(Second, First)
    Tag.objects.create(name="tea")
    assert called == ["Second", "First"]
    wire(First, Second)
    called.clear()
    Tag.objects.create(name="tea")
    assert called == ["First", "Second"]


def test_asynchronous_receivers_are_called_after_the_others(wire: Any) -> None:
    wire(InNoHurry, First, Second)
    Tag.objects.create(name="tea")
    assert called == ["First", "Second", "InNoHurry"]


def test_one_class_may_be_listed_twice_under_two_names(wire: Any) -> None:
    wire(
        {"RECEIVER": path(First), "NAME": "One", "OPTIONS": {"models": ["testapp.Tag"]}},
        {"RECEIVER": path(First), "OPTIONS": {"models": ["testapp.Product"]}},
    )
    assert get_names() == ["One", "First"]
    Tag.objects.create(name="tea")
    Product.objects.create(name="tea")
    assert called == ["One", "First"]


def test_classes_of_one_name_in_two_apps_get_their_apps_labels(tmp_path: Path) -> None:
    notify = """
from django_signal_kit import ModelReceiver, register

@register(models=["shop.Product"])
class Notify(ModelReceiver):
    def post_save(self, **kwargs): ...

@register(models=["shop.Product"])
class {own}(ModelReceiver):
    def post_save(self, **kwargs): ...
"""
    files = {
        **SHOP,
        "shop/signals.py": notify.format(own="OfShop"),
        "other/__init__.py": "",
        "other/signals.py": notify.format(own="OfOther"),
        "elsewhere.py": notify.format(own="OfNoApp").replace("@register(", "dict("),
    }
    project = Project(
        tmp_path,
        files,
        ["shop", "other", KIT],
        RECEIVERS=[{"RECEIVER": "elsewhere.Notify", "OPTIONS": {"models": ["shop.Product"]}}],
    )
    printed = project.run("""
from django_signal_kit.wiring.registry import registry
print(*[receiver.name for receiver in registry.receivers])
""")
    assert printed.split() == [
        "elsewhere.Notify",
        "shop.Notify",
        "OfShop",
        "other.Notify",
        "OfOther",
    ]


def test_a_name_given_keeps_a_class_of_that_name_apart(tmp_path: Path) -> None:
    project = Project(
        tmp_path,
        {
            **SHOP,
            "shop/signals.py": """
from django_signal_kit import Receiver, register

@register(name="Notify")
class Other(Receiver):
    def setting_changed(self, **kwargs): ...

@register
class Notify(Receiver):
    def setting_changed(self, **kwargs): ...
""",
        },
        ["shop", KIT],
    )
    printed = project.run("""
from django_signal_kit.wiring.registry import registry
print(*[receiver.name for receiver in registry.receivers])
""")
    assert printed.split() == ["Notify", "shop.Notify"]


def test_loading_is_making_and_not_connecting(wire: Any) -> None:
    wire(First)
    before = list(registry.connections)
    count = len(post_save.receivers)
    receivers, problems = load()
    assert [receiver.name for receiver in receivers] == ["First"]
    assert problems == []
    assert (registry.connections, len(post_save.receivers)) == (before, count)


def test_each_mistake_is_told_in_the_order_of_the_entries(wire: Any) -> None:
    wire(First)
    entries = [
        "shop.nowhere.X",
        {"RECEIVER": path(First), "OPTIONS": {"modles": []}},
        f"{__name__}.Deaf",
    ]
    with pytest.raises(ImproperlyConfigured) as raised:
        with override_settings(SIGNAL_KIT={"RECEIVERS": entries}):
            pass
    assert [line[-5:-1] for line in str(raised.value).splitlines()] == ["E004", "E006", "E015"]


def test_classes_of_one_name_are_told_apart_in_a_running_process_too(wire: Any) -> None:
    other = type("First", (First,), {"__module__": "tests.apps.testapp.receivers"})
    declarations.append(Declaration("test", other, None, {}))
    try:
        wire(First)
        assert get_names() == [f"{__name__}.First", "testapp.First"]
    finally:
        declarations.pop()


def test_a_receiver_of_signals_without_models_needs_no_models(wire: Any) -> None:
    wire(Generic)
    assert get_names() == ["Generic"]
