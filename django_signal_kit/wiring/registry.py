"""What has been registered, what is connected to what, and what is muted."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from django.apps import apps
from django.db.models import Model
from django.db.models.signals import class_prepared
from django.dispatch import Signal

from django_signal_kit.conf import conf
from django_signal_kit.current import Muting
from django_signal_kit.exceptions import did_you_mean
from django_signal_kit.receiver import ModelReceiver, Receiver
from django_signal_kit.rows import memory, snapshots
from django_signal_kit.rows.canonical import get_columns
from django_signal_kit.rows.database import forget_statements
from django_signal_kit.wiring import catalog
from django_signal_kit.wiring.dispatch import make_function
from django_signal_kit.wiring.senders import Coverage
from django_signal_kit.writes import hooks, rowwise
from django_signal_kit.writes.links import Listener, cover_links

R = TypeVar("R", bound=type[Receiver])


@dataclass(frozen=True)
class Declaration:
    """A receiver that somebody asked for: ``where`` says in which words, ``module`` from which
    module, if by ``@register``."""

    where: str
    cls: type[Receiver]
    name: str | None
    options: dict[str, Any]
    module: str = ""


#: What ``@register`` has seen, in the order of the imports.
declarations: list[Declaration] = []


def register(
    cls: type[Receiver] | None = None, /, *, name: str | None = None, **options: Any
) -> Any:
    """Register a receiver class: ``@register``, or ``@register(models=["shop.Product"])``.

    Write it in the ``signals.py`` of an installed app, which is imported at start-up; the class is
    wired then. ``name`` is what ``muted()`` and ``showreceivers`` call it (default: the class's
    name), ``options`` are set on the instance. Raises TypeError for what is no Receiver class;
    wrong options are told at start-up.
    """
    module = sys._getframe(1).f_globals.get("__name__", "")
    if cls is None:
        return lambda cls: _declare(cls, name, options, module)
    return _declare(cls, name, options, module)


def _declare(cls: Any, name: str | None, options: dict[str, Any], module: str) -> Any:
    if not (isinstance(cls, type) and issubclass(cls, Receiver)):
        raise TypeError(
            f"@register is for Receiver classes, and {cls!r} is none. A plain function is "
            f"connected with Django's own @receiver."
        )
    where = f"@register of {cls.__module__}.{cls.__qualname__}"
    declarations.append(Declaration(where, cls, name, options, module))
    return cls


@dataclass(frozen=True)
class Connection:
    """A function of the kit that is connected to a signal."""

    receiver: Receiver
    signal_name: str
    signal: Signal
    function: Callable[..., Any]
    sender: Any
    uid: str


class Registry:
    """The receivers that are connected now, in their order."""

    def __init__(self) -> None:
        self.receivers: list[Receiver] = []
        self.connections: list[Connection] = []
        self._connected: set[tuple[str, Any]] = set()
        self._coverages: dict[ModelReceiver, Coverage] = {}
        self._functions: dict[Receiver, dict[str, Callable[..., Any]]] = {}
        self._stamp_fields: dict[type[Model], frozenset[str]] = {}

    def connect(self, receivers: Iterable[Receiver]) -> None:
        """Connect these receivers and no others. Raises Misconfigured before anything changes."""
        receivers = list(receivers)
        coverages = {
            receiver: Coverage(receiver)
            for receiver in receivers
            if isinstance(receiver, ModelReceiver)
        }
        functions = {receiver: make_functions(receiver) for receiver in receivers}
        self.disconnect()
        self.receivers = receivers
        self._coverages = coverages
        self._functions = functions
        # Receiver by receiver: Django calls in the order of connecting.
        for receiver in receivers:
            for signal_name in self._functions[receiver]:
                if not self._is_per_model(receiver, signal_name):
                    self._connect(receiver, signal_name, None)
            if isinstance(receiver, ModelReceiver):
                for model in self.get_models(receiver):
                    self._connect_model(receiver, model)
        self._update_coverage()
        class_prepared.connect(self._on_class_prepared, dispatch_uid="signal_kit:registry")

    def disconnect(self) -> None:
        """Disconnect everything that the kit has connected."""
        class_prepared.disconnect(dispatch_uid="signal_kit:registry")
        for connection in self.connections:
            connection.signal.disconnect(sender=connection.sender, dispatch_uid=connection.uid)
        self.receivers = []
        self.connections = []
        self._connected = set()
        self._coverages = {}
        self._functions = {}
        self._update_coverage()

    def get_models(self, receiver: Receiver) -> list[type[Model]]:
        """The models that a receiver covers, as the app registry stands now."""
        coverage = self._coverages.get(receiver)  # type: ignore[call-overload]
        return [] if coverage is None else coverage.get_models()

    def covers(self, receiver: ModelReceiver, model: type[Model]) -> bool:
        """Does ``receiver`` cover ``model``?"""
        coverage = self._coverages.get(receiver)
        return coverage is not None and model in coverage

    def get_covered(self, receiver: ModelReceiver, model: type[Model]) -> list[type[Model]]:
        """``model`` if ``receiver`` covers it, or else those covered whose rows are rows of it."""
        if self.covers(receiver, model):
            return [model]
        return [known for known in self.get_models(receiver) if issubclass(known, model)]

    def get_covering(self, model: type[Model]) -> Iterator[ModelReceiver]:
        """The receivers that cover ``model``."""
        return (receiver for receiver, coverage in self._coverages.items() if model in coverage)

    def get_stamp_fields(self, model: type[Model]) -> frozenset[str]:
        """Names of the fields that receivers themselves write at each change of a row."""
        try:
            return self._stamp_fields[model]
        except KeyError:
            names = frozenset(
                name
                for receiver in self.get_covering(model)
                for name in receiver.get_stamp_fields(model)
            )
            self._stamp_fields[model] = names
            return names

    @staticmethod
    def _is_per_model(receiver: Receiver, signal_name: str) -> bool:
        return isinstance(receiver, ModelReceiver) and (
            signal_name in catalog.MODEL_SIGNALS or signal_name == "m2m_changed"
        )

    def _connect(self, receiver: Receiver, signal_name: str, sender: Any) -> None:
        function = self._functions[receiver][signal_name]
        signal = catalog.get_signal(signal_name)
        uid = f"signal_kit:{receiver.name}:{signal_name}"
        if (uid, sender) in self._connected:
            # A through model that several covered models lead to.
            return
        self._connected.add((uid, sender))
        connection = Connection(receiver, signal_name, signal, function, sender, uid)
        signal.connect(function, sender=sender, weak=False, dispatch_uid=uid)
        self.connections.append(connection)

    def _connect_model(self, receiver: ModelReceiver, model: type[Model]) -> None:
        for signal_name in self._functions[receiver]:
            if signal_name in catalog.MODEL_SIGNALS:
                for sender in receiver.get_senders(signal_name, model):
                    self._connect(receiver, signal_name, sender)
            elif signal_name == "m2m_changed":
                for through in get_throughs(receiver, model):
                    self._connect(receiver, signal_name, through)

    def _on_class_prepared(self, sender: type[Model], **kwargs: Any) -> None:
        if sender._meta.apps is not apps or sender._meta.abstract:
            return

        def connect_model(model: type[Model]) -> None:
            covering = list(self.get_covering(model))
            for receiver in covering:
                self._connect_model(receiver, model)
            if covering:
                self._update_coverage()

        # The signal is sent before the model enters the app registry.
        apps.lazy_model_operation(
            connect_model, (sender._meta.app_label, str(sender._meta.model_name))
        )

    def _update_coverage(self) -> None:
        """Tell writes and snapshots which models are covered, and by what."""
        saves: dict[type[Model], bool] = {}
        deletes: dict[type[Model], bool] = {}
        links: dict[type[Model], bool] = {}
        covered_by = {"pre_save": saves, "post_save": saves}
        covered_by |= {"pre_delete": deletes, "post_delete": deletes, "m2m_changed": links}
        self._stamp_fields.clear()
        bulk_writes: dict[type[Model], bool] = {}
        bulk_reads: set[type[Model]] = set()
        covered_by |= dict.fromkeys(catalog.BULK_SIGNALS, bulk_writes)
        snapshots.old_columns.clear()
        loaded_models: list[type[Model]] = []
        listeners: dict[type[Model], list[Listener]] = {}
        for connection in self.connections:
            covered = covered_by.get(connection.signal_name)
            receiver = connection.receiver
            if covered is None or not isinstance(receiver, ModelReceiver):
                continue
            model = connection.sender
            is_atomic = receiver.atomic and receiver.flush_on == "before_commit"
            covered[model] = covered.get(model, False) or is_atomic
            if connection.signal_name == "m2m_changed":
                if type(receiver).links_changed is not ModelReceiver.links_changed:
                    function = make_function(receiver, "links_changed", receiver.links_changed)
                    listeners.setdefault(model, []).append((receiver, function))
            else:
                columns = snapshots.old_columns.setdefault(model, [])
                known = get_columns(model)
                asked = [known[field.attname] for field in receiver.get_old_fields(model)]
                columns += [column for column in asked if column not in columns]
                if model not in loaded_models and any(receiver.get_loaded_fields(model)):
                    loaded_models.append(model)
            if connection.signal_name.endswith("queryset_update") and receiver.bulk == "all":
                bulk_reads.add(model)
        # Rows of a through model are links, whoever writes them.
        for model, heard in cover_links(listeners).items():
            for covered in (saves, deletes, bulk_writes)[: 3 if conf.BULK_SIGNALS else 2]:
                covered[model] = covered.get(model, False) or links[heard.through]
            columns = snapshots.old_columns.setdefault(model, [])
            asked = [get_columns(model)[attname] for attname in heard.attnames]
            columns += [column for column in asked if column not in columns]
        memory.keep(loaded_models)
        forget_statements()
        hooks.cover(saves, deletes, links, bulk_writes, bulk_reads)


def make_functions(receiver: Receiver) -> dict[str, Callable[..., Any]]:
    """Name of each signal that a receiver hears as it is set -> what to connect to it."""
    methods = receiver.get_methods(catalog.get_paths())
    functions = {name: make_function(receiver, name, method) for name, method in methods.items()}
    if not isinstance(receiver, ModelReceiver):
        return functions
    if receiver.bulk and conf.BULK_SIGNALS:
        return functions | rowwise.make_functions(receiver, functions)
    return {name: made for name, made in functions.items() if name not in catalog.BULK_SIGNALS}


def get_throughs(receiver: ModelReceiver, model: type[Model]) -> list[type[Model]]:
    """The through models whose ``m2m_changed`` a receiver hears for a covered model."""
    throughs: list[type[Model]] = []
    for field in receiver.get_m2m_fields(model):
        through = (field if hasattr(field, "through") else field.remote_field).through
        if isinstance(through, type) and through not in throughs:
            throughs.append(through)
    return throughs


registry = Registry()


def get_names(receivers: Iterable[str | type[Receiver]]) -> frozenset[str]:
    """The names of the connected receivers meant by names or classes (their subclasses too).

    Raises LookupError for one that is not connected, TypeError for what is neither.
    """
    names: set[str] = set()
    known = [receiver.name for receiver in registry.receivers]
    for given in receivers:
        if isinstance(given, str):
            if given not in known:
                raise LookupError(
                    f"No receiver is named {given!r}. {did_you_mean(given, known)}".rstrip()
                )
            names.add(given)
        elif isinstance(given, type) and issubclass(given, Receiver):
            found = {known.name for known in registry.receivers if isinstance(known, given)}
            if not found:
                raise LookupError(f"No receiver of the class {given.__qualname__} is connected.")
            names |= found
        else:
            raise TypeError(
                f"{given!r} is neither the name nor the class of a receiver of the kit. A plain "
                f"function cannot be muted: Django calls it, not the kit."
            )
    return frozenset(names)


def muted(*receivers: str | type[Receiver]) -> Muting:
    """Inside ``with muted("AuditLog", WelcomeEmail):`` these receivers are not called.

    By name or class, in this thread and this async task only; nests, decorates, and never touches
    ``signal.receivers``. What they collected before is still flushed. Raises LookupError for an
    unknown name and TypeError for a plain function.
    """
    get_names(receivers)
    return Muting(lambda: get_names(receivers))


def only(*receivers: str | type[Receiver]) -> Muting:
    """Inside ``with only("AuditLog"):`` the kit's other receivers are not called."""
    get_names(receivers)
    return Muting(
        lambda: frozenset(receiver.name for receiver in registry.receivers) - get_names(receivers)
    )
