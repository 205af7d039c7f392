"""What a login costs with LoginLog, and without it.

The passwords are hashed by MD5 here: with a hasher that is fit for use the rest is a fraction of a
percent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import authenticate, login
from django.contrib.sessions.backends.db import SessionStore
from django.db import connection, transaction
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext

from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.receivers import LoginLog
from tests.benchmarks.interleave import compare, show
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db(transaction=True)

MODES: dict[str, tuple[Any, ...]] = {
    "bare": (),
    "LoginLog": ((LoginLog, {}),),
    'LoginLog, usernames="known"': ((LoginLog, {"usernames": "known"}),),
    'LoginLog, on_error="raise"': ((LoginLog, {"on_error": "raise"}),),
}


def try_password(password: str) -> Callable[[], None]:
    factory = RequestFactory()

    def attempt() -> None:
        request = factory.post("/")
        request.session = SessionStore()
        user = authenticate(request, username="ann", password=password)
        assert (user is not None) is (password == "open sesame")
        if user is not None:
            login(request, user)

    return attempt


def in_transaction(function: Callable[[], None]) -> Callable[[], None]:
    def run() -> None:
        with transaction.atomic():
            function()

    return run


@pytest.mark.parametrize("is_atomic", [False, True], ids=["autocommit", "atomic"])
@pytest.mark.parametrize("password", ["open sesame", "guess"])
def test_a_login(wired: Any, password: str, is_atomic: bool) -> None:
    user = UserFactory(username="ann")
    user.set_password("open sesame")
    user.save()
    attempt = try_password(password)
    if is_atomic:
        attempt = in_transaction(attempt)
    title = f"{'a login' if password == 'open sesame' else 'a failed login'}, "
    title += "in a transaction" if is_atomic else "in autocommit"
    print()
    for name, entries in MODES.items():
        with wired(*entries):
            attempt()
            before = AuditEntry.objects.count()
            with CaptureQueriesContext(connection) as queries:
                attempt()
            assert AuditEntry.objects.count() == before + bool(entries)
            print(f"  {title}, {name}: {len(queries)} statements")
    # Failures are also lines of text, which nobody wants to read here.
    result = compare(
        {name: (wired(*entries), attempt) for name, entries in MODES.items()},
        rounds=11,
        number=20,
    )
    show(title, result)
