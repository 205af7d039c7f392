from django.apps import AppConfig, apps
from django.utils.translation import gettext_lazy as _

from django_signal_kit.exceptions import Misconfigured


class AuditConfig(AppConfig):
    name = "django_signal_kit.audit"
    label = "signal_kit_audit"
    verbose_name = _("Audit log")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Raise ImproperlyConfigured where the kit is not installed, which wires the receivers."""
        # Who takes the kit away for the length of an override_settings() knows what he does.
        if not apps.is_installed("django_signal_kit") and not apps.stored_app_configs:
            raise Misconfigured(
                "E047",
                "INSTALLED_APPS has 'django_signal_kit.audit' and not 'django_signal_kit', so no "
                "receiver is wired and nothing is recorded.",
                "Add 'django_signal_kit' to INSTALLED_APPS.",
            )
        # What is left of triggers goes, too, when nobody asks for them any more.
        from django_signal_kit.audit.capture import deploying

        deploying.connect()
