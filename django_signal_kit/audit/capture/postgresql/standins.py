"""What hears a table while a migration changes its columns.

A stand-in is made along with the triggers of a table and has no trigger itself. Before a migration
that may change columns it takes their place: it names no column, tells a row as PostgreSQL itself
makes JSON of it, and so can do with whatever columns there are. Row by row, and slow.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from django_signal_kit.audit.capture.pieces import Piece
from django_signal_kit.audit.capture.postgresql.bodies import write_body
from django_signal_kit.audit.capture.postgresql.statements import (
    make_piece,
    name_trigger,
    qualify,
    quote,
    quote_in_dollars,
)
from django_signal_kit.audit.capture.specification import Kind, Link, Specification
from django_signal_kit.rows.values import REDACTED

_SIGN = "/* stand-in */"
_DECLARED = f"""{_SIGN}
  old_row jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) ELSE '{{}}' END;
  new_row jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) ELSE '{{}}' END;
  whole jsonb := old_row || new_row;
  key text;
  changes jsonb;"""


def make_standin(
    spec: Specification, name: str, redaction: str, insert: str, values: str
) -> Piece:
    """The stand-in for the triggers of the table. ``redaction``: a function that takes secrets out
    of JSON as text; ``insert`` and ``values``: the beginning and the values of a statement that
    writes an entry."""
    statements = f"""key := coalesce(whole ->> {quote(spec.key.column)}, '');
  SELECT jsonb_object_agg(
    coalesce({quote(json.dumps(_list_names(spec)))}::jsonb ->> pair.key, pair.key),
    jsonb_build_array({_tell(spec, "old_row", redaction)}, {_tell(spec, "new_row", redaction)})
  ) INTO changes
  FROM jsonb_each(whole) AS pair
  WHERE NOT pair.key = ANY ({_write_array(_list_left_out(spec))})
    AND coalesce(old_row -> pair.key, 'null') <> coalesce(new_row -> pair.key, 'null');
  IF changes IS NULL AND TG_OP = 'UPDATE' THEN
    RETURN NULL;
  END IF;
  {insert} VALUES ({values});"""
    return _make(spec, name, spec.table, statements)


def make_standin_of_links(
    spec: Specification, link: Link, name: str, insert: str, values: str
) -> Piece:
    """The stand-in for the triggers of a table of links, which tells of each of them alone. A
    column that has got another name is taken to be that of the owner."""
    target = f"whole -> {quote(link.target_column)}"
    statements = f"""IF TG_OP = 'UPDATE' AND old_row = new_row THEN
    RETURN NULL;
  END IF;
  key := coalesce(
    whole ->> {quote(link.owner_column)},
    (SELECT max(pair.value) FROM jsonb_each_text(whole) AS pair
     WHERE pair.key NOT IN ('id', {quote(link.target_column)})),
    ''
  );
  changes := jsonb_build_object({quote(link.name)}, jsonb_build_object(
    CASE WHEN TG_OP = 'DELETE' THEN 'removed' ELSE 'added' END, jsonb_build_array({target})
  ));
  {insert} VALUES ({values});"""
    return _make(spec, name, link.table, statements)


def write_action(*, of_links: bool = False) -> str:
    """The SQL of what an entry calls the event."""
    names = (
        {"INSERT": "m2m_add", "UPDATE": "m2m_add", "DELETE": "m2m_remove"}
        if of_links
        else {"INSERT": "create", "UPDATE": "update", "DELETE": "delete"}
    )
    cases = " ".join(f"WHEN '{event}' THEN '{action}'" for event, action in names.items())
    return f"CASE TG_OP {cases} END"


def is_body_of_standin(body: str) -> bool:
    return _SIGN in body


def take_over(name: str, table: str, function: str) -> str:
    """The statement that makes the stand-in hear ``table``; both names are qualified."""
    return (
        f"CREATE TRIGGER {name_trigger(name)} AFTER INSERT OR UPDATE OR DELETE ON {table} "
        f"FOR EACH ROW EXECUTE FUNCTION {function}()"
    )


def _make(spec: Specification, name: str, table: str, statements: str) -> Piece:
    body = write_body(spec.receiver, statements, declared=_DECLARED)
    function = (
        f"CREATE OR REPLACE FUNCTION {qualify(name)}() RETURNS trigger LANGUAGE plpgsql "
        f"SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' "
        f"AS {quote_in_dollars(body)}"
    )
    return make_piece(name, table, "", [function], [table, spec.log.table])


def _list_names(spec: Specification) -> dict[str, str]:
    return {cell.column: cell.name for cell in spec.cells if cell.column != cell.name}


def _list_left_out(spec: Specification) -> Iterable[str]:
    """Columns that are not recorded, or not by themselves."""
    stamps = (cell.column for cell in spec.cells if cell.is_stamp and not spec.stamps)
    return (*spec.left_out, *stamps)


def _tell(spec: Specification, row: str, redaction: str) -> str:
    """The value of a column in ``row`` as JSON, with null for one that is not there."""
    value = f"({row} -> pair.key)"
    secrets = _write_array(cell.column for cell in spec.cells if cell.is_secret)
    decimals = _write_array(cell.column for cell in spec.cells if cell.kind is Kind.DECIMAL)
    floats = _write_array(cell.column for cell in spec.cells if cell.kind is Kind.FLOAT)
    hidden = f"({redaction}(jsonb_build_object(pair.key, {row} -> pair.key)::text)::jsonb)"
    return (
        f"CASE WHEN coalesce({value}, 'null') = 'null' THEN 'null'::jsonb "
        f"WHEN pair.key = ANY ({secrets}) THEN {quote(json.dumps(REDACTED))}::jsonb "
        # A number with a point in a column of which nothing is known is rather exact.
        f"WHEN pair.key = ANY ({decimals}) OR (jsonb_typeof({value}) = 'number' "
        f"AND pair.key <> ALL ({floats}) AND strpos({value}::text, '.') > 0) "
        f"THEN to_jsonb({row} ->> pair.key) "
        f"ELSE {hidden} -> pair.key END"
    )


def _write_array(names: Iterable[str]) -> str:
    return f"ARRAY[{', '.join(map(quote, names))}]::text[]"
