"""The fixture ``signal_kit`` of pytest. Django is not touched before a test asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from django_signal_kit.test import SignalKit


@pytest.fixture
def signal_kit() -> SignalKit:
    """Mutes receivers, and says what they heard, collected and flushed: see
    :class:`django_signal_kit.test.SignalKit`."""
    from django_signal_kit.test import SignalKit

    return SignalKit()
