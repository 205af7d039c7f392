"""Each user who was committed gets one welcome, and nobody else any."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.core.management import CommandError, call_command
from django.utils import timezone

from tests.engines.scenario import Rows, Tally
from tests.mail.postoffice import read_accepted


class Welcomes(Rows):
    label = "auth.User"
    key = "email"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        #: The Message-IDs of the mails that who was killed had begun to send.
        self.begun: set[str] = set()

    def make(self, key: str) -> Any:
        return self.model(username=key, email=f"{key}@shop.example")

    def list_flushed(self) -> Sequence[str]:
        accepted = read_accepted(self.folder)
        return [address for address, ids in accepted.items() for _ in ids]

    def keep_house(self) -> None:
        """Leases are over, and a server that was down has meant no 550 that it has said."""
        from django_signal_kit.mail.models import WelcomeSent

        rows = WelcomeSent.objects.filter(state="sending")
        self.begun.update(rows.values_list("message_id", flat=True))
        rows.update(held_until=timezone.now() - timedelta(seconds=1))
        # It says so when a server has failed.
        with suppress(CommandError):
            call_command("sendwelcomeemail", "--refused", verbosity=0)

    def judge(self) -> Tally:
        """A mail comes twice if the server's "250" was the last that its sender heard."""
        for address, ids in read_accepted(self.folder).items():
            assert len(set(ids)) == 1, f"{address} got different mails: {ids}"
            assert len(ids) == 1 or ids[0] in self.begun, f"{address} got {len(ids)} mails"
        return super().judge()


SCENARIO = Welcomes
