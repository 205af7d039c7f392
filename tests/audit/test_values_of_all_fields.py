"""Whatever a field holds: a change is told as the column has it, no change is no entry, and an
entry leads back to what was."""

from __future__ import annotations

import datetime
import decimal
import importlib
import importlib.util
import json
import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.core.files.base import ContentFile
from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, models
from django.utils import timezone

from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.receivers import AuditLog
from django_signal_kit.rows.columns import get_columns
from django_signal_kit.rows.fields import assign
from django_signal_kit.rows.values import to_json
from tests.audit import strange_fields as strange
from tests.factories import CategoryFactory

pytestmark = pytest.mark.django_db(transaction=True)

#: What a test is given: a field, and two of its values.
Given = tuple[Any, Any, Any]

DAY = datetime.date(2026, 1, 2)
AT = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
SECOND = datetime.timedelta(seconds=1)
STATUS = [("new", "New"), ("paid", "Paid")]


def _texts(cls: Any, **options: Any) -> Given:
    return cls(max_length=40, **options), "a", "b"


DJANGOS: dict[str, Callable[[], Given]] = {
    "BigIntegerField": lambda: (models.BigIntegerField(), 1, 2**40),
    "BinaryField": lambda: (models.BinaryField(), b"\x00a", b"\xff"),
    "BooleanField": lambda: (models.BooleanField(), True, False),
    "CharField": lambda: _texts(models.CharField),
    "DateField": lambda: (models.DateField(), DAY, "2026-01-03"),
    "DateTimeField": lambda: (models.DateTimeField(), AT, AT + SECOND),
    "DecimalField": lambda: (
        models.DecimalField(max_digits=6, decimal_places=2),
        decimal.Decimal("1.5"),
        "2.5",
    ),
    "DurationField": lambda: (models.DurationField(), SECOND, 2 * SECOND),
    "EmailField": lambda: (models.EmailField(), "a@shop.example", "b@shop.example"),
    "FileField": lambda: (models.FileField(), "a.txt", "b.txt"),
    "FilePathField": lambda: (models.FilePathField(), "/a", "/b"),
    "FloatField": lambda: (models.FloatField(), 0.1, 2),
    "ForeignKey": lambda: (_point_to(models.ForeignKey), *_targets()),
    "GenericIPAddressField": lambda: (models.GenericIPAddressField(), "10.0.0.1", "::1"),
    "ImageField": lambda: (models.ImageField(), "a.png", "b.png"),
    "IntegerField": lambda: (models.IntegerField(), 1, "2"),
    "JSONField": lambda: (models.JSONField(), {"a": [1, None]}, {"a": [True, None]}),
    "OneToOneField": lambda: (_point_to(models.OneToOneField), *_targets()),
    "PositiveBigIntegerField": lambda: (models.PositiveBigIntegerField(), 1, 2),
    "PositiveIntegerField": lambda: (models.PositiveIntegerField(), 1, 2),
    "PositiveSmallIntegerField": lambda: (models.PositiveSmallIntegerField(), 1, 2),
    "SlugField": lambda: _texts(models.SlugField),
    "SmallIntegerField": lambda: (models.SmallIntegerField(), 1, 2),
    "TextField": lambda: (models.TextField(), "a\nb", "☃"),
    "TimeField": lambda: (models.TimeField(), datetime.time(1, 2), datetime.time(1, 3)),
    "URLField": lambda: (models.URLField(), "https://a.example", "https://b.example"),
    "UUIDField": lambda: (models.UUIDField(), uuid.UUID(int=1), str(uuid.UUID(int=2))),
}

#: Classes of Django that have no values of their own to change.
WITHOUT = {
    # Keys.
    "AutoField",
    "BigAutoField",
    "SmallAutoField",
    "CompositePrimaryKey",
    # The database alone writes it.
    "GeneratedField",
    # Removed fields, kept for old migrations.
    "CommaSeparatedIntegerField",
    "IPAddressField",
    "NullBooleanField",
    # Without a column.
    "ForeignObject",
    "ManyToManyField",
    "RelatedField",
    "OrderWrt",
}

STRANGE: dict[str, Callable[[], Given]] = {
    "no equality": lambda: (
        strange.PointField(max_length=9),
        strange.Point(1, 2),
        strange.Point(1, 3),
    ),
    "equality that is a list": lambda: (
        strange.VectorField(),
        strange.Vector(1, 2),
        strange.Vector(1, 3),
    ),
    "equality that raises": lambda: (
        strange.MoodyField(max_length=9),
        strange.Moody("a"),
        strange.Moody("b"),
    ),
    "equality without case": lambda: (strange.LoudField(max_length=9), "tea", "TEA"),
    "a text without case in a field of Django": lambda: (
        models.CharField(max_length=9),
        strange.Loud("tea"),
        strange.Loud("TEA"),
    ),
    "an object in a column of JSON": lambda: (
        strange.SizeField(),
        strange.Size(1),
        strange.Size(2),
    ),
    "an object that encoder and decoder know": lambda: (
        models.JSONField(encoder=strange.SizeEncoder, decoder=strange.SizeDecoder),
        [strange.Size(1)],
        [strange.Size(2)],
    ),
    "what Django's encoder knows": lambda: (
        models.JSONField(encoder=DjangoJSONEncoder),
        {"at": AT, "price": decimal.Decimal("1.50")},
        {"at": AT + SECOND, "price": decimal.Decimal("1.50")},
    ),
    "a set": lambda: (strange.WordsField(max_length=9), {"a", "b"}, {"a"}),
    "NULL that reads as empty": lambda: (strange.EmptyField(max_length=9, null=True), "a", "b"),
    "None that is written as empty": lambda: (strange.NeverNullField(max_length=9), "a", "b"),
    "a guarded attribute": lambda: (strange.StateField(max_length=9), "new", "paid"),
    "written otherwise by the field": lambda: (strange.UpperField(max_length=9), "a", "b"),
    "a column of its own kind": lambda: (strange.PlainNumberField(), 1, 2),
    "choices": lambda: (models.CharField(max_length=1), _Size.SMALL, _Size.LARGE),
}


class _Size(models.TextChoices):
    SMALL = "s", "Small"
    LARGE = "l", "Large"


def _point_to(cls: Any) -> Any:
    return cls("testapp.Category", models.CASCADE, db_constraint=False)


def _targets() -> tuple[Any, Any]:
    return CategoryFactory(), CategoryFactory()


def _range(cls: str, *ends: Any) -> Given:
    fields = importlib.import_module("django.contrib.postgres.fields")
    ranges = importlib.import_module("django.db.backends.postgresql.psycopg_any")
    field = getattr(fields, cls)()
    make = getattr(ranges, field.range_type.__name__)
    lower, upper, more = ends
    # One that the database writes otherwise, and one that it keeps.
    return field, make(lower, upper, "(]"), make(lower, more, "[)")


def _array(base: Any, one: Any, two: Any) -> Given:
    from django.contrib.postgres.fields import ArrayField

    return ArrayField(base), one, two


def _hstore() -> Given:
    from django.contrib.postgres.fields import HStoreField

    return HStoreField(), {"a": "1", "b": None}, {"a": 2}


def _search_vector() -> Given:
    from django.contrib.postgres.search import SearchVectorField

    return SearchVectorField(), "'tea':1", "'coffee':2 'tea':1"


Decimal = decimal.Decimal
POSTGRES: dict[str, Callable[[], Given]] = {
    "IntegerRangeField": partial(_range, "IntegerRangeField", 1, 5, 6),
    "BigIntegerRangeField": partial(_range, "BigIntegerRangeField", 1, 5, 2**40),
    "DecimalRangeField": partial(_range, "DecimalRangeField", Decimal(1), Decimal(5), Decimal(6)),
    "DateRangeField": partial(
        _range, "DateRangeField", DAY, DAY.replace(day=5), DAY.replace(day=9)
    ),
    "DateTimeRangeField": partial(_range, "DateTimeRangeField", AT, AT + SECOND, AT + 2 * SECOND),
    "ArrayField": lambda: _array(models.IntegerField(), [1, None], [2]),
    "ArrayField of texts": lambda: _array(models.CharField(max_length=9), ["a"], ["b", ""]),
    "ArrayField given as text": lambda: _array(models.IntegerField(), ["1", "2"], [3]),
    "ArrayField of arrays": lambda: _array(
        _array(models.IntegerField(), [], [])[0], [[1, 2], [3, 4]], [[5, None]]
    ),
    "ArrayField of moments": lambda: _array(models.DateTimeField(), [AT], [AT + SECOND]),
    "ArrayField of strange values": lambda: _array(
        strange.PointField(max_length=9), [strange.Point(1, 2)], [strange.Point(1, 3)]
    ),
    "HStoreField": _hstore,
    "SearchVectorField": _search_vector,
}


def _import(package: str, name: str) -> Any:
    module = importlib.import_module(package)
    return getattr(module, name)


def _money() -> Given:
    field, money = _import("djmoney.models.fields", "MoneyField"), _import("moneyed", "Money")
    return field(max_digits=8, decimal_places=2), money("1.50", "EUR"), money("2.50", "EUR")


def _phone() -> Given:
    field = _import("phonenumber_field.modelfields", "PhoneNumberField")
    return (
        field(),
        "+41446681800",
        _import("phonenumber_field.phonenumber", "to_python")("+41446681801"),
    )


def _country() -> Given:
    return _import("django_countries.fields", "CountryField")(), "ES", "PT"


def _countries() -> Given:
    return _import("django_countries.fields", "CountryField")(multiple=True), "ES,PT", ["PT"]


def _time_zone() -> Given:
    return _import("timezone_field", "TimeZoneField")(), "Europe/Madrid", "Europe/Lisbon"


def _colour() -> Given:
    return _import("colorfield.fields", "ColorField")(), "#FF0000", "#00FF00"


def _state() -> Given:
    return _import("django_fsm", "FSMField")(protected=True, default="new"), "new", "paid"


def _status() -> Given:
    return _import("model_utils.fields", "StatusField")(), "new", "paid"


def _token() -> Given:
    return _import("model_utils.fields", "UrlsafeTokenField")(editable=True), "a", "b"


def _tree() -> Given:
    field = _import("mptt.fields", "TreeForeignKey")
    return field("testapp.Category", models.CASCADE, db_constraint=False), *_targets()


def _numbers() -> Given:
    numpy = importlib.import_module("numpy")

    class ArrayField(models.BinaryField):
        def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
            return None if value is None else numpy.frombuffer(bytes(value))

        def get_prep_value(self, value: Any) -> Any:
            return None if value is None else value.tobytes()

    return ArrayField(), numpy.array([1.0, 2.0]), numpy.array([1.0, 3.0])


#: Package -> what has fields of it.
THIRD: dict[str, list[Callable[[], Given]]] = {
    "djmoney": [_money],
    "phonenumber_field": [_phone],
    "django_countries": [_country, _countries],
    "timezone_field": [_time_zone],
    "colorfield": [_colour],
    "django_fsm": [_state],
    "model_utils": [_status, _token],
    "mptt": [_tree],
    "numpy": [_numbers],
}

CASES = [
    *(pytest.param(make, id=name) for name, make in DJANGOS.items()),
    *(pytest.param(make, id=name) for name, make in STRANGE.items()),
    *(
        pytest.param(
            make,
            id=name,
            marks=pytest.mark.skipif(
                connection.vendor != "postgresql", reason="a field of PostgreSQL"
            ),
        )
        for name, make in POSTGRES.items()
    ),
    *(
        pytest.param(
            make,
            id=f"{package} {make.__name__.strip('_')}",
            marks=pytest.mark.skipif(
                importlib.util.find_spec(package) is None, reason=f"{package} is not installed"
            ),
        )
        for package, makes in THIRD.items()
        for make in makes
    ),
]


@pytest.fixture
def hold(make_model: Any, wire: Any, settings: Any) -> Iterator[Callable[..., Any]]:
    """Makes a model with a field ``value``, and an AuditLog of it."""
    ContentType.objects.clear_cache()

    def make(field: Any, **options: Any) -> Any:
        if type(field).__name__ == "HStoreField":
            _install_hstore()
        name = models.CharField(max_length=9, default="")
        holder = make_model("Holder", models.Model, STATUS=STATUS, name=name, value=field)
        wire((AuditLog, {"models": ["testapp.Holder"], **options}))
        return holder

    yield make
    ContentType.objects.clear_cache()


def _install_hstore() -> None:
    from django.contrib.postgres.signals import get_hstore_oids, register_type_handlers

    with connection.cursor() as cursor:
        cursor.execute("CREATE EXTENSION IF NOT EXISTS hstore")
    get_hstore_oids.cache_clear()
    register_type_handlers(connection)


class Log:
    """What has been told since the last time."""

    def __init__(self) -> None:
        self.last = 0

    def tell(self) -> list[tuple[str, Any]]:
        entries = list(AuditEntry.objects.filter(pk__gt=self.last).order_by("pk"))
        self.last = entries[-1].pk if entries else self.last
        return [(entry.action, entry.changes) for entry in entries]

    def tell_value(self) -> Any:
        """What the one entry tells of the value, and of nothing else."""
        ((action, changes),) = self.tell()
        assert (action, list(changes)) == ("update", ["value"])
        return changes["value"]


def read(model: Any, pk: Any) -> Any:
    """What the column holds, as the database says it."""
    quote = connection.ops.quote_name
    column = quote(model._meta.get_field("value").column)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {column} FROM {quote(model._meta.db_table)} WHERE id = %s", [pk])
        (found,) = cursor.fetchone()
    return bytes(found) if isinstance(found, memoryview) else found


def tell_read(model: Any, pk: Any) -> Any:
    """What a log has to tell of what the database holds."""
    column = get_columns(model)[model._meta.get_field("value").attname]
    return json.loads(
        json.dumps(
            to_json(column.tell(model.objects.values_list(column.attname, flat=True).get(pk=pk)))
        )
    )


def make(model: Any, pk: Any, value: Any, old_values: str) -> Any:
    """The instance of a row with another value: as a form makes it, or as it was loaded, where
    that is what the old values are taken from."""
    row = model.objects.get(pk=pk)
    if old_values == "snapshot":
        assign(row, "value", value)
        return row
    row = model(id=pk, name=row.name, value=value)
    row._state.adding = False
    return row


@pytest.mark.parametrize("given", CASES)
@pytest.mark.parametrize("old_values", ["database", "snapshot"])
def test_each_kind_of_value_is_told_truly_and_comes_back(
    given: Any, old_values: str, hold: Any, media: Any
) -> None:
    field, one, two = given()
    model, log = hold(field, old_values=old_values), Log()
    if isinstance(field, models.FileField):
        # A name leads back only to a file that is there.
        for name in (one, two):
            field.storage.save(name, ContentFile(b"content"))
    row = model.objects.create(value=one)
    pk = row.pk
    ((action, changes),) = log.tell()
    held, told = read(model, pk), tell_read(model, pk)
    assert (action, changes["value"]) == ("create", [None, told])

    # What changes nothing is not told.
    row.save()
    model.objects.get().save()
    model.objects.update(value=one)
    assert log.tell() == []
    model.objects.bulk_update([model.objects.get()], ["value"])
    assert log.tell() == []
    row = model.objects.get()
    row.name = "b"
    row.save()
    assert [changes for _, changes in log.tell()] == [{"name": ["", "b"]}]

    # What changes something is, however it is written.
    model.objects.update(value=two)
    new_held, new_told = read(model, pk), tell_read(model, pk)
    assert new_held != held
    assert json.dumps(new_told) != json.dumps(told)
    assert log.tell_value() == [told, new_told]
    make(model, pk, one, old_values).save()
    assert log.tell_value() == [new_told, told]
    model.objects.bulk_update([make(model, pk, two, old_values)], ["value"])
    assert log.tell_value() == [told, new_told]

    # An entry leads back.
    at = _tick()
    model.objects.update(value=one)
    past = AuditEntry.objects.as_of(model.objects.get(), at)
    column = get_columns(model)[field.attname]
    assert json.loads(json.dumps(to_json(column.tell(column.get(past))))) == new_told
    AuditEntry.objects.latest("pk").revert()
    assert read(model, pk) == new_held
    log.tell()
    model.objects.get().delete()
    ((action, changes),) = log.tell()
    assert (action, changes["value"]) == ("delete", [new_told, None])
    AuditEntry.objects.latest("pk").revert()
    assert read(model, pk) == new_held


def _tick() -> datetime.datetime:
    time.sleep(0.002)
    at = timezone.now()
    time.sleep(0.002)
    return at


def test_each_class_of_field_of_django_is_looked_at() -> None:
    def find(cls: Any) -> Iterator[str]:
        for other in cls.__subclasses__():
            if other.__module__.startswith("django.db.models."):
                yield other.__name__
            yield from find(other)

    assert set(find(models.Field)) - WITHOUT == {*DJANGOS}


def test_a_value_that_is_not_where_django_looks_for_it_stops_no_write(hold: Any) -> None:
    model, log = hold(strange.HiddenField(max_length=9)), Log()
    model.objects.create(value="a")
    model.objects.update(value="b")
    model.objects.get().delete()
    assert [changes["value"] for _, changes in log.tell()] == [
        [None, "a"],
        ["a", "b"],
        ["b", None],
    ]
