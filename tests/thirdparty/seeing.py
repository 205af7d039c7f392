"""``python -m tests.thirdparty.seeing``: follows the page that shows Wagtail, and then a shop of
django-oscar, block by block."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.docs import blocks

PAGE = blocks.ROOT / "docs" / "topics" / "seeing.md"

#: Project -> the headings between which the page shows it; empty for the ends of the page.
PARTS = {"wagtail": ("", "## Signals of its own"), "oscar": ("## Signals of its own", "")}


def main() -> None:
    """Each project in a process of its own, and its migrations too: they leave receivers of
    historical models behind."""
    if sys.argv[1:]:
        follow(*PARTS[sys.argv[1]])
        return
    for project in PARTS:
        with tempfile.TemporaryDirectory() as folder:
            os.environ |= {
                # As the page says.
                "COLUMNS": "92",
                "DJANGO_SETTINGS_MODULE": "tests.thirdparty.seeing_settings",
                "SEEING": project,
                "DATABASE_NAME": str(Path(folder, "db.sqlite3")),
            }
            python = [sys.executable, "-W", "ignore", "-m"]
            migrate = [*python, "django", "migrate", "--verbosity=0"]
            subprocess.run(migrate, check=True, stderr=subprocess.DEVNULL)
            subprocess.run([*python, "tests.thirdparty.seeing", project], check=True)


def follow(begin: str, end: str) -> None:
    import django

    django.setup()
    check_senders()
    read, text = blocks.read, PAGE.read_text(encoding="utf-8")
    lines = [text.partition(heading)[0].count("\n") for heading in (begin or "# ", end or "\0")]
    blocks.read = lambda page: [b for b in read(page) if lines[0] < b.line <= lines[1]]
    blocks.Runner().run(PAGE)


def check_senders() -> None:
    """Is what is listed for each model what Django itself would call for it?"""
    from django.apps import apps
    from django.db.models import signals

    from django_signal_kit.wiring.listing import get_function, get_listings, get_path, get_signals
    from django_signal_kit.wiring.sender_names import ANY

    names = ("pre_init", "post_init", "pre_save", "post_save", "pre_delete", "post_delete")
    for name in names:
        listings = list(get_listings([name]))
        for model in apps.get_models(include_auto_created=True):
            live = getattr(signals, name)._live_receivers(model)
            called = Counter(get_path(function) for functions in live for function in functions)
            senders = (model._meta.label, ANY)
            listed = Counter(found.receiver for found in listings if found.sender in senders)
            assert called == listed, (name, model, called, listed)
    # And those of the signals that the project has of its own.
    for name, signal in get_signals():
        functions = [found for item in signal.receivers if (found := get_function(item))]
        listed = Counter(found.receiver for found in get_listings([name]))
        assert listed == Counter(map(get_path, functions)), name


if __name__ == "__main__":
    main()
