"""What SQLite makes of the values of columns is what Python makes of them."""

from __future__ import annotations

import base64
import datetime
import json
import math
import random
import string
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, models
from django.db.models.functions import Length, Now
from hypothesis import given, settings
from hypothesis import strategies as st

from django_signal_kit.audit.capture.specifying import specify
from django_signal_kit.audit.capture.sqlite import quoting, triggers
from django_signal_kit.audit.capture.sqlite.secrets import has_secret
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.rows import secrets
from django_signal_kit.rows.secrets import is_secret
from tests.apps.rarities.models import Reading
from tests.audit.capture.pairs import (
    PYTHON,
    TRIGGERS,
    forget,
    get_entries,
    installed,
    list_entries,
    tell,
)
from tests.factories import CategoryFactory

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "sqlite", reason="triggers of SQLite"),
]

AT = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
FIELDS: dict[str, Any] = {
    "text": models.TextField(null=True),
    "short": models.CharField(max_length=40, null=True, db_collation="NOCASE"),
    "whole": models.BigIntegerField(null=True),
    "number": models.FloatField(null=True),
    "amount": models.DecimalField(max_digits=15, decimal_places=4, null=True),
    "flag": models.BooleanField(null=True),
    "day": models.DateField(null=True),
    "clock": models.TimeField(null=True),
    "at": models.DateTimeField(null=True),
    "lasted": models.DurationField(null=True),
    "uid": models.UUIDField(null=True),
    "content": models.BinaryField(null=True),
    "data": models.JSONField(null=True),
    "ip": models.GenericIPAddressField(null=True),
    "file": models.FileField(null=True),
    "api_token": models.CharField(max_length=40, null=True),
    "category": models.ForeignKey("testapp.Category", models.SET_NULL, null=True),
    "size": models.GeneratedField(
        expression=Length("text"), output_field=models.IntegerField(), db_persist=True
    ),
}
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
JSONS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
AMOUNTS = st.decimals(-(10**11), 10**11, places=4).filter(lambda value: abs(value) < 10**11)
VALUES: dict[str, Any] = {
    "text": TEXTS,
    "short": TEXTS,
    "whole": st.integers(-(2**63), 2**63 - 1),
    "number": st.floats(allow_nan=False),
    "amount": AMOUNTS,
    "flag": st.booleans(),
    "day": st.dates(datetime.date(1000, 1, 1)),
    "clock": st.times(),
    "at": st.datetimes(datetime.datetime(1000, 1, 2), timezones=st.just(datetime.UTC)),
    "lasted": st.timedeltas(datetime.timedelta(-(10**7)), datetime.timedelta(10**7)),
    "uid": st.uuids(),
    "content": st.binary(max_size=40),
    "data": JSONS,
    "ip": st.ip_addresses().map(str),
    "file": st.text(string.ascii_letters + "é", max_size=9),
    # Part of no name of a row: Python would hide it there, too.
    "api_token": TEXTS.map("\N{KEY}{}".format),
}
ROWS = st.fixed_dictionaries({name: st.none() | values for name, values in VALUES.items()})


@pytest.fixture
def holder(make_model: Any, wire: Any) -> Iterator[Any]:
    model = make_model("Holder", models.Model, **FIELDS)
    wire(*list_entries([model]))
    with installed():
        yield model


def compare() -> list[tuple[Any, ...]]:
    """What both have told, which is the same."""
    told = tell(TRIGGERS)
    assert [_simplify(entry) for entry in told] == [_simplify(entry) for entry in tell(PYTHON)]
    forget()
    return told


def _simplify(entry: Any) -> Any:
    changes = {
        name: pair if name == "data" else [_sign(value) for value in pair]
        for name, pair in entry[4].items()
    }
    # Where a key of JSON is a secret, SQLite hides the value whole.
    data = changes.get("data", ())
    if any("[redacted]" in json.dumps(value) for value in data):
        changes["data"] = [value and "[redacted]" for value in data]
    return entry[:4], changes, entry[5:]


def _sign(value: Any) -> Any:
    return 0.0 if value == 0 and isinstance(value, float) else value


@settings(max_examples=150)
@given(st.data())
def test_values_of_each_kind_are_told_to_the_letter(data: Any) -> None:
    model = _current
    one, two = data.draw(ROWS), data.draw(ROWS)
    row = model.objects.create(**one)
    for name, value in two.items():
        setattr(row, name, value)
    row.save()
    row.delete()
    compare()


_current: Any = None


@pytest.fixture(autouse=True)
def _make_current(request: pytest.FixtureRequest) -> None:
    # A fixture of a function would be one for all examples.
    global _current
    if "each_kind" in request.node.name:
        _current = request.getfixturevalue("holder")


def test_an_update_in_the_database_is_told_to_the_letter(holder: Any) -> None:
    holder.objects.create(text="a", whole=3, at=AT, short="Tea")
    forget()
    holder.objects.update(at=Now(), clock=datetime.time(1, 2, 3), short="tea")
    holder.objects.update(whole=models.F("whole") * 0.5)
    holder.objects.update(category=CategoryFactory())
    told = compare()
    assert [list(entry[4]) for entry in told] == [
        ["short", "clock", "at"],
        ["whole"],
        ["category"],
    ]
    assert told[1][4] == {"whole": [3, 1.5]}


@pytest.mark.parametrize(
    ("stored", "told"),
    [
        ("2026-01-02 03:04:05.120", "2026-01-02T03:04:05.120000+00:00"),
        ("2026-01-02 03:04:05.000", "2026-01-02T03:04:05+00:00"),
        ("2026-01-02 03:04:05", "2026-01-02T03:04:05+00:00"),
    ],
)
def test_times_that_sqlite_itself_has_written_are_told_as_django_reads_them(
    stored: str, told: str, holder: Any
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO testapp_holder (at, clock) VALUES (%s, substr(%s, 12))", [stored, stored]
        )
    changes = AuditEntry.objects.get().changes
    assert changes["at"] == [None, told]
    assert changes["clock"] == [None, told[11:-6]]
    read = holder.objects.get()
    assert (read.at.isoformat(), read.clock.isoformat()) == (told, told[11:-6])


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 3001])
def test_bytes_are_told_as_base64(size: int, holder: Any) -> None:
    content = random.Random(size).randbytes(size)
    holder.objects.create(content=content)
    ((*_, changes, _, _, _, _, _),) = compare()
    assert changes["content"] == [None, base64.b64encode(content).decode()]


STRANGERS = [
    7,
    1.5,
    -0.0,
    1e300,
    math.inf,
    "a 'text'",
    "",
    "2026-99-99 xx",
    b"\xff\x00",
    b"",
    None,
]
GUARDED = ("size", "category", "data")


@pytest.mark.parametrize("value", STRANGERS)
def test_a_value_of_another_kind_than_its_column_makes_no_write_fail(
    value: Any, holder: Any
) -> None:
    names = [name for name in FIELDS if name not in GUARDED]
    marks = ", ".join("%s" for _ in names)
    with connection.cursor() as cursor:
        sql = f"INSERT INTO testapp_holder ({', '.join(names)}) VALUES ({marks})"
        cursor.execute(sql, [value] * len(names))
        assignments = ", ".join(f"{name} = 5" for name in names)
        cursor.execute(f"UPDATE testapp_holder SET {assignments}")
        cursor.execute("DELETE FROM testapp_holder")
    assert list(AuditEntry.objects.order_by("pk").values_list("action", flat=True)) == [
        "create",
        "update",
        "delete",
    ]


@pytest.mark.parametrize(("value", "text"), [(b"\xff\x00", "FF00"), (b"a", "61"), (5, "5")])
def test_so_it_is_where_a_row_is_called_by_it(
    make_model: Any, wire: Any, value: Any, text: str
) -> None:
    model = make_model("Holder", models.Model, name=models.CharField(max_length=9))
    wire(*list_entries([model], object_text={"testapp.Holder": "{name}"}))
    with installed(), connection.cursor() as cursor:
        cursor.execute("INSERT INTO testapp_holder (name) VALUES (%s)", [value])
    entry = AuditEntry.objects.get()
    assert (entry.object_text, entry.changes["name"]) == (text, [None, text])


def test_a_nul_and_half_a_pair_are_replaced_as_python_does(holder: Any) -> None:
    row = holder.objects.create(text="a\0b\\u0000", short="\0", data={"k": "\0", "\\u0000": "\\"})
    row.data = {"halves": "\ud800", "pair": "\N{GRINNING FACE}", "text": "\\ud800"}
    row.save()
    create, update = tell(TRIGGERS)
    assert create[4] == tell(PYTHON)[0][4]
    assert create[4]["text"] == [None, "a\ufffdb\\u0000"]
    after = update[4]["data"][1]
    # Nothing that cannot be encoded; and nothing is lost of it.
    assert json.dumps(after, ensure_ascii=False).encode()
    assert (after["halves"], after["text"]) == ("\\ud800", "\\ud800")


def test_a_pair_stays_a_pair(holder: Any) -> None:
    holder.objects.create(data=["\N{GRINNING FACE}", "a\N{GRINNING FACE}\N{GRINNING FACE}"])
    compare()


def test_json_that_is_null_is_nothing(holder: Any) -> None:
    row = holder.objects.create(data=models.Value(None, models.JSONField()))
    ((*_, changes, _, _, _, _, _),) = compare()
    assert "data" not in changes
    holder.objects.update(data=None)
    assert compare() == []
    row.data = [1]
    row.save()
    compare()


def test_what_is_no_json_is_hidden(make_model: Any, wire: Any) -> None:
    model = make_model("Holder", models.Model, data=models.JSONField(null=True))
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE testapp_holder")
        cursor.execute(
            "CREATE TABLE testapp_holder (id integer PRIMARY KEY AUTOINCREMENT, data text)"
        )
    wire(*list_entries([model]))
    with installed(), connection.cursor() as cursor:
        for value in ('{"password": "x"', b'{"password": "x"}', "password"):
            cursor.execute("INSERT INTO testapp_holder (data) VALUES (%s)", [value])
        assert [entry.changes["data"] for entry in AuditEntry.objects.all()] == [
            [None, "[redacted]"]
        ] * 3


# Secrets


def finds(key: str, *extra: str) -> bool:
    with connection.cursor() as cursor:
        document = json.dumps([{"a": {key: 1}}])
        sql = has_secret(extra).replace("{v}", quoting.text(document)).replace("%", "%%")
        cursor.execute(f"SELECT {sql}", [])
        return bool(cursor.fetchone()[0])


WORDS = sorted(
    {
        *secrets.WORDS,
        *secrets.ENDINGS,
        *secrets.KEYS,
        *(word for phrase in (*secrets.PHRASES, *secrets.WHOLE) for word in phrase),
        *("key", "db", "my", "is", "at", "author", "name", "\u017f", "\0"),
    }
)
STYLES = (str.lower, str.title, str.upper, lambda word: f"{word}s", lambda word: f"x{word}")


@settings(max_examples=400)
@given(
    st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(STYLES)), min_size=1, max_size=3),
    st.sampled_from(["", "_", "-", " ", "é", "2", "\0"]),
)
def test_each_key_that_python_hides_is_found(words: Any, separator: str) -> None:
    key = separator.join(style(word) for word, style in words)
    assert finds(key) or not is_secret(key.replace("\0", "\ufffd"))


@given(TEXTS)
def test_each_text_that_python_hides_is_found(key: str) -> None:
    assert finds(key) or not is_secret(key.replace("\0", "\ufffd"))


@settings(max_examples=300)
@given(st.data())
def test_each_key_that_an_option_names_is_found(data: Any) -> None:
    part = data.draw(st.sampled_from(["iban", "home_address", "straße", "Kraft", "ñ", "a*b[c"]))
    letters = [*part]
    for _ in range(data.draw(st.integers(0, 2))):
        letters.insert(data.draw(st.integers(0, len(letters))), data.draw(st.sampled_from("_- .")))
    key = data.draw(st.sampled_from([str, str.upper, str.title]))("".join(letters))
    key = data.draw(st.sampled_from(["", "my_"])) + key.replace("K", "K").replace("ss", "ß")
    assert finds(key, part) or not is_secret(key, (part,))


@pytest.mark.parametrize(
    "key",
    [
        "name",
        "author",
        "authors",
        "side",
        "inside",
        "key",
        "keys",
        "keyboard",
        "passenger",
        "session",
        "assessment",
        "colour",
        "signal",
        "tok",
        "kayak",
    ],
)
def test_a_key_of_every_day_is_not_taken_for_a_secret(key: str) -> None:
    assert not finds(key)


def test_a_secret_in_json_hides_the_value_and_no_secret_gets_out(holder: Any) -> None:
    row = holder.objects.create(data={"deep": [{"api_key": "x-secret-x"}]}, api_token="x-secret-x")
    row.data = {"name": "x"}
    row.save()
    row.data = {"pass": "x-secret-x"}
    row.save()
    row.delete()
    assert not any("x-secret-x" in json.dumps(entry[4]) for entry in tell(TRIGGERS))
    assert [entry[4].get("data") for entry in tell(TRIGGERS)] == [
        [None, "[redacted]"],
        ["[redacted]", {"name": "x"}],
        [{"name": "x"}, "[redacted]"],
        ["[redacted]", None],
    ]
    # Written otherwise, it is the same key.
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO testapp_holder (data) VALUES (%s)", [r'{"p\u0061ssword": "x-secret-x"}']
        )
    assert AuditEntry.objects.latest("pk").changes["data"] == [None, "[redacted]"]


@pytest.mark.parametrize(
    "key", ["p\\u0061ssword", "\\u0050ASS", "api_\\u006bey", "pwd", "Api-KEY"]
)
def test_a_secret_is_found_by_its_key_alone_however_that_is_written(key: str, holder: Any) -> None:
    with connection.cursor() as cursor:
        sql = "INSERT INTO testapp_holder (data) VALUES (%s)"
        cursor.execute(sql, [f'[{{"a": {{"{key}": "x"}}}}]'])
    assert AuditEntry.objects.latest("pk").changes["data"] == [None, "[redacted]"]


def test_keys_of_the_option_redact_are_hidden_too(make_model: Any, wire: Any) -> None:
    model = make_model("Holder", models.Model, data=models.JSONField())
    wire(*list_entries([model], redact=["iban"]))
    with installed():
        model.objects.create(data={"my-IBAN": 1})
        assert [entry[4]["data"] for entry in tell(TRIGGERS)] == [[None, "[redacted]"]]


@pytest.mark.parametrize("places", [0, 2, 4, 6])
def test_half_of_a_decimal_is_told_as_django_reads_it(
    make_model: Any, wire: Any, places: int
) -> None:
    amount = models.DecimalField(max_digits=15, decimal_places=places)
    model = make_model(
        "Holder", models.Model, amount=amount, __str__=lambda self: str(self.amount)
    )
    wire(*list_entries([model], object_text={"testapp.Holder": "{amount}"}))
    step = Decimal(1).scaleb(-places)
    wholes = [*range(-40, 40), 10**9 + 1, 123_456_789_012_345]
    with installed():
        model.objects.bulk_create(model(amount=whole * step) for whole in wholes)
        model.objects.update(amount=models.F("amount") * Decimal("0.5"))
    told = {
        int(entry.object_pk): (entry.changes["amount"][1], entry.object_text)
        for entry in get_entries(TRIGGERS, action="update")
    }
    read = dict(model.objects.filter(pk__in=told).values_list("pk", "amount"))
    assert told == {pk: (str(amount), str(amount)) for pk, amount in read.items()}
    assert len(read) > 70


def test_a_decimal_that_the_database_computes_is_told(make_model: Any, wire: Any) -> None:
    field = models.DecimalField(max_digits=15, decimal_places=2)
    total = models.GeneratedField(
        expression=models.F("amount") * 2, output_field=field, db_persist=True
    )
    model = make_model("Holder", models.Model, amount=field.clone(), total=total)
    receiver = wire(*list_entries([model]))[1]
    assert not receiver.hears(model)
    with installed():
        row = model.objects.create(amount="1.50")
        row.amount = "2.25"
        row.save()
        row.delete()
        created, updated, deleted = (entry[4]["total"] for entry in compare())
    assert (created, updated, deleted) == ([None, "3.00"], ["3.00", "4.50"], ["4.50", None])


# What cannot be told


def test_a_decimal_beyond_fifteen_digits_is_left_to_python(wire: Any) -> None:
    receiver = wire(*list_entries([Reading]))[1]
    found = triggers.find_obstacle(specify(receiver, Reading, "default"))
    assert "amount of more than 15 digits" in found
    assert receiver.hears(Reading)


def test_a_name_that_json_writes_otherwise_is_left_to_python(make_model: Any, wire: Any) -> None:
    model = make_model("Holder", models.Model)
    python, by_triggers = list_entries([model])
    receiver = wire(python, {**by_triggers, "NAME": 'Añ"o'})[1]
    assert "a name that SQLite does not find" in triggers.find_obstacle(
        specify(receiver, model, "default")
    )


def test_a_database_of_local_times_is_left_to_python(holder: Any, monkeypatch: Any) -> None:
    from django_signal_kit.wiring.registry import registry

    found = specify(registry.receivers[1], holder, "default")
    assert triggers.find_obstacle(found) == ""
    monkeypatch.setitem(connection.settings_dict, "TIME_ZONE", "Europe/Madrid")
    assert "keeps its times as those of Europe/Madrid" in triggers.find_obstacle(found)
