"""As Django's documentation has it: ``transaction.on_commit(partial(task.enqueue, ...))``."""

from functools import partial

from django.db import transaction
from django.db.models.signals import post_save
from django.dispatch import receiver

from tests.engines.byhand.models import Order
from tests.engines.byhand.tasks import note


@receiver(post_save, sender=Order)
def tell(instance, **kwargs):
    transaction.on_commit(partial(note.enqueue, [instance.key]), robust=True)
