"""Who logged in, who logged out, and who failed to."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from django.contrib.auth import BACKEND_SESSION_KEY, get_user_model
from django.core.checks import CheckMessage, Warning
from django.core.exceptions import MultipleObjectsReturned, ObjectDoesNotExist
from django.db import router
from django.db.models import Model
from django.utils.functional import LazyObject

from django_signal_kit.audit.databases import get_log_alias
from django_signal_kit.audit.entries import Entry, check_entry_model, get_known, has_log
from django_signal_kit.audit.keys import check_secrets
from django_signal_kit.audit.recording import Recorder
from django_signal_kit.current import context, get_context, get_details, get_scope
from django_signal_kit.middleware import get_missing, get_request_context
from django_signal_kit.receiver import Receiver
from django_signal_kit.rows.secrets import is_secret
from django_signal_kit.rows.values import redact_with_hash, say
from django_signal_kit.units.loggers import get_logger
from django_signal_kit.units.unit import FlushOn
from django_signal_kit.wiring import catalog
from django_signal_kit.wiring.idle import check_idle, overrides

logger = get_logger("django_signal_kit.logins")

#: The longest name that is kept of a login that failed.
_WIDTH = 150

_SIGNALS = {
    "login": "user_logged_in",
    "logout": "user_logged_out",
    "login_failed": "user_login_failed",
}


class LoginLog(Receiver):
    """Writes an entry into the audit log for each login, logout and login that failed.

    The entry is in the transaction that is open, if there is one. A line of text goes to the
    logger ``django_signal_kit.logins`` at once, whatever becomes of the transaction; without the
    app ``django_signal_kit.audit`` that is all. No password, session key or other credential is
    ever read.
    """

    #: ``"log"``: nobody is kept out because the log cannot be written; costs a savepoint or two
    #: in transactions. ``"raise"``: no login without its entry.
    on_error: Literal["raise", "log"] = "log"
    flush_on: FlushOn = "before_commit"

    #: Which of the three to record.
    actions: Sequence[Literal["login", "logout", "login_failed"]] = (
        "login",
        "logout",
        "login_failed",
    )
    #: What to keep of the name that was typed when a login failed, which may be a password typed
    #: into the wrong field. ``"hashed"``: a keyed hash. ``"known"``: the name and the key of the
    #: user, if there is one; costs a query. ``"all"``: the name as it is. ``"none"``: nothing.
    usernames: Literal["hashed", "known", "all", "none"] = "hashed"
    #: Parts of names, beside "password", "token" and the like, whose values in the context are
    #: replaced whole.
    redact: Sequence[str] = ()

    _not_in_task = "an entry is written before the answer is sent, or could be missing"
    _keeps_record = True

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._recorder = Recorder(self, lambda model: (), is_plain=False) if has_log() else None

    def get_actor(self) -> Any:
        """Who does this; of what is no user the text is stored. By default who logs in or out, and
        nobody if that fails."""
        return get_known(get_context()["actor"])

    def get_context(self) -> Mapping[str, Any]:
        """What to store of the context and of the request, beside the actor."""
        return get_details()

    def get_object_text(self, instance: Any) -> str:
        """How the user is called in the log; ``str(user)`` by default."""
        return str(instance)

    def get_username(self, credentials: Mapping[str, Any]) -> str:
        """The name that was typed when a login failed; empty if there is none."""
        name = get_user_model().USERNAME_FIELD
        found = credentials.get(name, credentials.get("username"))
        return "" if found is None or is_secret(name) else say(found)

    def get_user(self, username: str) -> Any:
        """The user of that name, or None; asked with ``usernames="known"`` only. One query."""
        try:
            return get_user_model()._default_manager.get_by_natural_key(username)
        except (ObjectDoesNotExist, MultipleObjectsReturned):
            return None

    def should_record(self, action: str, user: Any) -> bool:
        """Whether to write an entry and a line. ``user`` is None if nobody knows who failed."""
        return True

    def user_logged_in(self, request: Any, user: Any, **kwargs: Any) -> None:
        session = getattr(request, "session", {})
        backend = session.get(BACKEND_SESSION_KEY) or getattr(user, "backend", None)
        self.record("login", request, user, **({"backend": backend} if backend else {}))

    def user_login_failed(
        self, credentials: Mapping[str, Any], request: Any = None, **kwargs: Any
    ) -> None:
        username, user = self.get_username(credentials), None
        if self.usernames == "known" and username:
            user = self.get_user(username)
        kept = self._keep(username, user)
        self.record("login_failed", request, user, **({"username": kept} if kept else {}))

    def user_logged_out(self, request: Any, user: Any, **kwargs: Any) -> None:
        # Django sends it too if nobody was logged in.
        if user is not None:
            self.record("logout", request, user)

    def record(self, action: str, request: Any, user: Any, **more: str) -> None:
        """Log a line and collect an entry about ``user``, who is None if nobody knows; ``more``
        goes into its context."""
        user = _unwrap(user)
        if not self.should_record(action, user):
            return
        told = get_told(request)
        actor = None if action == "login_failed" else user
        with context(**told, actor=actor):
            name = "" if user is None else say(user)
            self._log(action, name or more.get("username", ""))
            if self._recorder is not None:
                self._collect(self._recorder, action, user, more)

    def flush(self, items: list[Entry]) -> None:
        """Write the entries."""
        if self._recorder is not None:
            self._recorder.log.write(items)

    def get_methods(self, signal_names: Iterable[str]) -> Mapping[str, Callable[..., Any]]:
        """Those of the actions that are to be recorded."""
        silent = {_SIGNALS[action] for action in _SIGNALS if action not in self.actions}
        methods = super().get_methods(signal_names)
        return {name: method for name, method in methods.items() if name not in silent}

    def check(self) -> None:
        check_secrets(self)
        # Whatever a subclass overrides, it is told of these alone and of signals of its own.
        is_set = bool(self.actions or self.get_methods(catalog.get_paths()))
        check_idle(self, LoginLog, ["actions"], is_set=is_set)
        if has_log():
            check_entry_model()

    def get_warnings(self) -> list[CheckMessage]:
        if self._recorder is not None:
            return get_missing(f"{self.name} does not know which entries are of one request")
        told = [action for action in ("login", "logout") if action in self.actions]
        is_own = overrides(self, LoginLog, ["record"])
        if is_own or not told or logger.isEnabledFor(logging.INFO):
            return []
        # Without the log the lines are all there is.
        return [
            Warning(
                f"{self.name} tells nobody of a {' or a '.join(told)}: the logger {logger.name!r} "
                f"is not enabled for INFO, and there is no audit log.",
                hint=(
                    "Give it a handler and the level 'INFO' in LOGGING, or add "
                    "'django_signal_kit.audit' to INSTALLED_APPS."
                ),
                id="signal_kit.W011",
            )
        ]

    def _keep(self, username: str, user: Any) -> str:
        if not username or self.usernames == "none":
            return ""
        if self.usernames == "hashed":
            return redact_with_hash(username)
        if self.usernames == "known" and user is None:
            return ""
        return username if len(username) <= _WIDTH else f"{username[:_WIDTH]}…"

    def _log(self, action: str, name: str) -> None:
        level = logging.WARNING if action == "login_failed" else logging.INFO
        # As a literal: nobody adds a line by a name with a line break.
        ip = get_details().get("ip")
        logger.log(
            level,
            "%s %a from %s",
            action,
            name,
            ip or "an unknown address",
            extra={"receiver": self.name, "action": action, "username": name, "ip": ip},
        )

    def _collect(
        self, recorder: Recorder, action: str, user: Any, more: Mapping[str, str]
    ) -> None:
        if isinstance(user, Model):
            using = user._state.db or router.db_for_write(type(user), instance=user)
            entry = recorder.make_entry(user, action, {}, using, more)
        else:
            model = get_user_model()
            text = more.get("username", "") if self.usernames == "all" else ""
            if user is not None:
                # Of a backend of somebody's own, whose users are no rows.
                text = say(user)
            using = router.db_for_write(model)
            entry = recorder.make_rowless_entry(model, action, text, using, more)
        self.collect(entry, using=get_log_alias(using))


def get_told(request: Any) -> dict[str, Any]:
    """What a request tells of itself, if the middleware has not said it already."""
    # Not get_context(): that asks who is logged in, which may cost two queries.
    if "request_id" in (get_scope() or {}) or not hasattr(request, "META"):
        return {}
    told = get_request_context(request)
    if told["request_id"] != request.META.get("HTTP_X_REQUEST_ID"):
        # One that was made up just now names nothing.
        del told["request_id"]
    return {name: value for name, value in told.items() if value and name != "actor"}


def _unwrap(user: Any) -> Any:
    """``request.user`` is lazy, and says so where its class is asked for."""
    while isinstance(user, LazyObject):
        user.pk  # noqa: B018
        user = user._wrapped
    return user
