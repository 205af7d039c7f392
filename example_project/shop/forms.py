from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth.forms import UserCreationForm
from django.contrib.auth.models import User
from django.db import transaction


class SignUpForm(UserCreationForm):
    email = forms.EmailField(help_text="We send one welcome to it.")
    newsletter = forms.BooleanField(label="Send me the newsletter", required=False)

    class Meta(UserCreationForm.Meta):
        model = User
        fields = ("username", "email")

    @transaction.atomic
    def save(self, commit: bool = True) -> Any:
        """Store the user. The profile is there as soon as he is."""
        user = super().save(commit=commit)
        if commit and self.cleaned_data["newsletter"]:
            user.profile.newsletter = True
            user.profile.save(update_fields=["newsletter"])
        return user
