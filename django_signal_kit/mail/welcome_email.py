"""One welcome to each new user."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.db.models import Model

from django_signal_kit.mail.email import Email
from django_signal_kit.receiver import ModelSpec


class WelcomeEmail(Email):
    """Sends a text and HTML mail to a new user, after the commit.

    Never for a fixture, nor for a user who was rolled back or deleted meanwhile. A mail server
    that fails is logged and told by ``receiver_failed``; the sign-up stands.
    """

    #: The signal that means "there is a new user": ``"post_save"`` (of a new row), or one with a
    #: ``user`` argument, such as an extra signal ``"user_signed_up"``; see ``get_user()``.
    signal: str = "post_save"
    #: The template of the subject; line breaks become spaces.
    subject_template: str = "signal_kit/welcome/subject.txt"
    #: The template of the text, rendered without HTML escaping.
    text_template: str = "signal_kit/welcome/body.txt"
    #: The template of the HTML; empty for a mail of text only.
    html_template: str = "signal_kit/welcome/body.html"

    def get_user(self, **kwargs: Any) -> Any:
        """The user whom a signal other than ``post_save`` is about: its argument ``user``, or the
        user of its ``email_address``, as allauth has it. None if there is none."""
        user = kwargs.get("user")
        return getattr(kwargs.get("email_address"), "user", None) if user is None else user

    def should_send(self, user: Any) -> bool:
        """Whether this user is welcomed. By default those who are active."""
        return bool(getattr(user, "is_active", True))

    def get_language(self, user: Any) -> str:
        """The language to render in. By default the one that was active at the sign-up, in a
        worker too."""
        return super().get_language(user)

    def get_recipients(self, user: Any) -> Sequence[str]:
        """The addresses to send to; what is no single valid address is left out."""
        return super().get_recipients(user)

    def get_context_data(self, user: Any) -> dict[str, Any]:
        """What the templates may use: ``user``, ``site_url`` and ``site_name``."""
        return {"user": user, **super().get_context_data(user)}

    def get_models(self) -> Sequence[ModelSpec]:
        """The user model, unless ``models`` says otherwise."""
        return self.models or [settings.AUTH_USER_MODEL]

    def get_instance(self, **kwargs: Any) -> Any:
        return self.get_user(**kwargs)

    def post_save(self, instance: Model, created: bool, using: str, **kwargs: Any) -> None:
        super().post_save(instance, created, using, **kwargs)

    def welcome(self, user: Any, **kwargs: Any) -> None:
        """Collect the user; ``flush()`` welcomes him."""
        self.send_later(user)

    _what = "a user"
    _named_by = ("user",)
