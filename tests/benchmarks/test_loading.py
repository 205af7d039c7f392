"""What loading costs where old values come from memory, and where they do not."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction

from django_signal_kit.receivers import AuditLog
from tests.apps.testapp.models import Plain, Product
from tests.benchmarks.interleave import compare, show

pytestmark = pytest.mark.django_db(transaction=True)

ROWS = 10_000


@pytest.mark.parametrize("model", [Plain, Product])
def test_loading(wired: Any, model: Any) -> None:
    model.objects.bulk_create(model(name=str(number)) for number in range(ROWS))
    options = {"models": ["testapp.*"]}

    def load() -> None:
        assert len(list(model.objects.all())) == ROWS

    with transaction.atomic():
        result = compare(
            {
                "bare": (wired(), load),
                "old values from the database": (wired((AuditLog, options)), load),
                "old values from memory": (
                    wired((AuditLog, {**options, "old_values": "snapshot"})),
                    load,
                ),
            },
            rounds=15,
            number=1,
        )
    show(f"loading {ROWS:,} rows of {len(model._meta.concrete_fields)} columns", result)
