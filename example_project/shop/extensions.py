"""What the shop adds to the models of others. Imported before any model is made."""

from __future__ import annotations

from typing import Any

from django_signal_kit import register
from django_signal_kit.receivers import ModelExtension


def get_calling_name(user: Any) -> str:
    """The first name, or the name to log in with if there is none."""
    return user.first_name or user.get_username()


@register(models=["auth.User"])
class CallingName(ModelExtension):
    attributes = {"calling_name": property(get_calling_name)}
