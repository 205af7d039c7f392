"""Who takes Django's own methods is heard all the same, or named."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from pathlib import Path
from typing import Any

import pytest
from django.db import models
from django.db.models import Model, QuerySet
from django.test.utils import modify_settings, override_settings
from django.utils.functional import SimpleLazyObject

from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.checks import check_signal_kit
from django_signal_kit.receivers import AuditLog
from django_signal_kit.writes import hooks
from django_signal_kit.writes.captured import leads_to, mark
from tests.conftest import as_entry
from tests.projects import KIT, Project

# While models are made

TAKING = """
from functools import wraps
from django.db import models
from django.db.models.fields.related_descriptors import (
    ManyToManyDescriptor, create_forward_many_to_many_manager,
)
from django.db.models.signals import class_prepared
from django.utils.functional import cached_property

class Tracked:
    def contribute_to_class(self, cls, name):
        class_prepared.connect(self.patch, sender=cls, weak=False)

    def patch(self, sender, **kwargs):
        original = sender.save_base

        @wraps(original)
        def save_base(instance, *args, **kwargs):
            return original(instance, *args, **kwargs)

        sender.save_base = save_base

class OwnDescriptor(ManyToManyDescriptor):
    @cached_property
    def related_manager_cls(self):
        base = self.rel.model._default_manager.__class__
        made = create_forward_many_to_many_manager(base, self.rel, reverse=self.reverse)
        return type("OwnManager", (made,), {})

class OwnManyToMany(models.ManyToManyField):
    def contribute_to_class(self, cls, name, **kwargs):
        super().contribute_to_class(cls, name, **kwargs)
        setattr(cls, self.name, OwnDescriptor(self.remote_field))

def passed_on(original):
    return lambda self, *args, **kwargs: original(self, *args, **kwargs)

class Rows(models.QuerySet):
    update = passed_on(models.QuerySet.update)
    bulk_create = passed_on(models.QuerySet.bulk_create)
"""

MODELS = """
from django.db import models
from taking import OwnManyToMany, Rows, Tracked

class Tag(models.Model):
    name = models.CharField(max_length=20)

class Product(models.Model):
    name = models.CharField(max_length=20)
    tags = OwnManyToMany(Tag)
    tracked = Tracked()
    objects = Rows.as_manager()

class Book(Product):
    pages = models.IntegerField(default=0)
"""

WRITE = """
from django.core.management import call_command
call_command("migrate", run_syncdb=True, verbosity=0)
from django.core.checks import run_checks
from django_signal_kit.audit.models import AuditEntry
from shop.models import Book, Product, Tag
tea = Product.objects.create(name="tea")
book = Book.objects.create(name="book")
tag = Tag.objects.create(name="tag")
tea.tags.add(tag)
tea.tags.clear()
Product.objects.filter(pk=tea.pk).update(name="Tea")
Product.objects.bulk_create([Product(name="pot")])
print([entry.action for entry in AuditEntry.objects.order_by("pk")])
for message in run_checks():
    if message.id == "signal_kit.W007":
        print(message.msg)
"""

ALL = ["create", "create", "create", "m2m_add", "m2m_clear", "update", "create"]

DJANGO = ["django.contrib.contenttypes", "django.contrib.auth"]
LOG = {"RECEIVER": f"{KIT}.receivers.AuditLog", "OPTIONS": {"models": ["shop.*"]}}


def make(path: Path, apps: list[str], **files: str) -> Project:
    return Project(
        path,
        {
            "shop/__init__.py": "",
            "shop/models.py": MODELS,
            "taking.py": TAKING,
            **{name.replace("__", "/") + ".py": content for name, content in files.items()},
        },
        apps,
        RECEIVERS=[LOG],
    )


@pytest.mark.parametrize(
    "apps",
    [
        [KIT, f"{KIT}.audit", "shop", *DJANGO],
        ["shop", *DJANGO, f"{KIT}.audit", KIT],
        [*DJANGO, "shop", KIT, f"{KIT}.audit"],
    ],
)
def test_what_is_taken_while_models_are_made_is_heard_wherever_the_kit_stands(
    tmp_path: Path, apps: list[str]
) -> None:
    assert make(tmp_path, apps).run(WRITE).splitlines() == [str(ALL)]


EARLY = """
from django.apps import AppConfig
import taking

class EarlyConfig(AppConfig):
    name = "early"

    def ready(self):
        pass
"""


def test_what_is_taken_before_the_kit_is_there_is_named(tmp_path: Path) -> None:
    taking = TAKING.replace("original = sender.save_base", "original = save_base_of_django")
    taking = taking.replace(
        "class Tracked:", "save_base_of_django = models.Model.save_base\n\nclass Tracked:"
    )
    files = {"early____init__": "", "early__apps": EARLY, "taking": taking}
    printed = make(tmp_path, ["early", *DJANGO, "shop", KIT, f"{KIT}.audit"], **files).run(WRITE)
    told, *warnings = printed.splitlines()
    # The saves are heard, in no unit of work.
    assert told == "['create', 'create', 'create', 'm2m_add', 'm2m_clear']"
    assert sorted(message.split(" goes past")[0] for message in warnings) == [
        f"shop.{found}"
        for found in (
            "Book.objects.bulk_create()",
            "Book.objects.update()",
            "Book.save()",
            "Product.objects.bulk_create()",
            "Product.objects.update()",
            "Product.save()",
            "Product.tags",
        )
    ]
    assert (
        "shop.Product.tags goes past the kit: it calls Django's own "
        "create_forward_many_to_many_manager, which was taken before the kit was there. Receivers "
        "do not hear all that is written by it."
    ) in warnings
    in_front = make(tmp_path, [KIT, f"{KIT}.audit", "early", *DJANGO, "shop"], **files)
    assert in_front.run(WRITE).splitlines() == [str(ALL)]


PATCHING = """
from functools import wraps
from django.apps import AppConfig

class PatchingConfig(AppConfig):
    name = "patching"

    def ready(self):
        from django.db.models import Model
        original = Model.save_base

        @wraps(original)
        def save_base(self, *args, **kwargs):
            calls.append(type(self).__name__)
            return original(self, *args, **kwargs)

        Model.save_base = save_base

calls = []
"""


@pytest.mark.parametrize("kit_is_first", [True, False])
def test_what_others_have_put_in_front_of_the_hooks_stays_there(
    tmp_path: Path, kit_is_first: bool
) -> None:
    kit = [KIT, f"{KIT}.audit"]
    apps = (
        [*kit, *DJANGO, "patching", "shop"]
        if kit_is_first
        else ["patching", *DJANGO, "shop", *kit]
    )
    files = {"patching____init__": "", "patching__apps": PATCHING}
    printed = make(tmp_path, apps, **files).run(
        """
from django.core.management import call_command
from django.test.utils import override_settings
call_command("migrate", run_syncdb=True, verbosity=0)
from django_signal_kit.audit.models import AuditEntry
from patching.apps import calls
from shop.models import Tag

def save():
    calls.clear()
    AuditEntry.objects.all().delete()
    tag = Tag(name="tag")
    tag.save()
    print(calls, AuditEntry.objects.count())

save()
with override_settings(SIGNAL_KIT={}):
    save()
save()
"""
    )
    assert printed.splitlines() == ["['Tag'] 1", "['Tag'] 0", "['Tag'] 1"]


@pytest.mark.django_db(transaction=True)
def test_a_class_made_while_the_kit_is_not_installed_is_named(make_model: Any) -> None:
    kit = {"RECEIVERS": [as_entry((AuditLog, {"models": ["testapp.*"]}))]}

    with modify_settings(INSTALLED_APPS={"remove": [KIT, f"{KIT}.audit"]}):
        past = make_model(
            "Past",
            models.Model,
            name=models.CharField(max_length=9),
            save_base=partial_method(Model.save_base),
        )
    with override_settings(SIGNAL_KIT=kit):
        heard = make_model(
            "Heard",
            models.Model,
            name=models.CharField(max_length=9),
            save_base=partial_method(Model.save_base),
        )
        for model in (past, heard):
            row = model.objects.create(name="old")
            row.name = "new"
            row.save()
        found = [
            str(message.msg) for message in check_signal_kit() if message.id == "signal_kit.W007"
        ]
        assert [message.split(" goes")[0] for message in found] == ["testapp.Past.save()"]
        told = [
            (entry.action, entry.changes["name"]) for entry in AuditEntry.objects.order_by("pk")
        ]
        assert told[-2:] == [("create", [None, "old"]), ("update", ["old", "new"])]


def partial_method(original: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, *args, **kwargs: original(self, *args, **kwargs)


@pytest.mark.django_db(transaction=True)
def test_what_was_taken_from_the_kit_does_nothing_once_the_kit_is_gone(make_model: Any) -> None:
    kit = {"RECEIVERS": [as_entry((AuditLog, {"models": ["testapp.*"]}))]}
    with override_settings(SIGNAL_KIT=kit):
        taken = make_model("Taken", models.Model, save_base=partial_method(Model.save_base))
        taken.objects.create()
    assert not hasattr(Model.save_base, "signal_kit_hook")
    taken.objects.create()
    with override_settings(SIGNAL_KIT=kit):
        taken.objects.create()
    assert [entry.object_pk for entry in AuditEntry.objects.order_by("pk")] == ["1", "3"]


# What can be seen of a function


def plain() -> None: ...


def by_global() -> None:
    plain()


def by_default(function: Any = plain) -> None: ...


def by_name(*, function: Any = plain) -> None: ...


def by_closure() -> Any:
    taken = plain
    return lambda: taken()


@wraps(plain)
def by_wraps() -> None: ...


class Holder:
    def method(self) -> None:
        plain()


@pytest.mark.parametrize(
    "function",
    [
        plain,
        by_global,
        by_default,
        by_name,
        by_closure(),
        by_wraps,
        partial(plain),
        partial(print, plain),
        partial(print, key=plain),
        Holder().method,
        staticmethod(plain),
    ],
)
def test_what_a_function_calls_is_found(function: Any) -> None:
    assert leads_to(function, plain)
    # However deep it is.
    assert leads_to(partial_method(partial(function)), plain)
    assert not leads_to(function, QuerySet.update)


def test_what_goes_through_a_hook_is_not_past_it() -> None:
    hook = mark(partial_method(plain))
    assert leads_to(hook, hook)
    assert not leads_to(hook, plain)
    # What wraps a hook gets its attributes.
    assert leads_to(wraps(hook)(partial_method(plain)), plain)
    assert not leads_to(wraps(hook)(partial_method(hook)), plain)


def test_nothing_lazy_is_made_and_nothing_endless_is_followed() -> None:
    made: list[int] = []
    lazy = SimpleLazyObject(lambda: made.append(1))
    around: list[Any] = []

    def again() -> Any:
        return lazy, around, around_again

    around_again = again
    assert not leads_to(again, plain)
    assert made == []


def test_a_hook_is_put_in_once(wire: Any) -> None:
    wire((AuditLog, {"models": ["testapp.*"]}))
    before = Model.save_base
    hooks.install()
    assert Model.save_base is before
