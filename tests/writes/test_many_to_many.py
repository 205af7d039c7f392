"""Fields that only look like many-to-many fields are left to whoever made them."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest
from django.db import models
from django.db.models.fields.related import RelatedField
from django.db.models.fields.reverse_related import ManyToManyRel
from django.db.models.signals import m2m_changed

from django_signal_kit.receivers import AuditLog, CacheInvalidation, M2MLimit
from django_signal_kit.rows.many_to_many import get_many_to_many, get_reverse_many_to_many
from django_signal_kit.wiring.listing import get_own_senders
from tests.apps.rarities.models import Reading
from tests.apps.testapp.models import Person, Tag
from tests.projects import KIT, Project

pytestmark = pytest.mark.django_db(transaction=True)


class LooksLikeMany(RelatedField):
    """Among the many-to-many fields of its model, without what they have, as a field of tags."""

    many_to_many = True
    many_to_one = one_to_many = one_to_one = False

    def __init__(self, through: Any) -> None:
        rel = ManyToManyRel(self, Tag, related_name="+", through=through)
        super().__init__(null=True, blank=True, rel=rel)

    def contribute_to_class(self, cls: Any, name: str, **options: Any) -> None:
        self.set_attributes_from_name(name)
        self.model = cls
        self.opts = cls._meta
        cls._meta.add_field(self)
        setattr(cls, name, "what looks like a manager")

    def get_internal_type(self) -> str:
        return "ManyToManyField"

    def db_type(self, connection: Any) -> None:
        return None

    def m2m_db_table(self) -> str:
        return str(self.remote_field.through._meta.db_table)


@pytest.fixture
def bag(make_model: Any) -> Any:
    through = make_model("BagTag", models.Model, tag=models.ForeignKey(Tag, models.CASCADE))
    return make_model("Bag", models.Model, tags=LooksLikeMany(through))


def test_what_is_one_is_known() -> None:
    assert [field.name for field in get_many_to_many(Person)] == [
        field.name for field in Person._meta.many_to_many
    ]
    assert [relation.field.name for relation in get_reverse_many_to_many(Tag)] != []
    assert get_many_to_many(Reading) == [], "a generic relation is none"


@pytest.mark.parametrize(
    "receiver",
    [
        (AuditLog, {"models": ["testapp.Bag"]}),
        (CacheInvalidation, {"models": ["testapp.Bag"], "keys": ["bag:{pk}"]}),
    ],
)
def test_what_is_none_stops_no_start_and_no_write(receiver: Any, bag: Any, wire: Any) -> None:
    assert bag._meta.many_to_many
    wire(receiver)
    row = bag.objects.create()
    through = bag._meta.many_to_many[0].remote_field.through
    # As the managers of tags do themselves.
    m2m_changed.send(
        sender=through,
        instance=row,
        action="post_add",
        reverse=False,
        model=Tag,
        pk_set={1},
        using="default",
    )
    row.save()
    row.delete()
    assert get_own_senders(bag) == [bag]


def test_a_limit_of_what_is_none_is_a_mistake(bag: Any, wire: Any) -> None:
    with pytest.raises(Exception, match="tags"):
        wire((M2MLimit, {"models": ["testapp.Bag"], "relation": "tags", "maximum": 3}))


TAGGED = {
    "shop/__init__.py": "",
    "shop/models.py": """
from django.db import models
from taggit.managers import TaggableManager

class Product(models.Model):
    name = models.CharField(max_length=20)
    tags = TaggableManager()
""",
}
TAGGING = """
from django.core.management import call_command
call_command("migrate", run_syncdb=True, verbosity=0)
from shop.models import Product
tea = Product.objects.create(name="Tea")
tea.tags.add("hot", "green")
tea.tags.set(["hot", "black"])
tea.tags.remove("hot")
assert list(tea.tags.names()) == ["black"]
tea.tags.clear()
tea.tags.add("hot")
tea.delete()
assert not Product.objects.exists()
from django_signal_kit.audit.models import AuditEntry
told = {entry.content_type.model for entry in AuditEntry.objects.all()}
assert told == {"product", "tag", "taggeditem"}, told
"""


@pytest.mark.skipif(importlib.util.find_spec("taggit") is None, reason="taggit is not installed")
def test_tags_of_a_package_are_told_by_their_rows(tmp_path: Any) -> None:
    django = ["django.contrib.contenttypes", "django.contrib.auth"]
    models = ["shop.*", "taggit.*"]
    caching = {"models": models, "keys": ["{pk}"]}
    project = Project(
        tmp_path,
        TAGGED,
        [*django, "taggit", "shop", KIT, f"{KIT}.audit"],
        RECEIVERS=[
            {"RECEIVER": f"{KIT}.receivers.AuditLog", "OPTIONS": {"models": models}},
            {"RECEIVER": f"{KIT}.receivers.CacheInvalidation", "OPTIONS": caching},
        ],
    )
    done = project.start(TAGGING)
    assert done.returncode == 0, done.stderr


def test_sorted_ones_are_many_to_many_fields(make_model: Any, wire: Any) -> None:
    if importlib.util.find_spec("sortedm2m") is None:
        pytest.skip("sortedm2m is not installed")
    from sortedm2m.fields import SortedManyToManyField

    field = SortedManyToManyField(Tag, related_name="+")
    bag = make_model("Bag", models.Model, tags=field)
    assert get_many_to_many(bag) == [field]
