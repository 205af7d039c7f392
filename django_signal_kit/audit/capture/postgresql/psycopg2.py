"""What the cursors of psycopg 2 do to carry packets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django_signal_kit.audit.capture.postgresql.cursors import CarryingCursor
from django_signal_kit.audit.capture.postgresql.telling import (
    NEXT,
    REMARK,
    encode,
    tell,
)
from django_signal_kit.audit.capture.postgresql.verbs import is_read, is_short


class CursorOfPsycopg2(CarryingCursor):
    """What comes before the methods of a cursor of psycopg 2, which sends texts always."""

    def execute(self, query: Any, vars: Any = None) -> Any:
        return self._execute(query, vars)

    def _get_status(self) -> int:
        return self.connection.get_transaction_status()  # type: ignore[no-any-return]

    def _run_told(self, packet: str, query: Any, params: Any, options: dict[str, Any]) -> Any:
        run = super().execute  # type: ignore[misc]
        text = query if params is None else self.mogrify(query, params)  # type: ignore[attr-defined]
        text = self._to_text(text)
        if self._is_alone and is_short(text, params):
            return run(text + REMARK.replace("%s", f"'{encode(packet)}'"))
        return run(f"{tell(packet)}{NEXT}{text}")

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
        return super()._get_packet()

    def _to_text(self, query: Any) -> str:
        if isinstance(query, bytes):
            return query.decode()
        return query if isinstance(query, str) else query.as_string(self)

    @contextmanager
    def _tell_first(self, packet: str) -> Iterator[None]:
        run = super().execute  # type: ignore[misc]
        is_alone = self._is_alone
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
