"""The rows of which a log tells, and their links."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from django.apps import apps
from django.db.models import Model, QuerySet

from django_signal_kit.audit.audit_log import AuditLog
from django_signal_kit.exceptions import did_you_mean
from django_signal_kit.wiring.registry import registry


def get_covering(labels: Collection[str] = ()) -> list[tuple[AuditLog, type[Model]]]:
    """Each model that an AuditLog covers with the first that does so, or each of ``labels``
    ("shop.Cart", "shop.*"). Raises LookupError for a label that none covers."""
    covering: dict[str, tuple[AuditLog, type[Model]]] = {}
    for receiver in registry.receivers:
        if isinstance(receiver, AuditLog):
            for model in registry.get_models(receiver):
                if not model._meta.proxy:
                    # Of two logs that cover one model the first tells of its rows.
                    covering.setdefault(model._meta.label, (receiver, model))
    chosen = list(covering) if not labels else []
    for label in labels:
        found = [known for known in covering if _matches(known, label)]
        if not found:
            guess = did_you_mean(label, covering, "Set the option 'models' of an AuditLog.")
            raise LookupError(f"No AuditLog covers {label!r}. {guess}")
        chosen += found
    return [covering[label] for label in dict.fromkeys(chosen)]


def get_rows(receiver: AuditLog, model: type[Model], using: str) -> QuerySet[Any]:
    """The rows that are told of as those of ``model``. That of a multi-table child is told as the
    child's, if that is covered."""
    rows: QuerySet[Any, Any] = QuerySet(model, using=using)
    for child in apps.get_models():
        is_child = issubclass(child, model) and not issubclass(
            model, child._meta.concrete_model or child
        )
        if is_child and registry.covers(receiver, child):
            pk = model._meta.pk.name
            rows = rows.exclude(pk__in=QuerySet(child, using=using).values(pk))
    return rows


def walk_keys(rows: QuerySet[Any], size: int) -> Iterator[list[Any]]:
    """The keys of ``rows`` in their order, in lists of at most ``size``."""
    keys_of = rows.order_by("pk").values_list("pk", flat=True)
    keys = list(keys_of[:size])
    while keys:
        yield keys
        keys = list(keys_of.filter(pk__gt=keys[-1])[:size])


def get_linked_fields(receiver: AuditLog, model: type[Model]) -> list[Any]:
    """The many-to-many fields whose links are told of as changes of rows of ``model``."""
    # The rows of a through model that is covered itself tell the same, and more.
    return [
        field
        for field in receiver.get_m2m_fields(model)
        if not registry.covers(receiver, field.remote_field.through)
    ]


def read_links(
    field: Any, rows: Mapping[Any, Mapping[str, Any]], using: str
) -> dict[Any, set[Any]]:
    """The key of each of ``rows``, values by attname -> the keys of what it is linked to."""
    through, source = field.remote_field.through, field.m2m_field_name()
    attname = through._meta.get_field(source).target_field.attname
    owners = {row[attname]: key for key, row in rows.items()}
    links: QuerySet[Any, Any] = QuerySet(through, using=using)
    links = links.filter(**{f"{source}__in": list(owners)})
    found = defaultdict(set)
    for value, target in links.values_list(source, f"{field.m2m_reverse_field_name()}__pk"):
        found[owners[value]].add(target)
    return found


def _matches(label: str, pattern: str) -> bool:
    app_label = label.partition(".")[0]
    return label.lower() == pattern.lower() or pattern == f"{app_label}.*"
