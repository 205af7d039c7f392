"""The settings of the tests, for processes that sign users up and are killed."""

import os

import django

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES

DATABASES["default"]["NAME"] = os.environ["SIGNAL_KIT_STORM_DATABASE"]

_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
_PORT = int(os.environ["SIGNAL_KIT_STORM_PORT"])

if django.VERSION >= (6, 1):
    _options = {"host": "127.0.0.1", "port": _PORT}
    MAILERS = {"default": {"BACKEND": _BACKEND, "OPTIONS": _options}}
else:
    EMAIL_BACKEND, EMAIL_HOST, EMAIL_PORT = _BACKEND, "127.0.0.1", _PORT

SIGNAL_KIT = {"RECEIVERS": ["django_signal_kit.receivers.WelcomeEmail"]}
LOGGING_CONFIG = None
