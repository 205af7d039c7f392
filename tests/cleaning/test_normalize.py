"""What is written is clean, whichever way it is written; what is not written is not touched."""

from __future__ import annotations

from typing import Any

import pytest
from django.core import serializers
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.db.models import F, Value
from django.db.models.functions import Upper
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.receivers import AuditLog, LastModified, Normalize
from django_signal_kit.wiring.registry import registry
from tests.apps.testapp.models import Note, Plain, Product, ProductProxy, Tag
from tests.conftest import run_async
from tests.factories import ProductFactory, TagFactory

pytestmark = pytest.mark.django_db(transaction=True)

CHAIN = {"models": ["testapp.*"], "fields": {"name": ["collapse_spaces", "nfc"]}}


def double(value: Any) -> Any:
    return value * 2


def fail(value: Any) -> Any:
    if "!" in value:
        raise ValueError("no shouting")
    return value.strip()


@pytest.fixture
def normalize(wire: Any) -> Any:
    return wire((Normalize, CHAIN))


def stored(model: Any = Tag) -> list[Any]:
    return list(model.objects.order_by("pk").values_list("name", flat=True))


def test_a_save_writes_clean_values_and_the_instance_holds_them(normalize: Any) -> None:
    tag = Tag.objects.create(name="  a   b ")
    assert (tag.name, stored()) == ("a b", ["a b"])
    tag.name = " c "
    tag.save()
    assert (tag.name, stored()) == ("c", ["c"])


def test_it_costs_no_query(normalize: Any, wire: Any) -> None:
    def count(act: Any) -> int:
        with CaptureQueriesContext(connection) as queries:
            act()
        return len(queries)

    acts = [
        lambda: Tag.objects.create(name=" a "),
        lambda: Tag.objects.bulk_create([Tag(name=" a "), Tag(name=" b ")]),
        lambda: Tag.objects.update(name=" c "),
        lambda: Tag.objects.first().save(),  # type: ignore[union-attr]
    ]
    with_it = [count(act) for act in acts]
    Tag.objects.all().delete()
    wire()
    assert with_it == [count(act) for act in acts]


def test_only_what_is_written_is_cleaned(normalize: Any, wire: Any) -> None:
    wire()
    tag = Tag.objects.create(name=" dirty ")
    wire((Normalize, {"models": ["testapp.*"], "fields": {"name": ["strip"], "slug": ["slug"]}}))
    product = ProductFactory(name="a", slug="A B")
    product.name, product.slug = " b ", "C D"
    product.save(update_fields=["slug"])
    assert (product.name, product.slug) == (" b ", "c-d")
    tag.save(update_fields=[])
    assert stored() == [" dirty "]


def test_a_field_that_was_not_loaded_stays_so(normalize: Any) -> None:
    pk = ProductFactory(name="a").pk
    product = Product.objects.defer("name").get(pk=pk)
    with CaptureQueriesContext(connection) as queries:
        product.save()
    assert not any(query["sql"].startswith("SELECT") for query in queries)
    assert "name" in product.get_deferred_fields()


def test_bulk_writes_are_clean(normalize: Any) -> None:
    tags = Tag.objects.bulk_create(Tag(name=f" {letter} ") for letter in "ab")
    assert ([tag.name for tag in tags], stored()) == (["a", "b"], ["a", "b"])
    tags = list(Tag.objects.order_by("pk"))
    for tag in tags:
        tag.name = f" {tag.name}  {tag.name} "
    Tag.objects.bulk_update(tags, ["name"])
    assert stored() == ["a a", "b b"]
    Tag.objects.filter(name="a a").update(name=" z ")
    assert stored() == ["z", "b b"]
    run_async(Tag.objects.abulk_create([Tag(name=" y ")]))
    run_async(Tag.objects.filter(name="z").aupdate(name=" x "))
    assert stored() == ["x", "b b", "y"]


def test_a_bulk_update_leaves_alone_what_it_does_not_write(normalize: Any) -> None:
    product = ProductFactory(name="a")
    product.name, product.stock = " b ", 4
    Product.objects.bulk_update([product], ["stock"])
    assert product.name == " b "
    assert stored(Product) == ["a"]


def test_the_defaults_of_get_or_create_and_upserts_are_clean(normalize: Any) -> None:
    Tag.objects.get_or_create(pk=1, defaults={"name": " a "})
    Tag.objects.update_or_create(pk=1, defaults={"name": " b "})
    assert stored() == ["b"]
    # MariaDB cannot name the columns that conflict.
    unique = {"unique_fields": ["id"]} if connection.vendor != "mysql" else {}
    Tag.objects.bulk_create(
        [Tag(pk=1, name=" c ")], update_conflicts=True, update_fields=["name"], **unique
    )
    assert stored() == ["c"]


def test_expressions_are_left_alone(normalize: Any) -> None:
    tag = TagFactory(name="a")
    tag.name = Upper(Value(" b "))
    tag.save()
    Product.objects.create(name="c", slug=" d ")
    Product.objects.update(name=F("slug"))
    assert (stored(), stored(Product)) == ([" B "], [" d "])


def test_what_the_log_tells_is_what_was_written(wire: Any) -> None:
    for receivers in (
        [(Normalize, CHAIN), (AuditLog, {"models": ["testapp.Tag"]})],
        [(AuditLog, {"models": ["testapp.Tag"]}), (Normalize, CHAIN)],
    ):
        wire(*receivers)
        tag = Tag.objects.create(name=" a ")
        tag.name = " b "
        tag.save()
        Tag.objects.filter(pk=tag.pk).update(name=" c ")
        names = [entry.changes["name"] for entry in AuditEntry.objects.order_by("pk")]
        assert names == [[None, "a"], ["a", "b"], ["b", "c"]]
        AuditEntry.objects.all().delete()


def test_a_save_that_is_clean_already_changes_nothing(wire: Any) -> None:
    wire((Normalize, CHAIN), (AuditLog, {"models": ["testapp.Tag"]}))
    tag = Tag.objects.create(name="a")
    tag.name = " a "
    tag.save()
    assert AuditEntry.objects.count() == 1


def test_proxies_fixtures_and_muting(normalize: Any, wire: Any) -> None:
    assert ProductProxy.objects.create(name=" a ").name == "a"
    (loaded,) = serializers.deserialize(
        "python", [{"model": "testapp.tag", "pk": 1, "fields": {"name": " a "}}]
    )
    loaded.save()
    assert stored() == [" a "]
    wire((Normalize, {**CHAIN, "raw": True}))
    loaded.save()
    assert stored() == ["a"]


def test_without_bulk_no_bulk_write_is_heard(wire: Any) -> None:
    wire((Normalize, {**CHAIN, "bulk": False}))
    Tag.objects.bulk_create([Tag(name=" a ")])
    Tag.objects.update(name=" b ")
    assert stored() == [" b "]


def test_a_function_a_path_and_a_name_may_be_cleaners(wire: Any) -> None:
    path = f"{__name__}.double"
    wire((Normalize, {"models": [Tag], "fields": {"name": ["strip", path, str.upper]}}))
    assert Tag.objects.create(name=" a ").name == "AA"


def test_a_hook_may_give_the_cleaners(wire: Any) -> None:
    wire((AllText, {"models": ["testapp.Product"]}))
    product = Product.objects.create(name=" a ", slug=" b ")
    assert (product.name, product.slug) == ("a", "b")


class AllText(Normalize):
    def get_cleaners(self, field: Any) -> Any:
        return ["strip"] if field.get_internal_type() in ("CharField", "SlugField") else []


def test_a_pattern_skips_models_without_the_field(normalize: Any) -> None:
    assert registry.covers(normalize, Plain)
    assert not registry.covers(normalize, Note)


# What goes wrong


def test_a_cleaner_that_raises_names_itself_and_nothing_is_written(wire: Any) -> None:
    wire((Normalize, {"models": [Tag], "fields": {"name": [f"{__name__}.fail"]}}))
    with pytest.raises(ValueError, match="no shouting") as raised:
        Tag.objects.create(name="a!")
    (note,) = raised.value.__notes__
    assert "fail" in note
    assert "testapp.Tag.name" in note
    assert "a!" not in note
    with pytest.raises(ValueError, match="no shouting") as raised:
        Tag.objects.bulk_create([Tag(name="a"), Tag(name="b!"), Tag(name="c")])
    assert raised.value.__notes__[-1] == "It is the row at position 1 of 3."
    assert stored() == []


def test_with_on_error_log_the_value_stays_and_is_written(wire: Any, failures: Any) -> None:
    options = {"fields": {"name": [f"{__name__}.fail"]}, "on_error": "log"}
    wire((Normalize, {"models": [Tag], **options}))
    Tag.objects.create(name=" a! ")
    Tag.objects.bulk_create([Tag(name=" b "), Tag(name=" c! "), Tag(name=" d ")])
    assert stored() == [" a! ", "b", " c! ", "d"]
    assert [str(failure["exception"]) for failure in failures] == ["no shouting", "no shouting"]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"name": ["stripp"]}, r"'stripp' .*'name'.* does not exist\. Did you mean 'strip'"),
        ({"name": ["tests.nowhere.x"]}, r"cannot be imported.*path of a function.*E020"),
        ({"name": ["tests.cleaning.test_normalize.CHAIN"]}, r"which cannot be called.*E020"),
        ({"name": "strip"}, r"Write a list: \{'name': \['strip'\]\}"),
        ({"nome": ["strip"]}, r"'nome', and no model .*E021"),
        ({"name": ["empty_to_none"]}, r"testapp\.\w+\.name.*never NULL.*E022"),
    ],
)
def test_what_is_wrong_stops_the_start(wire: Any, fields: Any, sentence: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=sentence):
        wire((Normalize, {"models": ["testapp.*"], "fields": fields}))


def test_a_model_that_is_named_must_have_a_field(wire: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"testapp\.Note: it has none of .*'name'"):
        wire((Normalize, {"models": [Note], "fields": {"name": ["strip"]}}))


# All of it


@given(
    names=st.lists(st.text("aB \t\u0301e", max_size=6), min_size=1, max_size=4),
    way=st.sampled_from(["save", "bulk_create", "bulk_update", "update"]),
)
def test_each_way_of_writing_cleans_alike(names: list[str], way: str) -> None:
    from django.test.utils import override_settings

    from tests.conftest import as_entry

    chain = ["collapse_spaces", "casefold", "nfc"]
    entry = as_entry((Normalize, {"models": [Tag], "fields": {"name": chain}}))
    with override_settings(SIGNAL_KIT={"RECEIVERS": [entry]}):
        Tag.objects.all().delete()
        if way == "bulk_create":
            Tag.objects.bulk_create(Tag(name=name) for name in names)
        else:
            tags = [Tag.objects.create(name="") for _ in names]
            for tag, name in zip(tags, names, strict=True):
                tag.name = name
                if way == "save":
                    tag.save()
                elif way == "update":
                    Tag.objects.filter(pk=tag.pk).update(name=name)
            if way == "bulk_update":
                Tag.objects.bulk_update(tags, ["name"])
        found = stored()
        for tag in Tag.objects.all():
            tag.save()
        again = stored()
    from django_signal_kit.cleaning.cleaners import casefold, collapse_spaces, nfc

    assert found == [nfc(casefold(collapse_spaces(name))) for name in names]
    assert again == found


def test_with_stamps_both_do_their_part(wire: Any) -> None:
    wire((Normalize, CHAIN), (LastModified, {"models": [Product]}))
    product = Product.objects.create(name=" a ")
    assert (product.name, product.updated_at is None) == ("a", False)
