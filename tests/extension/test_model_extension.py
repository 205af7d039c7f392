"""What is added to models, to which, and when."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.projects import KIT, Project

MODELS = """
from django.db import models

class Stamped(models.Model):
    class Meta:
        abstract = True

class Category(Stamped):
    name = models.CharField(max_length=100)

class Product(Stamped):
    name = models.CharField(max_length=100)
    category = models.ForeignKey(Category, models.CASCADE, null=True)

class Book(Product):
    pages = models.IntegerField(default=0)

class CheapProduct(Product):
    class Meta:
        proxy = True
"""

HEAD = """
from django.db import models
from django_signal_kit import register
from django_signal_kit.receivers import ModelExtension
"""

RATING = (
    HEAD
    + """
def shout(product):
    return product.name.upper()

class Best(models.Manager):
    def get_queryset(self):
        return super().get_queryset().filter(rating=5)

@register(models=["shop.Product"])
class Rating(ModelExtension):
    fields = {"rating": models.IntegerField(default=3)}
    managers = {"best": Best()}
    attributes = {"shout": shout, "is_good": property(lambda product: product.rating > 3)}
"""
)

SHOW = """
from shop import models
for model in (models.Category, models.Product, models.Book, models.CheapProduct):
    print(
        model.__name__,
        [field.name for field in model._meta.fields],
        hasattr(model, "shout"),
        hasattr(model, "best"),
    )
"""

MIGRATE = "from django.core.management import call_command as call\n"


def make(
    tmp_path: Path,
    extensions: str = RATING,
    *,
    apps: list[str] | None = None,
    files: dict[str, str] | None = None,
    settings: str = "",
    **signal_kit: Any,
) -> Project:
    return Project(
        tmp_path,
        {
            "shop/__init__.py": "",
            "shop/models.py": MODELS,
            "shop/extensions.py": extensions,
            **(files or {}),
        },
        apps or ["django.contrib.contenttypes", "django.contrib.auth", "shop", KIT],
        settings,
        **signal_kit,
    )


@pytest.mark.parametrize(
    "apps",
    [
        [KIT, "shop"],
        ["shop", KIT],
        ["shop", "django.contrib.contenttypes", "django.contrib.auth", KIT],
        ["django.contrib.contenttypes", "django.contrib.auth", KIT, "shop"],
    ],
)
def test_a_model_and_what_inherits_from_it_are_extended_wherever_the_kit_stands(
    tmp_path: Path, apps: list[str]
) -> None:
    assert make(tmp_path, apps=apps).run(SHOW).splitlines() == [
        "Category ['id', 'name'] False False",
        "Product ['id', 'name', 'category', 'rating'] True True",
        "Book ['id', 'name', 'category', 'rating', 'product_ptr', 'pages'] True True",
        "CheapProduct ['id', 'name', 'category', 'rating'] True True",
    ]


def test_all_of_it_works_with_rows(tmp_path: Path) -> None:
    printed = make(tmp_path).run(
        MIGRATE
        + """
call("migrate", run_syncdb=True, verbosity=0)
from shop.models import Book, Product
tea, pot = Product.objects.create(name="tea"), Product.objects.create(name="pot", rating=5)
book = Book.objects.create(name="book", rating=5, pages=10)
print(tea.rating, tea.shout(), tea.is_good, pot.is_good, book.shout())
print(sorted(product.name for product in Product.best.all()))
print(Product.objects.filter(rating__lt=5).count(), Product._default_manager.name)
print(Product(9, "jug", None, 4).rating)
"""
    )
    assert printed.splitlines() == ["3 TEA False True BOOK", "['book', 'pot']", "1 objects", "4"]


def test_makemigrations_adds_the_field_once(tmp_path: Path) -> None:
    project = make(tmp_path, extensions="", files={"shop/migrations/__init__.py": ""})
    project.run(MIGRATE + "call('makemigrations', 'shop', verbosity=0)")
    (tmp_path / "shop" / "extensions.py").write_text(RATING, encoding="utf-8")
    printed = project.run(
        MIGRATE + "call('makemigrations', 'shop'); call('makemigrations', 'shop')\n"
    )
    assert printed.count("Add field rating to product") == 1
    assert printed.count("No changes detected") == 1
    assert "No changes" in project.run(MIGRATE + "call('makemigrations', check=True)")
    names = sorted(path.name for path in (tmp_path / "shop" / "migrations").glob("0*.py"))
    assert names == ["0001_initial.py", "0002_product_rating.py"]
    assert (
        project.run(
            MIGRATE
            + """
call("migrate", verbosity=0)
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from shop.models import Product
Product.objects.create(name="tea", rating=4)
state = MigrationLoader(connection).project_state(("shop", "0002_product_rating"))
past = state.apps.get_model("shop", "Product")
before = MigrationLoader(connection).project_state(("shop", "0001_initial"))
first = before.apps.get_model("shop", "Product")
print(past.objects.get().rating, hasattr(past, "shout"), hasattr(first, "rating"))
"""
        ).strip()
        == "4 False False"
    )


@pytest.mark.parametrize(
    ("options", "extended"),
    [
        ({"models": ["shop.*"]}, ["Category", "Product", "Book", "CheapProduct"]),
        ({"models": ["shop.Category"]}, ["Category"]),
        ({"models": ["shop.models.Stamped"]}, ["Category", "Product", "Book", "CheapProduct"]),
        (
            {"models": ["shop.*"], "exclude": ["shop.Category"]},
            ["Product", "Book", "CheapProduct"],
        ),
        ({"models": ["__all__"], "exclude": ["shop.Product"]}, ["Category"]),
        ({"models": ["shop.Book"]}, ["Book"]),
    ],
)
def test_models_are_matched_as_by_every_receiver(
    tmp_path: Path, options: dict[str, Any], extended: list[str]
) -> None:
    project = make(
        tmp_path,
        HEAD
        + """
class Shouting(ModelExtension):
    fields = {"volume": models.IntegerField(default=1)}
    attributes = {"shout": lambda row: row.name}
""",
        RECEIVERS=[{"RECEIVER": "shop.extensions.Shouting", "OPTIONS": options}],
    )
    printed = project.run(
        SHOW
        + """
from django.contrib.auth.models import User
print("User", [field.name for field in User._meta.fields], hasattr(User, "shout"))
"""
    )
    lines = printed.splitlines()
    assert [line.split()[0] for line in lines[:4] if "True" in line] == extended
    assert [line.split()[0] for line in lines[:4] if "'volume'" in line] == extended
    # A pattern leaves fields of others alone, and adds the rest.
    assert "volume" not in lines[4]
    assert lines[4].endswith(str(options["models"] == ["__all__"]))


def test_a_predicate_decides(tmp_path: Path) -> None:
    project = make(
        tmp_path,
        HEAD
        + """
@register(models=["shop.*"])
class Shouting(ModelExtension):
    def should_extend(self, model):
        return any(field.name == "pages" for field in model._meta.local_fields)

    def get_fields(self, model):
        return {f"{model._meta.model_name}_no": models.IntegerField(null=True)}
""",
    )
    assert [line for line in project.run(SHOW).splitlines() if "_no" in line] == [
        "Book ['id', 'name', 'category', 'product_ptr', 'pages', 'book_no'] False False"
    ]


def test_the_ready_made_one_takes_all_from_the_settings(tmp_path: Path) -> None:
    project = make(
        tmp_path,
        "",
        settings="""
SIGNAL_KIT = {
    "RECEIVERS": [
        {
            "RECEIVER": "django_signal_kit.receivers.ModelExtension",
            "OPTIONS": {
                "models": ["shop.Product", "auth.User"],
                "attributes": {"shout": lambda row: str(row).upper()},
            },
        },
    ],
}
""",
    )
    assert (
        project.run(
            "from django.contrib.auth.models import User\nprint(User(username='ann').shout())"
        )
        == "ANN\n"
    )


def test_each_model_has_a_field_of_its_own(tmp_path: Path) -> None:
    project = make(
        tmp_path,
        HEAD
        + """
from functools import cached_property

@register(models=["shop.Category", "shop.Product"])
class Both(ModelExtension):
    fields = {
        "parent": models.ForeignKey("shop.Category", models.CASCADE, "%(class)s_kids"),
        "friends": models.ManyToManyField("shop.Product", related_name="+"),
        "kind": models.CharField(choices={"a": "Anna"}, max_length=1, default="a"),
    }
    attributes = {
        "length": cached_property(lambda row: len(row.name)),
        "__str__": lambda row: row.name,
    }
""",
    )
    printed = project.run(
        """
from shop.models import Category, Product
for model in (Category, Product):
    row = model(name="Tea")
    field = model._meta.get_field("parent")
    print(field.model is model, row.get_kind_display(), row.length, row.length, str(row))
    print(sorted(f.name for f in Category._meta.related_objects if f.related_model is model))
print(Product.friends.through._meta.label)
"""
    )
    assert printed.splitlines() == [
        "True Anna 3 3 Tea",
        "['category_kids']",
        "True Anna 3 3 Tea",
        "['product', 'product_kids']",
        "shop.Product_friends",
    ]


@pytest.mark.parametrize(
    ("extensions", "told"),
    [
        (
            "@register(models=['auth.User'])\nclass Wide(ModelExtension):\n"
            "    fields = {'size': models.IntegerField(default=1)}\n",
            ["Wide adds the field 'size' to auth.User", "MIGRATION_MODULES", "E039"],
        ),
        (
            "@register(models=['shop.Product'])\nclass Wide(ModelExtension):\n"
            "    fields = {'name': models.IntegerField(default=1)}\n",
            ["Wide cannot add 'name' to shop.Product: the model has something", "E041"],
        ),
        (
            "@register(models=['shop.Product'])\nclass Wide(ModelExtension):\n"
            "    attributes = {'save': print}\n",
            ["Wide cannot add 'save' to shop.Product", "E041"],
        ),
        (
            "@register(models=['shop.Product'])\nclass Wide(ModelExtension):\n"
            "    attributes = {'a b': 1}\n",
            ["cannot add 'a b' to shop.Product: it is no name", "E041"],
        ),
        (
            "@register(models=['shop.Product'])\nclass Wide(ModelExtension):\n"
            "    fields = {'key': models.IntegerField(primary_key=True)}\n",
            ["cannot add 'key' to shop.Product: the model has a primary key", "E041"],
        ),
        (
            "@register(models=['shop.Prodct'])\nclass Wide(ModelExtension):\n"
            "    attributes = {'size': 1}\n",
            ["'shop.Prodct'", "Did you mean 'shop.Product'?", "E008"],
        ),
        (
            "@register(models=['shop.Product'])\nclass Wide(ModelExtension):\n"
            "    attributes = [1]\n",
            ["The option 'attributes' of shop.extensions.Wide is [1]", "E007"],
        ),
        (
            "@register(models=['shop.Product'])\nclass One(ModelExtension):\n"
            "    attributes = {'size': 1}\n"
            "@register(models=['shop.Product'])\nclass Two(ModelExtension):\n"
            "    attributes = {'size': 2}\n",
            ["Two cannot add 'size' to shop.Product: the model has something", "E041"],
        ),
        ("import no_such_module\n", ["ModuleNotFoundError", "no_such_module"]),
    ],
)
def test_what_cannot_be_stops_the_start(tmp_path: Path, extensions: str, told: list[str]) -> None:
    message = make(tmp_path, HEAD + extensions).fail()
    for part in told:
        assert part in message


@pytest.mark.parametrize(
    "line",
    ["from shop.models import Product", "from django.contrib.auth.models import User"],
)
@pytest.mark.parametrize("place", [0, 2])
def test_an_extension_that_imports_models_is_named(tmp_path: Path, line: str, place: int) -> None:
    apps = ["django.contrib.contenttypes", "django.contrib.auth", KIT]
    apps.insert(place, "shop")
    message = make(tmp_path, line, apps=apps).fail()
    for part in ("'shop.extensions' imports models", "inside its functions", "E042"):
        assert part in message


def test_fields_come_too_late_from_a_signals_module(tmp_path: Path) -> None:
    late = (
        "@register(models=['shop.Product'])\nclass Late(ModelExtension):\n"
        "    {} = {{'size': {}}}\n"
    )
    for kind, value in (
        ("fields", "models.IntegerField(default=1)"),
        ("managers", "models.Manager()"),
    ):
        project = make(tmp_path, "", files={"shop/signals.py": HEAD + late.format(kind, value)})
        message = project.fail()
        for part in ("Late comes too late to add 'size' to shop.Product", "extensions.py", "E040"):
            assert part in message
    project = make(tmp_path, "", files={"shop/signals.py": HEAD + late.format("attributes", "7")})
    assert project.run("from shop.models import Book; print(Book.size)") == "7\n"


def test_fields_of_an_installed_package_whose_migrations_are_yours(tmp_path: Path) -> None:
    extension = (
        HEAD + "@register(models=['auth.Group'])\nclass Wide(ModelExtension):\n"
        "    fields = {'size': models.IntegerField(default=1)}\n"
    )
    project = make(
        tmp_path, extension, settings='MIGRATION_MODULES = {"auth": "shop.auth_migrations"}\n'
    )
    assert "size" in project.run(
        "from django.contrib.auth.models import Group; print(Group._meta.fields)"
    )


def test_a_package_beside_the_project_is_foreign(tmp_path: Path) -> None:
    package = "venv/lib/site-packages"
    project = make(
        tmp_path,
        HEAD + "@register(models=['blog.Post'])\nclass Wide(ModelExtension):\n"
        "    fields = {'size': models.IntegerField(default=1)}\n",
        files={
            f"{package}/blog/__init__.py": "",
            f"{package}/blog/models.py": (
                "from django.db import models\nclass Post(models.Model):\n    pass\n"
            ),
        },
        settings=f"import sys; sys.path.append({str(tmp_path / package)!r})\n",
        apps=["shop", "blog", KIT],
    )
    message = project.fail()
    assert "Wide adds the field 'size' to blog.Post" in message
    assert "E039" in message


def test_a_module_that_is_excluded_and_a_kit_that_does_not_look_extend_nothing(
    tmp_path: Path,
) -> None:
    code = "from shop.models import Product; print(hasattr(Product, 'rating'))"
    assert make(tmp_path, DISCOVER_EXCLUDE=["shop"]).run(code) == "False\n"
    simple = ["shop", f"{KIT}.apps.SimpleSignalKitConfig"]
    assert make(tmp_path, apps=simple).run(code) == "False\n"
    entry = {"RECEIVER": "shop.extensions.Rating", "OPTIONS": {"models": ["shop.Product"]}}
    plain = RATING.replace('@register(models=["shop.Product"])', "")
    assert make(tmp_path, plain, apps=simple, RECEIVERS=[entry]).run(code) == "True\n"


def test_a_swapped_model_and_one_that_django_makes_are_left_alone(tmp_path: Path) -> None:
    project = make(
        tmp_path,
        HEAD + "@register(models=['__all__'])\nclass Wide(ModelExtension):\n"
        "    fields = {'size': models.IntegerField(default=1)}\n"
        "    attributes = {'shout': 1}\n",
        files={
            "shop/models.py": MODELS
            + "from django.contrib.auth.models import AbstractUser\n"
            + "class Person(AbstractUser):\n    pass\n"
        },
        settings='AUTH_USER_MODEL = "shop.Person"\n',
    )
    printed = project.run(
        """
from django.contrib.auth.models import User
from shop.models import Person
through = Person.groups.through
print(hasattr(User, "shout"), hasattr(through, "shout"), Person.shout, Person(size=2).size)
"""
    )
    assert printed == "False False 1 2\n"


def test_showreceivers_and_the_checks_know_it(tmp_path: Path) -> None:
    printed = make(tmp_path).run(MIGRATE + "call('showreceivers'); call('check')")
    assert "class_prepared" in printed
    assert "shop.extensions.Rating" in printed
    assert "no issues" in printed
    nothing = RATING.replace("shop.Product", "shop.*")
    result = make(tmp_path, nothing, files={"shop/models.py": ""}).start(MIGRATE + "call('check')")
    assert "signal_kit.W001" in result.stderr


def test_settings_of_a_test_wire_anew_without_adding_twice(tmp_path: Path) -> None:
    printed = make(tmp_path).run(
        """
from django.test.utils import override_settings
from shop.models import Product
late = {
    "RECEIVER": "django_signal_kit.receivers.ModelExtension",
    "OPTIONS": {"models": ["shop.*"], "attributes": {"late": 1}},
}
for _ in range(2):
    with override_settings(SIGNAL_KIT={"RECEIVERS": [late]}):
        print(Product.late, Product.shout, len(Product._meta.fields))
    print(hasattr(Product, "late"), len(Product._meta.fields))
"""
    )
    assert [line.split()[0] for line in printed.splitlines()] == ["1", "False", "1", "False"]
    assert {line.split()[-1] for line in printed.splitlines()} == {"4"}


def test_a_model_that_is_made_later_is_extended(tmp_path: Path) -> None:
    printed = make(tmp_path, RATING.replace("shop.Product", "shop.*")).run(
        """
from django.db import models
class Tag(models.Model):
    class Meta:
        app_label = "shop"
print([field.name for field in Tag._meta.fields], Tag.best)
"""
    )
    assert printed.startswith("['id', 'rating']")


def test_the_start_gives_no_warning(tmp_path: Path) -> None:
    make(tmp_path).run("", "-X", "dev", "-W", "error")
