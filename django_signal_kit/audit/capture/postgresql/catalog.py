"""What a database has of ours."""

from __future__ import annotations

from django.db.backends.base.base import BaseDatabaseWrapper

from django_signal_kit.audit.capture.pieces import PREFIX, Installed, read_checksum
from django_signal_kit.audit.capture.postgresql.standins import is_body_of_standin, take_over
from django_signal_kit.audit.capture.postgresql.statements import quote_name, split_name

# Its comment names a function's table, which search_path may find in another schema: then the
# function is somebody else's. One that says its schema is looked for by nobody, who may have no
# right to that. A table may have got another name since. A function whose trigger is gone,
# disabled, or on another table than that, does nothing.
_SQL = r"""
SELECT function.proname, description, function.prosrc, space.nspname,
    CASE WHEN relation.oid IS NULL THEN (
        SELECT min(other.relname) FROM pg_catalog.pg_trigger AS trigger
        JOIN pg_catalog.pg_class AS other ON other.oid = trigger.tgrelid
        WHERE trigger.tgfoid = function.oid AND trigger.tgparentid = 0
    ) END,
    pg_catalog.pg_get_function_identity_arguments(function.oid),
    function.prorettype = 'pg_catalog.trigger'::pg_catalog.regtype,
    EXISTS (
        SELECT FROM pg_catalog.pg_trigger AS trigger
        WHERE trigger.tgfoid = function.oid AND trigger.tgenabled IN ('O', 'A')
            AND trigger.tgrelid = coalesce(relation.oid, trigger.tgrelid)
    )
FROM pg_catalog.pg_proc AS function
JOIN pg_catalog.pg_namespace AS space ON space.oid = function.pronamespace
CROSS JOIN LATERAL coalesce(pg_catalog.obj_description(function.oid, 'pg_proc'), '') AS description
LEFT JOIN pg_catalog.pg_class AS relation
    ON relation.oid = CASE WHEN strpos(description, '"."') = 0
        THEN pg_catalog.to_regclass('"' || btrim(description, '"') || '"') END
WHERE function.proname ^@ %s
    AND CASE WHEN strpos(description, '"."') > 0 THEN true
        WHEN relation.oid IS NULL THEN pg_catalog.pg_function_is_visible(function.oid)
        ELSE relation.relnamespace = function.pronamespace END
ORDER BY function.proname
"""


def list_installed(connection: BaseDatabaseWrapper) -> list[Installed]:
    """Those functions of ours that have a trigger, that triggers call, or that stand in for
    them."""
    with connection.cursor() as cursor:
        cursor.execute(_SQL, [PREFIX])
        return [_make(*row) for row in cursor.fetchall()]


def is_there(connection: BaseDatabaseWrapper, table: str) -> bool:
    """Is there a table of this name, which may say its schema?"""
    schema, name = split_name(table)
    with connection.cursor() as cursor:
        # Not to_regclass(), which fails if one has no right to the schema.
        cursor.execute(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_class AS relation "
            "JOIN pg_catalog.pg_namespace AS space ON space.oid = relation.relnamespace "
            "WHERE relname = %s AND CASE WHEN %s = '' "
            "THEN pg_catalog.pg_table_is_visible(relation.oid) ELSE nspname = %s END)",
            [name, schema, schema],
        )
        return bool(cursor.fetchone()[0])


def _make(
    name: str,
    table: str,
    body: str,
    schema: str,
    renamed: str | None,
    arguments: str,
    is_of_trigger: bool,
    has_trigger: bool,
) -> Installed:
    is_standin = is_body_of_standin(body)
    function = f"{quote_name(schema)}.{quote_name(name)}"
    # A stand-in with a trigger has taken the place of others, which are to come back.
    stands = has_trigger == (is_of_trigger and not is_standin)
    whole = quote_name(table) if '"."' in table else f"{quote_name(schema)}.{quote_name(table)}"
    return Installed(
        name,
        _rename(table, schema, renamed) if renamed else table,
        read_checksum(body) if stands else "",
        f"DROP FUNCTION IF EXISTS {function}({arguments}) CASCADE",
        hears=has_trigger,
        is_whole=is_standin and has_trigger,
        take_over=take_over(name, whole, function) if is_standin and not has_trigger else "",
    )


def _rename(table: str, schema: str, name: str) -> str:
    """The name that ``table`` has now."""
    said, called = split_name(table)
    if called == name:
        return table
    whole = f'{schema}"."{name}' if said else name
    return f'"{whole}"' if table.startswith('"') else whole
