"""A mail about a row, when something becomes true of it: once, after the commit."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import django
from django.core import mail
from django.core.checks import CheckMessage
from django.core.exceptions import ObjectDoesNotExist
from django.core.mail import EmailMultiAlternatives
from django.db import router
from django.db.models import Field, Model
from django.utils import translation

from django_signal_kit.exceptions import FlushFailedError
from django_signal_kit.mail import claims, configuration, sites
from django_signal_kit.mail.addresses import get_domain, is_address
from django_signal_kit.mail.message import Message, make_unsubscribe_headers
from django_signal_kit.mail.rendering import render_html, render_subject, render_text
from django_signal_kit.mail.sending import Sending
from django_signal_kit.mail.tickets import Ticket, get_key
from django_signal_kit.receiver import ModelReceiver
from django_signal_kit.rows.snapshots import get_old_row
from django_signal_kit.tasks.places import has_worker
from django_signal_kit.units.failures import report_failure
from django_signal_kit.units.loggers import get_logger
from django_signal_kit.units.unit import FlushOn

logger = get_logger("django_signal_kit.mail")


class Email(ModelReceiver):
    """Sends a text and HTML mail about a row, after the commit: never for a fixture, nor for a row
    that was rolled back or is gone. In a task where something runs tasks, else in the process that
    has committed.

    A mail server that fails is logged and told by ``receiver_failed``; the write stands. With the
    app ``django_signal_kit.mail`` each mail is remembered in a table, in the transaction of the
    row: it is sent once, whatever dies in between.
    """

    flush_on: FlushOn = "task"
    #: The signal that means "now": ``"post_save"``, or one that names the row, such as an extra
    #: signal: see ``get_instance()``.
    signal: str = "post_save"
    #: What has to be true of a row, field -> value, or a list of values. The mail is sent when a
    #: save makes it true, which costs a query for the old values. Empty: when the row is made.
    condition: Mapping[str, Any] = {}
    #: Send it once to each row, whatever happens to it afterwards; False: each time.
    once: bool = True
    #: Where the row has the addresses: ``["customer.email"]``. Empty: its own e-mail field.
    to: Sequence[str] = ()
    #: The template of the subject; line breaks become spaces.
    subject_template: str = ""
    #: The template of the text, rendered without HTML escaping.
    text_template: str = ""
    #: The template of the HTML; empty for a mail of text only.
    html_template: str = ""
    #: The sender; DEFAULT_FROM_EMAIL if None.
    from_email: str | None = None
    #: Where links lead, such as ``"https://shop.example"``; never taken from a request. Empty:
    #: the domain of ``django.contrib.sites``, if that is installed.
    site_url: str = ""
    #: Mails a minute, at most. What would have to wait in a request stays in the table, if the app
    #: is installed, for ``sendwelcomeemail``; else the request waits.
    rate: int | None = None

    def get_instance(self, **kwargs: Any) -> Any:
        """The row that a signal other than ``post_save`` is about, of the arguments of that
        signal; by default ``instance``. None if there is none. Called where it is sent."""
        return kwargs.get("instance")

    def should_send(self, instance: Any) -> bool:
        """Whether to send; by default always. Called before the mail is made, with the row as the
        database has it then, as are all that follow."""
        return True

    def get_language(self, instance: Any) -> str:
        """The language to render in. By default the one that was active when the row was written,
        in a worker too."""
        return translation.get_language() or "en"

    def get_recipients(self, instance: Any) -> Sequence[str]:
        """The addresses to send to, each a mail of its own; what is no single valid address is
        left out."""
        if self.to:
            return [address for path in self.to if (address := _follow(instance, path))]
        field = getattr(instance, "get_email_field_name", lambda: "email")()
        return [getattr(instance, field, "") or ""]

    def get_context_data(self, instance: Any) -> dict[str, Any]:
        """What the templates may use: ``object``, ``site_url`` and ``site_name``."""
        url, name = sites.get_site(self.site_url)
        return {"object": instance, "site_url": url, "site_name": name}

    def get_unsubscribe_url(self, instance: Any) -> str:
        """An ``https`` address at which one POST unsubscribes (RFC 8058), for the button of the
        mail programme; by default none. Longer than 978 characters it raises ValueError."""
        return ""

    def get_message(self, instance: Any) -> EmailMultiAlternatives | None:
        """The mail, or None if there is no valid address."""
        given = self.get_recipients(instance)
        # A text is one address, and not one for each letter.
        recipients = [
            each for each in ([given] if isinstance(given, str) else given) if is_address(each)
        ]
        if not recipients:
            return None
        data = self.get_context_data(instance)
        headers = {"Auto-Submitted": "auto-generated"}
        if url := self.get_unsubscribe_url(instance):
            headers |= make_unsubscribe_headers(url)
        message = Message(
            subject=render_subject(self.subject_template, data),
            body=render_text(self.text_template, data),
            from_email=self.from_email,
            to=list(dict.fromkeys(recipients)),
            headers=headers,
        )
        if self.html_template:
            message.attach_alternative(render_html(self.html_template, data), "text/html")
        return message

    def get_connection(self) -> Any:
        """The mail backend over which all mails of a flush go; by default that of the settings
        (``MAILERS["default"]`` since Django 6.1, ``EMAIL_BACKEND`` before)."""
        return mail.mailers.default if django.VERSION >= (6, 1) else mail.get_connection()

    def get_methods(self, signal_names: Iterable[str]) -> Mapping[str, Callable[..., Any]]:
        """Besides the methods of its own, whichever signal the option names."""
        methods = dict(super().get_methods(signal_names))
        if not self.condition and type(self).pre_save is Email.pre_save:
            methods.pop("pre_save", None)
        if self.signal != "post_save":
            methods.pop("post_save", None)
            methods[self.signal] = self.receive
        return methods

    def get_old_fields(self, model: type[Model]) -> list[Field[Any, Any]]:
        """Those of the condition."""
        names = {name: model._meta.get_field(name) for name in self.condition}
        return list(names.values())  # type: ignore[arg-type]

    def lacks(self, model: type[Model]) -> str | None:
        lack = configuration.find_lack(self.condition, model)
        return lack or configuration.find_lack_of_address(self, model)

    def pre_save(self, instance: Model, using: str, **kwargs: Any) -> None:
        get_old_row(instance, using)

    def post_save(self, instance: Model, created: bool, using: str, **kwargs: Any) -> None:
        if not self.condition:
            is_due = created
        elif self.matches(instance):
            old = None if created else get_old_row(instance, using)
            is_due = old is None or not configuration.matches_row(self.condition, instance, old)
        else:
            is_due = False
        if is_due:
            self.send_later(instance, using)

    def receive(self, **kwargs: Any) -> None:
        """Receives the signal of the option. What that has no row for is logged, not raised."""
        try:
            self.send_later(self.get_instance(**kwargs))
        except Exception as error:
            report_failure(self, self.signal, error)

    def matches(self, instance: Any) -> bool:
        """Is the condition true of the row, as it is in memory? Of an expression only the database
        knows: then it may be, and ``flush()`` asks again."""
        names = [instance._meta.get_field(name).attname for name in self.condition]
        row = {name: getattr(instance, name) for name in names}
        return configuration.matches_row(self.condition, instance, row)

    def send_later(self, instance: Any, using: str | None = None) -> None:
        """Collect a mail about ``instance``, a saved row of ``using`` (default: where it would be
        written); ``flush()`` sends it. What is no such row is logged."""
        # Not type(): the user of a request is lazy, and says so there.
        if not isinstance(instance, Model) or instance.pk is None or instance._state.adding:
            logger.warning(
                "%s: %s has no saved row for a mail, but %s",
                self,
                self.signal,
                type(instance).__name__,
                extra={"receiver": self.name, "signal": self.signal},
            )
            return
        model = instance.__class__
        using = using or router.db_for_write(model, instance=instance)
        ticket = Ticket(
            self.name,
            model._meta.label,
            using,
            get_key(instance),
            "" if self.once else uuid.uuid4().hex,
            translation.get_language() or "",
        )
        if claims.is_stored_in(using):
            early = Announced(ticket)
            self.collect(early, key=early, flush_on="before_commit", using=using)
        self.collect(ticket.item, key=ticket, using=using)

    def flush(self, items: list[Any]) -> None:
        """Send one mail each. ``items`` are lists of texts: model, database, key, occasion and
        language. Raises FlushFailedError with those that are worth another attempt."""
        announced = [item.ticket for item in items if isinstance(item, Announced)]
        if announced:
            store = claims.StoredClaims(announced[0].using)
            store.announce(announced, get_domain(self.from_email))
        tickets = [
            Ticket.make(self.name, item) for item in items if not isinstance(item, Announced)
        ]
        if not tickets:
            return
        is_kept = claims.is_installed() and not has_worker(self)
        sending = Sending(self, most=1.0 if is_kept else None)
        for _ in sending.run(tickets):
            pass
        if sending.failed:
            failed = [ticket.item for ticket in sending.failed]
            raise FlushFailedError(failed, configuration.say_failed(sending)) from sending.error

    def check(self) -> None:
        configuration.check(self)

    def get_warnings(self) -> list[CheckMessage]:
        return configuration.get_warnings(self)

    def _is_meant(self, instance: Any) -> bool:
        return self.matches(instance) and self.should_send(instance)

    @property
    def _is_announcing(self) -> bool:
        # A covered write and its claim are committed together, in autocommit too.
        return claims.is_installed()

    # What a signal has to name, for the message of the check.
    _what = "a row"
    # The arguments of a signal of which get_instance() makes the row by itself.
    _named_by = ("instance",)


class Announced(NamedTuple):
    """What waits for the end of the unit of work, to be claimed in its transaction."""

    ticket: Ticket


def _follow(instance: Any, path: str) -> Any:
    found = instance
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except ObjectDoesNotExist:
            return None
        if found is None:
            return None
    return found
