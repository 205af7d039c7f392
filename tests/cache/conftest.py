"""Servers of these tests' own, and tests that run on each backend."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import cache, caches

from django_signal_kit.cache import recovery
from tests.cache.backends import BACKENDS, list_names
from tests.cache.memcached_server import MemcachedServer
from tests.cache.redis_server import RedisServer


def pytest_generate_tests(metafunc: Any) -> None:
    if "by_backend" in metafunc.fixturenames:
        # A test that counts calls has a cache of its own.
        names = ["locmem"] if "calls" in metafunc.fixturenames else list_names()
        metafunc.parametrize("by_backend", names, indirect=True)


@pytest.fixture
def by_backend(request: Any, settings: Any) -> Iterator[str]:
    """The name of the backend that the default cache has."""
    settings.CACHES = {"default": BACKENDS[request.param](request)}
    yield request.param
    cache.clear()
    recovery.disconnect(caches["default"])


@pytest.fixture(scope="session")
def own_redis(tmp_path_factory: Any) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"), durable=False)
    yield server
    server.kill()


@pytest.fixture(scope="session")
def memcached() -> Iterator[MemcachedServer]:
    server = MemcachedServer()
    yield server
    server.kill()
