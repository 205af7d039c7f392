"""What a stamp costs, and where it is true, side by side with other packages.

    python -m tests.benchmarks.stamps_vs_peers [--rounds 41] [--number 100]

On an SQLite file in WAL mode, in autocommit, all in one process and in turn. Packages that are not
installed are left out. Each has a model of its own, stamped as its documentation says.
"""

from __future__ import annotations

import argparse
import datetime
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import django
from django.apps import AppConfig
from django.conf import settings

KIT = "django_signal_kit.receivers.LastModified"
OLD = datetime.datetime(2001, 2, 3, tzinfo=datetime.UTC)
CHILDREN = 1000


class BenchConfig(AppConfig):
    """The app of the models below."""

    name = "tests.benchmarks"
    label = "bench"
    default_auto_field = "django.db.models.BigAutoField"
    made: dict[str, Any] = {}

    def import_models(self) -> None:
        self.models = self.apps.all_models[self.label]
        self.models_module = self.module
        self.made.update(make_models())


def make_models() -> dict[str, Any]:
    """Package -> its model."""
    from django.db import models

    stamp = {"updated_at": lambda: models.DateTimeField(null=True)}

    def make(name: str, *bases: type, **more: Any) -> Any:
        values = {
            "name": models.CharField(max_length=50, default=""),
            "slug": models.SlugField(default=""),
            "text": models.TextField(default=""),
            "price": models.DecimalField(max_digits=8, decimal_places=2, default=0),
            "stock": models.IntegerField(default=0),
            "rank": models.FloatField(default=0),
            "is_open": models.BooleanField(default=True),
            "seen_at": models.DateTimeField(null=True),
            **{key: value() if callable(value) else value for key, value in stamp.items()},
            **more,
        }
        meta = type("Meta", (), {"app_label": "bench"})
        body = {"__module__": BenchConfig.name, "Meta": meta, **values}
        return type(name, (*bases, models.Model), body)

    made = {name: make(name.title().replace("-", "")) for name in ("bare", *KITS)}
    made["auto_now"] = make("AutoNow", updated_at=models.DateTimeField(auto_now=True))
    made["Parent"] = make("Parent")
    made["Child"] = make("Child", parent=models.ForeignKey("bench.Parent", models.CASCADE))
    with suppress(ImportError):
        from model_utils.fields import AutoLastModifiedField

        made["model-utils"] = make("ModelUtils", updated_at=AutoLastModifiedField())
        from model_utils import FieldTracker

        made["model-utils, FieldTracker"] = make(
            "Tracked", updated_at=AutoLastModifiedField(), tracker=FieldTracker()
        )
    with suppress(ImportError):
        from dirtyfields import DirtyFieldsMixin

        made["dirtyfields"] = make(
            "Dirty", DirtyFieldsMixin, updated_at=models.DateTimeField(auto_now=True)
        )
    with suppress(ImportError):
        from django_lifecycle import BEFORE_SAVE, LifecycleModelMixin, hook

        @hook(BEFORE_SAVE)
        def set_stamp(self: Any) -> None:
            from django.utils import timezone

            self.updated_at = timezone.now()

        made["lifecycle"] = make("Lifecycle", LifecycleModelMixin, set_stamp=set_stamp)
    return made


#: Name in the table -> options.
KITS: dict[str, dict[str, Any]] = {
    "kit": {},
    "kit-keep-explicit": {"keep_explicit": True},
    "kit-only-if-changed": {"only_if_changed": True},
}


def set_up(folder: str) -> None:
    receivers = [
        {
            "RECEIVER": KIT,
            "NAME": name,
            "OPTIONS": {"models": [f"bench.{name.title().replace('-', '')}"], **options},
        }
        for name, options in KITS.items()
    ]
    touch = {"models": ["bench.Child"], "touch": ["parent"]}
    receivers.append({"RECEIVER": KIT, "NAME": "touch", "OPTIONS": touch})
    settings.configure(
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": str(Path(folder) / "db.sqlite3"),
                "OPTIONS": {"init_command": "PRAGMA journal_mode=WAL"},
            }
        },
        INSTALLED_APPS=[
            "django.contrib.contenttypes",
            "django.contrib.auth",
            f"{__name__}.BenchConfig",
            "django_signal_kit",
        ],
        SIGNAL_KIT={"RECEIVERS": receivers},
        USE_TZ=True,
    )
    django.setup()
    from django.core.management import call_command

    call_command("migrate", run_syncdb=True, verbosity=0)


def make_old(rows: Any) -> None:
    """Past everybody."""
    rows._update([(rows.model._meta.get_field("updated_at"), None, OLD)])


def is_stamped_by(model: Any, act: Callable[[Any], object]) -> bool:
    row = model.objects.create()
    rows = model.objects.filter(pk=row.pk)
    make_old(rows)
    act(model.objects.get(pk=row.pk))
    return bool(rows.get().updated_at > OLD)


def save_some(row: Any) -> None:
    row.stock += 1
    row.save(update_fields=["stock"])


def save_deferred(row: Any) -> None:
    row = type(row).objects.only("stock").get(pk=row.pk)
    row.stock += 1
    row.save()


def update(row: Any) -> None:
    type(row).objects.filter(pk=row.pk).update(stock=7)


def bulk_update(row: Any) -> None:
    row.stock += 1
    type(row).objects.bulk_update([row], ["stock"])


WRITES = {
    "`save(update_fields)`": save_some,
    "deferred row": save_deferred,
    "`update()`": update,
    "`bulk_update()`": bulk_update,
}


def measure(rounds: int, number: int) -> list[str]:
    """The lines of the table."""
    from tests.benchmarks.interleave import compare

    def saving(model: Any) -> Callable[[], object]:
        row = model.objects.create()

        def act() -> None:
            row.stock += 1
            row.save()

        return act

    def loading(model: Any) -> Callable[[], object]:
        return lambda: list(model.objects.all()[:CHILDREN])

    models = {
        name: model for name, model in BenchConfig.made.items() if name not in ("Parent", "Child")
    }
    for model in models.values():
        model.objects.bulk_create(model(name="x") for _ in range(CHILDREN))
        make_old(model.objects.all())
    saved = compare(
        {name: saving(model) for name, model in models.items()}, rounds=rounds, number=number
    )
    loaded = compare({name: loading(model) for name, model in models.items()}, rounds=11, number=1)
    lines = [
        f"| | `save()` | loading {CHILDREN:,} | {' | '.join(WRITES)} |",
        "|---" * (3 + len(WRITES)) + "|",
    ]
    for name, model in models.items():
        right = ["yes" if is_stamped_by(model, act) else "no" for act in WRITES.values()]
        times = f"{saved.ratio(name):.2f} | {loaded.ratio(name):.2f}"
        lines.append(f"| {name} | {times} | {' | '.join(right)} |")
    lines.append(f"\n`save()` of Django alone: {saved.medians['bare']:,.0f} µs.")
    return lines


def count_touches() -> str:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    parent, child = BenchConfig.made["Parent"], BenchConfig.made["Child"]
    row = parent.objects.create()
    with CaptureQueriesContext(connection) as queries:
        child.objects.bulk_create(child(parent=row) for _ in range(CHILDREN))
    found = sum(query["sql"].startswith("UPDATE") for query in queries)
    return f"`touch` of the parent of {CHILDREN:,} rows: {found} UPDATE."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=41)
    parser.add_argument("--number", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        set_up(folder)
        print("\n".join(measure(options.rounds, options.number)))
        print(count_touches())


if __name__ == "__main__":
    main()
