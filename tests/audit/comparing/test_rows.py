"""Each row whose change nobody recorded is found, and no other."""

from __future__ import annotations

import datetime
import threading
from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import connection, connections, transaction
from django.db.models import F
from django.utils import timezone

from django_signal_kit import batch, muted
from django_signal_kit.audit.comparing import look as looks
from django_signal_kit.audit.comparing.walking import get_walks
from django_signal_kit.audit.keys import to_key
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.audit.upkeep.backfill import get_backfills
from django_signal_kit.receivers import AuditLog, LastModified
from tests.apps.rarities.models import LongKey, OrderLine
from tests.apps.testapp.models import (
    Club,
    Membership,
    Note,
    Page,
    Person,
    Place,
    Product,
    ProductProxy,
    Restaurant,
    Tag,
    Token,
)
from tests.audit.comparing.asking import change, delete, find, run_sql, tell
from tests.factories import (
    CategoryFactory,
    PersonFactory,
    ProductFactory,
    RestaurantFactory,
    TagFactory,
)

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "other"]),
    pytest.mark.usefixtures("fresh_content_types"),
]


@pytest.fixture
def cover(wire: Any) -> Any:
    def connect(*labels: str, **options: Any) -> Any:
        return wire((AuditLog, {"models": list(labels), **options}))

    return connect


def backfill() -> None:
    for each in get_backfills():
        for _ in each.run():
            pass


# What is found


def test_what_the_log_tells_is_what_the_rows_are(cover: Any) -> None:
    cover("testapp.*", "rarities.*")
    product = ProductFactory(category=CategoryFactory(), data={"a": [1.5, {"b": None}]})
    product.tags.add(TagFactory(), TagFactory())
    product.tags.remove(product.tags.first())
    Product.objects.update(stock=F("stock") + 2)
    Product.objects.bulk_create(ProductFactory.build_batch(3))
    restaurant = RestaurantFactory()
    restaurant.stars = 3
    restaurant.save()
    OrderLine.objects.create(pk=(1, 2), text="a")
    LongKey.objects.create(key="k" * 300)
    Token.objects.create()
    Note.objects.create(text="four")
    gone = TagFactory()
    gone.delete()
    assert tell(is_complete=True) == []


def test_a_value_that_was_changed_by_sql(cover: Any) -> None:
    cover("testapp.Product")
    ProductFactory()
    product = ProductFactory(stock=3, price="9.50")
    change(product, "stock", 7)
    change(product, "price", "1.20")
    assert tell() == [("changed", str(product.pk), {"price": ("9.50", "1.20"), "stock": (3, 7)})]
    [finding] = find()
    entry = AuditEntry.objects.get(object_pk=str(product.pk))
    assert (finding.entry, finding.at, finding.label) == (entry.pk, entry.at, "testapp.Product")
    assert {each.entry for each in finding.differences} == {entry.pk}


def test_an_update_after_the_change_by_sql_tells_of_it(cover: Any) -> None:
    cover("testapp.Product")
    product = ProductFactory(stock=3)
    change(product, "stock", 7)
    Product.objects.filter(pk=product.pk).update(name="new")
    assert tell() == [("changed", str(product.pk), {"stock": (3, 7)})]
    Product.objects.filter(pk=product.pk).update(stock=8)
    assert tell() == []


def test_a_row_that_was_deleted_past_the_receivers(cover: Any) -> None:
    cover("testapp.Tag")
    tags = TagFactory.create_batch(3)
    delete(tags[1])
    tags[2].delete()
    assert tell() == [("gone", str(tags[1].pk), {})]
    [finding] = find()
    assert finding.entry == AuditEntry.objects.get(object_pk=finding.key).pk


def test_a_row_that_was_deleted_and_has_come_back_past_the_receivers(cover: Any) -> None:
    cover("testapp.Tag")
    tag = TagFactory(name="a")
    key = tag.pk
    tag.delete()
    with muted("AuditLog"):
        Tag.objects.create(pk=key, name="a")
    assert tell() == [("returned", str(key), {})]
    # An update of it does not tell how it came.
    Tag.objects.update(name="b")
    assert tell() == [("returned", str(key), {})]


def test_a_row_that_was_inserted_by_sql_after_a_backfill(cover: Any) -> None:
    old = TagFactory()
    cover("testapp.Tag")
    assert tell() == []
    backfill()
    run_sql("INSERT INTO testapp_tag (id, name) VALUES (%s, %s)", old.pk + 70, "new")
    assert tell() == [("unrecorded", str(old.pk + 70), {})]


def test_rows_of_whose_creation_nothing_can_be_known_are_counted(cover: Any) -> None:
    TagFactory()
    cover("testapp.Tag")
    TagFactory()
    [walk] = get_walks()
    assert [found for _, found in walk.run() if found] == []
    assert (walk.comparison.compared, walk.comparison.unknown) == (2, 1)
    assert [kind for kind, _, _ in tell(is_complete=True)] == ["unrecorded"]


@pytest.mark.parametrize(
    ("retention", "kinds"),
    [({}, ["unrecorded"]), ({"testapp.*": "30d"}, []), ({"rarities.*": "30d"}, ["unrecorded"])],
)
def test_no_row_is_missed_in_a_log_that_is_pruned(
    wire: Any, retention: Any, kinds: list[str]
) -> None:
    pruned, _ = TagFactory.create_batch(2)
    wire((AuditLog, {"models": ["testapp.Tag"]}), RETENTION=retention)
    backfill()
    AuditEntry.objects.filter(object_pk=str(pruned.pk)).delete()
    assert [kind for kind, _, _ in tell()] == kinds


def test_what_is_left_of_a_pruned_log_is_compared(cover: Any) -> None:
    cover("testapp.Product")
    product, gone = ProductFactory(stock=1), ProductFactory()
    for row in (product, gone):
        row.stock = 2
        row.save()
    AuditEntry.objects.filter(action="create").delete()
    change(product, "name", "not told of")
    assert tell() == []
    change(product, "stock", 3)
    delete(gone)
    assert tell() == [
        ("changed", str(product.pk), {"stock": (2, 3)}),
        ("gone", str(gone.pk), {}),
    ]


def test_an_entry_that_was_altered_by_hand(cover: Any) -> None:
    cover("testapp.Tag")
    tag = TagFactory(name="a")
    AuditEntry.objects.update(changes={"id": [None, tag.pk], "name": [None, "b"]})
    assert tell() == [("changed", str(tag.pk), {"name": ("b", "a")})]


def test_an_entry_that_was_removed_by_hand(cover: Any) -> None:
    cover("testapp.Tag")
    tag = TagFactory(name="a")
    tag.name = "b"
    tag.save()
    AuditEntry.objects.filter(action="update").delete()
    assert tell() == [("changed", str(tag.pk), {"name": ("a", "b")})]


# Secrets


@pytest.mark.parametrize("hash_secrets", [False, True])
def test_secrets_are_neither_compared_nor_shown(cover: Any, hash_secrets: bool) -> None:
    cover("testapp.Product", hash_secrets=hash_secrets)
    product = ProductFactory(api_token="s3cret", data={"password": "s3cret", "a": 1})
    change(product, "api_token", "0ther-s3cret")
    change(product, "data", '{"password": "0ther-s3cret", "a": 2}')
    assert tell() == []


def test_what_has_become_a_secret_is_found_and_not_shown(wire: Any) -> None:
    wire((AuditLog, {"models": ["testapp.Product"]}))
    product = ProductFactory(name="s3cret", data={"pin": "s3cret", "a": 1})
    change(product, "name", "0ther-s3cret")
    change(product, "data", '{"pin": "0ther-s3cret", "a": 1}')
    wire((AuditLog, {"models": ["testapp.Product"], "redact": ["name", "pin"]}))
    [finding] = find()
    assert {each.field for each in finding.differences} == {"name", "data"}
    assert "s3cret" not in "\n".join(finding.get_lines()) + repr(finding)


# What the log cannot know


@pytest.mark.parametrize("options", [{"fields": ["name"]}, {"exclude_fields": ["stock"]}])
def test_fields_that_are_not_recorded_are_not_compared(cover: Any, options: Any) -> None:
    cover("testapp.Product", **options)
    product = ProductFactory()
    change(product, "stock", 4)
    assert tell(is_complete=True) == []
    change(product, "name", "new")
    assert [sorted(fields) for _, _, fields in tell()] == [["name"]]


def test_a_field_that_is_recorded_no_more_is_not_compared(cover: Any) -> None:
    cover("testapp.Product")
    product = ProductFactory()
    cover("testapp.Product", exclude_fields=["stock"])
    product.stock = 4
    product.save()
    assert tell() == []


def test_stamps_are_compared_where_they_are_recorded(wire: Any) -> None:
    wire((AuditLog, {"models": ["testapp.Page"]}))
    page = Page.objects.create(title="a")
    page.title = "b"
    page.save()
    page.save()
    assert tell() == []
    # What was written before tells nothing of them.
    wire((AuditLog, {"models": ["testapp.Page"], "stamps": True}))
    assert tell() == []
    page.save()
    assert tell() == []
    change(page, "changed_at", datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
    assert [sorted(fields) for _, _, fields in tell()] == [["changed_at"]]


def test_stamps_of_a_neighbour(wire: Any) -> None:
    wire(
        (LastModified, {"models": ["testapp.Product"], "created_field": "created_at"}),
        (AuditLog, {"models": ["testapp.Product"]}),
    )
    product = ProductFactory()
    product.stock = 3
    product.save()
    change(product, "updated_at", None)
    assert tell() == []
    change(product, "created_at", None)
    assert [sorted(fields) for _, _, fields in tell()] == [["created_at"]]


def test_a_field_that_was_added_with_a_value(cover: Any) -> None:
    cover("testapp.Product")
    product = ProductFactory()
    [entry] = AuditEntry.objects.filter(object_pk=str(product.pk))
    left = {name: pair for name, pair in entry.changes.items() if name != "stock"}
    AuditEntry.objects.filter(pk=entry.pk).update(changes=left)
    # One that may be NULL is in no entry of a creation, either.
    category = CategoryFactory()
    change(product, "category", category.pk)
    assert tell() == []
    assert [sorted(fields) for _, _, fields in tell(is_complete=True)] == [["category"]]


def test_a_null_that_was_changed_by_sql_where_the_field_was_known(cover: Any) -> None:
    category = CategoryFactory()
    cover("testapp.Product")
    ProductFactory(category=category)
    product = ProductFactory()
    change(product, "category", category.pk)
    assert tell() == [("changed", str(product.pk), {"category": (None, category.pk)})]
    change(product, "category", None)
    assert tell() == []


def test_a_row_that_is_covered_since_later_than_its_creation(cover: Any) -> None:
    product = ProductFactory(stock=1)
    cover("testapp.Product")
    product.stock = 2
    product.save()
    change(product, "name", "not told of")
    assert tell() == []
    change(product, "stock", 3)
    assert tell() == [("changed", str(product.pk), {"stock": (2, 3)})]


def test_a_backfill_tells_what_later_entries_do_not(cover: Any) -> None:
    product = ProductFactory(stock=1)
    cover("testapp.Product")
    product.stock = 2
    product.save()
    product.tags.add(tag := TagFactory())
    backfill()
    assert tell() == []
    change(product, "name", "new")
    Product.tags.through.objects.filter(tag=tag)._raw_delete("default")
    assert [sorted(fields) for _, _, fields in tell()] == [["name", "tags"]]


def test_rows_that_conflict_are_not_expected_to_be_what_was_asked_for(cover: Any) -> None:
    cover("testapp.Tag")
    tag = TagFactory(name="a")
    Tag.objects.bulk_create([Tag(pk=tag.pk, name="b")], ignore_conflicts=True)
    assert tell(is_complete=True) == []
    Tag.objects.bulk_create(
        [Tag(pk=tag.pk, name="c")],
        update_conflicts=True,
        update_fields=["name"],
        **({} if connection.vendor == "mysql" else {"unique_fields": ["id"]}),
    )
    assert tell(is_complete=True) == []
    delete(tag)
    assert tell() == [("gone", str(tag.pk), {})]


def test_entries_about_whole_statements(cover: Any) -> None:
    cover("testapp.Product", bulk="statement")
    made = ProductFactory(stock=1)
    Product.objects.bulk_create(ProductFactory.build_batch(2))
    Product.objects.update(stock=F("stock") + 1)
    assert tell(is_complete=True) == []
    change(made, "name", "new")
    assert [sorted(fields) for _, _, fields in tell()] == [["name"]]
    made.stock = 9
    made.save(update_fields=["stock"])
    change(made, "stock", 10)
    assert [sorted(fields) for _, _, fields in tell()] == [["name", "stock"]]


# Keys


def test_a_row_with_another_key_is_not_gone(cover: Any) -> None:
    cover("testapp.Tag")
    tag, other = TagFactory(name="a"), TagFactory()
    Tag.objects.filter(pk=tag.pk).update(id=tag.pk + 50)
    assert tell(is_complete=True) == []
    # Another one with the key that was left.
    with muted("AuditLog"):
        again = Tag.objects.create(pk=tag.pk, name="b")
    assert [key for _, key, _ in tell()] == [str(again.pk)]
    again.delete()
    delete(other)
    assert tell() == [("gone", str(other.pk), {})]
    change(Tag.objects.get(), "name", "c")
    Tag.objects.update(name="d")
    change(Tag.objects.get(), "name", "e")
    assert ("changed", str(tag.pk + 50), {"name": ("d", "e")}) in tell()


def test_a_row_with_the_key_that_another_has_left(cover: Any) -> None:
    cover("testapp.Tag")
    first, second = TagFactory(name="a"), TagFactory(name="b")
    Tag.objects.filter(pk=first.pk).update(id=first.pk + 50)
    Tag.objects.filter(pk=second.pk).update(id=first.pk)
    assert tell(is_complete=True) == []


def test_composite_keys(cover: Any) -> None:
    cover("rarities.OrderLine")
    for number in (1, 2, 3, 4):
        OrderLine.objects.create(pk=(1, number), text="a")
    OrderLine.objects.filter(number=3).update(number=30)
    OrderLine.objects.filter(number=2)._raw_delete("default")
    run_sql("UPDATE rarities_orderline SET text = 'b' WHERE number = 4")
    assert tell(is_complete=True) == [
        ("changed", "[1, 4]", {"text": ("a", "b")}),
        ("gone", "[1, 2]", {}),
    ]


def test_keys_that_are_long_or_uuids(cover: Any) -> None:
    cover("rarities.LongKey", "testapp.Token")
    long, token = LongKey.objects.create(key="k" * 300), Token.objects.create(name="a")
    change(long, "value", 5)
    change(token, "name", "b")
    assert tell("rarities.LongKey", "testapp.Token") == [
        ("changed", to_key(LongKey, long.pk), {"value": (0, 5)}),
        ("changed", str(token.pk), {"name": ("a", "b")}),
    ]
    delete(token)
    assert ("gone", str(token.pk), {}) in tell()


# Tables that rows share


def test_a_multi_table_child_is_compared_as_what_it_is(cover: Any) -> None:
    cover("testapp.Place", "testapp.Restaurant")
    restaurant, place = RestaurantFactory(name="a"), Place.objects.create(name="p")
    Place.objects.filter(pk=restaurant.pk).update(name="b")
    assert tell(is_complete=True) == []
    change(restaurant, "stars", 3)
    change(restaurant, "name", "c")
    change(place, "name", "q")
    assert tell() == [
        ("changed", str(place.pk), {"name": ("p", "q")}),
        ("changed", str(restaurant.pk), {"name": ("b", "c"), "stars": (0, 3)}),
    ]


def test_a_child_whose_table_has_lost_it(cover: Any) -> None:
    cover("testapp.Place", "testapp.Restaurant")
    kept, lost = RestaurantFactory(), RestaurantFactory()
    kept.delete(keep_parents=True)
    assert tell(is_complete=True) == []
    run_sql("DELETE FROM testapp_restaurant WHERE place_ptr_id = %s", lost.pk)
    assert tell(is_complete=True) == [("gone", str(lost.pk), {})]


def test_a_child_that_was_made_of_a_row_and_goes_with_it(cover: Any) -> None:
    cover("testapp.Place", "testapp.Restaurant")
    place = Place.objects.create(name="a")
    restaurant = Restaurant(place_ptr=place, name="b", stars=2)
    restaurant.save()
    assert tell(is_complete=True) == []
    restaurant.delete()
    assert tell(is_complete=True) == []


def test_writes_through_a_proxy(cover: Any) -> None:
    cover("testapp.*")
    product = ProductFactory(stock=1)
    ProductProxy.objects.filter(pk=product.pk).update(stock=2)
    assert tell(is_complete=True) == []
    change(product, "stock", 3)
    assert tell() == [("changed", str(product.pk), {"stock": (2, 3)})]


# Links


def test_links_that_were_written_by_sql(cover: Any) -> None:
    cover("testapp.Product")
    hot, cold, sweet = TagFactory.create_batch(3)
    first, second = ProductFactory(), ProductFactory()
    first.tags.add(hot, cold)
    through = Product.tags.through
    links = through._meta.db_table
    assert tell(is_complete=True) == []
    run_sql(f"DELETE FROM {links} WHERE product_id = %s AND tag_id = %s", first.pk, hot.pk)
    run_sql(f"INSERT INTO {links} (product_id, tag_id) VALUES (%s, %s)", second.pk, sweet.pk)
    assert tell(is_complete=True) == [
        ("changed", str(first.pk), {"tags": ("removed", hot.pk)}),
        ("changed", str(second.pk), {"tags": ("added", sweet.pk)}),
    ]
    # Nobody knows whether links were recorded when the row was made.
    assert [key for _, key, _ in tell()] == [str(first.pk)]
    third = ProductFactory()
    run_sql(f"INSERT INTO {links} (product_id, tag_id) VALUES (%s, %s)", third.pk, sweet.pk)
    assert [key for _, key, _ in tell()] == [str(first.pk), str(third.pk)]


def test_links_that_end_are_heard(cover: Any) -> None:
    cover("testapp.*")
    product, tags = ProductFactory(), TagFactory.create_batch(4)
    product.tags.set(tags)
    tags[0].delete()
    tags[1].products.clear()
    product.tags.set(tags[2:3])
    ann, bea = PersonFactory.create_batch(2)
    ann.friends.add(bea)
    ann.follows.add(bea)
    club = Club.objects.create(name="a")
    club.members.add(ann)
    Membership.objects.update(role="chair")
    bea.delete()
    assert tell(is_complete=True) == []
    Person.friends.through.objects.all()._raw_delete("default")
    assert tell(is_complete=True) == []


def test_links_that_are_not_recorded(cover: Any) -> None:
    cover("testapp.Product", m2m=False)
    ProductFactory().tags.add(TagFactory())
    assert tell(is_complete=True) == []


# Several databases


def test_each_database_has_rows_of_its_own(cover: Any) -> None:
    cover("testapp.Tag")
    here = Tag.objects.create(pk=1, name="here")
    there = Tag.objects.using("other").create(pk=1, name="there")
    assert tell(is_complete=True) == tell(using="other", is_complete=True) == []
    change(there, "name", "elsewhere", using="other")
    assert tell() == []
    assert tell(using="other") == [("changed", "1", {"name": ("there", "elsewhere")})]
    delete(here)
    assert tell() == [("gone", "1", {})]


# While others write


def test_a_write_between_the_reading_of_row_and_entries_is_no_finding(
    cover: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cover("testapp.Product")
    product, other = ProductFactory(stock=0), ProductFactory(stock=0)
    count = 0

    class Slow(looks.Trails):
        def __init__(self, *args: Any) -> None:
            nonlocal count
            count += 1
            if count <= 4:
                Product.objects.filter(pk=product.pk).update(stock=F("stock") + 1)
            super().__init__(*args)

    monkeypatch.setattr(looks, "Trails", Slow)
    change(other, "stock", 5)
    assert tell() == [("changed", str(other.pk), {"stock": (0, 5)})]
    assert count > 4


def test_a_row_that_others_write_to_all_the_time_is_counted(
    cover: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cover("testapp.Product")
    product = ProductFactory(stock=0)

    class Slow(looks.Trails):
        def __init__(self, *args: Any) -> None:
            Product.objects.filter(pk=product.pk).update(stock=F("stock") + 1)
            super().__init__(*args)

    monkeypatch.setattr(looks, "Trails", Slow)
    [walk] = get_walks()
    assert [found for _, found in walk.run() if found] == []
    assert walk.comparison.restless == 1


def test_writers_raise_no_false_alarm(cover: Any) -> None:
    cover("testapp.Product")
    products = ProductFactory.create_batch(8, stock=0)
    wrong = ProductFactory(stock=0)
    change(wrong, "stock", 1)
    stop, wrote = threading.Event(), threading.Barrier(3)

    def write(number: int) -> None:
        try:
            wrote.wait()
            while not stop.is_set():
                for product in products[number::2]:
                    with batch():
                        Product.objects.filter(pk=product.pk).update(stock=F("stock") + 1)
                ProductFactory().delete()
        finally:
            connections.close_all()

    threads = [threading.Thread(target=write, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    wrote.wait()
    try:
        found = [tell(chunk=20) for _ in range(3)]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert found == [[("changed", str(wrong.pk), {"stock": (0, 1)})]] * 3
    assert [key for _, key, _ in tell()] == [str(wrong.pk)]


def test_a_write_that_is_not_committed_is_not_seen(cover: Any) -> None:
    if not connection.features.has_select_for_update:
        pytest.skip("has one writer at a time")
    cover("testapp.Product")
    product = ProductFactory(stock=0)
    found: list[Any] = []
    with transaction.atomic():
        Product.objects.update(stock=5)

        def look() -> None:
            found.append(tell())
            connections.close_all()

        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    assert found == [[]]
    assert tell() == []
    assert Product.objects.get(pk=product.pk).stock == 5


# A part of the rows


def test_since_a_moment_only_rows_are_compared_that_an_entry_is_about(cover: Any) -> None:
    cover("testapp.Tag")
    quiet, busy, gone, deleted = TagFactory.create_batch(4)
    AuditEntry.objects.update(at=timezone.now() - datetime.timedelta(days=3))
    start = timezone.now()
    for row in (quiet, busy):
        change(row, "name", "wrong")
    assert tell(since=start) == []
    Tag.objects.filter(pk__in=[busy.pk, gone.pk]).update(name="b")
    change(busy, "name", "c")
    delete(gone)
    deleted.delete()
    assert tell(since=start) == [
        ("changed", str(busy.pk), {"name": ("b", "c")}),
        ("gone", str(gone.pk), {}),
    ]
    assert len(tell()) == 3


def test_rows_are_told_in_the_order_of_their_numbers(cover: Any) -> None:
    cover("testapp.Tag")
    tags = [TagFactory(pk=pk) for pk in (9, 10, 99, 100)]
    start = timezone.now()
    Tag.objects.update(name="heard")
    for tag in tags:
        change(tag, "name", "wrong")
    assert [found.key for found in find(since=start)] == ["9", "10", "99", "100"]


@pytest.mark.parametrize("chunk", [1, 2, 500])
def test_the_size_of_a_chunk_changes_nothing(cover: Any, chunk: int) -> None:
    cover("testapp.Product")
    products = ProductFactory.create_batch(5, stock=0)
    for number in range(4):
        Product.objects.update(stock=number)
    change(products[0], "stock", 9)
    delete(products[4])
    assert tell(chunk=chunk) == [
        ("changed", str(products[0].pk), {"stock": (3, 9)}),
        ("gone", str(products[4].pk), {}),
    ]


def test_long_histories_are_read_in_pages(cover: Any) -> None:
    cover("testapp.Product")
    product = ProductFactory(stock=0)
    kind = ContentType.objects.get_for_model(Product)
    AuditEntry.objects.bulk_create(
        AuditEntry(
            action="update",
            content_type=kind,
            object_pk=str(product.pk),
            changes={"price": ["9.50", "9.50"]},
            using="default",
        )
        for _ in range(1200)
    )
    assert tell() == []
    change(product, "name", "new")
    assert [sorted(fields) for _, _, fields in tell()] == [["name"]]
