"""What a mail server means: try again, or never."""

from __future__ import annotations

from collections.abc import Sequence
from smtplib import (
    SMTPAuthenticationError,
    SMTPConnectError,
    SMTPDataError,
    SMTPException,
    SMTPHeloError,
    SMTPNotSupportedError,
    SMTPRecipientsRefused,
    SMTPSenderRefused,
)

from django.db import DatabaseError, InterfaceError

_REFUSALS = (SMTPDataError, SMTPSenderRefused)
#: Nobody's address is at fault.
_OF_ALL = (SMTPAuthenticationError, SMTPConnectError, SMTPHeloError)


def is_refusal(error: Exception) -> bool:
    """Is it of no use to try again? A server says so with a code of 500 and more about a recipient
    or a mail, an HTTP service with one of 400 and more, but 429."""
    codes = get_codes(error)
    if isinstance(error, SMTPSenderRefused):
        # It is about who sends, and the same for everybody; 552 is the size of this mail.
        return 552 in codes
    if not codes and type(error).__name__.endswith("RecipientsRefused"):
        # That of django-anymail, for services that answer for each address.
        return True
    if isinstance(error, _OF_ALL) or not codes:
        return isinstance(error, SMTPNotSupportedError)
    if isinstance(error, SMTPException):
        return all(code >= 500 for code in codes)
    return all(400 <= code < 500 and code not in (408, 425, 429) for code in codes)


def is_of_server(error: Exception) -> bool:
    """Has a server failed, of mails or of the database, and not what makes the mail? Then it is
    tried again."""
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__
    kinds = (OSError, DatabaseError, InterfaceError)
    return bool(get_codes(error)) or any(isinstance(each, kinds) for each in causes)


def leaves_connection(error: Exception) -> bool:
    """Can the next mail go over the same connection?"""
    is_answer = isinstance(error, (SMTPRecipientsRefused, *_REFUSALS))
    return is_answer and 421 not in get_codes(error)


def get_codes(error: Exception) -> Sequence[int]:
    """The codes that the server has answered with."""
    if isinstance(error, SMTPRecipientsRefused):
        return [code for code, _ in error.recipients.values()]
    for name in ("smtp_code", "status_code"):
        code = getattr(error, name, None)
        if isinstance(code, int):
            return [code]
    return []


def say(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
