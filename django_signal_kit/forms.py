"""Forms that know what receivers refuse."""

from django_signal_kit.relations.forms import LimitedModelForm

__all__ = ["LimitedModelForm"]
