"""The peak of memory of one large unit of work, in a process of its own.

python -m tests.benchmarks.memory "bulk writes in a batch"
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable

ROWS = 200_000


def in_batch() -> None:
    from django_signal_kit import batch
    from tests.apps.testapp.models import Plain

    with batch():
        for _ in range(ROWS // 1000):
            Plain.objects.bulk_create([Plain(name="a") for _ in range(1000)])


def update() -> None:
    from django_signal_kit import muted
    from tests.apps.testapp.models import Plain

    with muted("AuditLog"):
        in_batch()
    assert Plain.objects.update(number=1) == ROWS


def save() -> None:
    from django_signal_kit import batch
    from tests.apps.testapp.models import Plain

    with batch():
        for _ in range(ROWS):
            Plain(name="a").save()


WAYS: dict[str, Callable[[], None]] = {
    "bulk writes in a batch": in_batch,
    "one update()": update,
    "single saves in a batch": save,
}


def main(way: str) -> int:
    """Audit ``ROWS`` rows in one unit of work; the peak in MB."""
    import django
    from django.core.management import call_command

    from tests import settings

    settings.DATABASES["default"] = {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(settings.SCRATCH / "memory.sqlite3"),
    }
    path = "django_signal_kit.receivers.AuditLog"
    settings.SIGNAL_KIT = {
        "RECEIVERS": [{"RECEIVER": path, "OPTIONS": {"models": ["testapp.Plain"]}}]
    }
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    django.setup()
    call_command("migrate", verbosity=0)
    WAYS[way]()
    from django_signal_kit.audit.models import AuditEntry

    assert AuditEntry.objects.count() == ROWS
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


if __name__ == "__main__":
    print(main(sys.argv[1]))
