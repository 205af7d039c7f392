"""The function that Django calls: a receiver's method behind its policies.

Whatever can be decided when the receiver is wired is decided here, so that a call costs one more
function and one look into a context variable. The arguments are named, not forwarded as
``**kwargs``, where signals are frequent: packing them again costs several times as much.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from inspect import iscoroutinefunction
from typing import Any

from django.apps import apps
from django.db import DEFAULT_DB_ALIAS

from django_signal_kit.current import get_muted as get_muted
from django_signal_kit.receiver import Receiver
from django_signal_kit.units.failures import report_failure
from django_signal_kit.wiring.catalog import REQUEST_SIGNALS
from django_signal_kit.wiring.isolating import isolate
from django_signal_kit.wiring.measuring import Function, get_packed, wrap

#: The signals whose methods are called with all their arguments, whoever sends them.
NAMED = frozenset(
    (
        *("pre_save", "post_save", "pre_delete", "post_delete", "post_init", "m2m_changed"),
        "request_finished",
    )
)


def make_function(receiver: Receiver, signal_name: str, method: Function) -> Function:
    """What to connect to the signal so that ``method`` of ``receiver`` receives it."""
    method = wrap(receiver, signal_name, method)
    is_isolated = receiver.on_error == "log" or signal_name in REQUEST_SIGNALS
    if iscoroutinefunction(method):
        function = _call_async(receiver, signal_name, method, is_isolated)
    else:
        if is_isolated:
            method = isolate(receiver, signal_name, method)
        make = _MAKERS.get(signal_name, _call)
        function = make(receiver.name, method, getattr(receiver, "raw", True))
    function = wraps(method)(function)
    function.signal_kit_receiver = receiver  # type: ignore[attr-defined]
    return function


def _call_async(
    receiver: Receiver, signal_name: str, method: Function, is_isolated: bool
) -> Function:
    name, hears_raw = receiver.name, getattr(receiver, "raw", True)
    defaults = _DEFAULTS.get(signal_name, {})

    async def receive(**given: Any) -> Any:
        kwargs = {**defaults, **given}
        if name in get_muted() or (not hears_raw and kwargs.get("raw")):
            return None
        try:
            return await method(**kwargs)
        except Exception as error:
            if not is_isolated:
                raise
            report_failure(receiver, signal_name, error)

    return receive


def _call(name: str, method: Function, hears_raw: bool) -> Function:
    packed = get_packed(method)

    def receive(**kwargs: Any) -> Any:
        if name not in get_muted():
            return method(**kwargs) if packed is None else packed(kwargs)

    return receive


def _call_pre_save(name: str, method: Function, hears_raw: bool) -> Function:
    def receive(
        signal: Any,
        sender: Any,
        instance: Any,
        raw: bool = False,
        using: str = DEFAULT_DB_ALIAS,
        update_fields: Any = None,
        **extra: Any,
    ) -> Any:
        if name in get_muted() or (raw and not hears_raw):
            return None
        return (partial(method, **extra) if extra else method)(
            signal=signal,
            sender=sender,
            instance=instance,
            raw=raw,
            using=using,
            update_fields=update_fields,
        )

    return receive


def _call_post_save(name: str, method: Function, hears_raw: bool) -> Function:
    def receive(
        signal: Any,
        sender: Any,
        instance: Any,
        created: bool = False,
        update_fields: Any = None,
        raw: bool = False,
        using: str = DEFAULT_DB_ALIAS,
        **extra: Any,
    ) -> Any:
        if name in get_muted() or (raw and not hears_raw):
            return None
        return (partial(method, **extra) if extra else method)(
            signal=signal,
            sender=sender,
            instance=instance,
            created=created,
            update_fields=update_fields,
            raw=raw,
            using=using,
        )

    return receive


def _call_delete(name: str, method: Function, hears_raw: bool) -> Function:
    def receive(
        signal: Any,
        sender: Any,
        instance: Any,
        using: str = DEFAULT_DB_ALIAS,
        origin: Any = None,
        **extra: Any,
    ) -> Any:
        if name in get_muted():
            return None
        return (partial(method, **extra) if extra else method)(
            signal=signal, sender=sender, instance=instance, using=using, origin=origin
        )

    return receive


def _call_post_init(name: str, method: Function, hears_raw: bool) -> Function:
    def receive(signal: Any, sender: Any, instance: Any, **extra: Any) -> Any:
        if name in get_muted():
            return None
        return (partial(method, **extra) if extra else method)(
            signal=signal, sender=sender, instance=instance
        )

    return receive


def _call_m2m_changed(name: str, method: Function, hears_raw: bool) -> Function:
    def receive(
        signal: Any,
        sender: Any,
        instance: Any,
        action: str,
        reverse: bool,
        model: Any,
        pk_set: Any,
        using: str = DEFAULT_DB_ALIAS,
        raw: bool = False,
        **extra: Any,
    ) -> Any:
        # Django sends "raw" since 6.1; a method may count on it in any version.
        if name in get_muted() or (raw and not hears_raw):
            return None
        return (partial(method, **extra) if extra else method)(
            signal=signal,
            sender=sender,
            instance=instance,
            action=action,
            reverse=reverse,
            model=model,
            pk_set=pk_set,
            using=using,
            raw=raw,
        )

    return receive


def _call_class_prepared(name: str, method: Function, hears_raw: bool) -> Function:
    call = _call(name, method, hears_raw)

    def receive(**kwargs: Any) -> Any:
        # Migrations prepare a class for each historical state of each model.
        return call(**kwargs) if kwargs["sender"]._meta.apps is apps else None

    return receive


# What the named arguments above are by default, for methods that are async.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "pre_save": {"raw": False, "using": DEFAULT_DB_ALIAS, "update_fields": None},
    "post_save": {
        "created": False,
        "update_fields": None,
        "raw": False,
        "using": DEFAULT_DB_ALIAS,
    },
    "pre_delete": {"using": DEFAULT_DB_ALIAS, "origin": None},
    "post_delete": {"using": DEFAULT_DB_ALIAS, "origin": None},
    "m2m_changed": {"using": DEFAULT_DB_ALIAS, "raw": False},
}

_MAKERS: dict[str, Callable[[str, Function, bool], Function]] = {
    "pre_save": _call_pre_save,
    "post_save": _call_post_save,
    "pre_delete": _call_delete,
    "post_delete": _call_delete,
    "post_init": _call_post_init,
    "m2m_changed": _call_m2m_changed,
    "class_prepared": _call_class_prepared,
}
