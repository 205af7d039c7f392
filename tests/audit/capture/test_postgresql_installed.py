"""What stands in a PostgreSQL database: whose it is, who may use it, and how it is found again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import ProgrammingError, connection, models, transaction
from hypothesis import given, settings, strategies
from hypothesis.extra.django import TestCase

from django_signal_kit.audit.capture import installing, standing
from django_signal_kit.audit.capture.installing import step_aside
from django_signal_kit.audit.capture.pieces import make_name
from django_signal_kit.audit.capture.postgresql.catalog import list_installed
from django_signal_kit.audit.capture.postgresql.secrets import write_redaction
from django_signal_kit.audit.capture.wanted import compare, list_wanted
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.exceptions import TriggersMissingError
from django_signal_kit.receivers import AuditLog
from django_signal_kit.rows import secrets
from tests.apps.testapp.models import Product
from tests.audit.capture.both import alone
from tests.audit.capture.installing import install, installed
from tests.factories import TagFactory

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="is about PostgreSQL"),
]


@pytest.fixture(autouse=True)
def audit(wire: Any) -> Iterator[Any]:
    with alone():
        receiver = wire(
            (AuditLog, {"models": ["testapp.Tag", "testapp.Product"], "capture": "triggers"})
        )
        with installed():
            yield receiver


@pytest.fixture
def role() -> Iterator[str]:
    """A role of an application, which may write its tables and no more."""
    name = f"app_{connection.settings_dict['NAME']}"
    run(f"DROP ROLE IF EXISTS {name}")
    run(f"CREATE ROLE {name}")
    run(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}")
    run(f"GRANT INSERT, UPDATE, DELETE ON testapp_tag TO {name}")
    run(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {name}")
    run(f"GRANT TEMPORARY ON DATABASE {connection.settings_dict['NAME']} TO {name}")
    run(f"GRANT CREATE, USAGE ON SCHEMA public TO {name}")
    yield name
    run("RESET ROLE")
    run(f"DROP OWNED BY {name}")
    run(f"DROP ROLE {name}")


def run(sql: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else None


def list_names() -> set[str]:
    return {each.name for each in list_installed(connection)}


def test_what_is_installed_is_found_again_and_is_as_wanted() -> None:
    assert list_names() == {piece.name for _, piece in list_wanted("default")}
    assert not compare("default")
    for each in list_installed(connection):
        run(each.drop)
    assert list_names() == set()
    assert run("SELECT count(*) FROM pg_trigger WHERE tgname LIKE '%signal_kit%'") == [(0,)]


@pytest.mark.parametrize(
    "damage",
    [
        "ALTER TABLE testapp_tag DISABLE TRIGGER {}",
        "DROP TRIGGER {} ON testapp_tag",
        "CREATE OR REPLACE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN RETURN NULL; END'",
    ],
)
def test_what_somebody_has_broken_is_not_what_is_wanted(damage: str) -> None:
    name = make_name("AuditLog", "testapp_tag", "update")
    run(damage.format(name if "FUNCTION" in damage else f"_{name}"))
    assert [piece.name for piece in compare("default").changed] == [name]
    standing.forget()
    with pytest.raises(TriggersMissingError, match="leaves testapp_tag to triggers"):
        TagFactory()
    install()
    assert not compare("default")


def test_what_a_trigger_of_the_project_writes_again_is_told_after_what_set_it_off() -> None:
    run(
        "CREATE FUNCTION a_touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF pg_trigger_depth() < 2 THEN UPDATE testapp_tag SET name = name || '+'; END IF; "
        "RETURN NULL; END $$; CREATE TRIGGER a_touch AFTER UPDATE ON testapp_tag "
        "FOR EACH ROW EXECUTE FUNCTION a_touch()"
    )
    try:
        TagFactory(name="a")
        AuditEntry.objects.all().delete()
        run("UPDATE testapp_tag SET name = 'b'")
    finally:
        run("DROP FUNCTION a_touch() CASCADE")
    told = AuditEntry.objects.order_by("id").values_list("changes", flat=True)
    assert list(told) == [{"name": ["a", "b"]}, {"name": ["b", "b+"]}]


def test_an_application_needs_no_right_to_the_log(role: str) -> None:
    run(f"SET ROLE {role}")
    run("INSERT INTO testapp_tag (name) VALUES ('a')")
    run("UPDATE testapp_tag SET name = 'b'")
    run("DELETE FROM testapp_tag")
    with pytest.raises(ProgrammingError, match="permission denied"), transaction.atomic():
        run("DELETE FROM signal_kit_audit_auditentry")
    run("RESET ROLE")
    assert AuditEntry.objects.count() == 3


def test_nobody_puts_a_table_of_his_own_in_the_place_of_the_log(role: str) -> None:
    run(f"SET ROLE {role}")
    run("CREATE TEMP TABLE signal_kit_audit_auditentry (at text, action text)")
    run("CREATE FUNCTION pg_temp.concat(VARIADIC text[]) RETURNS text LANGUAGE sql AS 'SELECT 1'")
    run("SET search_path = pg_temp, public")
    run("INSERT INTO public.testapp_tag (name) VALUES ('a')")
    run("RESET search_path")
    run("DROP TABLE pg_temp.signal_kit_audit_auditentry")
    run("RESET ROLE")
    assert AuditEntry.objects.get().object_text == "a"


def test_nobody_makes_triggers_of_these_functions(role: str) -> None:
    name = make_name("AuditLog", "testapp_tag", "insert")
    run(f"SET ROLE {role}")
    run("CREATE TABLE mine (id integer, name text)")
    with pytest.raises(ProgrammingError, match="permission denied"), transaction.atomic():
        run(
            f"CREATE TRIGGER forged AFTER INSERT ON mine REFERENCING NEW TABLE AS new_rows "
            f"EXECUTE FUNCTION {name}()"
        )


def test_tables_are_those_that_the_search_path_finds() -> None:
    run("CREATE SCHEMA tenant")
    try:
        run("CREATE TABLE tenant.testapp_tag (LIKE public.testapp_tag INCLUDING ALL)")
        run("SET search_path = tenant, public")
        install()
        run("SET search_path = public")
        run("INSERT INTO tenant.testapp_tag (id, name) VALUES (-7, 'of a tenant')")
        TagFactory(name="of all")
        run("SET search_path = ''")
        run("UPDATE tenant.testapp_tag SET name = 'of him'")
        run("RESET search_path")
        assert list(AuditEntry.objects.order_by("id").values_list("object_text", flat=True)) == [
            "of a tenant",
            "of all",
            "of him",
        ]
        # What is in a schema that nobody looks into is nothing that is left over.
        assert not compare("default")
    finally:
        run("RESET search_path")
        run("DROP SCHEMA tenant CASCADE")


@pytest.fixture
def stock() -> Iterator[None]:
    run("CREATE SCHEMA stock")
    yield
    run("DROP SCHEMA stock")


@pytest.mark.parametrize("table", ['stock"."hol.der', '"stock"."holder"'])
def test_a_table_that_names_its_schema_is_heard(
    role: str, stock: None, make_model: Any, wire: Any, table: str
) -> None:
    model = make_model(
        "Holder",
        models.Model,
        name=models.CharField(max_length=9),
        tags=models.ManyToManyField("testapp.Tag", db_table='"stock"."links"'),
        __str__=lambda self: self.name,
        meta={"db_table": table},
    )
    wire((AuditLog, {"models": ["testapp.Holder"], "capture": "triggers"}))
    with installed():
        assert not compare("default")
        row = model.objects.create(name="a")
        key = row.pk
        row.tags.add(tag := TagFactory())
        model.objects.update(name="b")
        row.delete()
        told = AuditEntry.objects.order_by("id").values_list("action", "object_text", "changes")
        assert list(told) == [
            ("create", "a", {"id": [None, key], "name": [None, "a"]}),
            ("m2m_add", "a", {"tags": {"added": [tag.pk]}}),
            ("update", "b", {"name": ["a", "b"]}),
            ("m2m_remove", "b", {"tags": {"removed": [tag.pk]}}),
            ("delete", "b", {"id": [key, None], "name": ["b", None]}),
        ]
        # Who has no right to that schema writes other tables as ever.
        standing.forget()
        run(f"SET ROLE {role}")
        try:
            TagFactory()
        finally:
            run("RESET ROLE")
        # Both tables have a stand-in while they change.
        step_aside("default", list_installed(connection))
        model.objects.create(name="c")
        assert AuditEntry.objects.get(changes__name=[None, "c"]).action == "create"
    assert list_names() == set()


def test_what_the_triggers_of_a_renamed_table_call_is_there_as_long_as_they_are() -> None:
    step_aside("default", list_installed(connection))
    run("ALTER TABLE testapp_tag RENAME TO labels")
    # Whoever writes meanwhile is heard by a stand-in, which calls others.
    of_tags = {each.name: each for each in list_installed(connection) if "_tag_" in each.name}
    hearing = {name for name, each in of_tags.items() if each.hears}
    assert {of_tags[name].table for name in hearing} == {"labels"}
    assert hearing < of_tags.keys()
    told: list[str] = []
    try:
        installing.install("default", lambda verb, name, table: told.append(name))
    finally:
        run("ALTER TABLE labels RENAME TO testapp_tag")
    dropped = [name for name in told if name in of_tags]
    assert set(dropped) == of_tags.keys()
    assert set(dropped[: len(hearing)]) == hearing


def test_a_table_with_partitions_is_heard_whichever_way_it_is_written(
    make_model: Any, wire: Any
) -> None:
    fields = {"at": models.DateField(), "name": models.CharField(max_length=9)}
    model = make_model("Visit", models.Model, **fields, __str__=lambda self: self.name)
    run(
        "DROP TABLE testapp_visit; CREATE TABLE testapp_visit (id bigserial, at date NOT NULL, "
        "name varchar(9) NOT NULL, PRIMARY KEY (id, at)) PARTITION BY RANGE (at)"
    )
    for month in (1, 2):
        _make_partition(month)
    wire((AuditLog, {"models": ["testapp.Visit"], "capture": "triggers"}))
    with installed():
        assert not compare("default")
        _make_partition(3)
        row, _ = model.objects.bulk_create(
            model(at=f"2026-0{month}-05", name="a") for month in (1, 3)
        )
        # In its place, and into another partition.
        model.objects.filter(pk=row.pk).update(name="b")
        model.objects.filter(pk=row.pk).update(at="2026-02-05")
        run("INSERT INTO visit_1 (at, name) VALUES ('2026-01-06', 'c')")
        run("UPDATE visit_1 SET name = 'd'")
        run("DELETE FROM visit_1")
        model.objects.all().delete()
    told = AuditEntry.objects.order_by("id").values_list("action", "changes__at", "changes__name")
    assert list(told) == [
        ("create", [None, "2026-01-05"], [None, "a"]),
        ("create", [None, "2026-03-05"], [None, "a"]),
        ("update", None, ["a", "b"]),
        ("delete", ["2026-01-05", None], ["b", None]),
        ("create", [None, "2026-02-05"], [None, "b"]),
        ("create", [None, "2026-01-06"], [None, "c"]),
        ("update", None, ["c", "d"]),
        ("delete", ["2026-01-06", None], ["d", None]),
        ("delete", ["2026-02-05", None], ["b", None]),
        ("delete", ["2026-03-05", None], ["a", None]),
    ]


def _make_partition(month: int) -> None:
    run(
        f"CREATE TABLE visit_{month} PARTITION OF testapp_visit "
        f"FOR VALUES FROM ('2026-0{month}-01') TO ('2026-0{month + 1}-01')"
    )


def test_a_template_may_have_any_text(wire: Any) -> None:
    texts = {"testapp.Tag": "$signal_kit$ {{it's}} \\n {name} 100% @signal_kit_schema"}
    wire((AuditLog, {"models": ["testapp.Tag"], "capture": "triggers", "object_text": texts}))
    with installed():
        TagFactory(name="a")
    text = AuditEntry.objects.get().object_text
    assert text == "$signal_kit$ {it's} \\n a 100% @signal_kit_schema"


def test_links_of_which_only_something_else_changes_are_not_told() -> None:
    product = Product.objects.create(name="p")
    one, two = TagFactory.create_batch(2)
    product.tags.add(one)
    AuditEntry.objects.all().delete()
    run("UPDATE testapp_product_tags SET id = id + 1000")
    assert not AuditEntry.objects.exists()
    run(f"UPDATE testapp_product_tags SET tag_id = {two.pk}")
    assert list(AuditEntry.objects.order_by("id").values_list("action", "changes")) == [
        ("m2m_remove", {"tags": {"removed": [one.pk]}}),
        ("m2m_add", {"tags": {"added": [two.pk]}}),
    ]


def test_a_collation_that_ignores_capitals_hides_no_change(make_model: Any, wire: Any) -> None:
    run(
        "CREATE COLLATION IF NOT EXISTS without_case "
        "(provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
    )
    name = models.CharField(max_length=9, db_collation="without_case")
    model = make_model("Folded", models.Model, name=name)
    wire((AuditLog, {"models": ["testapp.Folded"], "capture": "triggers"}))
    with installed():
        row = model.objects.create(name="Tea")
        row.name = "tea"
        row.save()
    assert AuditEntry.objects.get(action="update").changes == {"name": ["Tea", "tea"]}


WORDS = sorted(
    {
        *secrets.WORDS,
        *secrets.KEYS,
        *secrets.ENDINGS,
        *secrets.FIRST,
        *secrets.LAST,
        *(word for phrase in (*secrets.PHRASES, *secrets.WHOLE) for word in phrase),
        *("key", "keys", "author", "Name", "pin", "s", "ss", "less", "x"),
    }
)
PARTS = strategies.sampled_from(WORDS).flatmap(
    lambda word: strategies.sampled_from(
        [word, word.capitalize(), word.upper(), f"{word}s", f"{word.title()}s"]
    )
)
ODD = strategies.sampled_from(
    ["_", "-", " ", ".", "7", "é", "\u017f", "ß", "\u2028", "\u212a", "—", "\ufb00", ""]
)
NAMES = strategies.lists(strategies.one_of(PARTS, PARTS, ODD), max_size=5).map("".join)


def _make_redaction(extra: tuple[str, ...]) -> str:
    return (
        f"CREATE OR REPLACE FUNCTION pg_temp.redact(document text, depth integer DEFAULT 0) "
        f"RETURNS text LANGUAGE plpgsql AS $body${write_redaction('pg_temp.redact', extra)}$body$"
    )


class SecretTests(TestCase):
    """The function that takes secrets out of JSON."""

    @settings(max_examples=300, deadline=None)
    @given(
        strategies.lists(NAMES, min_size=1, max_size=20, unique=True),
        strategies.sampled_from([(), ("pin code",), ("straße", "x-y")]),
    )
    def test_no_secret_is_left(self, names: list[str], extra: tuple[str, ...]) -> None:
        document = {name: {"inner": [{name: 1}]} for name in names}
        with connection.cursor() as cursor:
            cursor.execute(_make_redaction(extra))
            cursor.execute("SELECT pg_temp.redact(%s::jsonb::text)", [json.dumps(document)])
            found = json.loads(cursor.fetchone()[0])
        assert found.keys() == document.keys()
        for name, value in found.items():
            is_redacted = value == "[redacted]"
            if name.isascii():
                assert is_redacted == secrets.is_secret(name, extra), name
            else:
                assert is_redacted >= secrets.is_secret(name, extra), name
            assert is_redacted or value == {"inner": [{name: 1}]}

    def test_what_lies_too_deep_is_replaced(self) -> None:
        document: Any = {"password": "secret value"}
        for _ in range(200):
            document = [document]
        with connection.cursor() as cursor:
            cursor.execute(_make_redaction(()))
            cursor.execute("SELECT pg_temp.redact(%s::jsonb::text)", [json.dumps(document)])
            found = cursor.fetchone()[0]
        assert "secret value" not in found
        assert "[redacted]" in found
