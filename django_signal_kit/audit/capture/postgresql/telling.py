"""How a packet goes along with a statement: in one before it, or in a comment after it."""

from __future__ import annotations

import binascii
from typing import Any

from django_signal_kit.audit.capture.postgresql.bodies import AFTER_PACKET, BEFORE_PACKET
from django_signal_kit.audit.capture.postgresql.statements import quote
from django_signal_kit.audit.capture.postgresql.verbs import is_block, is_whole

IDLE = 0  # Of libpq: no transaction is open.
# Of PostgreSQL.
_TERMINATION = "2D000"  # Invalid transaction termination.
_SYNTAX_ERROR = "42601"
# Not SET LOCAL, of which pg_stat_statements would keep each packet.
TELLING = "SELECT pg_catalog.set_config('signal_kit.context', %s, true)"
# Messages of errors show the line that they are about.
NEXT = ";\n"
BEFORE, AFTER = map(len, f"{TELLING}{NEXT}".split("%s"))
BEGINNING = TELLING[:BEFORE].encode()
# After the end of the statement, which may end in a comment: pg_stat_statements keeps nothing of
# it. The quotes are those that drivers put round a text.
REMARK = f"{BEFORE_PACKET[:-1]}%s{AFTER_PACKET[1:]}"


def tell(packet: str) -> str:
    """The statement that tells ``packet``."""
    return TELLING.replace("%s", quote(packet))


def encode(packet: str) -> str:
    """As what can stand in a comment, in quotes."""
    return binascii.b2a_base64(packet.encode(), newline=False).decode()


def may_go_alone(error: Any, query: Any) -> bool:
    """Did a procedure want to commit, which it may if nothing else comes with it? It has done
    nothing yet, and nobody can tell its triggers who it is. Or is ``query`` none that can be run?
    The error shall quote it alone, and not what is told. What may have been committed before the
    error is not done again."""
    code = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    if query.__class__ is not str:
        return code == _TERMINATION
    if code == _SYNTAX_ERROR:
        return error.diag.context is None and is_whole(query)
    return code == _TERMINATION and (is_whole(query) or is_block(query))
