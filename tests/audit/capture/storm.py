"""Eight threads that write to a shop until the file ``stop`` is in its directory.

They are another program: what they write is SQL, with whichever names tables and columns have just
then. Prints for each thread when it has counted on, what has failed,
and when it was in a deadlock and began anew.
"""

from __future__ import annotations

import json
import random
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

WRITERS = 8
# Each thread has rows of its own.
_RANGE = 1_000_000
_STOP, _READY = Path("stop"), Path("ready")
_PATIENCE = 60


class Names(NamedTuple):
    product: str
    owner: str
    tag: str
    price: str


#: One after the other, as migrations make them.
_NAMES = (
    Names("shop_product", "product_id", "shop_tag", "price"),
    Names("shop_product", "product_id", "shop_tag", "cost"),
    Names("shop_item", "item_id", "shop_tag", "cost"),
    Names("shop_item", "item_id", "labels", "cost"),
    Names("shop_item", "item_id", "labels", ""),
)


def get_first(number: int, start: int) -> int:
    """The key of the row by which a thread counts."""
    return number * _RANGE + start


class Writer(threading.Thread):
    def __init__(self, number: int, start: int) -> None:
        super().__init__()
        self.number = number
        self.first = self.last = get_first(number, start)
        self.chance = random.Random(number)
        self.stage = 0
        self.is_mysql = False
        self.own: list[int] = []
        #: When it began to count on, and when that was done.
        self.counted: list[tuple[float, float]] = []
        self.failed: list[str] = []
        self.deadlocked: list[float] = []

    def run(self) -> None:
        # For a thread of a process whose apps are ready.
        from django.db import connection

        self.is_mysql = connection.vendor == "mysql"
        self.write(self.create, self.last)
        while not _STOP.exists():
            start = time.monotonic()
            if self.write(self.count):
                self.counted.append((start, time.monotonic()))
            kind = self.chance.choice((self.add, self.change, self.remove, self.rename_tag))
            kind()
            time.sleep(0.05)
        connection.close()

    def add(self) -> None:
        self.last += 1
        if self.write(self.create, self.last):
            self.own.append(self.last)

    def change(self) -> None:
        if self.own and _NAMES[self.stage].price:
            self.write(self.set_price, self.chance.choice(self.own))

    def remove(self) -> None:
        if self.own:
            key = self.own.pop(0)
            # MariaDB finds no deadlock of who has locked links and waits for their owner, whose
            # table somebody changes, who waits for the links.
            parts = [slice(1), slice(1, 2)] if self.is_mysql else [slice(2)]
            for part in parts:
                self.write(self.delete, key, part)

    def rename_tag(self) -> None:
        self.write(self.set_tag)

    def write(self, statements: Any, *args: Any) -> bool:
        """Does it in one transaction; tries again with other names where it finds no such table or
        column."""
        from django.db import Error, connection, transaction

        deadline = time.monotonic() + _PATIENCE
        stage = self.stage
        while True:
            try:
                with transaction.atomic(), connection.cursor() as cursor:
                    for sql in statements(_NAMES[stage], *args):
                        cursor.execute(sql)
                        assert sql.startswith("INSERT") or cursor.rowcount == 1, sql
            except Error as error:
                if is_deadlock(error):
                    self.deadlocked.append(time.monotonic())
                elif is_about_names(error):
                    stage = (stage + 1) % len(_NAMES)
                else:
                    deadline = 0
                if time.monotonic() > deadline:
                    self.failed.append(f"{type(error).__name__}: {error}")
                    return False
                continue
            self.stage = stage
            return True

    def create(self, names: Names, key: int) -> list[str]:
        column, value = (f", {names.price}", ", 1.5") if names.price else ("", "")
        return [
            f"INSERT INTO {names.product} (id, name{column}) VALUES ({key}, 'new'{value})",
            f"INSERT INTO {names.product}_tags ({names.owner}, tag_id) "
            f"VALUES ({key}, {self.number % 2 + 1})",
        ]

    def delete(self, names: Names, key: int, part: slice) -> list[str]:
        return [
            f"DELETE FROM {names.product}_tags WHERE {names.owner} = {key}",
            f"DELETE FROM {names.product} WHERE id = {key}",
        ][part]

    def count(self, names: Names) -> list[str]:
        count = len(self.counted) + 1
        return [f"UPDATE {names.product} SET name = '{count}' WHERE id = {self.first}"]

    def set_price(self, names: Names, key: int) -> list[str]:
        if not names.price:
            return []
        values = f"{names.price} = {self.chance.randrange(1000) / 4}, name = '{self.make_text()}'"
        return [f"UPDATE {names.product} SET {values} WHERE id = {key}"]

    def set_tag(self, names: Names) -> list[str]:
        key = self.number % 2 + 1
        return [f"UPDATE {names.tag} SET name = '{self.make_text()}' WHERE id = {key}"]

    def make_text(self) -> str:
        return str(self.chance.random())


def is_about_names(error: Exception) -> bool:
    """Is a table or a column not there, or one more there?"""
    cause = error.__cause__
    code = getattr(cause, "sqlstate", getattr(cause, "pgcode", None))
    said = str(error)
    return (
        code in ("42P01", "42703", "23502")
        or error.args[:1] in ((1146,), (1054,), (1364,))
        or any(each in said for each in ("no such", "no column named", "NOT NULL"))
    )


def is_deadlock(error: Exception) -> bool:
    """Of MariaDB also what a transaction gets that comes upon a table which has changed since."""
    return "deadlock" in str(error).lower()


def main(start: int) -> None:
    """``start``: of the keys of rows, which nobody has had before."""
    writers = [Writer(number, start) for number in range(1, WRITERS + 1)]
    for writer in writers:
        writer.start()
    while not all(writer.counted for writer in writers):
        assert all(writer.is_alive() for writer in writers)
        time.sleep(0.01)
    _READY.touch()
    for writer in writers:
        writer.join()
    print(json.dumps([[writer.counted, writer.failed, writer.deadlocked] for writer in writers]))
