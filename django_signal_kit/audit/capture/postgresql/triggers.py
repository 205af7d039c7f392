"""The triggers of a table on PostgreSQL.

Updates are heard row by row, the rest by statement: of a statement that updates, the plan of a
join of its old and new rows would keep the estimate of the first one that a session runs. Of a
table with partitions all is heard row by row: such triggers are those of each partition as well,
and an update that takes a row from one to another is a deletion and an insertion for them. Each
event has a function of its own, made for its table, in the table's schema. Functions run with the
rights of whoever installs them, and name all by its schema, which is that in which ``search_path``
finds the tables then.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from django_signal_kit.audit.capture.pieces import MARK, Piece, make_name
from django_signal_kit.audit.capture.postgresql.bodies import write_body
from django_signal_kit.audit.capture.postgresql.expressions import (
    Telling,
    differ,
    get_value,
    say,
)
from django_signal_kit.audit.capture.postgresql.secrets import write_redaction
from django_signal_kit.audit.capture.postgresql.standins import (
    make_standin,
    make_standin_of_links,
    write_action,
)
from django_signal_kit.audit.capture.postgresql.statements import (
    make_piece,
    name_trigger,
    qualify,
    quote,
    quote_in_dollars,
    quote_name,
    stand_for,
)
from django_signal_kit.audit.capture.specification import Cell, Kind, Link, Specification
from django_signal_kit.rows.values import REDACTED

_TYPES = {Kind.INTEGER: "bigint", Kind.UUID: "uuid"}
_OLD, _NEW = "REFERENCING OLD TABLE AS old_rows", "REFERENCING NEW TABLE AS new_rows"


def find_obstacle(specification: Specification) -> str:
    """Why PostgreSQL cannot record this; "" if it can."""
    return ""


def write(specification: Specification) -> list[Piece]:
    """The functions with their triggers, in the order of making them."""
    return list(_Writer(specification).list_pieces())


class _Writer:
    def __init__(self, specification: Specification) -> None:
        self.spec = spec = specification
        self.redaction = self._make_name("redact")
        self.telling = Telling(use_tz=spec.use_tz, redact=qualify(self.redaction))

    def _make_name(self, event: str) -> str:
        return make_name(self.spec.receiver, self.spec.table, event)

    def list_pieces(self) -> Iterator[Piece]:
        yield self._make_redaction()
        yield self._make_insert()
        if self.spec.changing:
            yield self._make_update()
        yield self._make_delete()
        for link in self.spec.links:
            yield self._make_link_piece(link, "INSERT", _NEW, {"m2m_add": "new_rows"})
            yield self._make_link_piece(
                link,
                "UPDATE",
                f"{_OLD} NEW TABLE AS new_rows",
                {"m2m_remove": "old_rows", "m2m_add": "new_rows"},
            )
            yield self._make_link_piece(link, "DELETE", _OLD, {"m2m_remove": "old_rows"})
            yield make_standin_of_links(
                self.spec,
                link,
                self._make_name(f"{link.name}_standin"),
                self._insert,
                self._write_standin_values(of_links=True),
            )
        yield make_standin(
            self.spec,
            self._make_name("standin"),
            qualify(self.redaction),
            self._insert,
            self._write_standin_values(),
        )

    def _write_standin_values(self, *, of_links: bool = False) -> str:
        name = self.spec.label.rpartition(".")[2]
        return self._write_entry(
            write_action(of_links=of_links),
            key="key",
            text=f"{quote(f'{name} ')} || key",
            changes="coalesce(changes, '{}')",
        )

    # Rows

    def _make_insert(self) -> Piece:
        values = self._write_values("create", "given", self._tell_all("given", "[null,%s]"))
        return self._make_trigger(
            "INSERT", _NEW, f"{self._insert} SELECT {values} FROM new_rows AS given;", by_row="NEW"
        )

    def _make_delete(self) -> Piece:
        values = self._write_values("delete", "given", self._tell_all("given", "[%s,null]"))
        return self._make_trigger(
            "DELETE", _OLD, f"{self._insert} SELECT {values} FROM old_rows AS given;", by_row="OLD"
        )

    def _make_update(self) -> Piece:
        values = self._write_values("update", "NEW", "changes")
        # Not one expression: what has not changed is not even prepared, in each transaction anew.
        changes = "".join(map(self._note_change, self.spec.changing))
        return self._make_trigger(
            "UPDATE",
            "",
            f"{self._insert} VALUES ({values});",
            # The bytes of the rows: no collation takes two of them for the same.
            how="FOR EACH ROW WHEN (OLD.* OPERATOR(pg_catalog.*<>) NEW.*)",
            first=f"{changes}IF changes = '' THEN\n    RETURN NULL;\n  END IF;\n  ",
        )

    def _tell_all(self, row: str, pair: str) -> str:
        """The cells of ``row`` that are not NULL."""
        before, after = pair.split("%s")
        parts = (
            f"coalesce({quote(f',{json.dumps(cell.name)}:{before}')} || "
            f"({self.telling.tell(cell, row)}) || '{after}', '')"
            for cell in self.spec.cells
        )
        return "\n    || ".join(parts) or "''"

    def _note_change(self, cell: Cell) -> str:
        old, new = (f"coalesce({self.telling.tell(cell, row)}, 'null')" for row in ("OLD", "NEW"))
        key = quote(f",{json.dumps(cell.name)}:[")
        return (
            f"IF {differ(cell, 'OLD', 'NEW')} THEN\n"
            f"    changes := changes || {key} || {old} || ',' || {new} || ']';\n"
            f"  END IF;\n  "
        )

    # Links

    def _make_link_piece(
        self, link: Link, event: str, transition: str, sources: dict[str, str]
    ) -> Piece:
        statements = "\n  ".join(
            self._insert_links(link, action, source, sources) for action, source in sources.items()
        )
        return self._make_trigger(
            event, transition, statements, name=f"{link.name}_{event.lower()}", table=link.table
        )

    def _insert_links(self, link: Link, action: str, source: str, sources: dict[str, str]) -> str:
        columns = (
            f"SELECT {quote_name(link.owner_column)} AS owner, "
            f"{quote_name(link.target_column)} AS target FROM"
        )
        pairs = f"{columns} {source}"
        for other in sources.values():
            if other != source:
                # Of a link that stays nothing is told, whatever else has changed of it.
                pairs += f" EXCEPT {columns} {other}"
        order = 'link.target COLLATE "C"' if link.target_kind is Kind.TEXT else "link.target"
        verb = "added" if action == "m2m_add" else "removed"
        begin = quote(f"{{{json.dumps(link.name)}:{{{json.dumps(verb)}:[")
        values = self._write_entry(
            quote(action),
            key="concat(given.owner)",
            text=self._write_owner_text(),
            changes=f"({begin} || given.targets || ']}}}}')::jsonb",
        )
        return (
            f"{self._insert} SELECT {values} FROM (SELECT link.owner, string_agg("
            f"{self.telling.tell_value(link.target_kind, 'link.target')}, ',' ORDER BY {order}) "
            f"AS targets FROM (SELECT DISTINCT * FROM ({pairs}) AS pairs) AS link "
            f"WHERE link.owner IS NOT NULL AND link.target IS NOT NULL "
            f"GROUP BY link.owner ORDER BY link.owner) AS given;"
        )

    def _write_owner_text(self) -> str:
        """What the owner of a link is called, if it is still there."""
        spec = self.spec
        name = spec.label.rpartition(".")[2]
        fallback = f"{quote(f'{name} ')} || concat(given.owner)"
        if all(isinstance(part, str) or part.column == spec.key.column for part in spec.text):
            return _concat(
                quote(part) if isinstance(part, str) else "concat(given.owner)"
                for part in spec.text
            )
        # No join, whose plan would keep the estimate of the first statement.
        return (
            f"coalesce((SELECT {self._write_text('owner')} FROM {stand_for(spec.table)} AS owner "
            f"WHERE owner.{quote_name(spec.key.column)} = given.owner), {fallback})"
        )

    # Entries

    @property
    def _insert(self) -> str:
        log = self.spec.log
        columns = ", ".join(map(quote_name, log.columns.values()))
        return f"INSERT INTO {stand_for(log.table)} ({columns})\n   "

    def _write_values(self, action: str, row: str, changes: str) -> str:
        return self._write_entry(
            quote(action),
            key=f"concat({get_value(self.spec.key, row)})",
            text=self._write_text(row),
            changes=f"('{{' || substr({changes}, 2) || '}}')::jsonb",
        )

    def _write_text(self, row: str) -> str:
        text = _concat(
            quote(part) if isinstance(part, str) else say(part, row) for part in self.spec.text
        )
        for cell in self.spec.hidden:
            text = f"replace({text}, concat({get_value(cell, row)}), {quote(REDACTED)})"
        return text

    def _write_entry(self, action: str, *, key: str, text: str, changes: str) -> str:
        """The values of an entry, in the order of the log's columns."""
        spec = self.spec
        actor = f"::{found}" if (found := _TYPES.get(spec.log.actor_kind)) else ""
        values = {
            "at": "moment",
            "action": action,
            "content_type_id": str(spec.content_type_id),
            "object_pk": key,
            "object_text": text,
            "changes": changes,
            "actor_id": f"(told ->> 'actor_id'){actor}",
            "actor_text": "coalesce(told ->> 'actor_text', '')",
            "context": """coalesce(told -> 'context', '{"by": "database"}')""",
            "unit": "unit",
            "using": quote(spec.using),
        }
        return ", ".join(values[name] for name in spec.log.columns)

    # Pieces

    def _make_trigger(
        self,
        event: str,
        transition: str,
        statements: str,
        *,
        how: str = "FOR EACH STATEMENT",
        first: str = "",
        name: str = "",
        table: str = "",
        by_row: str = "",
    ) -> Piece:
        name = self._make_name(name or event.lower())
        table = table or self.spec.table
        body = write_body(
            self.spec.receiver, statements, declared="changes text := '';", first=first
        )
        function = f"{qualify(name)}()"
        return make_piece(
            name,
            table,
            "",
            [
                f"CREATE OR REPLACE FUNCTION {function} RETURNS trigger LANGUAGE plpgsql "
                f"SECURITY DEFINER SET search_path = pg_catalog, pg_temp{self._get_settings()} "
                f"AS {quote_in_dollars(body)}",
                f"CREATE OR REPLACE TRIGGER {name_trigger(name)} AFTER {event} ON "
                f"{stand_for(table)} {transition} {how} EXECUTE FUNCTION {function}",
            ],
            [table, self.spec.table, self.spec.log.table],
            {
                f"{transition} {how}": "FOR EACH ROW",
                f"FROM {by_row.lower()}_rows AS given": f"FROM (SELECT {by_row}.*) AS given",
            }
            if by_row
            else {},
        )

    def _get_settings(self) -> str:
        # Fewer digits are told where a session wants to see fewer.
        has_floats = any(cell.kind is Kind.FLOAT for cell in self.spec.cells)
        return " SET extra_float_digits = 1" if has_floats else ""

    def _make_redaction(self) -> Piece:
        body = write_redaction(qualify(self.redaction), self.spec.secrets)
        function = qualify(self.redaction)
        return make_piece(
            self.redaction,
            self.spec.table,
            "text, integer",
            [
                f"CREATE OR REPLACE FUNCTION {function}(document text, depth integer DEFAULT 0) "
                f"RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE "
                f"AS {quote_in_dollars(MARK + body)}",
            ],
            [],
        )


def _concat(parts: Iterable[str]) -> str:
    return " || ".join(parts) or "''"
