"""What the cursors of psycopg 2 do to carry packets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django_signal_kit.audit.capture.postgresql.telling import (
    IDLE,
    NEXT,
    REMARK,
    encode,
    may_go_alone,
    tell,
)
from django_signal_kit.audit.capture.postgresql.verbs import (
    ends_transaction,
    is_read,
    is_short_write,
)

if TYPE_CHECKING:
    from django_signal_kit.audit.capture.postgresql.carrying import Carrier


class CursorOfPsycopg2:
    """What comes before the methods of a cursor of psycopg 2, which sends texts always."""

    carrier: Carrier
    connection: Any

    def execute(self, query: Any, vars: Any = None) -> Any:
        run = super().execute  # type: ignore[misc]
        if is_read(query):
            if query.__class__ is str and ends_transaction(query):
                self.carrier.forget()
            return run(query, vars)
        status = self.connection.get_transaction_status()
        found = self._get_packet()
        if found is None:
            return run(query, vars)
        text = query if vars is None else self.mogrify(query, vars)  # type: ignore[attr-defined]
        text = self._to_text(text)
        if status == IDLE and self.connection.autocommit and is_short_write(query, vars):
            text += REMARK.replace("%s", f"'{encode(found[0])}'")
        else:
            text = f"{tell(found[0])}{NEXT}{text}"
        try:
            result = run(text)
        except Exception as error:
            now = self.connection.get_transaction_status()
            if not status == now == IDLE or not may_go_alone(error, query):
                raise
        else:
            self.carrier.note(found[1])
            return result
        return run(query, vars)

    def executemany(self, query: Any, vars_list: Any) -> Any:
        run = super().executemany  # type: ignore[misc]
        found = None if is_read(query) else self._get_packet()
        if found is None:
            return run(query, vars_list)
        # Each of them may be a transaction.
        telling = tell(found[0]).replace("%", "%%")
        return run(f"{telling}{NEXT}{self._to_text(query)}", vars_list)

    def copy_expert(self, sql: Any, *args: Any, **kwargs: Any) -> Any:
        start = super().copy_expert  # type: ignore[misc]
        found = None if is_read(sql) else self._get_packet()
        if found is None:
            return start(sql, *args, **kwargs)
        with self._tell_first(found[0]):
            result = start(sql, *args, **kwargs)
        self.carrier.note(found[1])
        return result

    def _get_packet(self) -> tuple[str, tuple[Any, ...]] | None:
        if getattr(self, "name", None):
            # One of the server's, which reads.
            return None
        return self.carrier.get_packet(self.connection.get_transaction_status())

    def _to_text(self, query: Any) -> str:
        if isinstance(query, bytes):
            return query.decode()
        return query if isinstance(query, str) else query.as_string(self)

    @contextmanager
    def _tell_first(self, packet: str) -> Iterator[None]:
        run = super().execute  # type: ignore[misc]
        raw = self.connection
        is_alone = raw.autocommit and raw.get_transaction_status() == IDLE
        if is_alone:
            run("BEGIN")
        try:
            run(tell(packet))
            yield
        except BaseException:
            if is_alone:
                run("ROLLBACK")
            raise
        if is_alone:
            run("COMMIT")
