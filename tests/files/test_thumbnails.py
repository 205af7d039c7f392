"""Packages that make pictures of pictures, each in a project of its own: what they have made goes
with the picture, and a name that is used again never shows yesterday's."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PROJECT = """
import io, sys, tempfile
from pathlib import Path
import django
from django.apps import AppConfig, apps
from django.conf import settings
from django.core.files.base import ContentFile
from django.test import override_settings

MEDIA = tempfile.mkdtemp()
OWN = ["__main__.ShopConfig"]

class ShopConfig(AppConfig):
    name, label = "__main__", "shop"
    default_auto_field = "django.db.models.BigAutoField"

settings.configure(
    SECRET_KEY="x", USE_TZ=True, MEDIA_ROOT=MEDIA,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=["django.contrib.contenttypes", "django_signal_kit", *OWN, *APPS],
)
sys.modules["__main__.models"] = sys.modules["__main__"]
django.setup()
from django.db import connection, models
from django.core.management import call_command
from django_signal_kit.receivers import FileCleanup

def start(model, receiver=FileCleanup, **options):
    call_command("migrate", run_syncdb=True, verbosity=0)
    with connection.schema_editor() as editor:
        editor.create_model(model)
    path = f"{receiver.__module__}.{receiver.__qualname__}"
    settings.SIGNAL_KIT = {
        "RECEIVERS": [{"RECEIVER": path, "OPTIONS": {"models": [model], **options}}]
    }
    apps.get_app_config("signal_kit").start()

def picture(colour):
    from PIL import Image
    content = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(content, "PNG")
    return ContentFile(content.getvalue(), "a.png")

def look(path):
    from PIL import Image
    with Image.open(path) as image:
        return image.convert("RGB").getpixel((3, 3))

def list_files():
    root = Path(MEDIA)
    found = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    return [name for name in found if not name.startswith("quarantine/")]

def check(model, make):
    '''make(row) makes a thumbnail and returns its path.'''
    row = model.objects.create(image=picture("red"))
    name = row.image.name
    assert look(make(row))[0] > 200
    assert len(list_files()) > 1, list_files()
    row.delete()
    assert list_files() == [], list_files()
    row = model.objects.create(image=picture("blue"))
    assert row.image.name == name
    assert look(make(row))[2] > 200
    row.image = ""
    row.save()
    assert list_files() == [], list_files()
    print("ok")
"""

EASY = """
from easy_thumbnails.fields import ThumbnailerField
from easy_thumbnails.models import Source, Thumbnail

class Poster(models.Model):
    image = ThumbnailerField(upload_to="posters")
    class Meta:
        app_label = "shop"

start(Poster)
check(Poster, lambda row: row.image.get_thumbnail({"size": (8, 8), "crop": True}).path)
assert not Source.objects.exists() and not Thumbnail.objects.exists()
"""

SORL = """
from django_signal_kit.signals import pre_file_delete
from sorl import thumbnail
from sorl.thumbnail.images import ImageFile

class Poster(models.Model):
    image = thumbnail.ImageField(upload_to="posters")
    class Meta:
        app_label = "shop"

def forget_thumbnails(storage, name, **kwargs):
    thumbnail.delete(ImageFile(name, storage), delete_file=False)

pre_file_delete.connect(forget_thumbnails)
start(Poster)
check(Poster, lambda row: f"{MEDIA}/{thumbnail.get_thumbnail(row.image, '8x8').name}")
"""

VERSATILE = """
from django_signal_kit.signals import post_file_delete
from versatileimagefield.fields import VersatileImageField

class Poster(models.Model):
    image = VersatileImageField(upload_to="posters")
    class Meta:
        app_label = "shop"

def forget_sizes(model, field, name, success, **kwargs):
    if success and model is not None:
        file = getattr(model(**{field: name}), field)
        if hasattr(file, "delete_all_created_images"):
            file.delete_all_created_images()

post_file_delete.connect(forget_sizes)
start(Poster)

def make(row):
    row.image.create_on_demand = True
    return f"{MEDIA}/{row.image.thumbnail['8x8'].name}"

check(Poster, make)
"""

IMAGEKIT = """
from imagekit.cachefiles.backends import CacheFileState
from imagekit.models import ImageSpecField
from imagekit.processors import ResizeToFill

class Poster(models.Model):
    image = models.ImageField(upload_to="posters")
    small = ImageSpecField(source="image", processors=[ResizeToFill(8, 8)], format="PNG")
    class Meta:
        app_label = "shop"

class WithSpecs(FileCleanup):
    def get_derived(self, file):
        if file.model is not None:
            row = file.model(**{file.field: file.name})
            for name, spec in vars(file.model).items():
                if getattr(spec, "source_field_name", None) == file.field:
                    made = getattr(row, name)
                    made.cachefile_backend.set_state(made, CacheFileState.DOES_NOT_EXIST)
                    yield made.name

start(Poster, WithSpecs)

def make(row):
    row.small.generate()
    return row.small.path

check(Poster, make)
"""

CASES = [
    ("easy_thumbnails", ["easy_thumbnails"], EASY),
    ("sorl.thumbnail", ["sorl.thumbnail"], SORL),
    ("versatileimagefield", ["versatileimagefield"], VERSATILE),
    ("imagekit", ["imagekit"], IMAGEKIT),
]


@pytest.mark.parametrize(("package", "apps", "script"), CASES, ids=[case[0] for case in CASES])
def test_what_a_package_has_made_goes_with_the_picture(
    package: str, apps: list[str], script: str, tmp_path: Path
) -> None:
    if find_spec(package.partition(".")[0]) is None:
        pytest.skip(f"{package} is not installed")
    file = tmp_path / "project.py"
    file.write_text(f"APPS = {apps!r}\n{PROJECT}\n{script}")
    found = subprocess.run(
        [sys.executable, str(file)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "DJANGO_SETTINGS_MODULE": ""},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.endswith("ok\n")
