"""What the triggers of one table have to write, apart from the SQL of any database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """How a column's value becomes JSON: just as ``rows.values.to_json()`` tells what Django reads
    from the column."""

    BOOLEAN = "boolean"  # true
    INTEGER = "integer"  # 5
    FLOAT = "float"  # 1.5; "nan" and "inf" as text
    DECIMAL = "decimal"  # "12.50", with the decimal places of the column
    TEXT = "text"
    DATE = "date"  # "2026-11-25"
    TIME = "time"  # "10:30:00", ".000001" only if there are microseconds
    DATETIME = "datetime"  # "2026-11-25T10:30:00.000001+00:00"; without USE_TZ no offset
    DURATION = "duration"  # "P1DT02H03M04.000005S", see django.utils.duration
    UUID = "uuid"  # with dashes
    BYTES = "bytes"  # base64, in one line
    JSON = "json"  # as it stands, without the values of secret keys


@dataclass(frozen=True)
class Cell:
    """A column that is recorded."""

    #: The name of the field: the key in ``changes``.
    name: str
    #: The name of the column, not quoted.
    column: str
    kind: Kind
    #: Has the log "[redacted]" in the place of a value that is not NULL?
    is_secret: bool = False
    #: Is it written at each change, and no change by itself?
    is_stamp: bool = False
    #: Of a decimal.
    decimal_places: int = 0
    max_digits: int | None = None
    #: Of a text: does the database compare capitals and small letters, or ends, as the same? A
    #: writer compares bytes in any case.
    max_length: int | None = None


@dataclass(frozen=True)
class Link:
    """A many-to-many field of the model, whose links are the rows of a table.

    Rows that are inserted there are told as "m2m_add" of the owner, deleted ones as "m2m_remove":
    ``{name: {"added": [keys]}}`` or ``"removed"``, keys in order, one entry an owner and statement
    where the database has triggers for statements, else one a link. An updated row is both.
    """

    #: The name of the many-to-many field.
    name: str
    #: The table of the through model.
    table: str
    #: Its column that names the owner, which has the key of a row of the specification's table.
    owner_column: str
    #: Its column that names the other row.
    target_column: str
    target_kind: Kind


@dataclass(frozen=True)
class LogTable:
    """The table of the log: its name, and its columns by the names of ``entries.Entry``."""

    table: str
    columns: dict[str, str]
    #: Kind of the column of the actor: what the user model has as its key.
    actor_kind: Kind


@dataclass(frozen=True)
class Specification:
    """What one receiver records of one table."""

    #: The receiver's name: that of ``muted()``, and its key in a packet.
    receiver: str
    #: The model's label, for messages: "shop.Product".
    label: str
    table: str
    #: INTEGER, UUID or TEXT.
    key: Cell
    #: In the order of the model's fields, which is that of the keys in ``changes``.
    cells: tuple[Cell, ...]
    #: Columns of the table that are not recorded.
    left_out: tuple[str, ...]
    #: What the row is called: texts, and cells whose values stand between them as ``str()`` has
    #: them (NULL as "None"); INTEGER, TEXT, UUID, DATE or DECIMAL, none of them secret.
    text: tuple[str | Cell, ...]
    #: Secret texts of the row, whose values are replaced by "[redacted]" in what it is called.
    hidden: tuple[Cell, ...]
    links: tuple[Link, ...]
    #: The key of the model's content type.
    content_type_id: int
    #: The alias of the database, for the log's column ``using``.
    using: str
    log: LogTable
    #: Are datetimes kept in UTC and read with an offset (USE_TZ)?
    use_tz: bool
    #: Parts of names of secrets in JSON, beside those that ``rows.secrets`` knows.
    secrets: tuple[str, ...]
    #: Are updates of nothing but stamps recorded, and stamps beside other changes?
    stamps: bool

    def list_names(self) -> Iterator[str]:
        """All tables and columns, of the log too."""
        yield self.table
        yield from (cell.column for cell in (self.key, *self.cells, *self.hidden))
        yield from (part.column for part in self.text if isinstance(part, Cell))
        for link in self.links:
            yield from (link.table, link.owner_column, link.target_column)
        yield from (self.log.table, *self.log.columns.values())

    @property
    def changing(self) -> Sequence[Cell]:
        """The cells whose change makes an update worth an entry."""
        return [cell for cell in self.cells if self.stamps or not cell.is_stamp]
