"""How SQL of PostgreSQL is put together, for schemas that are known only when it is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from django_signal_kit.audit.capture.pieces import Piece

#: Stands for the schema of the table in which the functions are made.
SCHEMA = "@signal_kit_schema@"
#: Stands for the time zone of the session that installs them, as a literal.
ZONE = "@signal_kit_zone@"


def quote_name(name: str) -> str:
    """A name in quotes. One with quotes round a dot in its middle names a schema, as in Django:
    ``'shop"."tag'``."""
    return name if name.startswith('"') and name.endswith('"') else f'"{name}"'


def split_name(table: str) -> tuple[str, str]:
    """The schema that the name of a table says, or "", and what the table is called there."""
    schema, _, name = quote_name(table)[1:-1].rpartition('"."')
    return schema, name


def quote(text: str) -> str:
    """A literal, whatever the session says of backslashes."""
    text = text.replace("'", "''")
    if "\\" not in text:
        return f"'{text}'"
    return "E'{}'".format(text.replace("\\", "\\\\"))


def name_trigger(function: str) -> str:
    """The name of the trigger that runs ``function``, in quotes. They run in the order of their
    names: what those of others write to the row again has to be told after what set them off."""
    return quote_name(f"_{function}")


def stand_for(table: str) -> str:
    """What stands for the name of a table with its schema."""
    return f"@signal_kit_table {table}@"


def qualify(function: str) -> str:
    return f"{SCHEMA}.{quote_name(function)}"


def make_piece(
    name: str,
    table: str,
    arguments: str,
    statements: Sequence[str],
    tables: Sequence[str],
    by_row: Mapping[str, str] = MappingProxyType({}),
) -> Piece:
    """The function ``name(arguments)`` in the schema of ``table``, made by the first of
    ``statements``; the others need it. ``tables``: those that are stood for.
    ``by_row``: parts of them, and what stands there if the table has partitions.

    The schema of each table is that in which ``search_path`` finds it when the piece is installed.
    Nobody but its owner may call the function, or make triggers of it.
    """
    function = f"{qualify(name)}({arguments})"
    make, *others = statements
    sql = [
        make,
        f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC",
        f"COMMENT ON FUNCTION {function} IS {quote(table)}",
        *others,
    ]
    found = "statement"
    for each in dict.fromkeys(tables):
        full = "quote_ident(space.nspname) || '.' || quote_ident(relation.relname)"
        found = f"replace({found}, {quote(stand_for(each))}, {_look_up(each, full)})"
    for part, other in by_row.items():
        case = f"CASE relkind WHEN 'p' THEN {quote(other)} ELSE {quote(part)} END"
        found = f"replace({found}, {quote(part)}, {_look_up(table, case)})"
    found = f"replace({found}, '{SCHEMA}', {_look_up(table, 'quote_ident(space.nspname)')})"
    found = f"replace({found}, '{ZONE}', quote_literal(current_setting('TimeZone')))"
    listed = ",\n".join(map(quote_in_dollars, sql))
    block = (
        f"\nDECLARE\n  statement text;\nBEGIN\n"
        f"  FOREACH statement IN ARRAY ARRAY[\n{listed}\n  ] LOOP\n"
        f"    EXECUTE {found};\n  END LOOP;\nEND\n"
    )
    # Where a name says no schema, that in which it is found.
    schema, _ = split_name(table)
    space = f"{quote_name(schema)}." if schema else ""
    return Piece(
        name,
        table,
        f"DO {quote_in_dollars(block)}",
        f"DROP FUNCTION IF EXISTS {space}{quote_name(name)}({arguments}) CASCADE",
    )


def _look_up(table: str, expression: str) -> str:
    return (
        f"(SELECT {expression} FROM pg_catalog.pg_class AS relation JOIN "
        f"pg_catalog.pg_namespace AS space ON space.oid = relation.relnamespace "
        f"WHERE relation.oid = {quote(quote_name(table))}::pg_catalog.regclass)"
    )


def quote_in_dollars(text: str) -> str:
    tag = "$signal_kit$"
    while tag in text:
        tag = f"{tag[:-1]}_$"
    return f"{tag}{text}{tag}"
