"""A link that is made or ends drops the keys of the rows at both of its ends."""

from __future__ import annotations

from typing import Any

import pytest

from tests.apps.testapp.models import (
    Club,
)
from tests.cache.keys import TAGS, fill, left, of
from tests.factories import (
    PersonFactory,
    ProductFactory,
    TagFactory,
)

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_link_drops_the_keys_of_both_rows(wire: Any) -> None:
    wire(of("Product", "product:{pk}"), TAGS)
    product, one, two = ProductFactory(), TagFactory(), TagFactory()
    keys = [f"product:{product.pk}", f"tag:{one.pk}", f"tag:{two.pk}"]
    fill(*keys)
    product.tags.add(one)
    assert left(*keys) == [f"tag:{two.pk}"]
    fill(*keys)
    product.tags.set([two])
    assert left(*keys) == []
    fill(*keys)
    two.products.remove(product)
    assert left(*keys) == [f"tag:{one.pk}"]


def test_only_the_side_that_is_covered_counts(wire: Any) -> None:
    wire(of("Product", "product:{pk}"))
    first, second, tag = ProductFactory(), ProductFactory(), TagFactory()
    keys = [f"product:{first.pk}", f"product:{second.pk}", f"tag:{tag.pk}"]
    fill(*keys)
    tag.products.add(first)
    assert left(*keys) == keys[1:]
    tag.products.add(second)
    assert left(*keys) == keys[2:]


def test_clear_drops_the_keys_of_the_rows_that_were_linked(wire: Any) -> None:
    wire(of("Product", "product:{slug}"), TAGS)
    first, second, third = (ProductFactory(slug=slug) for slug in "abc")
    one, two = TagFactory(), TagFactory()
    one.products.add(first, second)
    keys = ["product:a", "product:b", "product:c", f"tag:{one.pk}", f"tag:{two.pk}"]
    fill(*keys)
    one.products.clear()
    assert left(*keys) == ["product:c", f"tag:{two.pk}"]
    third.tags.add(one, two)
    fill(*keys)
    third.tags.clear()
    assert left(*keys) == ["product:a", "product:b"]
    third.tags.add(two)
    fill(*keys)
    third.tags.set([one], clear=True)
    assert left(*keys) == ["product:a", "product:b"]


def test_a_link_drops_the_key_that_the_database_gives_and_not_a_stale_instance(wire: Any) -> None:
    wire(of("Product", "product:{slug}"))
    product = ProductFactory(slug="saved")
    fill("product:saved")
    product.slug = "not saved"
    product.tags.add(TagFactory())
    assert left("product:saved") == []


def test_links_to_the_own_model_drop_both_ends(wire: Any) -> None:
    wire(of("Person", "person:{pk}"))
    ann, bob, cid = PersonFactory(), PersonFactory(), PersonFactory()
    keys = [f"person:{person.pk}" for person in (ann, bob, cid)]
    fill(*keys)
    ann.friends.add(bob)
    assert left(*keys) == keys[2:]
    fill(*keys)
    bob.friends.clear()
    assert left(*keys) == keys[2:]
    ann.follows.add(cid)
    fill(*keys)
    cid.followers.clear()
    assert left(*keys) == [keys[1]]


def test_links_with_a_row_of_their_own_are_heard(wire: Any) -> None:
    wire(of("Club", "club:{pk}"))
    club, ann = Club.objects.create(name="Chess"), PersonFactory()
    fill(f"club:{club.pk}")
    club.members.add(ann)
    assert left(f"club:{club.pk}") == []
    fill(f"club:{club.pk}")
    ann.clubs.clear()
    assert left(f"club:{club.pk}") == []
