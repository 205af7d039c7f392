"""What is connected to what."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeGuard

from django.apps import apps
from django.db.models import Model
from django.db.models.signals import class_prepared

from django_signal_kit.receiver import ModelReceiver, Receiver
from django_signal_kit.rows import memory, snapshots, written
from django_signal_kit.rows.columns import get_columns
from django_signal_kit.rows.database import forget_statements
from django_signal_kit.rows.many_to_many import get_many_to_many
from django_signal_kit.tasks import known
from django_signal_kit.tasks.places import is_durable
from django_signal_kit.wiring import catalog
from django_signal_kit.wiring.asked import get_asked, get_kept, get_written
from django_signal_kit.wiring.connecting import Connection, connect_all, make_functions
from django_signal_kit.wiring.dispatch import make_function
from django_signal_kit.wiring.measuring import wrap_own
from django_signal_kit.wiring.relatives import get_family, get_named
from django_signal_kit.wiring.senders import Coverage
from django_signal_kit.writes import ahead, guarded, hooks, late, migrating
from django_signal_kit.writes.links import Heard, Listener


class Registry:
    """The receivers that are connected now, in their order."""

    def __init__(self) -> None:
        late.watch(self.refresh)
        migrating.watch(self._get_names_of_models)
        self._start([], {}, {})

    def _start(
        self,
        receivers: list[Receiver],
        coverages: dict[ModelReceiver, Coverage],
        functions: dict[Receiver, dict[str, Callable[..., Any]]],
    ) -> None:
        self.receivers = receivers
        self.connections: list[Connection] = []
        self._connected: set[tuple[str, Any]] = set()
        self._coverages = coverages
        # Those for which a covered write in autocommit opens a transaction.
        self._atomic = {receiver for receiver in coverages if _is_atomic(receiver)}
        self._functions = functions
        self._signals = {
            name: catalog.get_signal(name) for found in functions.values() for name in found
        }
        # Model -> the receivers that are told of its rows.
        self._hearing: dict[type[Model], dict[ModelReceiver, None]] = {}
        # Through model -> who is told of the links that its rows are.
        self._listeners: dict[type[Model], list[Listener]] = {}
        self._stamp_fields: dict[type[Model], frozenset[str]] = {}

    def connect(self, receivers: Iterable[Receiver]) -> None:
        """Connect these receivers and no others. Raises before anything changes."""
        receivers = list(receivers)
        coverages = {
            receiver: Coverage(receiver)
            for receiver in receivers
            if isinstance(receiver, ModelReceiver)
        }
        functions = {receiver: make_functions(receiver) for receiver in receivers}
        for receiver in receivers:
            wrap_own(receiver)
        before = vars(self).copy()
        get_columns.cache_clear()
        try:
            self._start(receivers, coverages, functions)
            # Receiver by receiver: Django calls in the order of connecting.
            for receiver in receivers:
                for signal_name in functions[receiver]:
                    if not self._is_per_model(receiver, signal_name):
                        self._note(receiver, signal_name, None)
                if isinstance(receiver, ModelReceiver):
                    for model in coverages[receiver].get_models():
                        self._note_model(receiver, model)
            links = self._find_links(self._listeners)
            columns = get_asked(self._hearing, self._hearing, links)
        except BaseException:
            vars(self).update(before)
            raise
        self._disconnect(before["connections"])
        known.settle(receivers)
        late.waiting.clear()
        connect_all(self.connections)
        snapshots.old_columns.update(columns)
        written.columns.update(get_written(self._hearing, columns))
        memory.keep(get_kept(self._hearing, self._hearing))
        self._cover(self.connections, links)
        class_prepared.connect(self._on_class_prepared, dispatch_uid="signal_kit:registry")

    def disconnect(self) -> None:
        """Disconnect everything that the kit has connected."""
        class_prepared.disconnect(dispatch_uid="signal_kit:registry")
        self._disconnect(self.connections)
        known.settle([])
        self._start([], {}, {})
        late.waiting.clear()
        memory.keep({})
        ahead.settle()
        hooks.settle(is_heard=False)

    def refresh(self, models: Iterable[type[Model]]) -> None:
        """Models have come, or have got fields, since the wiring: connect what they ask for now,
        and what those ask for that they point to."""
        for receiver in self._coverages:
            receiver._forget_models()
        self._stamp_fields.clear()
        self._extend(get_family(models))

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

    def _extend(self, models: Iterable[type[Model]]) -> None:
        """Connect what these ask for beside what is connected already."""
        models = list(models)
        before = len(self.connections)
        for receiver, coverage in self._coverages.items():
            for model in models:
                if model in coverage:
                    self._note_model(receiver, model)
        connections = self.connections[before:]
        connect_all(connections)
        heard = [model for model in models if model in self._hearing]
        heard += [c.sender for c in connections if c.sender in self._hearing]
        links = self._find_links([*models, *(c.sender for c in connections)])
        columns = get_asked(self._hearing, heard, links)
        snapshots.old_columns.update(columns)
        written.columns.update(get_written(self._hearing, columns))
        memory.keep_also(get_kept(self._hearing, heard))
        self._cover(connections, links)

    def _get_names_of_models(self) -> frozenset[str]:
        return frozenset(receiver.name for receiver in self._coverages)

    @staticmethod
    def _is_per_model(receiver: Receiver, signal_name: str) -> bool:
        return isinstance(receiver, ModelReceiver) and (
            signal_name in catalog.MODEL_SIGNALS or signal_name == "m2m_changed"
        )

    def _note(self, receiver: Receiver, signal_name: str, sender: Any) -> None:
        """``receiver`` is to be connected to that, unless it is already."""
        uid = f"signal_kit:{receiver.name}:{signal_name}"
        if (uid, sender) in self._connected:
            # A through model that several covered models lead to.
            return
        self._connected.add((uid, sender))
        function = self._functions[receiver][signal_name]
        signal = self._signals[signal_name]
        self.connections.append(Connection(receiver, signal_name, signal, function, sender, uid))
        if signal_name in _ROW_SIGNALS and isinstance(receiver, ModelReceiver):
            self._hearing.setdefault(sender, {})[receiver] = None
        if signal_name == "m2m_changed" and _hears_links(receiver):
            function = make_function(receiver, "links_changed", receiver.links_changed)
            self._listeners.setdefault(sender, []).append((receiver, function))

    def _note_model(self, receiver: ModelReceiver, model: type[Model]) -> None:
        if not receiver.hears(model):
            return
        for signal_name in self._functions[receiver]:
            if signal_name in catalog.MODEL_SIGNALS:
                for sender in receiver.get_senders(signal_name, model):
                    self._note(receiver, signal_name, sender)
            elif signal_name == "m2m_changed":
                for through in get_throughs(receiver, model):
                    self._note(receiver, signal_name, through)

    def _disconnect(self, connections: Iterable[Connection]) -> None:
        for connection in connections:
            connection.signal.disconnect(sender=connection.sender, dispatch_uid=connection.uid)
        snapshots.old_columns.clear()
        written.columns.clear()
        forget_statements()
        ahead.uncover()
        hooks.uncover()

    def _on_class_prepared(self, sender: type[Model], **kwargs: Any) -> None:
        meta = sender._meta
        if meta.apps is not apps or meta.abstract or meta.auto_created:
            return
        # The signal is sent before the model enters the app registry, and before the models that
        # it names by text do; until then nobody knows what it is related to.
        keys = [(meta.app_label, str(meta.model_name)), *get_named(sender)]
        apps.lazy_model_operation(lambda model, *named: self._on_made(model), *keys)

    def _on_made(self, model: type[Model]) -> None:
        if apps.models_ready:
            self._extend([model])
        # The others do not know yet that it is there, and points to them.
        late.waiting.add(model)

    def _find_links(self, models: Iterable[type[Model]]) -> dict[type[Model], Heard]:
        """Those of ``models`` whose rows are links of which receivers are told, as they are now,
        and the through models of their relations, each with what hears of it."""
        throughs: dict[Any, None] = {}
        for model in models:
            throughs |= dict.fromkeys(model.__mro__)
            throughs |= {field.remote_field.through: None for field in get_many_to_many(model)}
        found: dict[type[Model], Heard] = {}
        for through in throughs:
            if through in self._listeners:
                heard = Heard(through, self._listeners[through])
                found |= dict.fromkeys(heard.models if heard.relations else (), heard)
        return found

    def _cover(
        self, connections: Iterable[Connection], links: Mapping[type[Model], Heard]
    ) -> None:
        """Tell the hooks which models are covered, and by what."""
        for connection in connections:
            receiver, name, model = connection.receiver, connection.signal_name, connection.sender
            if isinstance(receiver, ModelReceiver) and (
                name in _ROW_SIGNALS or name == "m2m_changed"
            ):
                is_atomic = receiver in self._atomic
                is_read = name.endswith("queryset_update") and receiver.bulk == "all"
                hooks.cover(name, model, is_atomic, is_read)
                if receiver._guards_updates:
                    guarded.guarded.add(model)
                if name in ("pre_save", "post_save"):
                    ahead.cover(model, receiver if name == "pre_save" else None)
        hooks.cover_links(links)
        for model in links:
            ahead.cover(model, None)
        ahead.settle()
        # Triggers are told which transaction it is, and nobody else may hear anything.
        captures = any(getattr(each, "capture", "") == "triggers" for each in self.receivers)
        hooks.settle(is_heard=captures or bool(self.connections))


def _is_atomic(receiver: ModelReceiver) -> bool:
    """Does it flush into the transaction of the write, and want that there is one?"""
    return receiver.atomic and (
        receiver.flush_on == "before_commit"
        or _is_announcing(receiver)
        or (receiver._flushes_in_task and is_durable(receiver))
    )


def _is_announcing(receiver: ModelReceiver) -> bool:
    """Does it write something before the commit, though it flushes later?"""
    return bool(getattr(receiver, "_is_announcing", False))


# Those by which a receiver is told of rows of the sender that are written.
_ROW_SIGNALS = catalog.MODEL_SIGNALS - {"pre_init", "post_init"}


def _hears_links(receiver: Receiver) -> TypeGuard[ModelReceiver]:
    return (
        isinstance(receiver, ModelReceiver)
        and type(receiver).links_changed is not ModelReceiver.links_changed
    )


def get_throughs(receiver: ModelReceiver, model: type[Model]) -> list[type[Model]]:
    """The through models whose ``m2m_changed`` a receiver hears for a covered model."""
    throughs: list[type[Model]] = []
    for field in receiver.get_m2m_fields(model):
        through = (field if hasattr(field, "through") else field.remote_field).through
        if isinstance(through, type) and through not in throughs:
            throughs.append(through)
    return throughs


registry = Registry()
