"""Rows for the tests. Their names sort as they were made, however many there have been."""

import factory
from django.contrib.auth import get_user_model
from django.db.models.fields.files import FieldFile

from tests.apps.testapp import models


class UserFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = get_user_model()

    username = factory.Sequence(lambda n: f"user{n:05}")
    email = factory.LazyAttribute(lambda user: f"{user.username}@shop.example")


class CategoryFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = models.Category

    name = factory.Sequence(lambda n: f"Category {n:05}")


class TagFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = models.Tag

    name = factory.Sequence(lambda n: f"Tag {n:05}")


class ProductFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = models.Product

    name = factory.Sequence(lambda n: f"Product {n:05}")
    slug = factory.Sequence(lambda n: f"product-{n:05}")
    price = "9.50"


class RestaurantFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = models.Restaurant

    name = factory.Sequence(lambda n: f"Restaurant {n:05}")


class PersonFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = models.Person

    name = factory.Sequence(lambda n: f"Person {n:05}")


def store(file: FieldFile, name: str, content: bytes = b"content") -> str:
    """Write a file into a field's storage without saving the row; returns its name."""
    from django.core.files.base import ContentFile

    file.save(name, ContentFile(content), save=False)
    return file.name
