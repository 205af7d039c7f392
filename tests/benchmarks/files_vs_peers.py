"""FileCleanup beside django-cleanup: ``python -m tests.benchmarks.files_vs_peers``.

Each system runs in a process of its own, on an SQLite file; one that is not installed is left out.
With ``--tree 200000`` cleanfiles goes through a tree of that many files, of which each tenth is
named by a row.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROWS = 1000
LOADED = 10_000
SYSTEMS: dict[str, dict[str, Any]] = {
    "bare": {},
    "FileCleanup": {"OPTIONS": {"models": ["shop.Poster"]}},
    "FileCleanup, quarantine=None": {"OPTIONS": {"models": ["shop.Poster"], "quarantine": None}},
    "django-cleanup": {"APPS": ["django_cleanup.apps.CleanupConfig"]},
}


def start(system: str, folder: str) -> Any:
    import django
    from django.apps import AppConfig
    from django.conf import settings

    class ShopConfig(AppConfig):
        name, label = "shop", "shop"
        default_auto_field = "django.db.models.BigAutoField"
        path = folder

    module: Any = sys.modules[__name__]
    module.ShopConfig = ShopConfig
    module.__path__ = [folder]
    sys.modules["shop"] = module
    spec = SYSTEMS[system]
    kit = {"RECEIVER": "django_signal_kit.receivers.FileCleanup", **spec}
    settings.configure(
        SECRET_KEY="x",
        USE_TZ=True,
        MEDIA_ROOT=f"{folder}/media",
        DATABASES={
            "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{folder}/db.sqlite3"}
        },
        INSTALLED_APPS=[
            "shop.ShopConfig",
            *(["django_signal_kit"] if "OPTIONS" in spec else []),
            *spec.get("APPS", []),
        ],
    )
    from django.db import models

    # Models come when the apps are ready to take them.
    def make_model() -> Any:
        class Poster(models.Model):
            name = models.CharField(max_length=50)
            front = models.FileField(upload_to="front")
            back = models.FileField(upload_to="back")

            class Meta:
                app_label = "shop"

        return Poster

    made: list[Any] = []
    ShopConfig.import_models = lambda self: (  # type: ignore[method-assign, assignment]
        made.append(make_model()),
        setattr(self, "models", self.apps.all_models["shop"]),
    )
    django.setup()
    from django.db import connection

    with connection.schema_editor() as editor:
        editor.create_model(made[0])
    if "OPTIONS" in spec:
        settings.SIGNAL_KIT = {"RECEIVERS": [kit]}
        from django.apps import apps

        apps.get_app_config("signal_kit").start()
    return made[0]


def fill(model: Any, count: int, folder: str) -> None:
    for side in ("front", "back"):
        Path(folder, "media", side).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            Path(folder, "media", side, f"{number}.png").write_bytes(b"picture")
    model.objects.bulk_create(
        model(name=str(number), front=f"front/{number}.png", back=f"back/{number}.png")
        for number in range(count)
    )


def measure(act: Callable[[], object], times: int = 1) -> float:
    began = time.perf_counter()
    for _ in range(times):
        act()
    return (time.perf_counter() - began) / times


def run(system: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        model = start(system, folder)
        from django.db import connection, transaction
        from django.test.utils import CaptureQueriesContext

        fill(model, LOADED, folder)
        row = model.objects.first()

        def save_in_transaction() -> None:
            with transaction.atomic():
                for _ in range(100):
                    row.save()

        figures = {}
        measure(save_in_transaction, 3)
        figures["unchanged save, us"] = min(
            measure(save_in_transaction, 3) * 1e4 for _ in range(5)
        )
        with CaptureQueriesContext(connection) as queries:
            row.save()
        figures["statements"] = len(queries)
        figures["loading 10,000, ms"] = min(
            measure(lambda: list(model.objects.all())) * 1e3 for _ in range(7)
        )
        model.objects.filter(pk__gt=5 * ROWS).delete()
        times, statements = [], 0
        for part in range(5):
            rows = model.objects.filter(pk__gt=part * ROWS, pk__lte=(part + 1) * ROWS)
            with CaptureQueriesContext(connection) as queries:
                times.append(measure(rows.delete) * 1e3)
            statements = len(queries)
        figures["deleting 1,000 with two files, ms"] = min(times)
        figures["its statements"] = statements
        left = sum(
            1 for path in Path(folder, "media").rglob("*.png") if "quarantine" not in path.parts
        )
        figures["files left"] = left
        return figures


def run_tree(count: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        model = start("FileCleanup", folder)
        media = Path(folder, "media")
        for number in range(count):
            path = media / f"{number % 100:02}" / f"{number}.png"
            if number < 100:
                path.parent.mkdir(parents=True)
            path.write_bytes(b"x")
        model.objects.bulk_create(
            (
                model(name="x", front=f"{number % 100:02}/{number}.png")
                for number in range(0, count, 10)
            ),
            batch_size=5000,
        )
        subprocess.run(
            ["find", str(media), "-type", "f", "-exec", "touch", "-d", "yesterday", "{}", "+"],
            check=True,
        )
        from django.core.management import call_command

        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        out = Counting()
        seconds = measure(lambda: call_command("cleanfiles", stdout=out, verbosity=1))
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return {"seconds": seconds, "MB more": (after - before) / 1024, "lines": out.lines}


class Counting:
    lines = 0

    def write(self, text: str) -> None:
        self.lines += text.count("\n")


def main() -> None:
    if "--tree" in sys.argv:
        print(json.dumps(run_tree(int(sys.argv[-1]))))
        return
    if len(sys.argv) > 1:
        print(json.dumps(run(sys.argv[1])))
        return
    for system in SYSTEMS:
        if system == "django-cleanup" and find_spec("django_cleanup") is None:
            print(f"{system}: not installed")
            continue
        found = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.files_vs_peers", system],
            capture_output=True,
            text=True,
            check=False,
        )
        print(f"{system}:")
        if found.returncode:
            print(found.stderr)
            continue
        for name, value in json.loads(found.stdout.splitlines()[-1]).items():
            print(f"    {name:40} {value:10.1f}")


if __name__ == "__main__":
    main()
