"""One welcome to each new user."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMultiAlternatives
from django.core.validators import validate_email
from django.db.models import Model, QuerySet
from django.utils import translation

from django_signal_kit.exceptions import Misconfigured
from django_signal_kit.mail.rendering import render_html, render_subject, render_text
from django_signal_kit.mail.templates import check_templates
from django_signal_kit.receiver import ModelReceiver, ModelSpec
from django_signal_kit.units.failures import report_failure
from django_signal_kit.wiring import catalog
from django_signal_kit.wiring.idle import overrides
from django_signal_kit.wiring.near import find_near


class WelcomeEmail(ModelReceiver):
    """Sends a text and HTML mail to a new user, after the commit.

    Never for a fixture, nor for a user who was rolled back or deleted meanwhile. A mail server
    that fails is logged and told by ``receiver_failed``; the sign-up stands.
    """

    #: The signal that means "there is a new user": ``"post_save"`` (of a new row), or one with a
    #: ``user`` argument, such as an extra signal ``"user_signed_up"``.
    signal: str = "post_save"
    #: The template of the subject; line breaks become spaces.
    subject_template: str = "signal_kit/welcome_subject.txt"
    #: The template of the text, rendered without HTML escaping.
    text_template: str = "signal_kit/welcome.txt"
    #: The template of the HTML; empty for a mail of text only.
    html_template: str = "signal_kit/welcome.html"
    #: The sender; DEFAULT_FROM_EMAIL if None.
    from_email: str | None = None
    #: Where links lead, such as ``"https://shop.example"``; never taken from a request.
    site_url: str = ""

    _is_json = False

    def should_send(self, user: Any) -> bool:
        """Whether this user is welcomed. By default those who are active."""
        return bool(getattr(user, "is_active", True))

    def get_language(self, user: Any) -> str:
        """The language to render in. By default the one that is active in the flush."""
        return translation.get_language() or settings.LANGUAGE_CODE

    def get_recipients(self, user: Any) -> Sequence[str]:
        """The addresses to send to; what is no single valid address is left out."""
        field = getattr(user, "get_email_field_name", lambda: "email")()
        return [getattr(user, field, "") or ""]

    def get_context_data(self, user: Any) -> dict[str, Any]:
        """What the templates may use: ``user`` and ``site_url``."""
        return {"user": user, "site_url": self.site_url}

    def get_message(self, user: Any) -> EmailMultiAlternatives | None:
        """The mail, or None if the user has no valid address."""
        recipients = [address for address in self.get_recipients(user) if _is_address(address)]
        if not recipients:
            return None
        data = self.get_context_data(user)
        message = EmailMultiAlternatives(
            subject=render_subject(self.subject_template, data),
            body=render_text(self.text_template, data),
            from_email=self.from_email,
            to=recipients,
        )
        if self.html_template:
            message.attach_alternative(render_html(self.html_template, data), "text/html")
        return message

    def get_models(self) -> Sequence[ModelSpec]:
        """The user model, unless ``models`` says otherwise."""
        return self.models or [settings.AUTH_USER_MODEL]

    def get_methods(self, signal_names: Iterable[str]) -> Mapping[str, Callable[..., Any]]:
        """Besides the methods of its own, whichever signal the option names."""
        methods = dict(super().get_methods(signal_names))
        if self.signal != "post_save":
            del methods["post_save"]
            methods[self.signal] = self.welcome
        return methods

    def post_save(self, instance: Model, created: bool, **kwargs: Any) -> None:
        if created:
            self.welcome(user=instance)

    def welcome(self, user: Any, **kwargs: Any) -> None:
        """Collect the user; ``flush()`` welcomes him."""
        # Not type(user): a request's user is lazy, and says so there.
        new = (user.__class__, user._state.db, user.pk)
        self.collect(new, key=new, using=user._state.db)

    def flush(self, items: list[tuple[type[Model], str, Any]]) -> None:
        """Send one mail each to those of the users who are still there. One query a model."""
        keys: dict[tuple[type[Model], str], list[Any]] = {}
        for model, using, pk in items:
            keys.setdefault((model, using), []).append(pk)
        for (model, using), pks in keys.items():
            rows: QuerySet[Any] = QuerySet(model, using=using)
            for user in rows.filter(pk__in=pks).order_by("pk"):
                self._send(user)

    def check(self) -> None:
        names = [name for name in catalog.get_paths() if name not in catalog.MODEL_SIGNALS]
        if self.signal not in (*names, "post_save"):
            near = find_near(self.signal, [*names, "post_save"])
            raise Misconfigured(
                "E012",
                f"The option 'signal' of {self.name} is {self.signal!r}, which is no signal with "
                f"a user.",
                f"{f'Did you mean {near!r}? ' if near else ''}One that is neither "
                f"Django's nor the kit's is named in the settings: SIGNAL_KIT['EXTRA_SIGNALS'] = "
                f"{{{self.signal!r}: 'the.dotted.path.of.the.signal'}}.",
            )
        check_templates(self.name, self._get_templates())

    def _get_templates(self) -> dict[str, str]:
        """Option -> name of the template, of those of which mails are made. What a class makes of
        a mail by itself is not known: then of those that it has chosen."""
        options = ["subject_template", "text_template"] + ["html_template"] * bool(
            self.html_template
        )
        is_own = overrides(self, WelcomeEmail, ("get_message", "welcome", "flush"))
        names = {option: getattr(self, option) for option in options}
        return {
            option: name
            for option, name in names.items()
            if not is_own or name != getattr(WelcomeEmail, option)
        }

    def _send(self, user: Any) -> None:
        try:
            with translation.override(self.get_language(user)):
                if self.should_send(user) and (message := self.get_message(user)):
                    message.send()
        except Exception as error:
            # One user's mail that cannot be sent leaves the others theirs.
            report_failure(self, "flush", error)


def _is_address(text: str) -> bool:
    try:
        validate_email(text)
    except ValidationError:
        return False
    return True
