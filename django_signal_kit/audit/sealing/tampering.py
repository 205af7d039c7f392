"""What somebody did to the log."""

from __future__ import annotations

from typing import Literal


class TamperedError(Exception):
    """The first entry or seal that is not as it was sealed.

    ``id`` is None where nobody can know it, as of a seal that is gone. ``hint`` says what was
    seen instead.
    """

    def __init__(
        self,
        what: Literal["altered", "removed", "inserted"],
        thing: Literal["entry", "seal"],
        id: int | None,
        hint: str = "",
    ) -> None:
        self.what = what
        self.thing = thing
        self.id = id
        name = f"A {thing}" if id is None else f"{thing.capitalize()} {id}"
        super().__init__(f"{name} was {what}{hint and f': {hint}'}.")
