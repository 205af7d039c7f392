"""What functions of triggers have in common: who writes, whether he is muted, in which unit."""

from __future__ import annotations

from django_signal_kit.audit.capture.pieces import MARK
from django_signal_kit.audit.capture.postgresql.statements import quote

# A UUID of version 7: milliseconds since 1970, and the rest by chance.
_NEW_ID = (
    "encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) PLACING substring(int8send("
    "(extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6), 52, 1), "
    "53, 1), 'hex')::uuid"
)


def write_body(receiver: str, statements: str, *, declared: str, first: str = "") -> str:
    """The body of a function in PL/pgSQL that runs ``statements`` unless ``receiver`` is muted;
    they find the variables ``moment``, ``told`` and ``unit``, and those that are ``declared``.
    ``first``: what comes before all else, and may return."""
    return f"""{MARK}
#variable_conflict use_variable
DECLARE
  moment timestamptz := clock_timestamp();
  packet jsonb;
  told jsonb;
  unit uuid;
  {declared}
BEGIN
  {first}packet := nullif(current_setting('signal_kit.context', true), '')::jsonb;
  told := packet -> {quote(receiver)};
  IF told = 'false' THEN
    RETURN NULL;
  END IF;
  unit := coalesce(packet ->> 'unit', nullif(current_setting('signal_kit.unit', true), ''))::uuid;
  IF unit IS NULL THEN
    unit := {_NEW_ID};
    PERFORM set_config('signal_kit.unit', unit::text, true);
  END IF;
  {statements}
  RETURN NULL;
END"""
