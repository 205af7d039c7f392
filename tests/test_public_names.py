"""What people write into their code, settings and scripts is there, and stays.

Whoever changes a line of these lists breaks somebody's project.
"""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.core.management import call_command, get_commands
from django.db.migrations.loader import MigrationLoader

import django_signal_kit
from django_signal_kit import receivers, signals
from django_signal_kit.conf import KEYS
from django_signal_kit.rows.values import redact_with_hash
from django_signal_kit.wiring import catalog
from tests.docs.blocks import get_pages
from tests.sources import PACKAGE

NAMES = {
    "django_signal_kit": (
        "ModelReceiver Receiver batch context get_context muted no_touching only register "
        "touching trace __version__"
    ),
    "django_signal_kit.receivers": (
        "AuditLog CacheInvalidation ConnectionSetup CreateRelated DeletionLog Email "
        "ExceptionAlert FileCleanup InitialAttributes InstanceMonitor LastModified LoginLog "
        "M2MCount M2MLimit MigrationActions ModelExtension Normalize OrphanCleanup RequestTimer "
        "Validate WelcomeEmail"
    ),
    "django_signal_kit.signals": (
        "pre_bulk_create post_bulk_create pre_bulk_update post_bulk_update pre_queryset_update "
        "post_queryset_update receiver_failed pre_file_delete post_file_delete "
        "audit_entries_created"
    ),
    "django_signal_kit.cache": (
        "CacheTagHeaders CollectedTags Counted Found HTTPPurge Purge TaggedCache cache_view "
        "cached collect_tags get_counters note_tags tagged"
    ),
    "django_signal_kit.apps": "SignalKitConfig SimpleSignalKitConfig",
    # The library of each is there if somebody uses it.
    "django_signal_kit.contrib.celery": "carry_context",
    "django_signal_kit.contrib.django_tasks": "carry_context",
    "django_signal_kit.contrib.huey": "carry_context",
    "django_signal_kit.contrib.otel": "instrument uninstrument",
    "django_signal_kit.contrib.prometheus": "SignalKitCollector",
    "django_signal_kit.contrib.rq": "ContextJob",
    "django_signal_kit.exceptions": "FlushFailedError InvalidRowsError Misconfigured NotJSONError",
    "django_signal_kit.forms": "LimitedModelForm",
    "django_signal_kit.mail.admin": "WelcomeSentAdmin WelcomeStatusMixin",
    "django_signal_kit.mail.models": "MailPace WelcomeSent",
    "django_signal_kit.middleware": "RequestContextMiddleware no_request_unit request_unit",
    "django_signal_kit.sight.counting": "get_counters get_tasks",
    "django_signal_kit.test": (
        "SignalKit SignalKitMixin TemplateRecorder assert_all_writes_heard flush_after_commit "
        "mute_receivers"
    ),
    "django_signal_kit.sight.admin": "ReceiverAdmin",
    "django_signal_kit.sight.models": "Receiver",
    "django_signal_kit.tasks.context": "pack unpack",
    "django_signal_kit.audit.admin": "AuditEntryAdmin",
    "django_signal_kit.audit.decoding": "decode",
    "django_signal_kit.audit.history": "AuditHistoryMixin",
    "django_signal_kit.audit.models": "AbstractAuditEntry AuditEntry AuditSeal",
    "django_signal_kit.audit.past": "HistoryIncomplete",
    "django_signal_kit.audit.reverting": "RevertError",
    "django_signal_kit.audit.sealing": "seal",
    # What a receiver of one's own asks for: the old row, and its neighbours.
    "django_signal_kit.rows.snapshots": "get_new_row get_old_row",
    "django_signal_kit.wiring.registry": "registry",
}

#: Module of ``contrib`` -> the library, if it is called otherwise.
LIBRARIES = {"otel": "opentelemetry", "prometheus": "prometheus_client"}

COMMANDS = {
    "django_signal_kit": {
        "cleanfiles",
        "createrelated",
        "invalidatecache",
        "recountm2m",
        "relaytasks",
        "requeuetasks",
        "sendwelcomeemail",
        "showreceivers",
        "tracesignals",
    },
    "django_signal_kit.audit": {
        "auditcapture",
        "backfillauditlog",
        "exportauditlog",
        "migrate",
        "partitionauditlog",
        "pruneauditlog",
        "sealauditlog",
        "verifyauditlog",
    },
}

SETTINGS = {
    "ADMIN_MUTING",
    "BULK_SIGNALS",
    "CACHE_TAG_HEADERS",
    "COUNTERS",
    "DISCOVER_EXCLUDE",
    "EXTRA_SIGNALS",
    "RECEIVERS",
    "REDACT",
    "REQUEST_UNIT",
    "RETENTION",
    "TASKS",
    "TRUSTED_PROXIES",
    "WATCH",
}

LOGGERS = {
    "django_signal_kit",
    "django_signal_kit.alerts",
    "django_signal_kit.cache",
    "django_signal_kit.contrib",
    "django_signal_kit.deletions",
    "django_signal_kit.files",
    "django_signal_kit.instances",
    "django_signal_kit.logins",
    "django_signal_kit.mail",
    "django_signal_kit.muting",
    "django_signal_kit.relations",
    "django_signal_kit.requests",
    "django_signal_kit.sight",
    "django_signal_kit.tasks",
    "django_signal_kit.trace",
    "django_signal_kit.unheard",
    "django_signal_kit.units",
    "django_signal_kit.writes",
}

CHECKS = {
    *(f"E{number:03}" for number in range(1, 76)),
    *(f"W{number:03}" for number in range(1, 34)),
    "I001",
}

TEMPLATES = {
    "signal_kit/sight/panel.html",
    "signal_kit/welcome/body.html",
    "signal_kit/welcome/body.txt",
    "signal_kit/welcome/subject.txt",
    # Their former names.
    "signal_kit/welcome.html",
    "signal_kit/welcome.txt",
    "signal_kit/welcome_subject.txt",
}

MIGRATIONS = ["0001_initial", "0002_auditseal", "0003_revert_permission"]


@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module in NAMES for name in NAMES[module].split()]
)
def test_a_public_name_can_be_imported(module: str, name: str) -> None:
    package, _, library = module.rpartition(".")
    if package == "django_signal_kit.contrib" and library != "django_tasks":
        pytest.importorskip(LIBRARIES.get(library, library))
    try:
        assert getattr(import_module(module), name) is not None
    except AttributeError:
        assert import_module(f"{module}.{name}")


def test_a_table_of_contents_lists_what_is_public_and_nothing_else() -> None:
    assert {*django_signal_kit.__all__, "__version__"} == set(NAMES["django_signal_kit"].split())
    assert set(receivers.__all__) == set(NAMES["django_signal_kit.receivers"].split())
    # pytest, which finds a plugin here, puts in names of its own that begin with "@".
    found = {name for name in vars(signals) if name[0] not in "_@"} - {"Signal"}
    assert found == set(NAMES["django_signal_kit.signals"].split())


def test_the_documentation_names_nothing_that_is_not_public() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in get_pages())
    wanted = set()
    for module, names in re.findall(
        r"^\s*from (django_signal_kit[\w.]*) import (\([^)]*\)|[^\n]*)", text, re.MULTILINE
    ):
        wanted |= {(module, name) for name in re.findall(r"\w+", names)}
    assert ("django_signal_kit", "batch") in wanted
    assert {(m, n) for m, n in wanted if n not in NAMES.get(m, "").split()} == set()


def test_the_commands_are_those_of_their_apps() -> None:
    found: dict[str, set[str]] = {}
    for command, app in get_commands().items():
        if app in COMMANDS:
            found.setdefault(app, set()).add(command)
    assert found == COMMANDS


def test_the_keys_of_the_setting_are_these() -> None:
    assert set(KEYS) == SETTINGS


def test_the_loggers_are_these() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    named = set(re.findall(r'get_logger\("([^"]+)"\)', source))
    named |= {receivers.DeletionLog.logger, "django_signal_kit"}
    assert named == LOGGERS


def test_the_checks_are_these() -> None:
    page = (Path(__file__).parents[1] / "docs" / "reference" / "checks.md").read_text("utf-8")
    assert set(re.findall(r"^## signal_kit\.([EWI]\d{3})$", page, re.MULTILINE)) == CHECKS


def test_the_templates_that_a_project_may_override_are_these() -> None:
    root = PACKAGE / "templates"
    assert {path.relative_to(root).as_posix() for path in root.rglob("*.*")} == TEMPLATES


@pytest.mark.django_db
def test_the_migrations_are_these_and_none_is_missing() -> None:
    loader = MigrationLoader(None)
    assert [name for app, name in sorted(loader.disk_migrations) if app == "signal_kit_audit"] == (
        MIGRATIONS
    )
    call_command("makemigrations", "signal_kit_audit", check=True, dry_run=True, verbosity=0)


def test_the_labels_of_the_apps_and_the_tables_are_these() -> None:
    assert apps.get_app_config("signal_kit").name == "django_signal_kit"
    models = apps.get_app_config("signal_kit_audit").get_models()
    assert {model._meta.db_table for model in models} == {
        "signal_kit_audit_auditentry",
        "signal_kit_audit_auditseal",
    }


def test_a_method_is_connected_under_the_same_uid_as_ever(wire: Any) -> None:
    wire((receivers.LastModified, {"models": ["testapp.Product"]}))
    uids = {
        key[0]
        for (key, *_) in catalog.get_signal("pre_save").receivers
        if str(key[0]).startswith("signal_kit:")
    }
    assert uids == {"signal_kit:LastModified:pre_save"}


def test_a_secret_has_the_same_hash_as_ever() -> None:
    assert settings.SECRET_KEY == "tests"
    assert redact_with_hash("hunter2") == "[redacted 69c651bc3ebec1ce]"
