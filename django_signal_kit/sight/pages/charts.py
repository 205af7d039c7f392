"""How long calls took, as a drawing of bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _

from django_signal_kit.sight.figures import BOUNDS, Histogram

# The units of the drawing.
HEIGHT = 32
_STEP = 8
_GAP = 1


@dataclass(frozen=True)
class Bar:
    x: int
    height: int
    count: int
    #: ``"0.1 ms to 0.25 ms"``
    label: str

    @property
    def y(self) -> int:
        return HEIGHT - self.height


@dataclass(frozen=True)
class Chart:
    """A bar for each bucket between the fastest and the slowest call."""

    bars: Sequence[Bar]

    height = HEIGHT
    bar_width = _STEP - _GAP

    @property
    def width(self) -> int:
        return _STEP * len(self.bars)

    @property
    def label(self) -> str:
        """What somebody hears who does not see it."""
        busiest = max(self.bars, key=lambda bar: bar.count)
        return _("most: %s") % busiest.label

    @property
    def path(self) -> str:
        """All bars as one shape, which is quick to write."""
        return "".join(
            f"M{bar.x} {HEIGHT}v-{bar.height}h{self.bar_width}v{bar.height}z"
            for bar in self.bars
            if bar.height
        )


def draw_times(times: Histogram) -> Chart | None:
    """None if nothing was called."""
    used = [number for number, count in enumerate(times.buckets) if count]
    if not used:
        return None
    most = max(times.buckets)
    numbers = range(used[0], used[-1] + 1)
    return Chart(
        [
            Bar(
                x=place * _STEP,
                # One call among thousands is seen all the same.
                height=max(2, round(HEIGHT * count / most)) if count else 0,
                count=count,
                label=_tell_bucket(number),
            )
            for place, number in enumerate(numbers)
            for count in [times.buckets[number]]
        ]
    )


def _tell_bucket(number: int) -> str:
    if number == 0:
        return _("up to %s") % show_time(BOUNDS[0])
    if number == len(BOUNDS):
        return _("more than %s") % show_time(BOUNDS[-1])
    return _("%(low)s to %(high)s") % {
        "low": show_time(BOUNDS[number - 1]),
        "high": show_time(BOUNDS[number]),
    }


def show_time(seconds: float) -> str:
    """``"12 µs"``, ``"1.5 ms"``, ``"2.5 s"``: three digits say enough."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size * 0.9995:
            return f"{_round(seconds / size)} {unit}"
    return f"{_round(seconds / 1e-6)} µs"


def _round(value: float) -> str:
    return f"{value:.0f}" if value >= 99.5 else f"{value:.3g}"
