"""The databases for which there are triggers, each with a package of its own."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any, Protocol, cast

from django.db.backends.base.base import BaseDatabaseWrapper

from django_signal_kit.audit.capture.pieces import Installed, Piece
from django_signal_kit.audit.capture.specification import Specification

NAMES = ("postgresql", "sqlite", "mysql")
#: Of these, those whose triggers hear what a foreign key does to its rows (``DB_CASCADE``).
HEARING_CASCADES = ("postgresql", "sqlite")


class Triggers(Protocol):
    """A module ``triggers``."""

    def find_obstacle(self, specification: Specification) -> str: ...

    def write(self, specification: Specification) -> list[Piece]: ...


class Catalog(Protocol):
    """A module ``catalog``."""

    def list_installed(self, connection: BaseDatabaseWrapper) -> Sequence[Installed]: ...


class Carrying(Protocol):
    """A module ``carrying``."""

    def start(self, connection: BaseDatabaseWrapper, packets: Any) -> None: ...

    def stop(self, connection: BaseDatabaseWrapper) -> None: ...


def get_triggers(vendor: str) -> Triggers:
    return cast(Triggers, _import(vendor, "triggers"))


def get_catalog(vendor: str) -> Catalog:
    return cast(Catalog, _import(vendor, "catalog"))


def get_carrying(vendor: str) -> Carrying:
    return cast(Carrying, _import(vendor, "carrying"))


def _import(vendor: str, name: str) -> Any:
    return import_module(f"{__package__}.{vendor}.{name}")
