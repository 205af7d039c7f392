"""Receivers are classes: a method named after a signal receives that signal."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence, Set
from datetime import datetime
from typing import Any, Literal, TypeAlias

from django.core.checks import CheckMessage
from django.db.models import Field, ManyToManyField, Model
from django.db.models.fields.reverse_related import ManyToManyRel

from django_signal_kit import tally
from django_signal_kit.exceptions import tell_class
from django_signal_kit.options import check_options
from django_signal_kit.rows.many_to_many import get_many_to_many
from django_signal_kit.tasks.collecting import collect_for_task
from django_signal_kit.units import unit
from django_signal_kit.units.unit import FlushOn

ModelSpec: TypeAlias = str | type[Model] | type


class Receiver:
    """Receives every signal that it has a method for.

    Each option below can be set in ``OPTIONS``, in ``register()`` or in a subclass. A method gets
    the signal's own arguments by name (take ``**kwargs`` too: signals grow arguments) and may be
    ``async def``. It runs where Django sends the signal, in the caller's transaction.
    """

    #: ``"raise"``: an exception reaches whoever caused the signal. ``"log"``: it is logged and
    #: ``receiver_failed`` is sent; costs a savepoint a signal inside transactions.
    on_error: Literal["raise", "log"] = "raise"
    #: When collected items are flushed. ``"before_commit"`` opens a transaction in autocommit, and
    #: so does ``"task"`` where a crash must lose no task.
    flush_on: FlushOn = "after_commit"
    #: Where its tasks differ from what ``SIGNAL_KIT["TASKS"]`` says: the same keys.
    task_options: Mapping[str, Any] = {}

    _name: str = ""
    # Its class and name, as messages have them.
    _told: str = ""
    # Whether what fails in it may have broken a transaction: it is called in a savepoint then.
    _savepoint: bool = True
    # Whether __init__() has been called, which a class of the project may forget.
    _is_set: bool = False
    # Why it cannot flush in a task, whatever its items are, as the end of a sentence.
    _not_in_task: str = ""
    # Does it keep a record of what people do? From a page nobody mutes what would tell of it.
    _keeps_record: bool = False

    def __init__(self, **options: Any) -> None:
        """Set options. Raises ``ImproperlyConfigured`` for one that the class does not declare."""
        check_options(type(self), options)
        self._is_set = True
        for name, value in options.items():
            setattr(self, name, value)

    @property
    def name(self) -> str:
        """The name under which ``muted()``, ``only()`` and ``showreceivers`` know it."""
        return self._name or type(self).__name__

    def __str__(self) -> str:
        return self._told or self.name

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__qualname__} {self.name!r}>"

    @property
    def _flushes_in_task(self) -> bool:
        return self.flush_on == "task" and type(self).flush is not Receiver.flush

    def get_methods(self, signal_names: Iterable[str]) -> Mapping[str, Callable[..., Any]]:
        """Signal name -> the bound method that receives it, for those of ``signal_names`` that
        this receiver hears. Called once, when it is wired."""
        methods = {name: getattr(self, name, None) for name in signal_names}
        return {name: method for name, method in methods.items() if callable(method)}

    def check(self) -> None:
        """Raise :class:`~django_signal_kit.exceptions.Misconfigured` if this receiver cannot work
        as it is set. Called at start-up and by the system checks, when all models are there."""

    def get_warnings(self) -> list[CheckMessage]:
        """What the system checks warn of, though the receiver works as it is set."""
        return []

    def get_own_figures(self) -> Mapping[str, int]:
        """What it counts itself, such as ``{"mails_sent": 5}``: names, and whole numbers that only
        grow while this process runs. Asked every few seconds while counters are on, in a thread of
        its own."""
        return tally.read(self.name)

    def collect(
        self,
        item: Any,
        *,
        key: Hashable = None,
        flush_on: FlushOn | None = None,
        using: str | None = None,
    ) -> Any:
        """Keep ``item`` until the end of the unit of work, and return it.

        If an item with the same ``key`` (anything hashable but None) waits already, that one is
        returned and ``item`` is dropped. A rollback, of a savepoint too, takes back what was
        collected since, and what was changed since in an item that waits under a key.
        ``flush_on`` (default: the option) and ``using`` (default: the database of the write in
        progress, else ``"default"``) say when and with which transaction. For a task the item has
        to be JSON, as :meth:`serialize` makes it: raises
        :class:`~django_signal_kit.exceptions.NotJSONError` if it is not.
        """
        when = flush_on or self.flush_on
        if when == "task":
            return collect_for_task(self, item, key, using)
        return unit.collect(self, item, key, when, using)

    def flush(self, items: list[Any]) -> Any:
        """Act on all that a unit of work collected, once; ``items`` is in order, never empty.

        Called before the commit in the same transaction, where an exception rolls the write back,
        or after it, where an exception is logged and sent as ``receiver_failed``; or in a worker,
        where it is tried again, so that it has to be harmless to run twice. May be async.
        """
        raise NotImplementedError(f"{tell_class(type(self))} collects, but has no flush().")

    def serialize(self, item: Any) -> Any:
        """What is kept of ``item`` until a task flushes it: None, True, False, an int, a finite
        float, a str, a list or tuple of such, or a dict of such with strings as keys. By default
        the item itself. Called at ``collect()`` and again when the unit of work ends."""
        return item

    def deserialize(self, data: Any) -> Any:
        """The item that :meth:`serialize` has made ``data`` of, for ``flush()``; by default
        ``data``, which has lists where tuples were. Runs in the worker."""
        return data

    def _collect_all(self, items: Iterable[Any], using: str) -> None:
        """:meth:`collect` for each of ``items``, without a key."""
        if type(self).collect is _collect and "collect" not in vars(self):
            unit.collect_all(self, items, self.flush_on, using)
        else:
            for item in items:
                self.collect(item, using=using)

    def _note_lost(self, items: list[Any]) -> None:
        """A task has failed for the last time: nobody flushes these items any more."""


_collect = Receiver.collect


class ModelReceiver(Receiver):
    """Receives the signals of the models that it covers, and of no others."""

    #: Which models: classes, ``"app.Model"``, ``"app.*"``, an abstract base or mixin (or its
    #: dotted path), ``"__all__"``. Their proxies and multi-table children are covered too.
    models: Sequence[ModelSpec] = ()
    #: Models, in the same forms, to leave out of ``models``.
    exclude: Sequence[ModelSpec] = ()
    #: Hear the loading of fixtures, too.
    raw: bool = False
    #: Hear, row by row through ``pre_save`` and ``post_save``, what ``bulk_create`` and
    #: ``bulk_update`` write, unless the receiver has methods for the bulk signals themselves.
    #: ``"all"``: what ``QuerySet.update()`` writes as well, which reads and locks its rows first.
    #: ``False``: hear no bulk write, by those methods neither.
    bulk: bool | Literal["all"] = True
    #: Open a transaction round a covered write in autocommit, if this receiver flushes before the
    #: commit. Without it a crash in between may leave the write without what belongs to it.
    atomic: bool = True

    # Option -> what to write, where the type alone does not say it.
    _examples: Mapping[str, str] = {"models": '["app_label.*"], or ["__all__"] for each model'}
    # Whether it guards the UPDATE of a save: see writes.guarded.
    _guards_updates: bool = False

    def get_models(self) -> Sequence[ModelSpec]:
        """What to cover; the option ``models`` by default."""
        return self.models

    def lacks(self, model: type[Model]) -> str | None:
        """What ``model`` lacks to be covered, as the end of a sentence ("no field 'x'"), or None.

        A pattern skips a model that lacks something; naming it outright is an error.
        """
        return None

    def _leaves_out(self, model: type[Model]) -> bool:
        """Does a pattern (``"app.*"``, ``"__all__"``) skip ``model`` here, which is covered if it
        is named outright?"""
        return False

    def get_m2m_fields(
        self, model: type[Model]
    ) -> list[ManyToManyField[Any, Any] | ManyToManyRel]:
        """The many-to-many relations of a covered model whose ``m2m_changed`` is heard, from
        whichever side it is changed. By default those that the model declares or inherits."""
        return [*get_many_to_many(model)]

    def links_changed(self, change: Any, using: str, **kwargs: Any) -> None:
        """Told, if it is overridden, of each change of links of the relations whose
        ``m2m_changed`` is heard that no such signal tells of: rows of the through model that are
        saved, deleted or written in bulk, and links that end with a deleted row.

        ``change`` is a :class:`~django_signal_kit.writes.links.LinkChange`. Called in the unit of
        work of the write, before links are made or end, and after they are made.
        """

    def get_senders(self, signal_name: str, model: type[Model]) -> Iterable[type[Model]]:
        """The models whose ``signal_name`` is heard because ``model`` is covered. By default the
        model itself. Not asked for ``m2m_changed``: see :meth:`get_m2m_fields`."""
        return (model,)

    def get_old_fields(self, model: type[Model]) -> Iterable[Field[Any, Any]]:
        """The concrete fields whose values before a write this receiver asks for."""
        return ()

    def get_loaded_fields(self, model: type[Model]) -> Iterable[Field[Any, Any]]:
        """The concrete fields whose values as loaded this receiver asks for. If there are any,
        what is loaded into an instance of the model is kept beside it."""
        return ()

    def get_stamp_fields(self, model: type[Model]) -> Iterable[str]:
        """Names of fields that this receiver itself writes at each change of a row; a change of
        nothing else is no change worth recording."""
        return ()

    def clean_fields(self, instance: Model, names: Set[str], using: str) -> None:
        """Change the fields ``names`` of ``instance`` as ``pre_save`` will. Called for whoever
        looks before he saves: ``get_or_create()``, ``full_clean()``, a model form."""

    def get_freed_fields(self, instance: Model, using: str) -> Iterable[str]:
        """Names of unique fields that ``pre_save`` will free for ``instance``, which is validated:
        whether their values are taken is not asked."""
        return ()

    def restore_values(
        self, instance: Model, names: Set[str], since: datetime, using: str
    ) -> None:
        """The fields ``names`` of ``instance`` hold again what they held until ``since``, and are
        about to be saved: bring back what their values name, if this receiver has put it away.
        What it raises refuses that. Runs in the transaction of the write."""

    def show_values(self, instance: Model, names: Set[str], at: datetime) -> None:
        """``instance`` is a row as it was ``at`` that moment, and is never saved: have the fields
        ``names`` show what their values name, if this receiver has put it away since."""

    def hears(self, model: type[Model]) -> bool:
        """Whether signals of a covered model are connected: not if something else than this
        receiver does what it is for."""
        return True

    def _hears_database(self, model: type[Model]) -> bool:
        """Whether it learns of what the database itself does to rows of a covered model."""
        return False

    def _get_methods_for_all(self) -> Mapping[str, Callable[..., None]]:
        """``"pre_save"`` or ``"post_save"`` -> what does for all rows of a bulk write at once what
        that method does row by row. It is given the model, the rows, the database, and what the
        signals of all rows have in common."""
        return {}

    def _forget_models(self) -> None:
        """Models have come, or have got fields: drop what was worked out from those there were."""


MODEL_RECEIVER_NAMES = frozenset(name for name in dir(ModelReceiver) if not name.startswith("_"))
