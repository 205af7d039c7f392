"""``python -m tests.thirdparty.seeing``: follows the page that shows Wagtail, block by block."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import Any

from tests.docs import blocks

PAGE = blocks.ROOT / "docs" / "topics" / "seeing.md"

#: Milliseconds, and queries, of which there are fewer where more is cached.
_FIGURES = re.compile(r" +\d+\.\d\d(?: +\d+)?$|(?<= ) +ms  queries$", re.MULTILINE)


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.thirdparty.seeing_settings"
    # As the page says.
    os.environ["COLUMNS"] = "92"
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    check = blocks.check_output

    def check_all_but_figures(block: Any, printed: str, expected: Any) -> None:
        if expected is not None:
            expected = replace(expected, code=_FIGURES.sub("", expected.code))
        check(block, _FIGURES.sub("", printed), expected)

    blocks.check_output = check_all_but_figures
    blocks.Runner().run(PAGE)


if __name__ == "__main__":
    main()
