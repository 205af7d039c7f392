"""What keeps triggers from being made in MariaDB or MySQL, or from running."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from django.core.checks import CheckMessage, Error, Warning
from django.db import DatabaseError

from django_signal_kit.audit.capture.mysql.catalog import list_installed
from django_signal_kit.audit.capture.pieces import PREFIX, UNREADABLE
from django_signal_kit.exceptions import join

#: Code of an error -> what to do about it.
REMEDIES = {
    1054: (
        "A trigger of the table names a column that is not there any more. If it is one of the "
        "audit log: run migrate, or auditcapture --install, which make it as the table is now."
    ),
    1142: "Triggers are made by an account that has the right TRIGGER on each table.",
    1301: (
        "An entry of the audit log has what was and what is in its columns, and must fit into "
        "max_allowed_packet: raise that, or leave the longest out by 'exclude_fields'."
    ),
    1419: (
        "The server keeps a binary log, and trusts only accounts with SUPER to make triggers. Set "
        "log_bin_trust_function_creators=1 on it, or run auditcapture --install as one of these."
    ),
    1442: (
        "If that table is the audit log: no statement can read it and write rows that triggers "
        "record there. Read the log first, in a query of its own."
    ),
    1449: (
        "The account that has made the triggers of the audit log is gone, and they ran with its "
        "rights. Make them anew with one that stays: auditcapture --drop, then --install."
    ),
}

_ANY = re.compile("")
#: Code that means other things too -> what it says if it has to do with triggers.
_SIGNS = {1054: re.compile("in '(OLD|NEW)'"), 1142: re.compile("TRIGGER command")}


def get_remedy(error: Exception) -> str:
    """What to do about an error of the driver, if it has to do with triggers; else ""."""
    for code, remedy in REMEDIES.items():
        if error.args[:1] == (code,) and _SIGNS.get(code, _ANY).search(str(error)):
            return remedy
    return ""


def find_hindrances(connection: Any) -> Iterator[CheckMessage]:
    """One error for each; and a warning if this account may not see what there is."""
    if any(each.checksum == UNREADABLE for each in list_installed(connection)):
        yield Warning(
            f"The account by which Django uses the database {connection.alias!r} may not read "
            f"what the triggers of the audit log do there, so that nobody can tell here whether "
            f"they are those that these settings want.",
            hint="Ask as the account that migrates, which has the right TRIGGER: auditcapture "
            "--status.",
            id="signal_kit.W033",
        )
    with connection.cursor() as cursor:
        if _may_not_make_any(cursor):
            yield Error(
                f"The account by which Django uses the database {connection.alias!r} may make no "
                f"triggers there: the server keeps a binary log, and does not trust it.",
                hint=REMEDIES[1419],
                id="signal_kit.E073",
            )
        gone = _list_gone(cursor)
        if gone:
            yield Error(
                f"All writes that triggers of the audit log in {connection.alias!r} should record "
                f"fail: the account that has made them is gone ({join(gone)}).",
                hint=REMEDIES[1449],
                id="signal_kit.E074",
            )


def _may_not_make_any(cursor: Any) -> bool:
    cursor.execute("SELECT @@log_bin, @@log_bin_trust_function_creators")
    has_log, trusts_all = cursor.fetchone()
    if not has_log or trusts_all:
        return False
    cursor.execute("SHOW GRANTS")
    grants = [str(grant).split(" ON ")[0] for (grant,) in cursor.fetchall() if "ON *.*" in grant]
    return not any(right in grant for grant in grants for right in ("SUPER", "ALL PRIVILEGES"))


def _list_gone(cursor: Any) -> list[str]:
    """The accounts of our triggers that there are no more; none if nobody may say."""
    cursor.execute(
        "SELECT DISTINCT definer FROM information_schema.triggers "
        "WHERE trigger_schema = DATABASE() AND LEFT(trigger_name, %s) = %s",
        [len(PREFIX), PREFIX],
    )
    definers = {definer for (definer,) in cursor.fetchall()}
    try:
        cursor.execute("SELECT CONCAT(user, '@', host) FROM mysql.user")
    except DatabaseError:
        return []
    return sorted(definers - {account for (account,) in cursor.fetchall()})
