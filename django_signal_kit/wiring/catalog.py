"""Which signals there are: the name of a method -> the signal it receives."""

from __future__ import annotations

from django.dispatch import Signal
from django.utils.module_loading import import_string

from django_signal_kit.conf import conf
from django_signal_kit.exceptions import Misconfigured

# Paths, not signals: importing django.test.signals loads the whole of django.test.
DJANGO_SIGNALS = {
    "pre_init": "django.db.models.signals.pre_init",
    "post_init": "django.db.models.signals.post_init",
    "pre_save": "django.db.models.signals.pre_save",
    "post_save": "django.db.models.signals.post_save",
    "pre_delete": "django.db.models.signals.pre_delete",
    "post_delete": "django.db.models.signals.post_delete",
    "m2m_changed": "django.db.models.signals.m2m_changed",
    "class_prepared": "django.db.models.signals.class_prepared",
    "pre_migrate": "django.db.models.signals.pre_migrate",
    "post_migrate": "django.db.models.signals.post_migrate",
    "request_started": "django.core.signals.request_started",
    "request_finished": "django.core.signals.request_finished",
    "got_request_exception": "django.core.signals.got_request_exception",
    "setting_changed": "django.core.signals.setting_changed",
    "connection_created": "django.db.backends.signals.connection_created",
    "template_rendered": "django.test.signals.template_rendered",
    "user_logged_in": "django.contrib.auth.signals.user_logged_in",
    "user_logged_out": "django.contrib.auth.signals.user_logged_out",
    "user_login_failed": "django.contrib.auth.signals.user_login_failed",
}

# Sent once per write about which Django is silent, with the model as sender.
_BULK_SIGNALS = (
    "pre_bulk_create",
    "post_bulk_create",
    "pre_bulk_update",
    "post_bulk_update",
    "pre_queryset_update",
    "post_queryset_update",
)

KIT_SIGNALS = {
    name: f"django_signal_kit.signals.{name}"
    for name in (
        *_BULK_SIGNALS,
        "receiver_failed",
        "pre_file_delete",
        "post_file_delete",
        "audit_entries_created",
    )
}

BULK_SIGNALS = frozenset(_BULK_SIGNALS)

# With the model as sender: connected model by model, never to all.
MODEL_SIGNALS = BULK_SIGNALS | {
    "pre_init",
    "post_init",
    "pre_save",
    "post_save",
    "pre_delete",
    "post_delete",
}

_ROW = ("instance", "using")
_MIGRATION = ("app_config", "verbosity", "interactive", "using", "stdout", "plan", "apps")
_REQUEST = ("request",)
_BULK_CREATE = (
    *("objs", "using", "ignore_conflicts", "update_conflicts"),
    *("unique_fields", "update_fields"),
)
_BULK_UPDATE = ("objs", "fields", "using")
_QUERYSET_UPDATE = ("queryset", "values", "rows", "using")
_FILE_DELETE = ("storage", "name", "receiver", "model", "field", "key", "using")

#: Name of a signal -> the arguments beside ``signal`` and ``sender`` that its receivers are given.
#: Some are not given always: WSGI sends ``environ``, ASGI sends ``scope``. Those of extra signals
#: are not known.
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "pre_init": ("args", "kwargs"),
    "post_init": ("instance",),
    "pre_save": (*_ROW, "raw", "update_fields"),
    "post_save": (*_ROW, "created", "raw", "update_fields"),
    "pre_delete": (*_ROW, "origin"),
    "post_delete": (*_ROW, "origin"),
    "m2m_changed": (*_ROW, "action", "reverse", "model", "pk_set", "raw"),
    "class_prepared": (),
    "pre_migrate": _MIGRATION,
    "post_migrate": _MIGRATION,
    "request_started": ("environ", "scope"),
    "request_finished": (),
    "got_request_exception": _REQUEST,
    "setting_changed": ("setting", "value", "enter"),
    "connection_created": ("connection",),
    "template_rendered": ("template", "context"),
    "user_logged_in": (*_REQUEST, "user"),
    "user_logged_out": (*_REQUEST, "user"),
    "user_login_failed": (*_REQUEST, "credentials"),
    "pre_bulk_create": _BULK_CREATE,
    "post_bulk_create": _BULK_CREATE,
    "pre_bulk_update": _BULK_UPDATE,
    "post_bulk_update": (*_BULK_UPDATE, "count"),
    "pre_queryset_update": _QUERYSET_UPDATE,
    "post_queryset_update": (*_QUERYSET_UPDATE, "count"),
    "receiver_failed": ("receiver", "signal_name", "exception", "items"),
    "pre_file_delete": _FILE_DELETE,
    "post_file_delete": (*_FILE_DELETE, "success", "exception"),
    "audit_entries_created": ("entries", "using"),
}

# A receiver that raises in one of these escapes to the server and stops Django's own clean-up.
REQUEST_SIGNALS = frozenset(("request_started", "request_finished", "got_request_exception"))


def get_paths() -> dict[str, str]:
    """Every signal's name and dotted path, with ``EXTRA_SIGNALS`` of the settings."""
    return {**DJANGO_SIGNALS, **KIT_SIGNALS, **conf.EXTRA_SIGNALS}


def get_signal(name: str) -> Signal:
    """The signal of that name. Raises KeyError if there is none, Misconfigured if its path,
    which can only be one of ``EXTRA_SIGNALS``, leads nowhere."""
    path = get_paths()[name]
    try:
        signal = import_string(path)
    except (ImportError, AttributeError, TypeError) as error:
        raise Misconfigured(
            "E016",
            f"SIGNAL_KIT['EXTRA_SIGNALS'][{name!r}] is {path!r}, which cannot be imported: "
            f"{error}.",
            "Give the dotted path of a django.dispatch.Signal.",
        ) from error
    if not isinstance(signal, Signal):
        raise Misconfigured(
            "E016",
            f"SIGNAL_KIT['EXTRA_SIGNALS'][{name!r}] is {path!r}, which is no signal.",
            "Give the dotted path of a django.dispatch.Signal.",
        )
    return signal


def check_extra_signals() -> None:
    """Raise Misconfigured for the first extra signal that cannot be used under its name."""
    for name in conf.EXTRA_SIGNALS:
        if name in DJANGO_SIGNALS or name in KIT_SIGNALS:
            raise Misconfigured(
                "E013",
                f"SIGNAL_KIT['EXTRA_SIGNALS'] redefines {name!r}, the name of a signal of "
                f"{'Django' if name in DJANGO_SIGNALS else 'the kit'}.",
                "Choose another name.",
            )
        if not isinstance(name, str) or not name.isidentifier() or name.startswith("_"):
            raise Misconfigured(
                "E013",
                f"SIGNAL_KIT['EXTRA_SIGNALS'] has {name!r}, which cannot be a method's name.",
                "Choose a public Python identifier, such as 'user_signed_up'.",
            )
        get_signal(name)
