"""Triggers as a script, for who brings them into a database by its own client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db import connections

from django_signal_kit.audit.capture.installing import part
from django_signal_kit.audit.capture.mysql.modes import PLAIN
from django_signal_kit.audit.capture.wanted import compare_with, list_installed, list_wanted

_TRANSACTION = "BEGIN;", "COMMIT;", ";"


def write_script(using: str) -> Iterator[str]:
    """Statements for the client of the database ``using``, which make it have what is wanted and
    nothing else of ours, whatever it has by then, and however that client is set."""
    wanted = [piece for _, piece in list_wanted(using)]
    left = compare_with(using, wanted, list_installed(using)).left
    gone = [piece for piece in wanted if not piece.replaces]
    connection: Any = connections[using]
    is_mysql = connection.vendor == "mysql"
    # To its client the first semicolon inside of a trigger would be the end of it; and there a
    # transaction ends with each trigger.
    begin, end, stop = ("DELIMITER ;;", "DELIMITER ;", ";;") if is_mysql else _TRANSACTION
    yield from _list_settings(connection)
    for out, into in part(using, [*left, *gone], wanted):
        yield begin
        # What was made last may use what was made first.
        yield from (f"{piece.drop}{stop}" for piece in reversed(out))
        yield from (f"{piece.create}{stop}" for piece in into)
        yield end


def _list_settings(connection: Any) -> Iterator[str]:
    """What of the session decides what triggers are, as it is set for Django."""
    if connection.vendor == "mysql":
        yield "SET NAMES utf8mb4;"
        yield f"SET sql_mode = '{PLAIN}';"
    elif connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT string_agg(quote_ident(name), ', ' ORDER BY place), "
                "quote_literal(current_setting('TimeZone')) "
                "FROM unnest(current_schemas(false)) WITH ORDINALITY AS found(name, place)"
            )
            path, zone = cursor.fetchone()
        yield "SET client_encoding = 'UTF8';"
        # It need not say that there was nothing to drop.
        yield "SET client_min_messages = warning;"
        yield f"SET search_path = {path};"
        yield f"SET TimeZone = {zone};"
