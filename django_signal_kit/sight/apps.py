from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class SightConfig(AppConfig):
    name = "django_signal_kit.sight"
    label = "signal_kit_sight"
    verbose_name = _("Signals and receivers")
