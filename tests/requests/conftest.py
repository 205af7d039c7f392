"""Fixtures of the tests of what hears requests."""

from __future__ import annotations

from typing import Any

import pytest

from tests.mail.mailers import use_mailer


@pytest.fixture
def failing_site(settings: Any) -> None:
    """The pages of the site fail, and its mail arrives."""
    settings.ROOT_URLCONF = "tests.requests.failing_site"
    use_mailer(settings, "locmem")
