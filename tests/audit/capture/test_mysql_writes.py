"""Whatever writes: what triggers of MariaDB tell is what Python tells, or what it cannot know."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import groupby
from typing import Any

import django
import pytest
from django.core.checks import run_checks
from django.db import (
    DatabaseError,
    IntegrityError,
    OperationalError,
    connection,
    models,
    transaction,
)
from django.db.models import F, Value
from django.db.models.functions import Concat

from django_signal_kit import batch, context
from django_signal_kit.audit.capture import installing, standing
from django_signal_kit.audit.capture.differences import find_differences
from django_signal_kit.audit.capture.wanted import compare, list_installed
from django_signal_kit.audit.models import AuditEntry
from tests.apps.testapp.models import (
    Category,
    Club,
    Line,
    Membership,
    Note,
    Page,
    Person,
    Product,
    Tag,
    Token,
)
from tests.audit.capture.mysql import (
    Install,
    assert_same,
    list_pieces,
    only_on_mysql,
    put,
    tell_both,
)
from tests.audit.capture.mysql import install as install
from tests.factories import (
    CategoryFactory,
    PersonFactory,
    ProductFactory,
    TagFactory,
    UserFactory,
)
from tests.relations.told import entries

pytestmark = [pytest.mark.django_db(transaction=True), only_on_mysql]


@pytest.fixture
def both(install: Install) -> None:
    install(Product, Category, Tag, Line, Token, Page, Note, Person, both=True)


def group(told: Iterable[Any]) -> list[Any]:
    """Entries of links one after the other as Python writes them: one for each owner."""
    grouped = []
    for head, found in groupby(told, lambda entry: (*entry[:4], *entry[5:])):
        parts = [json.loads(entry[4]) for entry in found]
        if not head[0].startswith("m2m"):
            grouped.extend((head, json.dumps(part)) for part in parts)
            continue
        links: dict[str, dict[str, list[Any]]] = {}
        for part in parts:
            for name, change in part.items():
                for verb, keys in change.items():
                    links.setdefault(name, {}).setdefault(verb, []).extend(keys)
        for change in links.values():
            for keys in change.values():
                keys.sort()
        grouped.append((head, json.dumps(links)))
    # Nobody has asked for an order of owners.
    return sorted(grouped, key=repr)


def assert_same_links(actions: set[str]) -> None:
    python, triggers = tell_both()
    assert {entry[0] for entry in triggers} == actions
    as_removed = [("m2m_remove" if e[0] == "m2m_clear" else e[0], *e[1:]) for e in python]
    assert group(triggers) == group(as_removed)


# Rows


def test_saves_and_deletions(both: None) -> None:
    product = ProductFactory(data={"a": 1})
    product.name, product.price = "Tea", "10"
    product.save()
    product.save()
    product.name = "tea"
    product.save(update_fields=["name"])
    Product.objects.get().save()
    product = Product.objects.only("name").get()
    product.name = "Té"
    product.save()
    product.delete()
    assert [entry[0] for entry in assert_same()] == [
        *("create", "update", "update", "update"),
        "delete",
    ]


def test_expressions(both: None) -> None:
    product = ProductFactory(stock=1)
    product.stock = F("stock") + 1
    product.save()
    Product.objects.update(stock=F("stock") * 2, slug=Concat("slug", Value("!")))
    assert len(assert_same()) == 3


def test_cascades(both: None) -> None:
    category = CategoryFactory()
    product = ProductFactory(category=category)
    Line.objects.create(product=product, text="a")
    Line.objects.create(product=product, text="b")
    assert_same()
    category.delete()
    product.delete()
    told = assert_same(in_order=False)
    assert [entry[0] for entry in told] == ["delete"] * 4 + ["update"]


def test_bulk_writes(both: None) -> None:
    products = Product.objects.bulk_create(ProductFactory.build_batch(5))
    assert len(assert_same()) == 5
    for product in products:
        product.name += "!"
    Product.objects.bulk_update(products, ["name", "stock"])
    assert len(assert_same()) == 5
    Product.objects.filter(pk__in=[product.pk for product in products[:3]]).update(stock=5)
    assert len(assert_same()) == 3
    Product.objects.update(stock=5)
    assert len(assert_same()) == 2
    Product.objects.all().delete()
    assert len(assert_same(in_order=False)) == 5


def test_get_or_create_and_update_or_create(both: None) -> None:
    Tag.objects.get_or_create(name="a")
    Tag.objects.get_or_create(name="a")
    Tag.objects.update_or_create(name="a", defaults={"name": "b"})
    Tag.objects.update_or_create(name="c", defaults={"name": "c"})
    assert [entry[0] for entry in assert_same()] == ["create", "update", "create"]


def test_an_upsert_is_told_as_what_it_was(install: Install) -> None:
    install(Token)
    one = Token.objects.create(name="one")
    rows = [Token(id=one.id, name="other"), Token(name="two")]
    Token.objects.bulk_create(
        rows, update_conflicts=True, update_fields=["name"], unique_fields=None
    )
    same = Token(id=one.id, name="other")
    Token.objects.bulk_create([same, Token(name="three")], ignore_conflicts=True)
    assert [(action, changes["name"]) for action, changes in entries()] == [
        ("create", [None, "one"]),
        ("update", ["one", "other"]),
        ("create", [None, "two"]),
        ("create", [None, "three"]),
    ]


def test_stamps_and_generated_columns(both: None) -> None:
    page = Page.objects.create(title="a")
    page.save()
    page.title = "b"
    page.save()
    note = Note.objects.create(text="a")
    note.text = "abc"
    note.save()
    assert [entry[4] for entry in assert_same()][1::2] == [
        '{"title": ["a", "b"]}',
        '{"text": ["a", "abc"], "length": [1, 3]}',
    ]


def test_stamps_that_are_recorded(install: Install) -> None:
    install(Page, both=True, stamps=True)
    page = Page.objects.create(title="a")
    page.save()
    page.title = "b"
    page.save()
    assert [len(json.loads(entry[4])) for entry in assert_same()] == [3, 1, 2]


def test_fields_and_excluded_fields(install: Install) -> None:
    install(Product, both=True, exclude_fields=["name", "data"])
    product = ProductFactory()
    product.name = "b"
    product.save()
    product.stock = 3
    product.save()
    product.delete()
    assert [entry[0] for entry in assert_same()] == ["create", "update", "delete"]


def test_what_rows_are_called(install: Install) -> None:
    receiver = install(Product, Token, object_text={"testapp.Token": "{{{id}}} „{name}“ '\\"})
    token = Token.objects.create(name="a\x00b")
    ProductFactory(name="Té 😀")
    told = AuditEntry.objects.order_by("pk").values_list("object_text", flat=True)
    assert list(told) == [f"{{{token.id}}} „a\ufffdb“ '\\", "Té 😀"]
    assert receiver.capture == "triggers"


def test_a_changed_key(both: None) -> None:
    token = Token.objects.create(name="a")
    other = Token(name="b")
    Token.objects.update(id=other.id)
    Token.objects.filter(id=other.id).update(name="c")
    told = assert_same()
    assert [entry[0] for entry in told] == ["create", "update", "update"]
    assert str(token.id) in told[0][2]


# SQL that nobody hears but triggers


def test_raw_sql_is_heard_with_its_actor(install: Install) -> None:
    install(Tag)
    user = UserFactory(username="ada")
    with context(actor=user, reason="by hand"), connection.cursor() as cursor:
        cursor.execute("INSERT INTO testapp_tag (name) VALUES ('100%%'), (%s)", ["50%"])
        assert cursor.rowcount == 2
        cursor.execute("UPDATE testapp_tag SET name = '200%' WHERE name LIKE '100%'")
        assert cursor.rowcount == 1
        cursor.execute("DELETE FROM testapp_tag WHERE name = %(name)s", {"name": "50%"})
        cursor.execute("REPLACE INTO testapp_tag (id, name) SELECT id, 'x' FROM testapp_tag")
    told = AuditEntry.objects.order_by("pk")
    assert [(e.action, e.changes.get("name")) for e in told] == [
        ("create", [None, "100%"]),
        ("create", [None, "50%"]),
        ("update", ["100%", "200%"]),
        ("delete", ["50%", None]),
        ("delete", ["200%", None]),
        ("create", [None, "x"]),
    ]
    assert {(e.actor_id, e.actor_text, e.context["reason"]) for e in told} == {
        (user.pk, "ada", "by hand")
    }


def test_another_program_is_heard(install: Install) -> None:
    install(Tag)
    tag = TagFactory(name="a")
    other = connection.get_new_connection(connection.get_connection_params())
    other.autocommit(True)
    other.cursor().execute("UPDATE testapp_tag SET name = 'b'")
    other.close()
    entry = AuditEntry.objects.latest("pk")
    assert (entry.object_pk, entry.changes) == (str(tag.pk), {"name": ["a", "b"]})
    assert (entry.actor_id, entry.actor_text, entry.unit) == (None, "", None)
    assert entry.context == {"by": "database"}


# What no trigger hears


def test_truncate_is_not_heard(install: Install) -> None:
    install(Token)
    Token.objects.create()
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE testapp_token")
    assert [action for action, _ in entries()] == ["create"]


@pytest.mark.skipif(django.VERSION < (6, 1), reason="Django 6.1 is the first that has DB_CASCADE.")
@pytest.mark.parametrize("action", ["DB_CASCADE", "DB_SET_NULL"])
def test_what_the_server_does_to_children_nobody_hears(
    action: str, make_model: Any, install: Install
) -> None:
    tag = models.ForeignKey(Tag, getattr(models, action), null=True)
    step = make_model("Step", models.Model, tag=tag)
    install(step, both=True)
    step.objects.create(tag=TagFactory())
    assert len(assert_same()) == 1
    Tag.objects.all().delete()
    assert [row.tag_id for row in step.objects.all()] in ([], [None])
    assert assert_same() == []
    # And so it is said.
    assert [found.id for found in run_checks() if found.obj == step._meta.get_field("tag")] == [
        "signal_kit.W002"
    ]


# Transactions


def test_what_is_rolled_back_leaves_no_entry(both: None) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        TagFactory()
        raise ZeroDivisionError
    with transaction.atomic():
        TagFactory(name="a")
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            TagFactory(name="b")
            raise ZeroDivisionError
        TagFactory(name="c")
    assert [entry[3] for entry in assert_same()] == ["a", "c"]


def test_one_unit_a_transaction(install: Install) -> None:
    install(Tag, Category, both=True)
    TagFactory()
    TagFactory()
    with transaction.atomic():
        TagFactory()
        CategoryFactory()
        with transaction.atomic():
            Tag.objects.update(name="x")
    with batch():
        TagFactory()
        Tag.objects.update(name="y")
    Tag.objects.all().delete()
    by_log: dict[str, list[Any]] = {"python": [], "triggers": []}
    for entry in AuditEntry.objects.order_by("pk"):
        by_log[entry.context["log"]].append(entry)
    counts = [
        [len(list(found)) for _, found in groupby(told, lambda entry: entry.unit)]
        for told in by_log.values()
    ]
    assert counts[0] == counts[1] == [1, 1, 5, 5, 4]
    assert all(entry.unit for told in by_log.values() for entry in told)
    units = [[entry.unit for entry in told] for told in by_log.values()]
    assert units[0] == units[1]


def test_an_entry_that_cannot_be_written_fails_its_write(install: Install) -> None:
    install(Product)
    product = ProductFactory()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE signal_kit_audit_auditentry RENAME TO gone")
        try:
            with pytest.raises(DatabaseError):
                ProductFactory()
            with pytest.raises(DatabaseError):
                Product.objects.bulk_create([Product(name="x")], ignore_conflicts=True)
            with pytest.raises(DatabaseError):
                product.delete()
        finally:
            cursor.execute("ALTER TABLE gone RENAME TO signal_kit_audit_auditentry")
    assert [row.pk for row in Product.objects.all()] == [product.pk]


def test_a_value_too_long_for_an_entry_fails_its_write(install: Install) -> None:
    install(Category, Token)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE testapp_category MODIFY name LONGTEXT")
        try:
            cursor.execute("SELECT @@max_allowed_packet")
            (most,) = cursor.fetchone()
            for how in ("INSERT", "INSERT IGNORE"):
                with pytest.raises(DatabaseError) as caught:
                    cursor.execute(
                        f"{how} INTO testapp_category (name) VALUES (REPEAT('\\n', %s))",
                        [most // 2 + 1],
                    )
                if how == "INSERT":
                    (note,) = caught.value.__cause__.__notes__  # type: ignore[union-attr]
                    assert "must fit into max_allowed_packet" in note
        finally:
            cursor.execute("DELETE FROM testapp_category")
            cursor.execute("ALTER TABLE testapp_category MODIFY name VARCHAR(100) NOT NULL")
    assert entries() == []


def test_a_column_that_is_renamed_behind_the_back_of_triggers_is_explained(
    install: Install, make_model: Any
) -> None:
    model = make_model("Odd", models.Model, name=models.CharField(max_length=9))
    install(model)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE testapp_odd RENAME COLUMN name TO title")
        with pytest.raises(OperationalError, match="in 'NEW'") as caught:
            cursor.execute("INSERT INTO testapp_odd (title) VALUES ('a')")
        assert "run migrate, or auditcapture --install" in caught.value.__cause__.__notes__[0]
        with pytest.raises(OperationalError) as other:
            cursor.execute("INSERT INTO testapp_odd (nonsense) VALUES ('a')")
        assert not hasattr(other.value.__cause__, "__notes__")
        installing.install("default")
        cursor.execute("INSERT INTO testapp_odd (title) VALUES ('a')")


def test_a_write_that_reads_the_log_is_explained(install: Install) -> None:
    install(Tag)
    tag = TagFactory()
    found = Tag.objects.filter(name__in=AuditEntry.objects.values("object_text"))
    with pytest.raises(OperationalError) as caught:
        found.update(name="x")
    assert "Read the log first" in caught.value.__cause__.__notes__[0]  # type: ignore[union-attr]
    assert Tag.objects.get() == tag
    found = Tag.objects.filter(name__in=list(AuditEntry.objects.values_list("object_text")))
    assert found.update(name="x") == 0


def test_a_column_that_a_star_does_not_show_is_recorded(install: Install, make_model: Any) -> None:
    model = make_model(
        "Shy",
        models.Model,
        name=models.CharField(max_length=9),
        size=models.IntegerField(default=1),
    )
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE testapp_shy MODIFY size INT NOT NULL DEFAULT 1 INVISIBLE")
    install(model, both=True)
    row = model.objects.create(name="a")
    row.size = 2
    row.save()
    row.delete()
    assert [json.loads(entry[4])["size"] for entry in assert_same()] == [
        [None, 1],
        [1, 2],
        [2, None],
    ]


def test_a_refused_write_leaves_no_entry_and_is_djangos_error(install: Install) -> None:
    install(Token, Product)
    token = Token.objects.create(name="a")
    with pytest.raises(IntegrityError), context(reason="again"):
        Token.objects.create(id=token.id, name="b")
    with pytest.raises(IntegrityError), transaction.atomic():
        Product.objects.create(name="a", category_id=10**6)
    with pytest.raises(IntegrityError), connection.cursor() as cursor:
        cursor.execute("INSERT INTO testapp_product (name) VALUES (NULL)")
    Token.objects.create(name="c")
    assert [changes["name"] for _, changes in entries()] == [[None, "a"], [None, "c"]]


# Links


def test_links_from_both_sides(both: None) -> None:
    product, other = ProductFactory(name="p"), ProductFactory(name="q")
    tags = TagFactory.create_batch(3)
    assert_same()
    product.tags.add(*tags)
    assert_same_links({"m2m_add"})
    product.tags.add(tags[0])
    product.tags.remove(tags[1])
    assert_same_links({"m2m_remove"})
    product.tags.set([tags[1], tags[2]])
    assert_same_links({"m2m_add", "m2m_remove"})
    tags[0].products.add(product, other)
    assert_same_links({"m2m_add"})
    tags[0].products.set([other])
    assert_same_links({"m2m_remove"})
    product.tags.clear()
    assert_same_links({"m2m_remove"})
    tags[0].products.clear()
    assert_same_links({"m2m_remove"})


def test_links_of_persons_to_persons(both: None) -> None:
    one, two, three = PersonFactory.create_batch(3)
    assert_same()
    one.friends.add(two, three)
    assert_same_links({"m2m_add"})
    two.friends.remove(one)
    assert_same_links({"m2m_remove"})
    one.follows.add(two)
    assert_same_links({"m2m_add"})
    three.followers.set([one, two])
    assert_same_links({"m2m_add"})


def test_links_end_with_their_rows(both: None) -> None:
    tags = TagFactory.create_batch(2)
    product, other = ProductFactory(), ProductFactory()
    product.tags.add(*tags)
    other.tags.add(tags[0])
    tell_both()
    owner = str(product.pk)
    product.delete()
    python, triggers = tell_both()
    # Python does not tell of the links that end with the row that they are of.
    assert [entry[0] for entry in triggers] == ["m2m_remove", "m2m_remove", "delete"]
    assert {entry[2] for entry in triggers} == {owner}
    assert triggers[2:] == python
    tags[0].delete()
    assert [entry[0] for entry in assert_same()] == ["m2m_remove", "delete"]


def test_links_of_a_through_model_that_is_not_covered(install: Install) -> None:
    install(Club, both=True)
    club, people = Club.objects.create(name="c"), PersonFactory.create_batch(2)
    assert_same()
    club.members.add(people[0])
    membership = Membership.objects.get()
    assert_same_links({"m2m_add"})
    membership.role = "chair"
    membership.save()
    assert tell_both()[1] == []
    Membership.objects.update(person=people[1])
    told = [(entry[0], json.loads(entry[4])) for entry in tell_both()[1]]
    assert told == [
        ("m2m_remove", {"members": {"removed": [people[0].pk]}}),
        ("m2m_add", {"members": {"added": [people[1].pk]}}),
    ]
    Membership.objects.all().delete()
    assert [entry[0] for entry in tell_both()[1]] == ["m2m_remove"]


def test_links_that_are_rows_of_a_covered_model_are_told_as_these(install: Install) -> None:
    install(Club, Membership, both=True)
    club, person = Club.objects.create(name="c"), PersonFactory()
    club.members.add(person)
    club.members.clear()
    assert [entry[0] for entry in assert_same()] == ["create", "create", "delete"]


def test_a_link_locks_its_owner_no_more_than_django_does(install: Install) -> None:
    install(Product)
    product, tag = ProductFactory(), TagFactory()
    product.tags.add(tag)
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("SET innodb_lock_wait_timeout = 1")
            with transaction.atomic():
                product.tags.remove(tag)
                cursor.execute("UPDATE testapp_product SET stock = 9")
    finally:
        other.close()
    assert Product.objects.get().stock == 9


# However the session is set


@pytest.mark.parametrize(
    "mode",
    [
        *("", "ANSI", "ANSI_QUOTES,NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES", "TRADITIONAL"),
        *("ORACLE", "PAD_CHAR_TO_FULL_LENGTH"),
    ],
)
def test_sql_modes(mode: str, install: Install) -> None:
    install(Product, both=True)
    text = "a'b\"c\\d %s\n😀"
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@sql_mode")
        (before,) = cursor.fetchone()
        for again in (False, True):
            cursor.execute("SET sql_mode = %s", [mode])
            try:
                if again:
                    installing.drop("default", list_installed("default"))
                    installing.install("default")
                with context(reason=text):
                    product = ProductFactory(name=text, data={"a": [text]})
                    product.name += "!"
                    product.save()
                    product.tags.add(TagFactory())
                    product.delete()
                python, triggers = tell_both()
            finally:
                cursor.execute("SET sql_mode = %s", [before])
            assert [entry for entry in triggers if not entry[0].startswith("m2m")] == [
                entry for entry in python if not entry[0].startswith("m2m")
            ]
            assert triggers[0][7] == {"reason": text}


def test_triggers_made_where_an_empty_text_is_null_tell_all_the_same(install: Install) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@sql_mode")
        (before,) = cursor.fetchone()
        cursor.execute("SET sql_mode = 'EMPTY_STRING_IS_NULL'")
        try:
            install(Tag)
            cursor.execute("SELECT @@sql_mode")
            assert cursor.fetchone() == ("EMPTY_STRING_IS_NULL",)
        finally:
            cursor.execute("SET sql_mode = %s", [before])
    TagFactory(name="hot")
    Tag.objects.update(name="cold")
    assert [entry[0] for entry in tell_both()[1]] == ["create", "update"]


def test_triggers_that_somebody_has_made_in_another_mode_are_made_anew(install: Install) -> None:
    pieces = list_pieces(install(Tag), Tag)
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@sql_mode")
        (before,) = cursor.fetchone()
        cursor.execute("SET sql_mode = 'EMPTY_STRING_IS_NULL'")
        try:
            put(pieces[:1])
        finally:
            cursor.execute("SET sql_mode = %s", [before])
    assert compare("default").changed == pieces[:1]
    assert [found.id for found in find_differences(["default"])] == ["signal_kit.W031"]
    # They stand, if not as they should.
    standing.forget()
    standing.check(connection)
    installing.install("default")
    assert not compare("default")
    TagFactory(name="hot")
    assert [entry[0] for entry in tell_both()[1]] == ["create"]


@pytest.mark.parametrize("charset", ["latin1", "utf8mb3", "utf8mb4"])
def test_character_sets(charset: str, install: Install) -> None:
    install(Tag)
    with connection.cursor() as cursor:
        cursor.execute(f"SET NAMES {charset}")
        try:
            with context(actor="Zoë 😀", reason="☃"):
                cursor.execute(
                    "INSERT INTO testapp_tag (name) VALUES (_utf8mb4 x'5a6fc3ab20f09f9880')"
                )
        finally:
            cursor.execute("SET NAMES utf8mb4")
    entry = AuditEntry.objects.get()
    assert (entry.object_text, entry.actor_text) == ("Zoë 😀", "Zoë 😀")
    assert (entry.changes["name"], entry.context["reason"]) == ([None, "Zoë 😀"], "☃")


def test_names_that_have_to_be_quoted(make_model: Any, install: Install) -> None:
    model = make_model(
        "Odd",
        models.Model,
        größe=models.IntegerField(default=1, db_column="größe '\\"),
        order=models.IntegerField(default=2, db_column="select"),
        meta={"db_table": "odd 'table' ü"},
    )
    install(model, both=True)
    row = model.objects.create()
    row.größe, row.order = 3, 4
    row.save()
    row.delete()
    assert len(assert_same()) == 3
