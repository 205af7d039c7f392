"""One model of ten columns, in the way that each package wants it."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.utils import timezone

PEER = settings.PEER


class Category(models.Model):
    name = models.CharField(max_length=100)

    def __str__(self) -> str:
        return self.name


class Tag(models.Model):
    name = models.CharField(max_length=100, unique=True)

    def __str__(self) -> str:
        return self.name


class Item(models.Model):
    name = models.CharField(max_length=100)
    slug = models.SlugField(max_length=100, db_index=False)
    description = models.TextField(default="")
    price = models.DecimalField(max_digits=8, decimal_places=2)
    stock = models.IntegerField(default=0)
    is_active = models.BooleanField(default=True)
    data = models.JSONField(default=dict)
    published_at = models.DateTimeField(default=timezone.now)
    category = models.ForeignKey(Category, models.PROTECT)
    tags = models.ManyToManyField(Tag)

    if PEER == "simple-history":
        from simple_history.models import HistoricalRecords

        history = HistoricalRecords(m2m_fields=[tags])

    def __str__(self) -> str:
        return self.name


if PEER == "auditlog":
    from auditlog.registry import auditlog

    auditlog.register(Item, m2m_fields={"tags"})

if PEER == "reversion":
    import reversion

    reversion.register(Item)

if PEER == "pghistory":
    import pghistory

    def _track(model: Any) -> None:
        pghistory.track(pghistory.InsertEvent(), pghistory.UpdateEvent(), pghistory.DeleteEvent())(
            model
        )

    _track(Item)

    @pghistory.track(pghistory.InsertEvent(), pghistory.DeleteEvent(), obj_field=None)
    class ItemTags(Item.tags.through):  # type: ignore[name-defined]
        class Meta:
            proxy = True


if PEER == "by-hand":

    class Entry(models.Model):
        """What somebody writes who needs no package for one place of the code."""

        at = models.DateTimeField(default=timezone.now, db_index=True)
        item_pk = models.BigIntegerField(db_index=True)
        changes = models.JSONField()
