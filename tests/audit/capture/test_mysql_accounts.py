"""Triggers of MariaDB run with the rights of who has made them: what follows from that."""

from __future__ import annotations

import getpass
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import run_checks
from django.db import DatabaseError, OperationalError, connection

from django_signal_kit import context
from django_signal_kit.audit.capture.mysql.hindrances import find_hindrances
from django_signal_kit.audit.models import AuditEntry
from tests.apps.testapp.models import Tag
from tests.audit.capture.installing import install as install_all
from tests.audit.capture.mysql import Install, drop, list_pieces, only_on_mysql, put
from tests.audit.capture.mysql import install as install
from tests.factories import TagFactory

pytestmark = [pytest.mark.django_db(transaction=True), only_on_mysql]

ACCOUNT = "'signal_kit_tests'@'127.0.0.1'"


@contextmanager
def account(*rights: str) -> Iterator[Any]:
    """A session of an account that has no more than these rights in the database."""
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE OR REPLACE USER {ACCOUNT}")
        for right in rights:
            cursor.execute(f"GRANT {right} TO {ACCOUNT}")
        options = {**connection.get_connection_params(), "user": "signal_kit_tests"}
        other = connection.get_new_connection(options)
        other.autocommit(True)
        try:
            yield other.cursor()
        finally:
            other.close()
            cursor.execute(f"DROP USER {ACCOUNT}")


def find_errors() -> list[tuple[str | None, str, str | None]]:
    return [
        (found.id, found.msg, found.hint)
        for found in run_checks(databases=["default"])
        if found.id in ("signal_kit.E073", "signal_kit.E074")
    ]


def test_who_writes_rows_needs_no_right_to_the_log(install: Install) -> None:
    install(Tag)
    with account("INSERT ON testapp_tag") as cursor:
        cursor.execute("INSERT INTO testapp_tag (name) VALUES ('a')")
        with pytest.raises(connection.Database.OperationalError, match="denied"):  # type: ignore[attr-defined]
            cursor.execute("SELECT * FROM signal_kit_audit_auditentry")
    assert AuditEntry.objects.get().changes["name"] == [None, "a"]


def test_nothing_is_written_once_the_account_is_gone(install: Install) -> None:
    receiver = install(Tag)
    assert find_errors() == []
    pieces = list_pieces(receiver, Tag)
    drop(pieces)
    put(
        [
            piece._replace(
                create=piece.create.replace(" TRIGGER", " DEFINER = gone@nowhere TRIGGER", 1)
            )
            for piece in pieces
        ]
    )
    with pytest.raises(OperationalError) as caught, context(reason="any"):
        TagFactory()
    (note,) = caught.value.__cause__.__notes__  # type: ignore[union-attr]
    assert note.startswith("The account that has made the triggers of the audit log is gone")
    assert not Tag.objects.exists()
    ((number, message, hint),) = find_errors()
    assert number == "signal_kit.E074"
    assert message.endswith("is gone (gone@nowhere).")
    assert hint == note

    drop(pieces)
    install_all()
    TagFactory()
    assert find_errors() == []


def test_who_may_make_no_triggers_is_told_which_right_is_missing(install: Install) -> None:
    receiver = install(Tag)
    piece = list_pieces(receiver, Tag)[0]
    drop([piece])
    with account("SELECT, INSERT ON testapp_tag") as cursor:
        own, connection.connection = connection.connection, cursor.connection
        try:
            with pytest.raises(DatabaseError) as caught:
                put([piece])
        finally:
            connection.connection = own
    assert caught.value.__cause__.__notes__ == [  # type: ignore[union-attr]
        "Triggers are made by an account that has the right TRIGGER on each table."
    ]


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """That of a server of its own, which keeps a binary log."""
    make, run = shutil.which("mariadb-install-db"), shutil.which("mariadbd")
    if make is None or run is None:
        pytest.skip("There is no server here that could be started.")
    common = ["--no-defaults", f"--datadir={tmp_path / 'data'}", f"--user={getpass.getuser()}"]
    subprocess.run(
        [make, *common, "--auth-root-authentication-method=normal"],
        check=True,
        capture_output=True,
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [
            *(run, *common, "--log-bin", "--server-id=1", "--bind-address=127.0.0.1"),
            *(f"--port={port}", f"--socket={tmp_path / 's'}", "--innodb-buffer-pool-size=16M"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        await_server(port)
        yield port
    finally:
        server.terminate()
        server.wait()


def await_server(port: int) -> None:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError("The server does not come.")


def test_a_binary_log_takes_a_right_or_a_setting(port: int, install: Install) -> None:
    from django.db.backends.mysql.base import DatabaseWrapper

    piece = list_pieces(install(Tag), Tag)[0]
    settings = {**connection.settings_dict, "PORT": port, "NAME": None}
    root = DatabaseWrapper({**settings, "USER": "root"})
    other = DatabaseWrapper({**settings, "USER": "app", "NAME": "shop"})
    try:
        with root.cursor() as cursor:
            cursor.execute("CREATE DATABASE shop")
            cursor.execute("CREATE TABLE shop.testapp_tag (id INT, name TEXT)")
            cursor.execute("CREATE USER app@'127.0.0.1'")
            cursor.execute("GRANT ALL ON shop.* TO app@'127.0.0.1'")
        remedy = "The server keeps a binary log, and trusts only accounts with SUPER"
        with pytest.raises(OperationalError) as caught, other.cursor() as cursor:
            cursor.execute(piece.create)
        (note,) = caught.value.__cause__.__notes__  # type: ignore[union-attr]
        assert note.startswith(remedy)
        (found,) = find_hindrances(other)
        assert (found.id, found.hint) == ("signal_kit.E073", note)

        with root.cursor() as cursor:
            cursor.execute("SET GLOBAL log_bin_trust_function_creators = 1")
        assert list(find_hindrances(other)) == []
        with other.cursor() as cursor:
            cursor.execute(piece.create)
            cursor.execute(piece.drop)

        with root.cursor() as cursor:
            cursor.execute("SET GLOBAL log_bin_trust_function_creators = 0")
            cursor.execute("GRANT SUPER ON *.* TO app@'127.0.0.1'")
        other.close()
        assert list(find_hindrances(other)) == []
        with other.cursor() as cursor:
            cursor.execute(piece.create)
    finally:
        other.close()
        root.close()
