"""``python -m tests.thirdparty.seeing``: follows the page that shows Wagtail, block by block."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.docs import blocks

PAGE = blocks.ROOT / "docs" / "topics" / "seeing.md"

#: Milliseconds, and queries, of which there are fewer where more is cached.
_FIGURES = re.compile(r" +(?:\d+\.\d\d(?: +\d+)?|ms  queries)$", re.MULTILINE)


def main() -> None:
    # As the page says.
    os.environ |= {"COLUMNS": "92", "DJANGO_SETTINGS_MODULE": "tests.thirdparty.seeing_settings"}
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("DATABASE_NAME", str(Path(folder, "db.sqlite3")))
        # In a process of its own: it leaves receivers of historical models behind.
        migrate = [sys.executable, "-W", "ignore", "-m", "django", "migrate", "--verbosity=0"]
        subprocess.run(migrate, check=True, stderr=subprocess.DEVNULL)
        follow()


def follow() -> None:
    import django

    django.setup()
    check_senders()
    check = blocks.check_output

    def check_all_but_figures(block: Any, printed: str, expected: Any) -> None:
        if expected is not None:
            expected = replace(expected, code=_FIGURES.sub("", expected.code))
        check(block, _FIGURES.sub("", printed), expected)

    blocks.check_output = check_all_but_figures
    blocks.Runner().run(PAGE)


def check_senders() -> None:
    """Is what is listed for each model what Django itself would call for it?"""
    from django.apps import apps
    from django.db.models import signals

    from django_signal_kit.wiring.listing import get_listings, get_path
    from django_signal_kit.wiring.sender_names import ANY

    names = ("pre_init", "post_init", "pre_save", "post_save", "pre_delete", "post_delete")
    for name in names:
        listings = list(get_listings([name]))
        assert listings or name == "pre_init"
        for model in apps.get_models(include_auto_created=True):
            live = getattr(signals, name)._live_receivers(model)
            called = Counter(get_path(function) for functions in live for function in functions)
            senders = (model._meta.label, ANY)
            listed = Counter(found.receiver for found in listings if found.sender in senders)
            assert called == listed, (name, model, called, listed)


if __name__ == "__main__":
    main()
