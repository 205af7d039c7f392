"""Rows of parents that were there before a multi-table child was made of them."""

from __future__ import annotations

from typing import Any

from django.db.models import Model

from django_signal_kit.audit.kin import Kin, Target


def find_older_parent(entry: Any, row: Model) -> type[Model] | None:
    """A parent of ``row``, which ``entry`` has created, of whose row an older entry tells; or
    None. One query for each parent, none for a model that has none."""
    for parent in row._meta.get_parent_list():
        pk = parent._meta.pk
        if parent._meta.proxy or pk is None:
            continue
        today = {
            field.attname: getattr(row, field.attname) for field in parent._meta.concrete_fields
        }
        log = type(entry)._default_manager.using(entry._state.db)
        kin = Kin(log, Target(parent, today[pk.attname], entry.using), today)
        older = log.filter(
            kin.get_filter(),
            using=entry.using,
            action__in=("create", "update", "delete"),
            pk__lt=entry.pk,
        ).exclude(object_pk="")
        if older.order_by("-pk").values_list("action", flat=True).first() not in (None, "delete"):
            return parent
    return None
