"""No value of a field stops a write, nor is told as what it is not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.core.cache import cache
from django.core.management import call_command
from django.db import connection, models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy

from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.receivers import AuditLog, CacheInvalidation, DeletionLog
from django_signal_kit.rows.values import UNKNOWN
from tests.apps.testapp.models import Place, Restaurant
from tests.audit import strange_fields as strange

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def hold(fresh_content_types: None, make_model: Any, wire: Any) -> Any:
    def make(field: Any, *, meta: Any = None, **options: Any) -> Any:
        name = models.CharField(max_length=9, default="")
        more = {} if meta is None else {"meta": meta}
        model = make_model("Holder", models.Model, name=name, value=field, **more)
        wire((AuditLog, {"models": ["testapp.Holder"], **options}))
        return model

    return make


def changes() -> list[Any]:
    return [entry.changes for entry in AuditEntry.objects.order_by("pk")]


def forget() -> None:
    AuditEntry.objects.all().delete()


# What changes nothing


@pytest.mark.parametrize("old_values", ["database", "snapshot"])
@pytest.mark.parametrize("value", ["", None])
@pytest.mark.parametrize(
    "field",
    [
        lambda: strange.EmptyField(max_length=9, null=True),
        lambda: strange.NeverNullField(max_length=9, null=True),
    ],
)
def test_null_and_empty_are_what_the_column_holds(
    field: Any, value: Any, old_values: str, hold: Any
) -> None:
    model = hold(field(), old_values=old_values)
    row = model.objects.create(value=value)
    forget()
    row.save()
    model.objects.get().save()
    model.objects.update(value=value)
    model.objects.update(value="" if value is None else None)
    assert changes() == []
    row.value = "a"
    row.save()
    ((_, new),) = [entry["value"] for entry in changes()]
    assert new == "a"


@pytest.mark.parametrize(
    ("field", "value", "other"),
    [
        (strange.SealedField, "a", "b"),
        (strange.SealedObjectField, strange.Sealed("a"), strange.Sealed("b")),
    ],
)
def test_what_is_written_otherwise_each_time_is_compared_by_what_it_is(
    field: Any, value: Any, other: Any, hold: Any
) -> None:
    model = hold(field())
    row = model.objects.create(value=value)
    forget()
    row.save()
    model.objects.get().save()
    assert changes() == []
    row.value = other
    row.save()
    assert [list(entry) for entry in changes()] == [["value"]]


@pytest.mark.parametrize("old_values", ["database", "snapshot"])
@pytest.mark.parametrize(
    ("field", "given", "written"),
    [
        (strange.StampField, " a ", "a"),
        (strange.CapitalsField, "a", "A"),
        (strange.UpperField, "a", "A"),
    ],
)
def test_told_is_what_a_save_writes_and_not_what_the_instance_keeps(
    field: Any, given: str, written: str, old_values: str, hold: Any
) -> None:
    model = hold(field(max_length=9), old_values=old_values)
    row = model.objects.create(value=given)
    assert changes()[0]["value"] == [None, written]
    forget()
    row.save()
    assert changes() == []


# What JSON does not know


class Silent:
    """Has no text."""

    def __repr__(self) -> str:
        raise RuntimeError

    __str__ = __repr__


class SilentField(models.CharField):
    """Its values are known to nobody."""

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return Silent()

    def get_db_prep_save(self, value: Any, connection: Any) -> str:
        return "silence"

    def get_prep_value(self, value: Any) -> Any:
        raise RuntimeError("no")

    def value_to_string(self, obj: Any) -> str:
        raise RuntimeError("no")


class EndlessField(models.CharField):
    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        found = EndlessList()
        found.append(found)
        return found

    def get_prep_value(self, value: Any) -> str:
        return "endless"


class EndlessList(list):
    def __str__(self) -> str:
        return "x" * 100_000

    __repr__ = __str__


def test_a_value_that_says_nothing_is_told_by_its_class(hold: Any) -> None:
    model = hold(SilentField(max_length=9))
    model.objects.create(value=Silent())
    model.objects.get().delete()
    assert [entry["value"] for entry in changes()] == [[None, "<Silent>"], ["<Silent>", None]]


def test_a_value_that_holds_itself_is_told_by_what_is_written(hold: Any) -> None:
    model = hold(EndlessField(max_length=9))
    model.objects.create(value=EndlessList())
    assert changes()[0]["value"] == [None, "endless"]


def test_a_text_in_the_place_of_a_value_is_bounded(hold: Any, monkeypatch: Any) -> None:
    model = hold(SilentField(max_length=9))
    monkeypatch.setattr(Silent, "__str__", lambda self: "x" * 100_000)
    model.objects.create(value=Silent())
    assert changes()[0]["value"] == [None, "x" * 1000]


def test_such_a_value_cannot_be_brought_back_and_says_so(hold: Any) -> None:
    model = hold(strange.PointField(max_length=9))
    model.objects.create(value=strange.Point(1, 2))
    model.objects.update(value=strange.Point(1, 3))
    entry = AuditEntry.objects.latest("pk")
    entry.changes = {"value": ["nowhere", "1,3"]}
    with pytest.raises(ValueError, match=r"testapp.Holder.value.*nowhere"):
        entry.revert()


def test_statements_and_deletions_are_told_of_strange_values(
    hold: Any, wire: Any, caplog: Any
) -> None:
    model = hold(strange.VectorField(null=True), bulk="statement")
    model.objects.create(value=strange.Vector(1, 2))
    model.objects.update(value=strange.Vector(1, 3))
    assert changes()[-1] == {"value": ["[unknown]", "[1, 3]"]}
    wire((DeletionLog, {"models": ["testapp.Holder"], "fields": "__all__"}))
    with caplog.at_level("INFO"):
        model.objects.get().delete()
    (record,) = [record for record in caplog.records if hasattr(record, "fields")]
    assert record.fields["value"] == "[1, 3]"


def test_a_lazy_text_is_told_as_it_is_written(hold: Any) -> None:
    model = hold(models.CharField(max_length=9))
    model.objects.create(value=gettext_lazy("Yes"))
    assert changes()[0]["value"] == [None, "Yes"]


def test_the_encoder_of_the_field_says_how_a_value_is_told(hold: Any) -> None:
    field = models.JSONField(encoder=strange.SizeEncoder, decoder=strange.SizeDecoder)
    model = hold(field)
    model.objects.create(value={"sizes": [strange.Size(1)]})
    assert changes()[0]["value"] == [None, {"sizes": [{"width": 1}]}]
    forget()
    model.objects.get().save()
    assert changes() == []


def test_a_secret_within_a_strange_value_is_replaced(hold: Any) -> None:
    field = models.JSONField(encoder=strange.SizeEncoder, decoder=strange.SizeDecoder)
    model = hold(field)
    model.objects.create(value={"password": strange.Size(1), "size": strange.Size(2)})
    assert changes()[0]["value"][1] == {"password": "[redacted]", "size": {"width": 2}}


# What was there before


def test_an_old_value_that_its_field_cannot_read_is_unknown(hold: Any) -> None:
    model = hold(strange.PointField(max_length=9))
    row = model.objects.create(value=strange.Point(1, 2))
    with connection.cursor() as cursor:
        cursor.execute("UPDATE testapp_holder SET value = 'nowhere'")
    forget()
    row.save()
    assert changes() == [{"value": [str(UNKNOWN), "1,2"]}]


def test_an_expression_goes_through_a_guarded_attribute(hold: Any) -> None:
    model = hold(strange.StateField(max_length=9, default="new"))
    model.objects.create(name="paid")
    forget()
    model.objects.update(value=models.F("name"))
    assert changes() == [{"value": ["new", "paid"]}]


def test_an_expression_goes_through_a_field_that_knows_none(hold: Any) -> None:
    model = hold(models.DateTimeField(null=True))
    model.objects.create()
    forget()
    model.objects.update(value=Now())
    assert list(changes()[0]) == ["value"]


# Keys


@pytest.mark.parametrize("old_values", ["database", "snapshot"])
def test_a_key_without_equality_is_that_of_the_same_row(
    old_values: str, make_model: Any, wire: Any
) -> None:
    ContentType.objects.clear_cache()
    key = strange.PointField(max_length=9, primary_key=True)
    name = models.CharField(max_length=9)
    model = make_model("Holder", models.Model, place=key, name=name)
    wire((AuditLog, {"models": ["testapp.Holder"], "old_values": old_values}))
    model.objects.create(place=strange.Point(1, 2), name="a")
    row = model.objects.get()
    row.name = "b"
    row.save()
    assert changes()[1:] == [{"name": ["a", "b"]}]
    ContentType.objects.clear_cache()


# The cache


def test_the_pages_of_a_row_are_dropped_when_a_strange_value_has_changed(
    hold: Any, wire: Any
) -> None:
    model = hold(strange.VectorField())
    row = model.objects.create(value=strange.Vector(1, 2))
    options = {"models": ["testapp.Holder"], "keys": ["holder:{pk}"], "fields": ["value"]}
    wire((CacheInvalidation, options))
    key = f"holder:{row.pk}"
    cache.set(key, "page")
    row.name = "b"
    row.save()
    assert cache.get(key) == "page"
    row.value = strange.Vector(1, 3)
    row.save()
    assert cache.get(key) is None


# Fixtures of multi-table children


@pytest.fixture
def load(wire: Any, tmp_path: Any) -> Any:
    wire((AuditLog, {"models": ["testapp.Place", "testapp.Restaurant"], "raw": True}))

    def load(name: str, stars: int) -> list[Any]:
        forget()
        stamp = "2026-01-02T03:04:05Z"
        place = {"name": name, "updated_at": stamp, "created_at": stamp}
        known = {field.name for field in Place._meta.concrete_fields}
        rows = [
            {
                "model": "testapp.place",
                "pk": 5,
                "fields": {key: value for key, value in place.items() if key in known},
            },
            {"model": "testapp.restaurant", "pk": 5, "fields": {"stars": stars}},
        ]
        file = tmp_path / "rows.json"
        file.write_text(json.dumps(rows))
        call_command("loaddata", str(file), verbosity=0)
        return changes()

    return load


def test_a_fixture_of_a_child_is_told_as_what_it_writes(load: Any) -> None:
    place, restaurant = load("Corner", 1)
    assert place["name"] == [None, "Corner"]
    assert restaurant == {"place_ptr": [None, 5], "stars": [None, 1]}
    assert load("Corner", 2) == [{"stars": [1, 2]}]
    assert load("Corner", 2) == []
    assert load("Edge", 2) == [{"name": ["Corner", "Edge"]}]
    assert Restaurant.objects.get().name == "Edge"


# Tables in a schema


@pytest.fixture
def stock() -> Iterator[None]:
    if connection.vendor != "postgresql":
        pytest.skip("only PostgreSQL has schemas")
    with connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA stock")
        yield
        cursor.execute("DROP SCHEMA stock CASCADE")


@pytest.mark.parametrize("table", ['stock"."holder', '"stock"."holder"'])
def test_rows_of_a_table_in_a_schema_are_locked_and_told(
    table: str, stock: None, hold: Any
) -> None:
    parent = models.ForeignKey("self", models.CASCADE, null=True, db_constraint=False)
    model = hold(parent, meta={"db_table": table})
    top = model.objects.create(name="a")
    model.objects.create(name="b", value=top)
    forget()
    top.name = "c"
    top.save()
    # A join to rows that may be missing: those cannot be locked.
    nobody = models.Q(value__name="c") | models.Q(value__name="nobody")
    model.objects.filter(nobody).order_by("-name").update(name="d")
    model.objects.filter(value__name="c").delete()
    assert [entry.get("name") for entry in changes()] == [["a", "c"], ["b", "d"], ["d", None]]
