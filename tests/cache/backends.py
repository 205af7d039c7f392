"""Each backend that a cache may have, as tests of behaviour run on it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection, connections

TABLE = "signal_kit_test_cache"
DJANGO = "django.core.cache.backends"


class CacheOnOther:
    """The table of the cache is in the other database."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return "other" if model._meta.app_label == "django_cache" else None

    db_for_write = db_for_read

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return db == "other" if app_label == "django_cache" else None


def in_memory(request: Any) -> dict[str, Any]:
    return {"BACKEND": f"{DJANGO}.locmem.LocMemCache", "LOCATION": uuid.uuid4().hex}


def in_files(request: Any) -> dict[str, Any]:
    folder: Path = request.getfixturevalue("tmp_path") / "cache"
    return {"BACKEND": f"{DJANGO}.filebased.FileBasedCache", "LOCATION": str(folder)}


def in_database(request: Any) -> dict[str, Any]:
    if connection.vendor == "sqlite":
        # A writer keeps all others waiting there, for 30 seconds in these tests.
        options = connections.databases["default"]["OPTIONS"]
        request.getfixturevalue("monkeypatch").setitem(options, "timeout", 0.2)
    call_command("createcachetable", TABLE, database="default", verbosity=0)
    return {"BACKEND": f"{DJANGO}.db.DatabaseCache", "LOCATION": TABLE}


def in_another_database(request: Any) -> dict[str, Any]:
    request.getfixturevalue("settings").DATABASE_ROUTERS = [f"{__name__}.CacheOnOther"]
    connections["other"].cursor().execute("PRAGMA synchronous=OFF")
    call_command("createcachetable", TABLE, database="other", verbosity=0)
    return {"BACKEND": f"{DJANGO}.db.DatabaseCache", "LOCATION": TABLE}


def in_memcached(request: Any) -> dict[str, Any]:
    pytest.importorskip("pymemcache")
    port = request.getfixturevalue("memcached").port
    return {
        "BACKEND": f"{DJANGO}.memcached.PyMemcacheCache",
        "LOCATION": f"127.0.0.1:{port}",
        "KEY_PREFIX": uuid.uuid4().hex,
    }


def in_redis(request: Any) -> dict[str, Any]:
    return {"BACKEND": f"{DJANGO}.redis.RedisCache", **at_redis(request)}


def in_redis_by_django_redis(request: Any) -> dict[str, Any]:
    return {"BACKEND": "django_redis.cache.RedisCache", **at_redis(request)}


def in_redis_by_django_valkey(request: Any) -> dict[str, Any]:
    place = at_redis(request)
    place["LOCATION"] = place["LOCATION"].replace("redis://", "valkey://")
    return {"BACKEND": "django_valkey.cache.ValkeyCache", **place}


def at_redis(request: Any) -> dict[str, Any]:
    port = request.getfixturevalue("own_redis").port
    return {"LOCATION": f"redis://127.0.0.1:{port}", "KEY_PREFIX": uuid.uuid4().hex}


#: By the name under which a test runs on it.
BACKENDS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "locmem": in_memory,
    "files": in_files,
    "database": in_database,
    "other database": in_another_database,
    "memcached": in_memcached,
    "redis": in_redis,
    "django-redis": in_redis_by_django_redis,
    "django-valkey": in_redis_by_django_valkey,
}

#: Packages of a dependency group of their own.
PACKAGES = {"django-redis": "django_redis", "django-valkey": "django_valkey"}

#: Those that have to do with the database in which the rows are: what runs there is enough.
OF_DATABASE = ("locmem", "database", "other database")


def list_names() -> list[str]:
    """The backends to run on: with SQLite, all that are installed."""
    if connection.vendor != "sqlite":
        return [*OF_DATABASE]
    return [name for name in BACKENDS if name not in PACKAGES or find_spec(PACKAGES[name])]
