"""What can be wrong with the options of MigrationActions before anything is migrated."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.utils.module_loading import import_string

from django_signal_kit.exceptions import Misconfigured, did_you_mean
from django_signal_kit.options import describe

VENDORS = ("sqlite", "postgresql", "mysql", "oracle")
_IF_EXISTS = re.compile(r"\bIF\s+EXISTS\b", re.IGNORECASE)
_ROW = {"model": str, "lookup": Mapping, "defaults": Mapping, "update": bool}
_OBJECT = {"name": str, "create": str | Mapping, "drop": str | Mapping}
_QUERY = {"name": str, "sql": str}
_FILTER = {"name": str, "model": str, "filter": Mapping}


def check_entry(
    where: str, entry: Any, keys: Mapping[str, Any], optional: Sequence[str] = ()
) -> None:
    """Raise Misconfigured unless ``entry`` is a dict of these keys, each of its type."""
    if not isinstance(entry, Mapping):
        raise Misconfigured("E030", f"{where} is {entry!r}, which is no dict.", "Write a dict.")
    for key in entry:
        if key not in keys:
            raise Misconfigured(
                "E030",
                f"{where} has the key {key!r}, which no entry of it has.",
                did_you_mean(key, keys),
            )
    for key, kind in keys.items():
        if key not in optional and not entry.get(key):
            raise Misconfigured("E030", f"{where} has no {key!r}.", f"Add the key {key!r}.")
        if key in entry and not isinstance(entry[key], kind):
            raise Misconfigured(
                "E030",
                f"{where} has {entry[key]!r} for {key!r}, of type {type(entry[key]).__name__}.",
                f"It has to be {describe(kind)}.",
            )


def check_rows(name: str, entries: Iterable[Any]) -> None:
    for index, entry in enumerate(entries):
        where = f"The option 'ensure' of {name}, entry {index},"
        check_entry(where, entry, _ROW, ("defaults", "update"))
        model = check_model(where, entry["model"])
        for key in (*entry["lookup"], *entry.get("defaults", {})):
            check_field(where, model, str(key).partition("__")[0])


def check_model(where: str, label: str) -> Any:
    try:
        return apps.get_model(label)
    except (LookupError, ValueError):
        known = [model._meta.label for model in apps.get_models()]
        raise Misconfigured(
            "E031",
            f"{where} names the model {label!r}, which is not installed.",
            did_you_mean(label, known, "Write 'app_label.Model'."),
        ) from None


def check_field(where: str, model: Any, name: str) -> None:
    try:
        if name != "pk":
            model._meta.get_field(name)
    except FieldDoesNotExist:
        known = [field.name for field in model._meta.get_fields()]
        raise Misconfigured(
            "E031",
            f"{where} names {name!r}, a field that {model._meta.label} does not have.",
            did_you_mean(name, known),
        ) from None


def check_groups(name: str, groups: Mapping[Any, Any]) -> None:
    where = f"The option 'groups' of {name}"
    if groups:
        check_app(where, "auth")
    for group, permissions in groups.items():
        if not isinstance(permissions, list | tuple | set | frozenset) or not all(
            isinstance(permission, str) and permission.count(".") == 1
            for permission in permissions
        ):
            raise Misconfigured(
                "E030",
                f"{where} gives {group!r} the permissions {permissions!r}.",
                "Write a list of 'app_label.codename', such as 'shop.change_product'.",
            )
        for permission in permissions:
            check_app(where, permission.partition(".")[0])


def check_app(where: str, label: str) -> None:
    if not apps.is_installed("django.contrib.auth") and label == "auth":
        known = []
    else:
        known = [config.label for config in apps.get_app_configs()]
    if label not in known:
        raise Misconfigured(
            "E031",
            f"{where} needs the app {label!r}, which is not installed.",
            did_you_mean(label, known, "Add it to INSTALLED_APPS."),
        )


def check_sites(name: str, sites: Mapping[Any, Any]) -> None:
    where = f"The option 'sites' of {name}"
    if sites:
        check_app(where, "sites")
    for pk, domain in sites.items():
        if not isinstance(pk, int) or not isinstance(domain, str) or not domain:
            raise Misconfigured(
                "E030",
                f"{where} has {pk!r}: {domain!r}.",
                "Write a whole number and a domain: {1: 'shop.example'}.",
            )


def check_objects(name: str, entries: Iterable[Any]) -> None:
    seen = set()
    for index, entry in enumerate(entries):
        where = f"The option 'sql' of {name}, entry {index},"
        check_entry(where, entry, _OBJECT)
        if entry["name"] in seen:
            raise Misconfigured(
                "E030",
                f"{where} has the name {entry['name']!r}, as one before it has.",
                "Give each SQL object a name of its own.",
            )
        seen.add(entry["name"])
        check_vendors(where, entry)
        drop = entry["drop"]
        for text in (drop,) if isinstance(drop, str) else drop.values():
            if not _IF_EXISTS.search(text):
                raise Misconfigured(
                    "E030",
                    f"{where} drops {entry['name']!r} by {text!r}, which fails where it is gone.",
                    "Write DROP … IF EXISTS.",
                )


def check_vendors(where: str, entry: Mapping[str, Any]) -> None:
    create, drop = entry["create"], entry["drop"]
    for texts in (create, drop):
        for vendor, text in texts.items() if isinstance(texts, Mapping) else ():
            if vendor not in VENDORS or not isinstance(text, str):
                raise Misconfigured(
                    "E030",
                    f"{where} has {text!r} for the vendor {vendor!r}.",
                    did_you_mean(vendor, VENDORS),
                )
    if isinstance(create, Mapping) and isinstance(drop, Mapping) and set(create) != set(drop):
        raise Misconfigured(
            "E030",
            f"{where} is made for {sorted(create)} and dropped for {sorted(drop)}.",
            "Give both for the same vendors.",
        )


def check_consistency(name: str, option: str, entries: Iterable[Any]) -> None:
    for index, entry in enumerate(entries):
        where = f"The option {option!r} of {name}, entry {index},"
        if isinstance(entry, str):
            check_path(where, entry)
        elif not callable(entry):
            has_sql = isinstance(entry, Mapping) and "sql" in entry
            check_entry(where, entry, _QUERY if has_sql else _FILTER)
            if not has_sql:
                model = check_model(where, entry["model"])
                for key in entry["filter"]:
                    check_field(where, model, str(key).partition("__")[0])


def check_path(where: str, path: str) -> None:
    try:
        if path.startswith("."):
            raise ImportError("it starts with a dot")
        found = import_string(path)
    except ImportError as error:
        raise Misconfigured(
            "E032",
            f"{where} is {path!r}, and cannot be imported: {error}.",
            "Give the dotted path of a function that takes 'using' and 'apps'.",
        ) from error
    if not callable(found):
        raise Misconfigured(
            "E032",
            f"{where} is {path!r}, which cannot be called.",
            "Give the dotted path of a function that takes 'using' and 'apps'.",
        )
