"""muted() and only() decorate test classes and factories, too."""

from __future__ import annotations

import unittest
from typing import Any

import factory
import pytest
from django.test import TestCase

from django_signal_kit import ModelReceiver, muted, only
from django_signal_kit.current import context, get_muted
from django_signal_kit.test import mute_receivers
from tests.apps.testapp.models import Product, Tag

pytestmark = pytest.mark.django_db(transaction=True)

heard: list[str] = []


class First(ModelReceiver):
    models = ["testapp.Tag", "testapp.Product"]

    def post_save(self, instance: Any, **kwargs: Any) -> None:
        heard.append(f"{self.name} {instance.name}")


class Second(First):
    pass


@pytest.fixture(autouse=True)
def _wired(wire: Any) -> None:
    heard.clear()
    wire(First, Second)


def run(cls: type[unittest.TestCase]) -> unittest.TestResult:
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(cls).run(result)
    return result


def test_of_a_django_test_case_all_is_muted() -> None:
    @muted("First")
    class Case(TestCase):
        @classmethod
        def setUpTestData(cls) -> None:
            Tag.objects.create(name="data")

        def setUp(self) -> None:
            Tag.objects.create(name="set up")

        def tearDown(self) -> None:
            Tag.objects.create(name="tear down")

        def test_it(self) -> None:
            Tag.objects.create(name="test")

        async def test_later(self) -> None:
            await Tag.objects.acreate(name="async")

    result = run(Case)
    assert result.errors + result.failures == []
    assert result.testsRun == 2
    assert set(heard) == {
        f"Second {what}" for what in ("data", "set up", "test", "async", "tear down")
    }
    assert get_muted() == frozenset()


def test_of_a_plain_test_class_the_tests_are_muted() -> None:
    @only("First")
    class TestThings:
        def test_it(self) -> None:
            Tag.objects.create(name="test")

        def helper(self) -> None:
            Tag.objects.create(name="helper")

    TestThings().test_it()
    TestThings().helper()
    assert heard == ["First test", "First helper", "Second helper"]


def test_static_methods_and_class_methods_stay_what_they_are() -> None:
    @only("First")
    class TestThings:
        @staticmethod
        def test_static(name: str) -> None:
            Tag.objects.create(name=name)

        @classmethod
        def test_class(cls, name: str) -> None:
            Tag.objects.create(name=name + cls.__name__)

    TestThings().test_static("static")
    TestThings().test_class("of ")
    assert heard == ["First static", "First of TestThings"]


def test_of_a_factory_what_it_makes_is_muted_and_what_others_make_is_not() -> None:
    @mute_receivers("First")
    class TagFactory(factory.django.DjangoModelFactory[Tag]):
        class Meta:
            model = Tag

        name = "made"

    class ProductFactory(factory.django.DjangoModelFactory[Product]):
        class Meta:
            model = Product
            skip_postgeneration_save = True

        name = "tea"

        @factory.post_generation
        def tag(self, create: bool, extracted: Any, **kwargs: Any) -> None:
            TagFactory.create(name="after")

    TagFactory.create()
    TagFactory.create_batch(2)
    ProductFactory.create()
    Tag.objects.create(name="plain")
    assert heard == [
        *["Second made"] * 3,
        *["First tea", "Second tea", "Second after"],
        *["First plain", "Second plain"],
    ]
    assert TagFactory.build().name == "made"


def test_a_factory_within_another_is_muted_by_itself() -> None:
    @mute_receivers(First)
    class Inner(factory.django.DjangoModelFactory[Tag]):
        class Meta:
            model = Tag

        name = "inner"

    class Outer(factory.Factory[dict[str, Any]]):
        class Meta:
            model = dict

        tag = factory.SubFactory(Inner)

    Outer.create()
    # Of the class First, and so of its subclasses.
    assert heard == []


def test_subclasses_of_a_muted_test_case_are_muted() -> None:
    @muted("First")
    class Base(TestCase):
        pass

    class Case(Base):
        def test_it(self) -> None:
            Tag.objects.create(name="test")

    run(Case)
    assert heard == ["Second test"]


def test_other_classes_are_refused_and_context_takes_none() -> None:
    class Plain:
        pass

    with pytest.raises(TypeError, match=r"Plain is neither a test class nor a factory"):
        muted("First")(Plain)
    with pytest.raises(TypeError, match=r"context\(\) decorates functions"):
        context(reason="x")(Plain)
