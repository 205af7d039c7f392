"""The receiver whose flush runs in the worker."""

import random
import time

from django_signal_kit import ModelReceiver, register
from tests.engines.notes.models import Note


@register(models=["notes.Order"], flush_on="task")
class Noting(ModelReceiver):
    def post_save(self, instance, created, **kwargs):
        self.collect(instance.key)

    def flush(self, items):
        for key in items:
            # Long enough to be killed in the middle of it.
            time.sleep(random.uniform(0, 0.02))
            Note.objects.create(key=key)
