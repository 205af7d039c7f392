"""Each page that was committed is purged, at least once, and no other."""

from __future__ import annotations

from collections.abc import Sequence

from tests.engines.pages.edge import read_purged
from tests.engines.scenario import Rows


class Pages(Rows):
    label = "pages.Page"

    def list_flushed(self) -> Sequence[str]:
        return [tag.removeprefix("page:") for tag in read_purged(self.folder)]


SCENARIO = Pages
