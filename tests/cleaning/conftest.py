from __future__ import annotations

from typing import Any

import pytest

from django_signal_kit.receivers import Validate


@pytest.fixture
def validate(wire: Any) -> Any:
    return wire((Validate, {"models": ["validity.*"]}))
