"""Eight threads sign users up, one after the other, and roll a third of them back.

    python -m tests.mail.storm FIRST LAST

Writes the number of each user who has been begun to the standard output.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator

import django

THREADS = 8


class RegretError(Exception):
    pass


def is_regretted(number: int) -> bool:
    return number % 3 == 2


def sign_up(number: int) -> None:
    from django.contrib.auth.models import User
    from django.db import transaction

    name = f"u{number}"
    if number % 3 == 0:
        # In autocommit.
        User.objects.create(username=name, email=f"{name}@shop.example")
        return
    with transaction.atomic():
        User.objects.create(username=name, email=f"{name}@shop.example")
        if is_regretted(number):
            raise RegretError


def work(numbers: Iterator[int], lock: threading.Lock) -> None:
    from django.db import connection

    while True:
        with lock:
            number = next(numbers, None)
            if number is not None:
                print(number, flush=True)
        if number is None:
            connection.close()
            return
        try:
            sign_up(number)
        except RegretError:
            continue


def main(first: int, last: int) -> None:
    django.setup()
    logging.disable(logging.CRITICAL)
    numbers, lock = iter(range(first, last)), threading.Lock()
    threads = [threading.Thread(target=work, args=(numbers, lock)) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
