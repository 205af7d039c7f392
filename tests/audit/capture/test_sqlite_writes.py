"""Whoever writes to a database in SQLite, and however: the same entries as by Python, or those
that Python misses."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import django
import pytest
from django.core import serializers
from django.db import IntegrityError, connection, models, transaction
from django.db.models import F

from django_signal_kit import batch, context, muted, only
from django_signal_kit.audit.capture.pieces import PREFIX
from django_signal_kit.audit.capture.specifying import specify
from django_signal_kit.audit.capture.sqlite import catalog, triggers
from django_signal_kit.audit.capture.sqlite.hindrances import find_hindrances
from django_signal_kit.audit.capture.wanted import list_wanted
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.checks import check_signal_kit
from django_signal_kit.wiring.registry import registry
from tests.apps.testapp.models import Category, Line, Page, Person, Product, Tag, Token
from tests.audit.capture.pairs import PYTHON, TRIGGERS, forget, installed, list_entries, tell
from tests.audit.replaying import replay
from tests.factories import CategoryFactory, ProductFactory, TagFactory, UserFactory

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "sqlite", reason="triggers of SQLite"),
]

MODELS = [Category, Line, Page, Person, Product, Tag, Token]


@pytest.fixture(autouse=True)
def both(wire: Any) -> Iterator[None]:
    wire(*list_entries(MODELS))
    with installed():
        yield


def compare() -> list[Any]:
    """``(action, changes)`` of what both have told, which is the same. Rows of one statement come
    in any order."""
    told = tell(TRIGGERS)
    assert sorted(told, key=repr) == sorted(tell(PYTHON), key=repr)
    forget()
    return [(entry[0], entry[4]) for entry in told]


def hear() -> list[Any]:
    """What triggers alone have told, since the last time."""
    told = [
        (entry.action, entry.object_pk, entry.context)
        for entry in AuditEntry.objects.order_by("pk")
    ]
    forget()
    return told


def run(sql: str, *params: Any) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall()


# The writes that Python hears


def test_saves_are_told_as_python_tells_them() -> None:
    product = Product.objects.create(name="Tea", data={"a": 1.0}, api_token="x")
    product.save()
    product.name, product.api_token = "tea", "y"
    product.save()
    product.stock = F("stock") + 1
    product.save(update_fields=["stock"])
    Product.objects.only("name").get().save()
    product.category = CategoryFactory(name="Drinks")
    product.save()
    product.delete()
    assert [action for action, _ in compare()] == [
        *("create", "update", "update", "create", "update", "delete")
    ]


def test_bulk_writes_are_told_as_python_tells_them() -> None:
    products = Product.objects.bulk_create(Product(name=f"{n}", stock=n) for n in range(5))
    for product in products:
        product.name, product.price = f"new {product.name}", "2.5"
    Product.objects.bulk_update(products, ["name", "price"])
    Product.objects.filter(stock__gt=1).update(stock=F("stock") * 2, name="same")
    Product.objects.update(name="same")
    Product.objects.filter(stock__gt=2).delete()
    told = compare()
    # Python cannot know.
    Product.objects.bulk_create([Product(pk=products[0].pk, name="no")], ignore_conflicts=True)
    assert tell(TRIGGERS) == []
    assert [action for action, _ in told].count("update") == 5 + 3 + 2


def test_cascades_are_told_as_python_tells_them() -> None:
    category = CategoryFactory()
    product = ProductFactory(category=category)
    product.lines.create(text="a")
    forget()
    category.delete()
    product.delete()
    assert [action for action, _ in compare()] == ["update", "delete", "delete", "delete"]


def test_stamps_are_told_as_python_tells_them() -> None:
    page = Page.objects.create(title="a")
    page.save()
    page.title = "b"
    page.save()
    assert [list(changes) for _, changes in compare()] == [
        ["id", "title", "changed_at"],
        ["title"],
    ]


def test_links_are_told_as_python_tells_them_but_one_by_one() -> None:
    product, other = ProductFactory(name="Tea"), ProductFactory()
    tags = TagFactory.create_batch(3)
    forget()
    for write in (
        lambda: product.tags.add(tags[0]),
        lambda: tags[1].products.add(product),
        lambda: product.tags.add(tags[0], tags[1]),
        lambda: product.tags.set([tags[1]]),
        lambda: tags[1].products.set([other]),
        lambda: other.tags.remove(tags[1], tags[2]),
    ):
        write()
    assert len(compare()) == 6
    product.tags.add(*tags)
    product.tags.clear()
    told = [(entry[0], entry[4]["tags"]) for entry in tell(TRIGGERS)]
    # Django keeps keys in a set.
    assert sorted(told, key=repr) == [
        (action, {verb: [tag.pk]})
        for action, verb in (("m2m_add", "added"), ("m2m_remove", "removed"))
        for tag in tags
    ]
    assert {entry[3] for entry in tell(TRIGGERS)} == {"Tea"}


def test_links_to_rows_of_the_same_model_are_told_as_python_tells_them() -> None:
    ada, bob = Person.objects.create(name="Ada"), Person.objects.create(name="Bob")
    ada.follows.add(bob)
    ada.follows.remove(bob)
    compare()


def test_a_link_that_is_moved_ends_in_one_place_and_begins_in_another() -> None:
    product, other = ProductFactory(), ProductFactory()
    tag = TagFactory()
    product.tags.add(tag)
    forget()
    run("UPDATE testapp_product_tags SET product_id = %s", other.pk)
    run("UPDATE testapp_product_tags SET product_id = %s", other.pk)
    assert [(entry[0], entry[2], entry[4]) for entry in tell(TRIGGERS)] == [
        ("m2m_remove", str(product.pk), {"tags": {"removed": [tag.pk]}}),
        ("m2m_add", str(other.pk), {"tags": {"added": [tag.pk]}}),
    ]


def test_a_changed_key_is_told_as_python_tells_it() -> None:
    token = Token.objects.create(name="a")
    new = uuid.uuid4()
    Token.objects.update(id=new)
    assert compare()[1] == ("update", {"id": [str(token.pk), str(new)]})


def test_what_is_rolled_back_is_not_told() -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        CategoryFactory()
        raise ZeroDivisionError
    with transaction.atomic():
        kept = CategoryFactory()
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            CategoryFactory()
            Category.objects.update(name="x")
            raise ZeroDivisionError
        run("SAVEPOINT s")
        run("UPDATE testapp_category SET name = 'y'")
        run("ROLLBACK TO s")
    with pytest.raises(IntegrityError):
        Category.objects.bulk_create([Category(name="a"), Category(pk=kept.pk, name="b")])
    assert [action for action, _ in compare()] == ["create"]


def test_receivers_that_are_muted_tell_nothing() -> None:
    with muted("ByTriggers"):
        tag = TagFactory()
    with only("ByTriggers"):
        tag.name = "only"
        tag.save()
    with only("ByPython"):
        tag.delete()
    assert [entry[0] for entry in tell(TRIGGERS)] == ["update"]
    assert [entry[0] for entry in tell(PYTHON)] == ["create", "delete"]
    # Nor as if another program had written.
    assert len(hear()) == 3


def test_who_writes_and_why_is_told_as_python_tells_it() -> None:
    user = UserFactory(username="ñandú")
    with context(actor=user, reason='says "it\'s" 100%'):
        TagFactory()
        with batch():
            TagFactory()
            Tag.objects.update(name="b")
        with context(actor="the cron", password="hidden"):
            Tag.objects.all().delete()
    compare()


# The writes that Python does not hear


def test_raw_sql_is_told_with_its_actor() -> None:
    user = UserFactory()
    with context(actor=user, reason="by hand"), transaction.atomic():
        run("INSERT INTO testapp_tag (name) VALUES (%s), (%s)", "a", "b")
        run("UPDATE testapp_tag SET name = name || '!' RETURNING id")
        run(
            "WITH old AS (SELECT id FROM testapp_tag) DELETE FROM testapp_tag "
            "WHERE id IN (SELECT id FROM old)"
        )
    told = tell(TRIGGERS)
    assert [entry[0] for entry in told] == ["create"] * 2 + ["update"] * 2 + ["delete"] * 2
    assert {entry[5] for entry in told} == {user.pk}
    assert [entry[7] for entry in told] == [{"reason": "by hand"}] * 6
    assert len({entry[8] for entry in told}) == 1


def test_an_upsert_is_told_as_what_it_was() -> None:
    token = Token.objects.create(name="a")
    forget()
    Token.objects.bulk_create(
        [Token(id=token.pk, name="b"), Token(name="c")],
        update_conflicts=True,
        unique_fields=["id"],
        update_fields=["name"],
    )
    assert [(entry[0], entry[4]["name"]) for entry in tell(TRIGGERS)] == [
        ("update", ["a", "b"]),
        ("create", [None, "c"]),
    ]


def test_a_deletion_of_all_rows_at_once_is_told() -> None:
    TagFactory.create_batch(3)
    forget()
    run("DELETE FROM testapp_tag")
    assert [entry[0] for entry in tell(TRIGGERS)] == ["delete"] * 3
    TagFactory()
    Tag.objects.all()._raw_delete("default")
    assert [entry[0] for entry in tell(TRIGGERS)][-1:] == ["delete"]


def test_a_row_that_is_replaced_is_deleted_and_made() -> None:
    tag = TagFactory(name="a")
    forget()
    run("INSERT OR REPLACE INTO testapp_tag (id, name) VALUES (%s, 'b')", tag.pk)
    assert [(entry[0], entry[4]["name"]) for entry in tell(TRIGGERS)] == [
        ("delete", ["a", None]),
        ("create", [None, "b"]),
    ]
    tag.delete()
    assert tell(TRIGGERS)[-1][4]["name"] == ["b", None]


@pytest.mark.skipif(django.VERSION < (6, 1), reason="Django 6.1 has them")
def test_cascades_of_the_database_are_told(make_model: Any, wire: Any) -> None:
    parent = make_model("Parent", models.Model)
    child = make_model("Child", models.Model, parent=models.ForeignKey(parent, models.DB_CASCADE))
    friend = make_model(
        "Friend", models.Model, parent=models.ForeignKey(parent, models.DB_SET_NULL, null=True)
    )
    wire(*list_entries([parent, child, friend]))
    with installed():
        row = parent.objects.create()
        child.objects.create(parent=row)
        friend.objects.create(parent=row)
        key = row.pk
        forget()
        row.delete()
        told = {(entry[0], *entry[4].get("parent", ())) for entry in tell(TRIGGERS)}
        assert told == {("delete",), ("delete", key, None), ("update", key, None)}
    # No warning says of triggers that these were not told to them.
    said = [found.msg for found in check_signal_kit() if found.id == "signal_kit.W002"]
    assert [message.partition(" are not told to ")[2][:9] for message in said] == ["ByPython:"] * 2


def test_fixtures_are_told() -> None:
    data = serializers.serialize("json", [ProductFactory()])
    Product.objects.all().delete()
    forget()
    for found in serializers.deserialize("json", data):
        found.save()
    assert [entry[0] for entry in tell(TRIGGERS)] == ["create"]


def get_file() -> str:
    return str(connection.settings_dict["NAME"])


def test_another_program_is_heard_and_nobody_is_named() -> None:
    with context(actor=UserFactory()):
        CategoryFactory()
    forget()
    with closing(sqlite3.connect(get_file(), timeout=30)) as other, other:
        other.execute("INSERT INTO testapp_tag (name) VALUES ('a')")
        other.execute("UPDATE testapp_tag SET name = 'b'")
    entries = list(AuditEntry.objects.order_by("pk"))
    assert [(entry.action, entry.changes["name"]) for entry in entries] == [
        ("create", [None, "a"]),
        ("update", ["a", "b"]),
    ]
    for entry in entries:
        assert (entry.actor, entry.actor_text, entry.unit) == (None, "", None)
        assert entry.context == {"by": "database"}


@pytest.mark.skipif(shutil.which("sqlite3") is None, reason="the shell is not installed")
def test_the_shell_is_heard() -> None:
    subprocess.run(
        [
            "sqlite3",
            "-cmd",
            ".timeout 30000",
            get_file(),
            "INSERT INTO testapp_tag (name) VALUES ('a');",
        ],
        check=True,
        timeout=60,
    )
    assert [(action, said) for action, _, said in hear()] == [("create", {"by": "database"})]


# Nothing is lost


def test_a_write_whose_entry_cannot_be_written_fails() -> None:
    tag = TagFactory()
    forget()
    run(
        "CREATE TRIGGER refuse BEFORE INSERT ON signal_kit_audit_auditentry "
        "BEGIN SELECT raise(ABORT, 'full'); END"
    )
    try:
        for sql in (
            "INSERT INTO testapp_tag (name) VALUES ('b')",
            "INSERT OR IGNORE INTO testapp_tag (name) VALUES ('b')",
            "UPDATE testapp_tag SET name = 'b'",
            "DELETE FROM testapp_tag",
        ):
            with pytest.raises(IntegrityError, match="full"):
                run(sql)
    finally:
        run("DROP TRIGGER refuse")
    assert list(Tag.objects.values_list("pk", "name")) == [(tag.pk, tag.name)]
    assert hear() == []


def test_rows_are_what_the_log_says_after_all_kinds_of_writes(wire: Any) -> None:
    wire(list_entries(MODELS)[1])
    product = ProductFactory(name="a", category=CategoryFactory())
    product.tags.add(TagFactory())
    run("INSERT INTO testapp_category (name) SELECT name || '2' FROM testapp_category")
    run("REPLACE INTO testapp_tag (id, name) SELECT id, 'again' FROM testapp_tag")
    run("UPDATE testapp_product SET price = price + 1, data = '[1]', category_id = NULL")
    Category.objects.first().delete()
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        Product.objects.all().delete()
        raise ZeroDivisionError
    replay(Product, Category, Tag)


# In the catalogue


def test_what_is_installed_is_found_with_what_it_does() -> None:
    found = {each.name: each for each in catalog.list_installed(connection)}
    assert all(name.startswith(PREFIX) for name in found)
    for _, piece in list_wanted("default"):
        installed = found.pop(piece.name)
        assert (installed.table, installed.checksum) == (piece.table, piece.checksum)
        run(installed.drop)
        run(installed.drop)
    assert found == {}
    assert catalog.list_installed(connection) == []


def test_the_triggers_of_a_receiver_are_made_for_each_event() -> None:
    pieces = triggers.write(specify(registry.receivers[1], Product, "default"))
    assert [piece.create.split(" AFTER ")[1].split()[0] for piece in pieces] == [
        *("INSERT", "UPDATE", "DELETE") * 2
    ]
    assert len({piece.name for piece in pieces}) == 6


def test_names_with_quotes_are_quoted(make_model: Any, wire: Any) -> None:
    column = models.CharField(max_length=9, db_column="the 'name'")
    model = make_model(
        "Holder",
        models.Model,
        value=column,
        meta={"db_table": "the 'table'"},
        __str__=lambda self: f"it's {self.value}",
    )
    wire(*list_entries([model]))
    with installed():
        row = model.objects.create(value="a")
        row.value = "b"
        row.save()
        row.delete()
        assert [action for action, _ in compare()] == ["create", "update", "delete"]


@pytest.mark.parametrize("kind", ["STRICT", "WITHOUT ROWID", "STRICT, WITHOUT ROWID"])
def test_tables_of_each_kind_are_told(kind: str, make_model: Any, wire: Any) -> None:
    model = make_model(
        "Holder",
        models.Model,
        code=models.CharField(max_length=9, primary_key=True),
        number=models.IntegerField(null=True),
        content=models.BinaryField(default=b"x"),
    )
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE testapp_holder")
        cursor.execute(
            "CREATE TABLE testapp_holder (code TEXT NOT NULL PRIMARY KEY, number INTEGER, "
            f"content BLOB NOT NULL) {kind}"
        )
    wire(*list_entries([model], object_text={"testapp.Holder": "{code}: {number}"}))
    with installed():
        row = model.objects.create(code="a")
        model.objects.update(number=5, content=b"abc")
        row.delete()
        run("INSERT INTO testapp_holder VALUES ('b', 1, x'00')")
        run("INSERT OR REPLACE INTO testapp_holder VALUES ('b', 2, x'00')")
        run("UPDATE testapp_holder SET code = 'c'")
    assert [(entry[0], entry[2], entry[3], entry[4]) for entry in tell(TRIGGERS)] == [
        ("create", "a", "a: None", {"code": [None, "a"], "content": [None, "eA=="]}),
        ("update", "a", "a: 5", {"number": [None, 5], "content": ["eA==", "YWJj"]}),
        (
            *("delete", "a", "a: 5"),
            {"code": ["a", None], "number": [5, None], "content": ["YWJj", None]},
        ),
        (
            *("create", "b", "b: 1"),
            {"code": [None, "b"], "number": [None, 1], "content": [None, "AA=="]},
        ),
        (
            *("delete", "b", "b: 1"),
            {"code": ["b", None], "number": [1, None], "content": ["AA==", None]},
        ),
        (
            *("create", "b", "b: 2"),
            {"code": [None, "b"], "number": [None, 2], "content": [None, "AA=="]},
        ),
        ("update", "c", "c: 2", {"code": ["b", "c"]}),
    ]


# What a table that is made anew does to triggers, without the life cycle


def remake(model: Any, **options: Any) -> None:
    field = models.IntegerField(default=0)
    field.set_attributes_from_name("more")
    with connection.schema_editor() as editor:
        field.model = model
        editor._remake_table(model, create_field=field)


def test_a_table_that_is_made_anew_has_no_triggers_any_more(make_model: Any, wire: Any) -> None:
    model = make_model("Holder", models.Model, value=models.IntegerField())
    wire(*list_entries([model]))
    with installed():
        assert [each.table for each in catalog.list_installed(connection)] == [
            "testapp_holder"
        ] * 3
        with muted("ByTriggers"):
            remake(model)
        assert catalog.list_installed(connection) == []


def test_a_trigger_that_names_a_table_keeps_it_from_being_made_anew(
    make_model: Any, wire: Any
) -> None:
    model = make_model("Holder", models.Model, tags=models.ManyToManyField(Tag))
    wire(*list_entries([model]))
    with installed():
        # That of the links reads the row that owns them.
        with pytest.raises(django.db.OperationalError, match="error in trigger signal_kit_"):
            remake(model)
        assert len(catalog.list_installed(connection)) == 6
        model.objects.create()
        assert [action for action, _ in compare()] == ["create"]


# What stands in the way


def test_a_schema_that_is_not_trusted_makes_writes_fail_and_is_refused() -> None:
    assert list(find_hindrances(connection)) == []
    run("PRAGMA trusted_schema = OFF")
    try:
        with pytest.raises(django.db.OperationalError, match="unsafe use of char"):
            TagFactory()
        (found,) = find_hindrances(connection)
    finally:
        run("PRAGMA trusted_schema = ON")
    assert (found.id, found.is_serious()) == ("signal_kit.E072", True)
    assert "trusted_schema=OFF" in found.msg


def test_a_trigger_of_the_project_that_would_set_off_itself_is_warned_of() -> None:
    body = "BEGIN UPDATE testapp_tag SET name = NEW.name || '!' WHERE id = NEW.id; END"
    run(f"CREATE TRIGGER shout AFTER UPDATE ON testapp_tag {body}")
    run(f"CREATE TRIGGER fine AFTER UPDATE ON testapp_tag WHEN NEW.name = 'a' {body}")
    run("CREATE TRIGGER other AFTER UPDATE ON testapp_tag BEGIN SELECT 1; END")
    try:
        (found,) = find_hindrances(connection)
        assert (found.id, "shout." in found.msg) == ("signal_kit.W029", True)
        tag = TagFactory()
        tag.name = "b"
        with pytest.raises(django.db.OperationalError, match="too many levels"):
            tag.save()
    finally:
        for name in ("shout", "fine", "other"):
            run(f"DROP TRIGGER {name}")
