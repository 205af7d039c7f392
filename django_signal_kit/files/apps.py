from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class FilesConfig(AppConfig):
    name = "django_signal_kit.files"
    label = "signal_kit_files"
    verbose_name = _("Files")
    default_auto_field = "django.db.models.BigAutoField"
