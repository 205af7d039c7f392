"""A table has its triggers by whatever name it is known, and wherever they have gone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection, models

from django_signal_kit import context
from django_signal_kit.audit.capture import standing
from django_signal_kit.audit.capture.installing import drop, install
from django_signal_kit.audit.capture.wanted import compare, list_installed
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.checks import check_signal_kit
from django_signal_kit.exceptions import TriggersMissingError
from django_signal_kit.receivers import AuditLog
from tests.apps.testapp.models import Tag
from tests.audit.capture.both import alone
from tests.factories import TagFactory

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("_clean")]

QUOTE = connection.ops.quote_name("a")[0]
#: A schema that there is, as another database is one to MariaDB.
SCHEMA = {"sqlite": "main", "postgresql": "public", "mysql": connection.settings_dict["NAME"]}


@pytest.fixture
def _clean() -> Iterator[None]:
    with alone():
        yield
        drop("default", list_installed("default"))
        standing.forget()


@pytest.fixture
def capture(wire: Any) -> Any:
    def do(model: type[models.Model]) -> None:
        wire((AuditLog, {"models": [model._meta.label], "capture": "triggers"}))
        install("default")

    return do


def run(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def live(model: Any) -> None:
    row = model.objects.create(name="a")
    model.objects.update(name="b")
    row.delete()


def list_names() -> list[Any]:
    """What the log says of the name at each change, and nothing after that."""
    entries = AuditEntry.objects.order_by("pk")
    found = [entry.changes.get("name") for entry in entries]
    entries.delete()
    return found


LIFE = [[None, "a"], ["a", "b"], ["b", None]]


@pytest.mark.parametrize(
    ("table", "column"),
    [
        # Both are well known: what Django does not quote again, and what parts its quotes.
        ("{q}the holders{q}", "name"),
        pytest.param(
            "{schema}{q}.{q}testapp_holder",
            "name",
            marks=pytest.mark.skipif(
                connection.vendor != "mysql",
                reason="PostgreSQL's triggers hear it, and Django cannot write to it on SQLite",
            ),
        ),
        ("testapp_holder", "{q}the name{q}"),
    ],
)
def test_what_is_quoted_in_the_models_is_left_to_python(
    table: str, column: str, make_model: Any, capture: Any
) -> None:
    names = {"q": QUOTE, "schema": SCHEMA[connection.vendor]}
    column = column.format(**names)
    model = make_model(
        "Holder",
        models.Model,
        name=models.CharField(max_length=9, db_column=column),
        meta={"db_table": table.format(**names)},
    )
    capture(model)
    live(model)
    assert list_names() == LIFE
    (said,) = (each.msg for each in check_signal_kit() if each.id == "signal_kit.W028")
    assert f"has a table or a column with {QUOTE} in its name" in said


@pytest.mark.parametrize("table", ["new", "old"])
def test_a_table_that_is_called_as_a_row_of_a_trigger(
    table: str, make_model: Any, capture: Any
) -> None:
    model = make_model(
        "Holder",
        models.Model,
        name=models.CharField(max_length=9),
        tags=models.ManyToManyField(Tag),
        meta={"db_table": table},
    )
    capture(model)
    holder, tag = model.objects.create(name="a"), TagFactory()
    holder.tags.add(tag)
    holder.tags.clear()
    live(model)
    told = AuditEntry.objects.filter(action__startswith="m2m").order_by("pk")
    assert [(each.object_text, each.changes["tags"]) for each in told] == [
        ("Holder object (1)", {"added": [tag.pk]}),
        ("Holder object (1)", {"removed": [tag.pk]}),
    ]


@pytest.mark.skipif(connection.vendor == "postgresql", reason="knows capitals from small letters")
def test_capitals_in_names_are_small_letters_to_the_database(
    make_model: Any, capture: Any
) -> None:
    model = make_model(
        "Holder", models.Model, name=models.CharField(max_length=9, db_column="NAME")
    )
    ignored = connection.features.ignores_table_name_case
    model._meta.db_table = "TESTAPP_Holder" if ignored else "testapp_holder"
    model._meta.get_field("name").column = "Name"
    capture(model)
    live(model)
    assert list_names() == LIFE


def test_a_table_of_two_models_is_left_to_python(
    make_model: Any, wire: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model("Label", models.Model, name=models.CharField(max_length=50))
    with monkeypatch.context() as patch:
        patch.setattr(model._meta, "db_table", Tag._meta.db_table)
        wire((AuditLog, {"models": [Tag, model], "capture": "triggers"}))
        install("default")
        live(Tag)
        live(model)
        assert list_names() == LIFE * 2
        said = [each.msg for each in check_signal_kit() if each.id == "signal_kit.W028"]
        assert [each.rpartition(": ")[2] for each in said] == [
            "testapp.Tag has the same table as testapp.Label.",
            "testapp.Label has the same table as testapp.Tag.",
        ]


@pytest.fixture
def shelf(make_model: Any) -> Iterator[Any]:
    """A model whose rows are those of a view of the tags."""
    name = models.CharField(max_length=100)
    model = make_model("Shelf", models.Model, name=name, meta={"managed": False})
    run("DROP TABLE testapp_shelf")
    run("CREATE VIEW testapp_shelf AS SELECT id, name FROM testapp_tag")
    if connection.vendor != "mysql":
        for sql in _INSTEAD[connection.vendor]:
            run(sql)
    yield model
    run("DROP VIEW testapp_shelf")
    run("CREATE TABLE testapp_shelf (id integer)")


_INSTEAD = {
    "sqlite": [
        "CREATE TRIGGER on_shelf INSTEAD OF INSERT ON testapp_shelf BEGIN "
        "INSERT INTO testapp_tag (name) VALUES (NEW.name); END",
    ],
    "postgresql": [
        "CREATE OR REPLACE FUNCTION on_shelf() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "INSERT INTO testapp_tag (name) VALUES (NEW.name) RETURNING id INTO NEW.id; "
        "RETURN NEW; END $$",
        "CREATE TRIGGER on_shelf INSTEAD OF INSERT ON testapp_shelf "
        "FOR EACH ROW EXECUTE FUNCTION on_shelf()",
    ],
}


@pytest.mark.parametrize("is_covered", [False, True])
def test_what_a_view_writes_on_is_told_by_its_table_and_by_a_model_that_is_covered(
    shelf: Any, wire: Any, is_covered: bool
) -> None:
    covered = ["testapp.Tag", *(["testapp.Shelf"] if is_covered else [])]
    wire((AuditLog, {"models": covered, "capture": "triggers"}))
    install("default")
    with context(actor="ada"):
        shelf.objects.create(name="a")
        run("INSERT INTO testapp_shelf (name) VALUES ('b')")
    told = AuditEntry.objects.order_by("pk").values_list(
        "content_type__model", "changes__name__1", "actor_text"
    )
    by_python = [("shelf", "a", "ada")] if is_covered else []
    assert list(told) == [("tag", "a", "ada"), *by_python, ("tag", "b", "ada")]


def test_a_table_that_takes_the_name_of_another_has_no_triggers_yet(capture: Any) -> None:
    """Tools that change a large table make a new one, and let it take its name."""
    capture(Tag)
    TagFactory(name="a")
    like = {
        "sqlite": "CREATE TABLE testapp_tag (id integer PRIMARY KEY, name varchar(50))",
        "mysql": "CREATE TABLE testapp_tag LIKE tag_before",
        "postgresql": "CREATE TABLE testapp_tag (LIKE tag_before INCLUDING ALL)",
    }
    run("ALTER TABLE testapp_tag RENAME TO tag_before")
    run(like[connection.vendor])
    try:
        standing.forget()
        with pytest.raises(TriggersMissingError, match="leaves testapp_tag to triggers"):
            TagFactory(name="b")
        assert compare("default")
        install("default")
        assert not compare("default")
        Tag.objects.create(pk=10**6, name="c")
        run("INSERT INTO tag_before (id, name) VALUES (1000000, 'd')")
        assert list_names() == [[None, "a"], [None, "c"]]
    finally:
        drop("default", list_installed("default"))
        with standing.suspended("default"):
            run("DELETE FROM tag_before")
            run("DROP TABLE testapp_tag")
            run("ALTER TABLE tag_before RENAME TO testapp_tag")


def test_nothing_goes_unheard_while_triggers_are_replaced(wire: Any) -> None:
    if not getattr(connection, "mysql_is_mariadb", False):
        pytest.skip("Others do it in a transaction; MySQL has to drop one to make another.")
    ended, written = threading.Event(), threading.Semaphore(0)

    def write() -> None:
        other = connection.copy()
        try:
            other.connect()
            # Past Django, which would wait for its triggers.
            cursor = other.connection.cursor()
            while not ended.is_set():
                cursor.execute("INSERT INTO testapp_tag (name) VALUES ('a')")
                written.release()
        finally:
            other.close()

    def make(turn: int) -> None:
        options = {"exclude_fields": ["name"] if turn % 2 else []}
        wire((AuditLog, {"models": ["testapp.Tag"], "capture": "triggers", **options}))
        assert install("default")

    make(0)
    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert written.acquire(timeout=30)
        for turn in range(1, 11):
            make(turn)
        assert written.acquire(timeout=30)
    finally:
        ended.set()
        writer.join()
    heard = {int(key) for key in AuditEntry.objects.values_list("object_pk", flat=True)}
    assert heard == set(Tag.objects.values_list("pk", flat=True))
    AuditEntry.objects.all().delete()
