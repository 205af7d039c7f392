"""Rows, groups and sites that have to be there."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from django.apps import apps as installed_apps
from django.core.management.color import no_style
from django.db import connections
from django.db.models import Manager, Model

from django_signal_kit.databases.attempts import Run
from django_signal_kit.exceptions import did_you_mean


def ensure_row(run: Run, entry: Mapping[str, Any]) -> None:
    """Make the row that ``lookup`` finds if it is not there; with ``update`` give the one that is
    there its ``defaults`` again, and write only what differs."""
    model = run.apps.get_model(entry["model"])
    lookup, defaults = entry["lookup"], entry.get("defaults", {})
    row, is_new = get_rows(run, model).get_or_create(**lookup, defaults=defaults)
    if is_new:
        run.say(f"  Made {model._meta.label} {lookup}", verbosity=2)
        if {"pk", model._meta.pk.attname} & {*lookup, *defaults}:
            reset_sequence(run, model)
    elif entry.get("update", False):
        changed = [name for name, value in defaults.items() if set_value(row, name, value)]
        if changed:
            row.save(using=run.using, update_fields=changed)
            run.say(f"  Changed {model._meta.label} {lookup}: {changed}", verbosity=2)


def get_rows(run: Run, model: type[Model]) -> Manager[Any]:
    """All rows, whatever a default manager hides."""
    return model._base_manager.db_manager(run.using)


def set_value(row: Model, name: str, value: Any) -> bool:
    """Set it, and say whether it was another one before."""
    value = value() if callable(value) else value
    field = row._meta.get_field(name)
    if not isinstance(value, Model):
        value = field.to_python(value)  # type: ignore[union-attr]
    if getattr(row, name) == value:
        return False
    setattr(row, name, value)
    return True


def reset_sequence(run: Run, model: type[Model]) -> None:
    """A key that is given by hand leaves the sequence of PostgreSQL behind."""
    connection = connections[run.using]
    with connection.cursor() as cursor:
        for sql in connection.ops.sequence_reset_sql(no_style(), [model]):
            cursor.execute(sql)


def ensure_site(run: Run, pk: int, domain: str) -> None:
    values = {"domain": domain, "name": domain[:50]}
    ensure_row(
        run, {"model": "sites.Site", "lookup": {"pk": pk}, "defaults": values, "update": True}
    )
    # Historical models send no signals that anybody hears.
    installed: Any = installed_apps.get_app_config("sites").get_model("Site")
    installed.objects.clear_cache()


def ensure_group(run: Run, name: str, permissions: Collection[str]) -> None:
    """Make the group if it is not there, and add the permissions that it lacks."""
    model = run.apps.get_model("auth.Group")
    wanted = find_permissions(run, permissions)
    group, _ = get_rows(run, model).get_or_create(name=name)
    has = set(group.permissions.using(run.using).values_list("pk", flat=True))
    missing = [pk for pk in wanted if pk not in has]
    if missing:
        group.permissions.add(*missing)
        run.say(f"  Gave the group {name!r} {len(missing)} permissions", verbosity=2)


def find_permissions(run: Run, names: Collection[str]) -> list[Any]:
    """The keys of the permissions. Makes those of an app whose turn is still to come."""
    found = read_permissions(run, names)
    if missing := [name for name in names if name not in found]:
        create_permissions(run, {name.partition(".")[0] for name in missing})
        found = read_permissions(run, names)
    for name in names:
        if name not in found:
            label = name.partition(".")[0]
            rows = get_permissions(run).filter(content_type__app_label=label)
            known = [f"{label}.{code}" for code in rows.values_list("codename", flat=True)]
            hint = did_you_mean(name, known, f"The app {label!r} has none of this name.")
            raise LookupError(f"There is no permission {name!r}. {hint}")
    return [pk for name in names for pk in found[name]]


def read_permissions(run: Run, names: Iterable[str]) -> dict[str, list[Any]]:
    """Name -> keys. Two models of an app may have a permission of the same name."""
    pairs = [name.partition(".")[::2] for name in names]
    rows = get_permissions(run).filter(
        content_type__app_label__in={label for label, _ in pairs},
        codename__in={code for _, code in pairs},
    )
    found: dict[str, list[Any]] = {}
    for pk, label, code in rows.values_list("pk", "content_type__app_label", "codename"):
        found.setdefault(f"{label}.{code}", []).append(pk)
    return found


def get_permissions(run: Run) -> Any:
    return get_rows(run, run.apps.get_model("auth.Permission"))


def create_permissions(run: Run, labels: Iterable[str]) -> None:
    # Imported here, as it needs the models of django.contrib.auth.
    from django.contrib.auth.management import create_permissions

    for label in sorted(labels):
        create_permissions(
            installed_apps.get_app_config(label), verbosity=0, using=run.using, apps=run.apps
        )
