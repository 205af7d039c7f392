"""From the settings and ``@register`` to receivers, with a sentence for whatever is wrong."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from difflib import get_close_matches
from operator import itemgetter

from django.apps import apps
from django.utils.module_loading import import_string

from django_signal_kit import receivers
from django_signal_kit.conf import conf
from django_signal_kit.exceptions import Misconfigured, did_you_mean, is_of_kit, tell_class
from django_signal_kit.receiver import MODEL_RECEIVER_NAMES, ModelReceiver, Receiver
from django_signal_kit.tasks.options import read_options
from django_signal_kit.tasks.wired import check_task
from django_signal_kit.wiring import catalog
from django_signal_kit.wiring.calls import check_calls, check_init
from django_signal_kit.wiring.classes import check_class, check_set
from django_signal_kit.wiring.declaring import Declaration, declarations
from django_signal_kit.wiring.senders import Coverage

#: The ``signals`` modules that the kit itself has imported: others are nobody's to exclude.
discovered: set[str] = set()

#: The apps that are installed, or were at an earlier wiring.
_seen: set[str] = set()

_PATH = "Give the dotted path of a Receiver class."

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
            f'Write {say_path(entry)}, or {{"RECEIVER": path, "OPTIONS": {{...}}}}.',
        )
    for key in entry:
        if key not in ENTRY_KEYS:
            remedy = f'Options stand in a dict of their own: "OPTIONS": {{{key!r}: ...}}.'
            raise Misconfigured(
                "E003",
                f"{where} has an unknown key {key!r}.",
                did_you_mean(key, ENTRY_KEYS, remedy),
            )
    path = entry.get("RECEIVER")
    options = entry.get("OPTIONS", {})
    name = entry.get("NAME")
    if not isinstance(path, str):
        raise Misconfigured(
            "E003",
            f"{where} has no dotted path under 'RECEIVER': {path!r}.",
            f'Write {{"RECEIVER": {say_path(path)}, "OPTIONS": {{...}}}}.',
        )
    if not isinstance(options, Mapping) or not all(isinstance(key, str) for key in options):
        raise Misconfigured(
            "E003",
            f"{where} has OPTIONS {options!r}, which is no dict.",
            'Write a dict, such as {"models": ["app_label.Model"]}.',
        )
    if not isinstance(name, str | None):
        raise Misconfigured(
            "E003", f"{where} has the NAME {name!r}, which is no string.", "Write a string."
        )
    return Declaration(where, import_receiver(path, where), name, dict(options))


def say_path(thing: object) -> str:
    """The path that would be right in the place of a class."""
    if isinstance(thing, type) and issubclass(thing, Receiver):
        # A ready-made one has a shorter path than its module.
        is_ready_made = getattr(receivers, thing.__name__, None) is thing
        module = receivers.__name__ if is_ready_made else thing.__module__
        return f'"{module}.{thing.__qualname__}"'
    return "a dotted path"


def import_receiver(path: str, where: str) -> type[Receiver]:
    try:
        if path.startswith("."):
            raise ImportError("it starts with a dot")
        found = import_string(path)
    except ImportError as error:
        raise Misconfigured(
            "E004",
            f"{where} is {path!r}, which cannot be imported: {error}.",
            guess_path(path),
        ) from error
    if not (isinstance(found, type) and issubclass(found, Receiver)):
        raise Misconfigured(
            "E005",
            f"{where} is {path!r}, which is not a Receiver class.",
            "Subclass django_signal_kit.Receiver or ModelReceiver; a plain function is connected "
            "with Django's own @receiver in a signals.py.",
        )
    return found


def guess_path(path: str) -> str:
    """The receiver that may be meant: one of the kit's, or one of the module that is named."""
    prefix, _, name = path.rpartition(".")
    if prefix.partition(".")[0] in ("", "django_signal_kit"):
        prefix, names = receivers.__name__, receivers.__all__
    else:
        found = vars(sys.modules[prefix]).items() if prefix in sys.modules else ()
        names = [
            each for each, cls in found if isinstance(cls, type) and issubclass(cls, Receiver)
        ]
    near = get_close_matches(name, names, n=1, cutoff=0.6)
    return f"Did you mean {f'{prefix}.{near[0]}'!r}?" if near else _PATH


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
    names = catalog.get_paths()
    check_class(cls, names)
    check_init(cls, declaration.options)
    receiver = cls(**declaration.options)
    check_set(receiver)
    # What is wrong with it is told by words that find its class.
    receiver._name = receiver._told = tell(declaration)
    check_calls(receiver, names)
    receiver.check()
    settle_flush(receiver, is_asked="flush_on" in declaration.options)
    if isinstance(receiver, ModelReceiver):
        Coverage(receiver)
    receiver._name = name
    return receiver


def settle_flush(receiver: Receiver, *, is_asked: bool) -> None:
    """Raise Misconfigured if ``receiver`` is to flush in a task and cannot. A ready-made one of
    which nobody has asked it flushes after the commit then."""
    if receiver.task_options:
        read_options(receiver)
    if receiver.flush_on != "task":
        return
    if receiver._not_in_task:
        raise Misconfigured(
            "E063",
            f"{receiver.name} has flush_on='task', but {receiver._not_in_task}.",
            "Leave 'flush_on' out.",
        )
    if not receiver._flushes_in_task:
        if is_asked:
            raise Misconfigured(
                "E064",
                f"{receiver.name} has flush_on='task', but it has no flush().",
                "Leave 'flush_on' out, or write flush() for what it collects.",
            )
        return
    owner = next(cls for cls in type(receiver).__mro__ if "flush_on" in vars(cls))
    try:
        check_task(receiver)
    except Misconfigured:
        if is_asked or not is_of_kit(owner):
            raise
        receiver.flush_on = "after_commit"


def tell(declaration: Declaration) -> str:
    """``"shop.signals.Prices"``, ``"AuditLog 'Prices'"``: the class, and the name it was given."""
    name = "" if declaration.name is None else f" {declaration.name!r}"
    return f"{tell_class(declaration.cls)}{name}"


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
