"""A process that writes at random until it is killed: ``python -m …writer DATABASE SEED``."""

from __future__ import annotations

import os
import random
import sys
from typing import Any

import django


def set_up(database: str) -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    from tests import settings

    settings.DATABASES["default"]["NAME"] = database
    settings.SIGNAL_KIT = {
        "RECEIVERS": [
            {
                "RECEIVER": "django_signal_kit.receivers.AuditLog",
                "OPTIONS": {
                    "models": ["testapp.Tag", "testapp.Token", "rarities.Reading"],
                    "capture": "triggers",
                },
            }
        ]
    }
    settings.DATABASE_ROUTERS = ["tests.audit.capture.both.OnlyDefault"]  # type: ignore[attr-defined]
    django.setup()


def write(chance: random.Random) -> None:
    from django.db import connection

    from tests.apps.rarities.models import Reading
    from tests.apps.testapp.models import Tag, Token

    model: Any = chance.choice([Tag, Token, Reading])
    name = "text" if model is Reading else "name"
    text = f"text {chance.random()}"
    rows = model.objects.order_by("?")
    match chance.randrange(7):
        case 0:
            model.objects.create(**{name: text})
        case 1:
            model.objects.bulk_create(model(**{name: f"{text} {number}"}) for number in range(9))
        case 2 if row := rows.first():
            setattr(row, name, text)
            row.save()
        case 3:
            model.objects.filter(pk__in=list(rows.values_list("pk", flat=True)[:4])).update(
                **{name: text}
            )
        case 4:
            model.objects.filter(pk__in=list(rows.values_list("pk", flat=True)[:3])).delete()
        case 5:
            Reading.objects.create(number=chance.random(), data={"a": [chance.random()]})
        case 6:
            with connection.cursor() as cursor:
                cursor.execute("UPDATE testapp_tag SET name = name || 'x' WHERE id % 7 = 3")


def write_together(chance: random.Random) -> None:
    from django.db import transaction

    with transaction.atomic():
        write(chance)
        try:
            with transaction.atomic():
                write(chance)
                if chance.random() < 0.5:
                    raise ZeroDivisionError
        except ZeroDivisionError:
            pass
        write(chance)


def main(database: str, seed: str) -> None:
    set_up(database)
    from django.db import Error, connection

    from django_signal_kit import context

    chance = random.Random(int(seed))
    while True:
        try:
            with context(reason=f"writer {seed}"):
                chance.choice([write, write_together])(chance)
        except Error:
            # Its backend was ended, or it was in a deadlock.
            connection.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
