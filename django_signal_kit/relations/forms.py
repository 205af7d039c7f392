"""Forms that know the limits of many-to-many relations.

A form saves its many-to-many relations after everything has been validated. What ``M2MLimit``
refuses then is an error that nobody shows; here it is an error of the form's field.
"""

from __future__ import annotations

from django import forms
from django.core.exceptions import ValidationError

from django_signal_kit.current import get_muted
from django_signal_kit.relations.m2m_limit import M2MLimit
from django_signal_kit.wiring.registry import registry


class LimitedModelForm(forms.ModelForm):  # type: ignore[type-arg]
    """A ``ModelForm`` that shows what an ``M2MLimit`` of its model refuses at the field.

    For a form of one's own, and for the admin: ``form = LimitedModelForm``. Each limit costs a
    query for the links that are there, and in a transaction, as the admin's is, one that locks
    the row until its end.
    """

    def _post_clean(self) -> None:
        # When the instance has its new values, by which its limits may differ.
        super()._post_clean()  # type: ignore[misc]
        for receiver in registry.get_covering(type(self.instance)):
            if not isinstance(receiver, M2MLimit) or receiver.name in get_muted():
                continue
            others = self.cleaned_data.get(receiver.relation)
            if others is not None:
                try:
                    receiver.validate(self.instance, list(others))
                except ValidationError as error:
                    self.add_error(receiver.relation, error)
