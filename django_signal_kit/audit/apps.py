from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class AuditConfig(AppConfig):
    name = "django_signal_kit.audit"
    label = "signal_kit_audit"
    verbose_name = _("Audit log")
    default_auto_field = "django.db.models.BigAutoField"
