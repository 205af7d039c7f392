"""The connection to the mail server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import django

from django_signal_kit.mail.failing import leaves_connection
from django_signal_kit.units.loggers import get_logger

if TYPE_CHECKING:
    from django_signal_kit.mail.email import Email

#: Seconds that a server may take for an answer, if the settings do not say.
_PATIENCE = 60

# Django 6.1 warns of whoever looks at it by its name.
_CONNECTION = "_connection" if django.VERSION >= (6, 1) else "connection"

logger = get_logger("django_signal_kit.mail")


class Connection:
    """One connection, opened when it is needed, and again when it was lost."""

    def __init__(self, receiver: Email) -> None:
        self.receiver = receiver
        #: Could it not even be opened?
        self.is_down = False
        self._connection: Any = None
        self._made: Any = None

    @property
    def patience(self) -> float:
        """Seconds that the server may take for an answer."""
        try:
            self._made = self.receiver.get_connection()
        except Exception:
            # Each mail is told of it.
            return _PATIENCE
        timeout = getattr(self._made, "timeout", None)
        # Those of others may have two of them.
        return timeout if isinstance(timeout, int | float) and timeout > 0 else _PATIENCE

    def send(self, message: Any) -> None:
        if vars(message).get(_CONNECTION) is not None:
            # The class has chosen one for this mail.
            message.send()
            return
        connection = self._open()
        try:
            connection.send_messages([message])
        except Exception as error:
            if not leaves_connection(error):
                self.close()
            raise

    def _open(self) -> Any:
        if self._connection is None:
            connection, self._made = self._made, None
            if connection is None:
                connection = self.receiver.get_connection()
            if getattr(connection, "timeout", 0) is None:
                connection.timeout = _PATIENCE
            self._connection = connection
            try:
                connection.open()
            except Exception:
                self.is_down = True
                # Perhaps it is open, and only the TLS or the password is missing.
                self.close()
                raise
        return self._connection

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except Exception as error:
                # All that was to be sent over it has been answered for.
                logger.debug(
                    "The connection to the mail server did not close: %s",
                    type(error).__name__,
                    exc_info=error,
                    extra={"receiver": self.receiver.name, "error": type(error).__name__},
                )
