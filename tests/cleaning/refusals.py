"""What a write that is refused is told."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ValidationError

from django_signal_kit.exceptions import InvalidRowsError


def refused(act: Any) -> dict[str, list[str]]:
    with pytest.raises(ValidationError) as caught:
        act()
    assert not isinstance(caught.value, InvalidRowsError)
    return caught.value.message_dict


def refused_rows(act: Any) -> dict[int, dict[str, list[str]]]:
    with pytest.raises(InvalidRowsError) as caught:
        act()
    return {position: error.message_dict for position, error in caught.value.errors.items()}
