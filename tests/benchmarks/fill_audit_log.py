"""Fills the audit log in PostgreSQL, and measures how long its pages take in the database.

    python -m tests.benchmarks.fill_audit_log --entries 10000000

Makes a database of its own, ``fill_audit_log``, and drops it at the end unless told to keep it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import django

KINDS = (
    ("auth", "user"),
    ("testapp", "product"),
    ("testapp", "line"),
    ("testapp", "tag"),
    ("testapp", "person"),
)
OBJECTS = 500
ACTORS = 200

# Entry n is about the object n % 500 of its kind, by the user n % 200, in a unit of three.
FILL = """
INSERT INTO signal_kit_audit_auditentry
    (at, action, content_type_id, object_pk, object_text, changes, actor_id, actor_text, context,
     unit, "using")
SELECT
    timestamptz '2020-01-01 00:00:00+00' + n * interval '1 minute',
    (array['create', 'update', 'update', 'update', 'delete', 'm2m_add'])[1 + n %% 6],
    (%(kinds)s::int[])[1 + n / %(objects)s %% %(number)s],
    (n %% %(objects)s + %(objects)s * (n / %(spread)s))::text,
    'Object ' || n,
    jsonb_build_object('name', jsonb_build_array('old ' || n, 'new ' || n),
                       'price', jsonb_build_array('9.50', n::text)),
    n %% %(actors)s,
    'person ' || n %% %(actors)s,
    jsonb_build_object('request_id', md5(n::text), 'path', '/admin/', 'ip', '192.0.2.1'),
    ('00000000-0000-7000-8000-' || lpad(to_hex(n / 3), 12, '0'))::uuid,
    'default'
FROM generate_series(%(first)s, %(last)s) AS n
"""


def fill(entries: int, first: int = 0) -> None:
    """Append ``entries`` entries: one a minute since 2020, of five kinds."""
    from django.contrib.contenttypes.models import ContentType
    from django.db import connection

    kinds = [ContentType.objects.get_by_natural_key(*kind).pk for kind in KINDS]
    with connection.cursor() as cursor:
        for start in range(first, first + entries, 500_000):
            last = min(start + 500_000, first + entries) - 1
            values = {
                "kinds": kinds,
                "number": len(kinds),
                "objects": OBJECTS,
                # A hundred thousand entries about the same objects, then about the next ones.
                "spread": 100_000,
                "actors": ACTORS,
                "first": start,
                "last": last,
            }
            cursor.execute(FILL, values)
        cursor.execute("VACUUM ANALYZE signal_kit_audit_auditentry")


def measure(label: str, ask: Callable[[], Any], rounds: int = 20) -> None:
    """Print the median of the time that the database itself says it takes, warm."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as queries:
        ask()
    statements = [query["sql"] for query in queries if query["sql"].startswith("SELECT")]
    totals = []
    for _ in range(rounds):
        total = 0.0
        for sql in statements:
            with connection.cursor() as cursor:
                cursor.execute(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {sql}")
                (found,) = cursor.fetchone()
            (plan,) = json.loads(found) if isinstance(found, str) else found
            total += plan["Planning Time"] + plan["Execution Time"]
        totals.append(total)
    print(f"{statistics.median(totals):8.2f} ms in {len(statements)} queries  {label}")


def measure_pages(entries: int) -> None:
    from django.contrib.auth.models import User
    from django.contrib.contenttypes.models import ContentType
    from django.test import Client
    from django.urls import reverse

    from tests.apps.testapp.models import Line, Product

    root = User.objects.create_superuser("root")
    client = Client()
    client.force_login(root)
    kind = ContentType.objects.get_by_natural_key(*KINDS[0]).pk
    middle = entries // 2
    address = reverse("admin:signal_kit_audit_auditentry_changelist")
    for label, params in {
        "the list": {},
        "the list, in the middle": {"before": middle},
        "one object": {"content_type": kind, "object_pk": "7"},
        "one object, a page further": {"content_type": kind, "object_pk": "7", "before": 50_000},
        "one person": {"actor": 7},
        "one unit": {"unit": f"00000000-0000-7000-8000-{middle // 3:012x}"},
        "one month of long ago": {
            "at__gte": "2020-01-01 00:00:00+00:00",
            "at__lt": "2020-02-01 00:00:00+00:00",
        },
        "a frequent action": {"action__exact": "delete"},
        "an action that never was": {"action__exact": "login_failed"},
        "a kind": {"content_type": kind},
        "a key that is searched for": {"q": "7"},
    }.items():
        measure(label, partial(client.get, address, params))
    entry = reverse("admin:signal_kit_audit_auditentry_change", args=[middle])
    measure("the page of an entry", partial(client.get, entry))

    product = Product.objects.create(pk=7, name="Lamp")
    Line.objects.bulk_create(Line(pk=pk, product=product) for pk in range(1, 21))
    for label, name, key in (
        ("the history of one object", "admin:auth_user_history", root.pk),
        ("the history of one with twenty rows", "admin:testapp_product_history", 7),
    ):
        measure(label, partial(client.get, reverse(name, args=[key])))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--keep", action="store_true", help="do not drop the database at the end")
    options = parser.parse_args()

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    os.environ["SIGNAL_KIT_TEST_DATABASE"] = "postgres"
    os.environ["SIGNAL_KIT_TEST_NAME"] = "fill_audit_log"
    django.setup()
    from django.conf import settings
    from django.db import connection
    from django.test.utils import setup_test_environment

    settings.ROOT_URLCONF = "tests.audit.history_site"
    setup_test_environment()
    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        start = time.monotonic()
        fill(options.entries)
        print(f"{options.entries:,} entries in {time.monotonic() - start:.0f} s")
        measure_pages(options.entries)
    finally:
        if not options.keep:
            connection.creation.destroy_test_db("test", verbosity=0)


if __name__ == "__main__":
    main()
