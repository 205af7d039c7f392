"""Execute wrappers that stay on a connection.

They stand in front of those that are there: ``connection.execute_wrapper()`` takes whichever is
the last away at the end of its block.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created


class Staying:
    """One wrapper, for as many connections as are asked for."""

    def __init__(self, wrapper: Callable[..., Any]) -> None:
        self.wrapper = wrapper
        self._uid = f"{wrapper.__module__}.{wrapper.__qualname__}"

    def start(self) -> None:
        """Wrap on the connections of this thread, and on each that is opened from now on."""
        connection_created.connect(self.put_on, dispatch_uid=self._uid)
        self.put_on_open_ones()

    def stop(self) -> None:
        """Wrap on no connection of this thread, nor on new ones; on those of other threads until
        they end."""
        connection_created.disconnect(dispatch_uid=self._uid)
        for connection in connections.all(initialized_only=True):
            if self.wrapper in connection.execute_wrappers:
                connection.execute_wrappers.remove(self.wrapper)

    def put_on(self, connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
        if self.wrapper not in connection.execute_wrappers:
            connection.execute_wrappers.insert(0, self.wrapper)

    def put_on_open_ones(self) -> None:
        for connection in connections.all(initialized_only=True):
            self.put_on(connection)
