"""The task, in the module where workers look for it."""

import random
import time

try:
    from django.tasks import task
except ImportError:
    from django_tasks import task

from tests.engines.byhand.models import Note


@task()
def note(keys):
    for key in keys:
        time.sleep(random.uniform(0, 0.02))
        Note.objects.create(key=key)
