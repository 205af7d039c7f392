"""What comes after the wiring: models, fields, and signals that say little."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.signals import setting_changed
from django.db import connection, models
from django.db.models import Field
from django.db.models.base import ModelBase
from django.db.models.signals import post_save
from django.test.utils import modify_settings, override_settings

from django_signal_kit import ModelReceiver
from django_signal_kit import receivers as ready_made
from django_signal_kit.apps import rewire
from django_signal_kit.apps import wire as wire_now
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.receivers import (
    AuditLog,
    CacheInvalidation,
    DeletionLog,
    LastModified,
    Normalize,
    OrphanCleanup,
    Validate,
)
from django_signal_kit.wiring.registry import registry
from django_signal_kit.writes import covered, late
from tests.apps.testapp.models import Product, Tag
from tests.conftest import as_entry
from tests.projects import KIT, Project
from tests.threads import in_threads

pytestmark = pytest.mark.django_db(transaction=True)

LOG = (AuditLog, {"models": ["testapp.*"]})


class Heard(ModelReceiver):
    calls: list[str] = []

    def post_save(self, instance: Any, **kwargs: Any) -> None:
        self.calls.append(type(instance).__name__)

    def m2m_changed(self, instance: Any, action: str, **kwargs: Any) -> None:
        self.calls.append(f"{type(instance).__name__} {action}")

    def post_init(self, instance: Any, **kwargs: Any) -> None:
        self.calls.append(f"{type(instance).__name__} made")


Heard.calls = []


@pytest.fixture(autouse=True)
def _nothing_waits() -> Iterator[None]:
    yield
    late.waiting.clear()
    Heard.calls.clear()


def add(model: Any, name: str, field: Field[Any, Any], is_direct: bool = False) -> None:
    """A field and its column, as an app adds it in its ready()."""
    if is_direct:
        field.contribute_to_class(model, name)
    else:
        model.add_to_class(name, field)
    with connection.schema_editor() as editor:
        editor.add_field(model, model._meta.get_field(name))


def get_changes(name: str) -> list[Any]:
    return [entry.changes.get(name) for entry in AuditEntry.objects.order_by("pk")]


# Fields


@pytest.fixture
def place(make_model: Any) -> Any:
    return make_model("LatePlace", models.Model, name=models.CharField(max_length=20, default=""))


@pytest.mark.parametrize("is_direct", [False, True])
@pytest.mark.parametrize("old_values", ["database", "snapshot"])
@pytest.mark.parametrize("was_used", [False, True])
def test_a_later_field_is_in_the_log(
    wire: Any, place: Any, old_values: str, was_used: bool, is_direct: bool
) -> None:
    wire((AuditLog, {"models": ["testapp.*"], "old_values": old_values, "bulk": "all"}))
    if was_used:
        place.objects.create(name="before").save()
        AuditEntry.objects.all().delete()
    add(place, "zip", models.CharField(max_length=5, default="0"), is_direct)
    row = place.objects.create(name="a", zip="1")
    row.zip = "2"
    row.save()
    row = place.objects.get(pk=row.pk)
    row.zip = "3"
    row.save(update_fields=["zip"])
    place.objects.filter(pk=row.pk).update(zip="4")
    row.zip = "5"
    place.objects.bulk_update([row], ["zip"])
    place.objects.bulk_create([place(zip="6")])
    place.objects.filter(pk=row.pk).delete()
    seen = "3" if old_values == "snapshot" else "4"
    changes = get_changes("zip")
    assert changes[:3] == [[None, "1"], ["1", "2"], ["2", "3"]]
    assert changes[3] == ["3", "4"]
    assert changes[4] in ([seen, "5"], ["4", "5"])
    assert changes[5:] == [[None, "6"], ["5", None]]


def test_a_later_field_is_known_to_each_receiver(wire: Any, place: Any, caplog: Any) -> None:
    wire(
        (Normalize, {"models": ["testapp.LatePlace"], "fields": {"name": ["strip"]}}),
        (Validate, {"models": [place]}),
        (CacheInvalidation, {"models": [place], "keys": ["place:{name}"]}),
        (DeletionLog, {"models": [place], "fields": "__all__"}),
        LOG,
    )
    place.objects.create(name="a")
    add(place, "zip", models.CharField(max_length=2, default="0"))
    with pytest.raises(ValidationError, match="at most 2"):
        place.objects.create(name="b", zip="12345")
    row = place.objects.create(name=" c ", zip="12")
    cache.set("place:c", "page")
    row.name = "d"
    row.save()
    assert cache.get("place:c") is None
    with caplog.at_level("INFO"):
        row.delete()
    assert caplog.records[-1].fields["zip"] == "12"


def test_a_field_that_a_receiver_needs_makes_a_pattern_cover_the_model(
    wire: Any, place: Any
) -> None:
    wire((LastModified, {"models": ["testapp.*"], "field": "touched_at"}), LOG)
    assert not any(isinstance(r, LastModified) for r in registry.get_covering(place))
    add(place, "touched_at", models.DateTimeField(null=True))
    row = place.objects.create()
    row.refresh_from_db()
    assert row.touched_at is not None


@pytest.mark.parametrize("is_direct", [False, True])
def test_a_later_relation_is_heard(wire: Any, place: Any, is_direct: bool) -> None:
    wire(LOG, (CacheInvalidation, {"models": ["testapp.*"], "keys": ["{pk}"]}))
    tag = Tag.objects.create(name="t")
    add(place, "tags", models.ManyToManyField(Tag, related_name="+"), is_direct)
    add(place, "main", models.ForeignKey("testapp.Tag", models.CASCADE, null=True), is_direct)
    AuditEntry.objects.all().delete()
    row = place.objects.create(main=tag)
    row.tags.add(tag)
    row.tags.clear()
    told = [(entry.action, entry.changes) for entry in AuditEntry.objects.order_by("pk")]
    assert told[0][1]["main"] == [None, tag.pk]
    assert told[1:] == [
        ("m2m_add", {"tags": {"added": [tag.pk]}}),
        ("m2m_clear", {"tags": {"removed": [tag.pk]}}),
    ]


def test_the_first_write_of_a_later_relation_may_be_a_link(wire: Any, place: Any) -> None:
    wire(LOG)
    tag, row = Tag.objects.create(name="t"), place.objects.create()
    AuditEntry.objects.all().delete()
    add(place, "tags", models.ManyToManyField(Tag, related_name="places_of"))
    tag.places_of.add(row)
    assert [entry.action for entry in AuditEntry.objects.all()] == ["m2m_add"]


def test_a_row_that_a_later_key_points_to_is_no_orphan(wire: Any, make_model: Any) -> None:
    owner = make_model("LateOwner", models.Model)
    first = make_model(
        "LateFirst", models.Model, owner=models.ForeignKey(owner, models.PROTECT, null=True)
    )
    second = make_model("LateSecond", models.Model)
    wire((OrphanCleanup, {"models": [owner]}))
    add(second, "owner", models.ForeignKey(owner, models.PROTECT, null=True))
    kept, lost = owner.objects.create(), owner.objects.create()
    second.objects.create(owner=kept)
    for row in (kept, lost):
        first.objects.create(owner=row).delete()
    assert list(owner.objects.all()) == [kept]
    second.objects.get().delete()
    assert not owner.objects.exists()


def test_a_later_field_of_a_model_that_nobody_covers_is_no_matter(wire: Any, place: Any) -> None:
    wire((AuditLog, {"models": [Tag]}))
    add(place, "zip", models.CharField(max_length=5, default="0"))
    place.objects.create(zip="1")
    assert late.waiting == set()
    assert not AuditEntry.objects.exists()


def test_a_field_added_while_nothing_is_wired_is_known_to_the_next_wiring(
    wire: Any, place: Any
) -> None:
    with override_settings(SIGNAL_KIT={"RECEIVERS": [as_entry(LOG)]}):
        place.objects.create()
    add(place, "zip", models.CharField(max_length=5, default="0"))
    wire(LOG)
    place.objects.create(zip="1")
    assert get_changes("zip") == [None, [None, "1"]]


class InTwoLanguages:
    """Reads and writes another column, as an app for translations has it."""

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else instance.name_de

    def __set__(self, instance: Any, value: Any) -> None:
        instance.__dict__["name"] = value
        if "name_de" in instance.__dict__ and value:
            instance.name_de = value


@pytest.mark.parametrize("old_values", ["database", "snapshot"])
def test_an_attribute_that_is_put_in_the_place_of_a_column(
    wire: Any, place: Any, old_values: str
) -> None:
    wire((AuditLog, {"models": ["testapp.*"], "old_values": old_values}))
    add(place, "name_de", models.CharField(max_length=20, default=""))
    place.name = InTwoLanguages()
    row = place.objects.create(name_de="Tee")
    row.name_de = "Grüner Tee"
    row.save()
    row = place.objects.get()
    row.name_de = "Tee"
    row.save()
    assert get_changes("name") == [[None, "Tee"], ["Tee", "Grüner Tee"], ["Grüner Tee", "Tee"]]
    assert get_changes("name") == get_changes("name_de")


def test_threads_that_write_at_once_wire_a_later_field_once(wire: Any, place: Any) -> None:
    wire(LOG)
    place.objects.create()
    before = len(registry.connections)
    add(place, "zip", models.CharField(max_length=5, default="0"))
    in_threads(*[lambda: place.objects.create(zip="1")] * 4)
    assert get_changes("zip") == [None, *[[None, "1"]] * 4]
    assert len(registry.connections) == before


TRANSLATING = """
from django.apps import AppConfig
from django.db import models

class TranslatingConfig(AppConfig):
    name = "translating"

    def ready(self):
        from shop.models import Product
        for language in ("de", "fr", "es"):
            Product.add_to_class("name_" + language, models.CharField(max_length=20, default=""))
"""


@pytest.mark.parametrize("kit_is_first", [True, False])
def test_fields_that_another_app_adds_when_it_is_ready(tmp_path: Path, kit_is_first: bool) -> None:
    kit = [KIT, f"{KIT}.audit"]
    others = ["django.contrib.contenttypes", "django.contrib.auth", "shop", "translating"]
    project = Project(
        tmp_path,
        {
            "shop/__init__.py": "",
            "shop/models.py": """
from django.db import models

class Product(models.Model):
    name = models.CharField(max_length=20)

class Book(Product):
    pages = models.IntegerField(default=1)

class Cheap(Product):
    class Meta:
        proxy = True
""",
            "translating/__init__.py": "",
            "translating/apps.py": TRANSLATING,
        },
        [*kit, *others] if kit_is_first else [*others, *kit],
        RECEIVERS=[{"RECEIVER": f"{KIT}.receivers.AuditLog", "OPTIONS": {"models": ["shop.*"]}}],
    )
    printed = project.run(
        """
from django.core.management import call_command
call_command("migrate", run_syncdb=True, verbosity=0)
from django_signal_kit.audit.models import AuditEntry
from shop.models import Book, Cheap, Product
tea = Product.objects.create(name="tea", name_de="Tee")
tea.name_fr = "thé"
tea.save()
Cheap.objects.filter(pk=tea.pk).update(name_es="té")
Book.objects.create(name="book", name_de="Buch")
for entry in AuditEntry.objects.order_by("pk"):
    print(sorted(entry.changes.items()))
"""
    )
    assert printed.splitlines() == [
        "[('id', [None, 1]), ('name', [None, 'tea']), ('name_de', [None, 'Tee']), "
        "('name_es', [None, '']), ('name_fr', [None, ''])]",
        "[('name_fr', ['', 'thé'])]",
        "[('name_es', ['', 'té'])]",
        "[('id', [None, 2]), ('name', [None, 'book']), ('name_de', [None, 'Buch']), "
        "('name_es', [None, '']), ('name_fr', [None, '']), ('pages', [None, 1]), "
        "('product_ptr', [None, 2])]",
    ]


# Models


def test_a_later_model_is_heard_from_its_first_instance(wire: Any, make_model: Any) -> None:
    wire((Heard, {"models": ["testapp.*"]}))
    model = make_model("LateModel", models.Model)
    model()
    assert Heard.calls == ["LateModel made"]


class Tree(ModelBase):
    """Adds fields when the class is made, as metaclasses of trees do."""

    def __new__(cls, name: str, bases: Any, namespace: Any, **kwargs: Any) -> Any:
        made: Any = super().__new__(cls, name, bases, namespace, **kwargs)
        if not made._meta.abstract:
            models.PositiveIntegerField(default=0).contribute_to_class(made, "level")
            models.ForeignKey("self", models.CASCADE, null=True).contribute_to_class(made, "up")
        return made


def test_a_model_whose_metaclass_adds_fields(wire: Any) -> None:
    wire(LOG, (CacheInvalidation, {"models": ["testapp.*"], "keys": ["{pk}"]}))
    meta = type("Meta", (), {"app_label": "testapp"})
    model: Any = Tree("LateTree", (models.Model,), {"__module__": __name__, "Meta": meta})
    try:
        with connection.schema_editor() as editor:
            editor.create_model(model)
        root = model.objects.create()
        leaf = model.objects.create(level=1, up=root)
        assert get_changes("level") == [[None, 0], [None, 1]]
        assert get_changes("up") == [None, [None, root.pk]]
        leaf.delete()
    finally:
        with connection.schema_editor() as editor:
            editor.delete_model(model)
        del apps.all_models["testapp"]["latetree"]
        apps.clear_cache()


def test_models_that_name_each_other_by_text(wire: Any, make_model: Any) -> None:
    everything = {"models": ["testapp.*"]}
    wire(
        LOG,
        (Heard, everything),
        (CacheInvalidation, {**everything, "keys": ["{pk}"]}),
        (LastModified, everything),
    )

    def define(name: str, **fields: Any) -> Any:
        meta = type("Meta", (), {"app_label": "testapp"})
        return type(name, (models.Model,), {"__module__": __name__, "Meta": meta, **fields})

    band = define(
        "LateBand",
        label=models.ForeignKey("testapp.LateLabel", models.CASCADE),
        players=models.ManyToManyField("LatePlayer", through="LatePart", related_name="bands"),
        fans=models.ManyToManyField("LatePlayer", related_name="likes"),
    )
    label = define("LateLabel", best=models.ForeignKey("LateBand", models.SET_NULL, null=True))
    player = define("LatePlayer", twin=models.OneToOneField("self", models.CASCADE, null=True))
    part = define(
        "LatePart",
        band=models.ForeignKey("LateBand", models.CASCADE),
        player=models.ForeignKey("LatePlayer", models.CASCADE),
    )
    made = [label, band, player, part]
    try:
        with connection.schema_editor() as editor:
            for model in made:
                editor.create_model(model)
        records = label.objects.create()
        beatles = band.objects.create(label=records)
        records.best = beatles
        records.save()
        paul = player.objects.create()
        AuditEntry.objects.all().delete()
        Heard.calls.clear()
        beatles.fans.add(paul)
        paul.likes.clear()
        beatles.players.add(paul)
        assert [call for call in Heard.calls if "post" in call] == [
            "LateBand post_add",
            "LatePlayer post_clear",
            "LateBand post_add",
        ]
        told = [(entry.action, list(entry.changes)) for entry in AuditEntry.objects.order_by("pk")]
        assert [action for action, _ in told] == ["m2m_add", "m2m_clear", "create"]
    finally:
        with connection.constraint_checks_disabled(), connection.schema_editor() as editor:
            for model in made:
                editor.delete_model(model)
        for name in ("lateband", "latelabel", "lateplayer", "latepart", "lateband_fans"):
            apps.all_models["testapp"].pop(name, None)
        apps.clear_cache()


def test_the_other_side_of_a_later_models_links_is_heard(wire: Any, make_model: Any) -> None:
    wire((CacheInvalidation, {"models": [Tag], "keys": ["tag:{pk}"]}))
    tag = Tag.objects.create(name="t")
    shelf = make_model("LateShelf", models.Model, tags=models.ManyToManyField(Tag))
    row = shelf.objects.create()
    cache.set(f"tag:{tag.pk}", "page")
    row.tags.add(tag)
    assert cache.get(f"tag:{tag.pk}") is None


def test_a_row_that_a_later_model_points_to_is_no_orphan(wire: Any, make_model: Any) -> None:
    owner = make_model("LateOwner", models.Model)
    first = make_model(
        "LateFirst", models.Model, owner=models.ForeignKey(owner, models.PROTECT, null=True)
    )
    wire((OrphanCleanup, {"models": [owner]}))
    second = make_model(
        "LateSecond", models.Model, owner=models.ForeignKey(owner, models.PROTECT, null=True)
    )
    kept = owner.objects.create()
    second.objects.create(owner=kept)
    first.objects.create(owner=kept).delete()
    assert list(owner.objects.all()) == [kept]
    second.objects.get().delete()
    assert not owner.objects.exists()


# Everything at once

OPTIONS: dict[str, dict[str, Any]] = {
    "AuditLog": {"models": ["__all__"]},
    "CacheInvalidation": {"models": ["testapp.*"], "keys": ["{pk}"]},
    "ConnectionSetup": {"sqlite": {"foreign_keys": True}},
    "CreateRelated": {"related": "belongings.Profile"},
    "DeletionLog": {"models": ["testapp.*"]},
    "Email": {
        "models": ["auth.User"],
        "subject_template": "signal_kit/welcome/subject.txt",
        "text_template": "signal_kit/welcome/body.txt",
    },
    "ExceptionAlert": {},
    "FileCleanup": {"models": ["testapp.*"]},
    "InitialAttributes": {"models": ["testapp.*"], "attributes": {"looked_at": list}},
    "InstanceMonitor": {"models": ["testapp.*"]},
    "LastModified": {"models": ["testapp.*"]},
    "LoginLog": {},
    "M2MCount": {"models": ["testapp.*"], "relation": "tags", "field": "stock"},
    "M2MLimit": {"models": ["testapp.Product"], "relation": "tags", "maximum": 99},
    "MigrationActions": {"sql": []},
    "ModelExtension": {"models": ["testapp.*"], "attributes": {"shouted": "yes"}},
    "Normalize": {"models": ["testapp.*"], "fields": {"name": ["strip"]}},
    "OrphanCleanup": {"models": ["testapp.Category"]},
    "RequestTimer": {},
    "Validate": {"models": ["testapp.Tag"]},
    "WelcomeEmail": {},
}


def get_everything() -> dict[str, Any]:
    """Each ready-made receiver that can be wired with what the tests have."""
    entries = []
    for name in ready_made.__all__:
        entry = {"RECEIVER": f"{KIT}.receivers.{name}", "OPTIONS": OPTIONS.get(name, {})}
        try:
            with override_settings(SIGNAL_KIT={"RECEIVERS": [entry]}):
                entries.append(entry)
        except ImproperlyConfigured as error:
            print(name, error)
    return {"RECEIVERS": entries}


def test_other_apps_may_come_and_go_with_every_ready_made_receiver(tmp_path: Path) -> None:
    everything = get_everything()
    assert len(everything["RECEIVERS"]) >= len(ready_made.__all__)
    package = tmp_path / "late_moons"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "models.py").write_text(
        """
from django.db import models

class Moon(models.Model):
    name = models.CharField(max_length=9)
    around = models.ForeignKey("late_moons.Planet", models.CASCADE, null=True)
    tags = models.ManyToManyField("testapp.Tag")
    last = models.ManyToManyField("Planet", through="Orbit", related_name="moons")

class Planet(models.Model):
    name = models.CharField(max_length=9)

class Orbit(models.Model):
    moon = models.ForeignKey(Moon, models.CASCADE)
    planet = models.ForeignKey(Planet, models.CASCADE)
"""
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        with override_settings(SIGNAL_KIT=everything):
            before = {connection.uid for connection in registry.connections}
            with modify_settings(INSTALLED_APPS={"append": "late_moons"}):
                moon = apps.get_model("late_moons.Moon")
                assert moon in covered.saved
                assert moon.tags.through in covered.linked
                Product.objects.create(name="tea").tags.add(Tag.objects.create(name="t"))
            rest = [name for name in settings.INSTALLED_APPS if "humanize" not in name]
            with override_settings(INSTALLED_APPS=rest):
                Tag.objects.create(name="u")
            assert {connection.uid for connection in registry.connections} == before
            Tag.objects.create(name="v")
    assert registry.connections == []
    assert AuditEntry.objects.filter(object_text__in="tuv", action="create").count() == 3


# Signals of others


@pytest.mark.parametrize("more", [{}, {"enter": True}, {"enter": False}, {"value": None}])
@pytest.mark.parametrize(
    "setting", ["SIGNAL_KIT", "INSTALLED_APPS", "AUTH_USER_MODEL", "DEBUG", "NO_SETTING"]
)
def test_a_setting_is_said_to_have_changed_by_somebody_who_says_no_more(
    wire: Any, setting: str, more: dict[str, Any]
) -> None:
    wire(LOG)
    before = [(c.uid, c.sender) for c in registry.connections]
    count = len(post_save.receivers)
    if "enter" in more:
        setting_changed.send(sender=None, setting=setting, **more)
    else:
        # Receivers of django.test cannot do without it.
        rewire(sender=None, signal=setting_changed, setting=setting, **more)
    assert [(c.uid, c.sender) for c in registry.connections] == before
    assert len(post_save.receivers) == count
    Tag.objects.create(name="t")
    assert [entry.object_text for entry in AuditEntry.objects.all()] == ["t"]


def test_a_wiring_that_fails_half_way_leaves_what_was(wire: Any) -> None:
    wire(LOG)
    before = list(registry.connections)
    entries = [as_entry((cls, {"models": ["testapp.*"]})) for cls in (Heard, Breaking)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "SIGNAL_KIT", {"RECEIVERS": entries})
        with pytest.raises(ZeroDivisionError):
            wire_now()
    assert registry.connections == before
    Tag.objects.create(name="t")
    assert Heard.calls == []
    assert AuditEntry.objects.count() == 1


class Breaking(ModelReceiver):
    def post_save(self, **kwargs: Any) -> None: ...

    def get_old_fields(self, model: Any) -> Any:
        return [1 / 0]
