"""From the settings and ``@register`` to receivers, with a sentence for whatever is wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from operator import itemgetter

from django.apps import apps
from django.utils.module_loading import import_string

from django_signal_kit import receivers
from django_signal_kit.conf import conf
from django_signal_kit.exceptions import Misconfigured, did_you_mean
from django_signal_kit.options import get_options
from django_signal_kit.receiver import (
    MODEL_RECEIVER_NAMES,
    ModelReceiver,
    Receiver,
    get_near_misses,
)
from django_signal_kit.wiring import catalog
from django_signal_kit.wiring.registry import Declaration, declarations
from django_signal_kit.wiring.senders import Coverage

#: The ``signals`` modules that the kit itself has imported: others are nobody's to exclude.
discovered: set[str] = set()

#: The apps that are installed, or were at an earlier wiring.
_seen: set[str] = set()

ENTRY_KEYS = ("RECEIVER", "OPTIONS", "NAME")


def load() -> tuple[list[Receiver], list[Misconfigured]]:
    """Every receiver that can be made, in its order, and every mistake that was found."""
    problems = list(conf.get_problems())
    for check in (catalog.check_extra_signals, check_signal_names, check_discover_exclude):
        try:
            check()
        except Misconfigured as problem:
            problems.append(problem)
    wanted = [*read_settings(problems), *get_declared()]
    loaded: list[Receiver] = []
    names = get_names(wanted)
    for declaration, name in zip(wanted, names, strict=True):
        try:
            if name in [receiver.name for receiver in loaded]:
                raise Misconfigured(
                    "E010",
                    f"Two receivers are named {name!r}; the second is {declaration.where}.",
                    'Give one of them a NAME of its own: {"RECEIVER": ..., "NAME": ...} or '
                    "register(name=...).",
                )
            loaded.append(make_receiver(declaration, name))
        except Misconfigured as problem:
            problems.append(problem)
    # Several may have stumbled over the same mistake.
    return loaded, list({str(problem): problem for problem in problems}.values())


def get_declared() -> list[Declaration]:
    """What ``@register`` has seen, app by app, as if everything were imported anew: nothing of an
    app that is not installed now, nor of a ``signals`` module that is excluded now, unless the
    app has imported it by itself."""
    installed = [config.name for config in apps.get_app_configs()]
    _seen.update(installed)
    excluded: set[str] = set()
    with suppress(Misconfigured):
        excluded = discovered & {f"{name}.signals" for name in conf.DISCOVER_EXCLUDE}
    places: dict[str | None, int] = {None: len(installed)}
    places |= {name: place for place, name in enumerate(installed)}
    found = [
        (places[app], declaration)
        for declaration in declarations
        for app in (get_owner(declaration.module, _seen),)
        if app in places and get_owner(declaration.module, excluded) is None
    ]
    return [declaration for _, declaration in sorted(found, key=itemgetter(0))]


def get_owner(module: str, packages: Iterable[str]) -> str | None:
    """The innermost of ``packages`` that ``module`` is, or is in."""
    owners = [name for name in packages if module == name or module.startswith(f"{name}.")]
    return max(owners, key=len, default=None)


def read_settings(problems: list[Misconfigured]) -> Iterator[Declaration]:
    """The entries of SIGNAL_KIT["RECEIVERS"]; what is wrong is added to ``problems``."""
    try:
        entries = conf.RECEIVERS
    except Misconfigured as problem:
        problems.append(problem)
        return
    for index, entry in enumerate(entries):
        try:
            yield read_entry(entry, f"SIGNAL_KIT['RECEIVERS'][{index}]")
        except Misconfigured as problem:
            problems.append(problem)


def read_entry(entry: object, where: str) -> Declaration:
    if isinstance(entry, str):
        entry = {"RECEIVER": entry}
    if not isinstance(entry, Mapping):
        raise Misconfigured(
            "E003",
            f"{where} is {entry!r}, of type {type(entry).__name__}.",
            'Write a dotted path, or {"RECEIVER": path, "OPTIONS": {...}}.',
        )
    for key in entry:
        if key not in ENTRY_KEYS:
            raise Misconfigured(
                "E003", f"{where} has an unknown key {key!r}.", did_you_mean(key, ENTRY_KEYS)
            )
    path = entry.get("RECEIVER")
    options = entry.get("OPTIONS", {})
    name = entry.get("NAME")
    if not isinstance(path, str):
        raise Misconfigured(
            "E003",
            f"{where} has no dotted path under 'RECEIVER': {path!r}.",
            'Write {"RECEIVER": "django_signal_kit.receivers.AuditLog", "OPTIONS": {...}}.',
        )
    if not isinstance(options, Mapping) or not all(isinstance(key, str) for key in options):
        raise Misconfigured(
            "E003", f"{where} has OPTIONS {options!r}, which is no dict.", "Write a dict."
        )
    if not isinstance(name, str | None):
        raise Misconfigured(
            "E003", f"{where} has the NAME {name!r}, which is no string.", "Write a string."
        )
    return Declaration(where, import_receiver(path, where), name, dict(options))


def import_receiver(path: str, where: str) -> type[Receiver]:
    try:
        if path.startswith("."):
            raise ImportError("it starts with a dot")
        found = import_string(path)
    except ImportError as error:
        prefix = path.rpartition(".")[0]
        known = (
            [f"{prefix}.{name}" for name in receivers.__all__]
            if prefix == receivers.__name__
            else []
        )
        raise Misconfigured(
            "E004",
            f"{where} is {path!r}, which cannot be imported: {error}.",
            did_you_mean(path, known, "Give the dotted path of a Receiver class."),
        ) from error
    if not (isinstance(found, type) and issubclass(found, Receiver)):
        raise Misconfigured(
            "E005",
            f"{where} is {path!r}, which is not a Receiver class.",
            "Subclass django_signal_kit.Receiver or ModelReceiver; a plain function is connected "
            "with Django's own @receiver in a signals.py.",
        )
    return found


def get_names(wanted: list[Declaration]) -> list[str]:
    """One name a declaration: the one given, the class's, or ``app_label.Class`` where two
    classes of the same name meet."""
    given = [declaration.name or declaration.cls.__name__ for declaration in wanted]
    classes: dict[str, set[type]] = {}
    for name, declaration in zip(given, wanted, strict=True):
        classes.setdefault(name, set()).add(declaration.cls)
    count = Counter(given)
    names = []
    for name, declaration in zip(given, wanted, strict=True):
        if declaration.name is None and count[name] > 1 and len(classes[name]) > 1:
            config = apps.get_containing_app_config(declaration.cls.__module__)
            label = config.label if config else declaration.cls.__module__
            name = f"{label}.{name}"
        names.append(name)
    return names


def make_receiver(declaration: Declaration, name: str) -> Receiver:
    """An instance under its name, if the class and everything that it asks for are sound."""
    cls = declaration.cls
    check_class(cls)
    receiver = cls(**declaration.options)
    receiver._name = name
    receiver.check()
    if isinstance(receiver, ModelReceiver):
        Coverage(receiver)
    return receiver


def check_class(cls: type[Receiver]) -> None:
    """Raise Misconfigured if a method of ``cls`` would never be called, or too often."""
    names = catalog.get_paths()
    for method, signal_name in get_near_misses(cls, names):
        raise Misconfigured(
            "E009",
            f"{cls.__qualname__}.{method}() is named like no signal, so it is never called.",
            f"Did you mean {signal_name!r}? A helper of your own may start with an underscore.",
        )
    for option, default in get_options(cls).items():
        # A subclass may say that it does not hear a signal: post_delete = None.
        if option in names and default is not None:
            raise Misconfigured(
                "E013",
                f"{cls.__qualname__}.{option} has the name of a signal, but is no method.",
                "Rename it.",
            )
    heard = [name for name in names if callable(getattr(cls, name, None))]
    if not issubclass(cls, ModelReceiver):
        for name in heard:
            if name in catalog.MODEL_SIGNALS or name == "m2m_changed":
                raise Misconfigured(
                    "E014",
                    f"{cls.__qualname__} hears {name}, a signal of models, of no model in "
                    f"particular.",
                    "Subclass django_signal_kit.ModelReceiver and say which models.",
                )
    if not heard and cls.get_methods is Receiver.get_methods:
        raise Misconfigured(
            "E015",
            f"{cls.__qualname__} has no method named after a signal, so it hears nothing.",
            "Name a method after the signal that it is to receive, such as 'post_save'.",
        )


def check_signal_names() -> None:
    """Signals, options and hooks share one namespace: the class's."""
    for name in conf.EXTRA_SIGNALS:
        if name in MODEL_RECEIVER_NAMES:
            raise Misconfigured(
                "E013",
                f"SIGNAL_KIT['EXTRA_SIGNALS'] has {name!r}, the name of an option or a method of "
                f"every receiver.",
                "Choose another name.",
            )


def check_discover_exclude() -> None:
    names = [config.name for config in apps.get_app_configs()]
    for name in conf.DISCOVER_EXCLUDE:
        if name not in names:
            raise Misconfigured(
                "E017",
                f"SIGNAL_KIT['DISCOVER_EXCLUDE'] has {name!r}, but no such app is installed.",
                did_you_mean(name, names, "Give the name of an app as its AppConfig has it."),
            )
