"""What is too much to be in memory at once is put aside part by part, and read when need be."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from tempfile import SpooledTemporaryFile
from typing import Any

#: The most bytes in memory; what is more goes into a temporary file without a name.
MAX_SIZE = 8_000_000


class Parts:
    """Parts of anything, in the order in which they were added. Close it when it is done with."""

    def __init__(self) -> None:
        # Closed by close(), not at the end of a block.
        self._file = SpooledTemporaryFile(max_size=MAX_SIZE)  # noqa: SIM115
        self._parts: list[tuple[int, int] | list[Any]] = []
        self._end = 0

    def add(self, part: list[Any]) -> None:
        try:
            data = pickle.dumps(part, pickle.HIGHEST_PROTOCOL)
        except Exception:
            # A value of a class that cannot be put aside stays where it is.
            self._parts.append(part)
            return
        self._file.seek(self._end)
        self._file.write(data)
        self._parts.append((self._end, len(data)))
        self._end += len(data)

    def __iter__(self) -> Iterator[list[Any]]:
        for part in self._parts:
            if isinstance(part, tuple):
                start, size = part
                self._file.seek(start)
                yield pickle.loads(self._file.read(size))
            else:
                yield part

    def close(self) -> None:
        self._file.close()
