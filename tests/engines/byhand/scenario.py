"""What ``notes`` does, without the kit; what is lost here stays lost."""

from __future__ import annotations

from tests.engines.notes.scenario import Notes


class ByHand(Notes):
    label = "byhand.Order"
    hears_bulk = False
    recovers = False


SCENARIO = ByHand
