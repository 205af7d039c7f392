"""What functions of triggers have in common: who writes, whether he is muted, in which unit."""

from __future__ import annotations

from django_signal_kit.audit.capture.pieces import MARK
from django_signal_kit.audit.capture.postgresql.statements import quote

#: What stands round a packet that is the end of a statement: a comment with base64 in quotes.
#: After one that begins in a literal, or where a literal ends, comes another quote or asterisk
#: before the end; one in a comment is over a line's end, and has to be closed once more.
BEFORE_PACKET, AFTER_PACKET = "\n;\n/* signal_kit: '", "'*/"
_BEFORE = quote(BEFORE_PACKET)
_PACKET = f"convert_from(decode(left(said, -{len(AFTER_PACKET)}), 'base64'), 'UTF8')"

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
  said text;
  packet jsonb;
  told jsonb;
  unit uuid;
  {declared}
BEGIN
  {first}said := nullif(current_setting('signal_kit.context', true), '');
  -- Once for all rows of a transaction, of a long statement too.
  IF said IS NULL AND coalesce(current_setting('signal_kit.unit', true), '') = ''
    AND strpos(current_query(), {_BEFORE}) > 0 THEN
    said := split_part(current_query(), {_BEFORE}, -1);
    said := CASE WHEN strpos(said, '''') = length(said) - 2
      AND strpos(said, '*') = length(said) - 1 AND said LIKE '%/'
      THEN set_config('signal_kit.context', {_PACKET}, true) END;
  END IF;
  packet := said::jsonb;
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
