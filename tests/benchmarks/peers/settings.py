"""Settings of one worker. SIGNAL_KIT_PEER names the package that it measures."""

import os

from tests.settings import DATABASE, DATABASES, SCRATCH, TEST_NAME

PEER = os.environ["SIGNAL_KIT_PEER"]

SECRET_KEY = "benchmarks"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# Two packages have pages of their own, which their checks want to know of.
ROOT_URLCONF = "tests.urls"

DATABASES = {"default": DATABASES["default"]}
if DATABASE == "sqlite":
    DATABASES["default"]["OPTIONS"] = {"init_command": "PRAGMA journal_mode=WAL"}
    DATABASES["default"]["TEST"] = {"NAME": str(SCRATCH / "peers.sqlite3")}
else:
    DATABASES["default"]["TEST"]["NAME"] = f"{TEST_NAME}_{PEER.replace('-', '_')}"

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    *{
        "bare": [],
        "kit-database": ["django_signal_kit", "django_signal_kit.audit"],
        "kit-snapshot": ["django_signal_kit", "django_signal_kit.audit"],
        "kit-triggers": ["django_signal_kit", "django_signal_kit.audit"],
        "auditlog": ["auditlog"],
        "simple-history": ["simple_history"],
        "easy-audit": ["easyaudit"],
        "pghistory": ["pgtrigger", "pghistory"],
        "reversion": ["reversion"],
        "by-hand": [],
        "least": ["django_signal_kit", "django_signal_kit.audit"],
    }[PEER],
    "tests.benchmarks.peers",
]

if PEER.startswith("kit-"):
    SIGNAL_KIT = {
        "RECEIVERS": [
            {
                "RECEIVER": "django_signal_kit.receivers.AuditLog",
                "OPTIONS": {
                    "models": ["peers.Item"],
                    **(
                        {"capture": "triggers"}
                        if PEER == "kit-triggers"
                        else {"old_values": PEER.removeprefix("kit-")}
                    ),
                },
            }
        ]
    }

DJANGO_EASY_AUDIT_REGISTERED_CLASSES = ["peers.Item"]
