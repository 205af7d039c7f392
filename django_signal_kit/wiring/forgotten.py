"""What was begun and forgotten: a class that nobody registers, items that nobody flushes."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from types import FunctionType

from django.apps import apps
from django.core.checks import Warning

from django_signal_kit.conf import conf
from django_signal_kit.exceptions import Misconfigured, tell_class
from django_signal_kit.receiver import Receiver
from django_signal_kit.wiring import catalog
from django_signal_kit.wiring.declaring import declarations
from django_signal_kit.wiring.names import list_own


def check_registered(receivers: Iterable[Receiver]) -> Iterator[Warning]:
    """One warning for each receiver class of a ``signals`` module that hears nothing, as it is
    neither registered nor named in the settings. A class that has subclasses is their base, and
    one whose name starts with an underscore is nobody's."""
    wanted = {type(receiver) for receiver in receivers} | {each.cls for each in declarations}
    for cls in _list_classes():
        if cls not in wanted and not cls.__name__.startswith("_") and not cls.__subclasses__():
            path = tell_class(cls)
            yield Warning(
                f"{path} is a receiver that nobody has registered, so it hears nothing.",
                hint=(
                    f"Write @register above it, or name {path!r} in SIGNAL_KIT['RECEIVERS']; or "
                    f"start its name with an underscore."
                ),
                id="signal_kit.W016",
            )


def check_flushed(receivers: Iterable[Receiver]) -> Iterator[Warning]:
    """One warning for each class whose methods collect, and that has no ``flush()``."""
    for cls in dict.fromkeys(type(receiver) for receiver in receivers):
        if cls.flush is not Receiver.flush:
            continue
        for own in list_own(cls):
            if isinstance(own.value, FunctionType) and "collect" in own.value.__code__.co_names:
                yield Warning(
                    f"{tell_class(own.owner)}.{own.name}() collects, and {cls.__name__} has no "
                    f"flush(), so that nothing is done with it.",
                    hint="Write def flush(self, items).",
                    id="signal_kit.W017",
                )
                break


def _list_classes() -> Iterator[type[Receiver]]:
    """The receiver classes of the apps' ``signals`` modules that would hear something."""
    excluded: Sequence[str] = ()
    with suppress(Misconfigured):
        excluded = conf.DISCOVER_EXCLUDE
    names = catalog.get_paths()
    for config in apps.get_app_configs():
        module = sys.modules.get(f"{config.name}.signals")
        if module is None or config.name in excluded:
            continue
        for cls in list(vars(module).values()):
            if (
                isinstance(cls, type)
                and issubclass(cls, Receiver)
                and cls.__module__ == module.__name__
                and any(callable(getattr(cls, name, None)) for name in names)
            ):
                yield cls
