"""What the cursors of psycopg 3 do to carry packets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from django_signal_kit.audit.capture.postgresql.cursors import CarryingCursor
from django_signal_kit.audit.capture.postgresql.telling import (
    AFTER,
    BEFORE,
    BEGINNING,
    NEXT,
    REMARK,
    TELLING,
    encode,
    tell,
)
from django_signal_kit.audit.capture.postgresql.verbs import is_read, is_short

try:
    from psycopg import Pipeline
except ImportError:
    # Django takes psycopg 2 as well.
    Pipeline = None  # type: ignore[assignment,misc]


class CursorOfPsycopg(CarryingCursor):
    """What comes before the methods of a cursor of psycopg 3."""

    _query: Any

    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        return self._execute(query, params, **options)

    def _get_status(self) -> int:
        return self.connection.pgconn.transaction_status  # type: ignore[no-any-return]

    def _run_told(self, packet: str, query: Any, params: Any, options: dict[str, Any]) -> Any:
        run = super().execute  # type: ignore[misc]
        pgconn = self.connection.pgconn
        is_plain = query.__class__ is str and not options and not pgconn.pipeline_status
        if is_plain and (params is None or hasattr(self, "mogrify")):
            # The driver sends texts.
            if self._is_alone and is_short(query, params):
                self._run_remarked(packet, query, params)
            else:
                self._run_after_telling(packet, query, params)
        elif is_plain and Pipeline.is_supported():
            # The server takes the values, and but one statement at once.
            with self.connection.pipeline():
                self.connection.cursor().execute(tell(packet))
                run(query, params)
        else:
            with self._tell_first(packet):
                run(query, params, **options)
        return self

    def _run_remarked(self, packet: str, query: str, params: Any) -> None:
        run = super().execute  # type: ignore[misc]
        code = encode(packet)
        remark = REMARK.replace("%s", f"'{code}'")
        try:
            if params.__class__ in (tuple, list):
                # The driver keeps how it takes a text apart: it has to be the same each time.
                run(f"{query}{REMARK}", (*params, code))
            else:
                text = query if params is None else self.mogrify(query, params)  # type: ignore[attr-defined]
                run(text + remark)
        finally:
            # Django reads from there what was run, and what has failed.
            if self._query is not None:
                self._query.query = self._query.query.removesuffix(remark.encode())

    def _run_after_telling(self, packet: str, query: str, params: Any) -> None:
        run = super().execute  # type: ignore[misc]
        telling = ""
        try:
            if params.__class__ in (tuple, list):
                run(f"{TELLING}{NEXT}{query}", (packet, *params))
            else:
                text = query if params is None else self.mogrify(query, params)  # type: ignore[attr-defined]
                telling = f"{tell(packet)}{NEXT}"
                run(telling + text)
        finally:
            sent = self._query
            if sent is not None and sent.query.startswith(BEGINNING):
                length = len(telling.encode()) or BEFORE + len(sent.params[0]) + AFTER
                sent.query = sent.query[length:]
        # From the result of the setting to that of the write.
        self.nextset()  # type: ignore[attr-defined]

    def executemany(self, query: Any, params_seq: Any, **options: Any) -> None:
        run = super().executemany  # type: ignore[misc]
        with self._tell_if_needed(query):
            run(query, params_seq, **options)

    @contextmanager
    def copy(self, statement: Any, params: Any = None, **options: Any) -> Iterator[Any]:
        start = super().copy  # type: ignore[misc]
        with self._tell_if_needed(statement), start(statement, params, **options) as copy:
            yield copy

    @contextmanager
    def _tell_if_needed(self, query: Any) -> Iterator[None]:
        found = None if is_read(query) else self._get_packet()
        with self._tell_first(found[0]) if found else nullcontext():
            yield
        if found:
            self.carrier.note(found[1])

    @contextmanager
    def _tell_first(self, packet: str) -> Iterator[None]:
        """By a statement of its own, in the transaction of what follows."""
        raw = self.connection
        with raw.transaction() if self._is_alone else nullcontext():
            raw.cursor().execute(tell(packet))
            yield
