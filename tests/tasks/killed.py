"""A process that dies between the COMMIT and the queue.

python -m tests.tasks.killed
"""

from __future__ import annotations

import os
import signal
from typing import Any

from tests.tasks.queues import Broker


class KillingBroker(Broker):
    def enqueue(self, task: Any, args: Any, kwargs: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    import django

    django.setup()
    from tests.apps.testapp.models import Tag

    Tag.objects.create(name="a")
    raise SystemExit("still alive")


if __name__ == "__main__":
    main()
