"""Sign-ups in a storm: whatever dies, each user who was committed gets one welcome."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from django_signal_kit.mail.models import WelcomeSent
from tests import moods
from tests.mail.postoffice import read_accepted
from tests.mail.storm import THREADS, is_regretted

pytestmark = pytest.mark.django_db(transaction=True)

COUNT = int(os.environ.get("SIGNAL_KIT_STORM", "200"))
KILLS = 4
_PATIENCE = 120

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Path]:
    with moods.start("tests.mail.postoffice", tmp_path):
        yield tmp_path


@pytest.fixture
def start(office: Path) -> Iterator[Start]:
    """Starts ``python -m ...`` with the database of the test."""
    started: list[subprocess.Popen[str]] = []
    # What is there before is of this process; theirs are connections of their own.
    connection.close()
    env = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.mail.storm_settings",
        "SIGNAL_KIT_STORM_DATABASE": str(connection.settings_dict["NAME"]),
        "SIGNAL_KIT_STORM_PORT": (office / "port").read_text(),
        "PYTHONDEVMODE": "",
    }

    def run(*args: Any) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", *map(str, args)]
        process = subprocess.Popen(
            command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def bury_the_dead() -> set[str]:
    """Have the leases of those who were killed passed. Returns the Message-IDs of their mails."""
    rows = WelcomeSent.objects.filter(state="sending")
    left = set(rows.values_list("message_id", flat=True))
    rows.update(held_until=timezone.now() - timedelta(seconds=1))
    return left


def test_each_committed_user_has_one_welcome_after_a_storm(office: Path, start: Start) -> None:
    chance = random.Random(int(os.environ.get("SIGNAL_KIT_SEED", "5")))
    first = 0
    for share in range(1, KILLS + 1):
        process = start("tests.mail.storm", first, COUNT)
        assert process.stdout is not None
        for line in process.stdout:
            first = int(line) + 1
            if first >= COUNT * share // (KILLS + 1):
                time.sleep(chance.uniform(0, 0.05))
                break
        process.kill()
        # Whom it has begun in the meantime is not begun again.
        first = max([first, *(int(line) + 1 for line in process.stdout)])
    process = start("tests.mail.storm", first, COUNT)
    # A run that tries again is there at the same time, and so is another.
    rivals = [start("django", "sendwelcomeemail", "-v0") for _ in range(2)]
    process.communicate(timeout=_PATIENCE)
    assert process.returncode == 0
    for rival in rivals:
        rival.communicate(timeout=_PATIENCE)
    stormy = read_accepted(office)

    (office / "stormy").unlink()
    left = bury_the_dead()
    runs = [start("django", "sendwelcomeemail", "--refused", "-v0") for _ in range(2)]
    for run in runs:
        run.communicate(timeout=_PATIENCE)
    last = start("django", "sendwelcomeemail", "--since", "2000-01-01", "-v0")
    last.communicate(timeout=_PATIENCE)
    assert last.returncode == 0

    users = {user.email: user for user in User.objects.all()}
    accepted = read_accepted(office)
    assert {email for email in users if is_regretted(int(users[email].username[1:]))} == set()
    assert len(users) > COUNT // 3
    assert accepted.keys() == users.keys()
    assert stormy, "the storm let nothing through"
    assert len(stormy) < len(users), "the storm was none"
    twice = {email: ids for email, ids in accepted.items() if len(ids) > 1}
    # The server's "250" was the last that they heard who were killed, one in each thread at most.
    print(f"{len(users)} users, {len(left)} left by the dead, {len(twice)} of them twice")
    assert all(len(ids) == 2 and len(set(ids)) == 1 for ids in twice.values())
    assert {ids[0] for ids in twice.values()} <= left
    assert len(left) <= KILLS * THREADS
    assert {sent.state for sent in WelcomeSent.objects.all()} == {"sent"}
    assert WelcomeSent.objects.count() == len(users)
