"""What the projects have in common. Where they work is in the environment: see ``place.py``."""

import json
import os
from pathlib import Path
from typing import Any

from tests.engines.scenario import find

PLACE: dict[str, Any] = json.loads(os.environ["SIGNAL_KIT_ENGINES_PLACE"])

SECRET_KEY = "engines"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {"default": PLACE["database"]}
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django_signal_kit",
    "django_signal_kit.tasks",
    PLACE["scenario"],
]
SIGNAL_KIT: dict[str, Any] = {}

# What the scenario needs beside it.
_found: dict[str, Any] = find(PLACE["scenario"], "get_settings", lambda folder: {})(
    Path(PLACE["folder"])
)
INSTALLED_APPS += _found.pop("MORE_APPS", [])
globals().update(_found)
