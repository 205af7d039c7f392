"""Who looks at the log, and what writes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.test import Client

from django_signal_kit.receivers import AuditLog
from tests.audit.browsing import log_in
from tests.audit.plans import TABLE
from tests.benchmarks.fill_audit_log import fill
from tests.factories import UserFactory


@pytest.fixture
def fresh_content_types() -> Iterator[None]:
    """Nothing is remembered of a table that is emptied, and whose rows get other keys."""
    ContentType.objects.clear_cache()
    yield
    ContentType.objects.clear_cache()


@pytest.fixture
def log(fresh_content_types: None, wire: Any) -> None:
    wire((AuditLog, {"models": ["testapp.*"]}))


@pytest.fixture
def root() -> Client:
    return log_in(UserFactory(username="root", is_staff=True, is_superuser=True))


@pytest.fixture
def viewer() -> Client:
    user = UserFactory(username="viewer", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_auditentry"))
    return log_in(user)


@pytest.fixture(scope="module")
def long_log(django_db_setup: Any, django_db_blocker: Any) -> Iterator[None]:
    """200,000 entries, committed and analysed."""
    if connection.vendor != "postgresql":
        pytest.skip("Its plans are those of PostgreSQL.")
    with django_db_blocker.unblock():
        with connection.cursor() as cursor:
            # The keys begin with 1, whatever came before.
            cursor.execute(f"TRUNCATE {TABLE} RESTART IDENTITY")
        fill(200_000)
        yield
        with connection.cursor() as cursor:
            cursor.execute(f"TRUNCATE {TABLE} RESTART IDENTITY")
