"""What triggers call a row: what ``__str__`` does, where that can be told."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection, models
from django.test.utils import CaptureQueriesContext

from django_signal_kit.audit.capture.naming import fill, find_template
from tests.apps.testapp.models import Product, Tag
from tests.factories import CategoryFactory, ProductFactory

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize(
    ("says", "template"),
    [
        (lambda self: self.name, "{name}"),
        (lambda self: f"{self.name} ({self.code})", "{name} ({code})"),
        (lambda self: f"#{self.pk}: {self.name}", "#{id}: {name}"),
        (lambda self: f"{{{self.name}}}", "{{{name}}}"),
        (lambda self: f"{self.name}{self.name}", "{name}{name}"),
        (lambda self: "a thing", "a thing"),
        (lambda self: f"{self.number + 1}", None),
        (lambda self: f"of {self.owner_id}", "of {owner}"),
        (lambda self: self.name.upper(), None),
        (lambda self: self.name[:3], None),
        (lambda self: f"{self.at:%A}", None),
        (lambda self: str(self.owner), None),
        (lambda self: 5 / 0, None),
        (lambda self: f"…{str(self.uid)[-4:]}", None),
        (lambda self: f"…{self.uid.hex[9:12]}", None),
        (lambda self: f"…{str(self.number)[2:5]}", None),
    ],
)
def test_what_str_says_is_found_out(make_model: Any, says: Any, template: str | None) -> None:
    model = make_model(
        "Thing",
        models.Model,
        name=models.CharField(max_length=50),
        code=models.CharField(max_length=50),
        number=models.IntegerField(default=0),
        at=models.DateTimeField(null=True),
        uid=models.UUIDField(null=True),
        owner=models.ForeignKey("testapp.Category", models.CASCADE, null=True),
        __str__=says,
    )
    assert find_template(model) == template


@pytest.mark.parametrize(
    ("field", "template"),
    [
        (models.IntegerField(null=True), "{name} [redacted]"),
        (models.PositiveSmallIntegerField(null=True), "{name} [redacted]"),
        (models.UUIDField(null=True), "{name} [redacted]"),
        (models.CharField(max_length=9, null=True), "{name} [redacted]"),
        (models.ForeignKey("testapp.Category", models.CASCADE, null=True), None),
        (models.IntegerField(null=True, choices=[(1, "one")]), None),
        (models.DecimalField(max_digits=6, decimal_places=2, null=True), None),
        (models.FloatField(null=True), None),
        (models.DateField(null=True), None),
        (models.BooleanField(null=True), None),
        (models.JSONField(null=True), None),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_secret_of_any_kind_gets_into_no_template(
    make_model: Any, field: Any, template: str | None
) -> None:
    name = models.CharField(max_length=50)
    model = make_model(
        "Card", models.Model, name=name, pin=field, __str__=lambda self: f"{self.name} {self.pin}"
    )
    assert find_template(model, ("pin",)) == template


def test_django_says_the_key() -> None:
    class Plain(models.Model):
        class Meta:
            app_label = "testapp"
            abstract = True

    assert find_template(Tag) == "{name}"
    assert find_template(Product) is not None


def test_a_template_is_filled_as_a_trigger_does() -> None:
    product = ProductFactory(category=CategoryFactory())
    assert fill(Product, "{name}: {{{pk}}}", product) == f"{product.name}: {{{product.pk}}}"


@pytest.mark.parametrize(
    "says",
    [
        lambda self: f"{self.price}",
        lambda self: f"{self.name} of {self.owner}",
        lambda self: f"{Tag.objects.count()}",
    ],
)
def test_nobody_asks_a_database_what_str_says(make_model: Any, says: Any) -> None:
    model = make_model(
        "Thing",
        models.Model,
        name=models.CharField(max_length=50),
        price=models.DecimalField(max_digits=5, decimal_places=2, default=0),
        owner=models.ForeignKey("testapp.Category", models.CASCADE, null=True),
        __str__=says,
    )
    with CaptureQueriesContext(connection) as queries:
        assert find_template(model) is None
    assert [query["sql"] for query in queries] == []
