"""Wagtail's own test settings, whose files go elsewhere; with the kit, if it is asked for."""

from __future__ import annotations

import os
import tempfile

from wagtail.test.settings import *  # noqa: F403

from tests.thirdparty.kit import add_kit

MEDIA_ROOT = os.path.join(tempfile.gettempdir(), "media")
STATIC_ROOT = os.path.join(tempfile.gettempdir(), "static")

add_kit(globals())
