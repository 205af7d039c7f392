"""What a receiver hears, as entries of the log."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

from django.db import connections
from django.db.models import Field, Model
from django.utils.functional import Promise

from django_signal_kit.audit.changes import tell_statement
from django_signal_kit.audit.entries import Circumstances, Entry, encode, get_circumstances
from django_signal_kit.audit.keys import get_key_hider, get_secrets
from django_signal_kit.audit.log import Log
from django_signal_kit.audit.plans import Plan, make_plan
from django_signal_kit.current import get_made, get_scope
from django_signal_kit.rows.cleansing import cleanse, find_secrets
from django_signal_kit.rows.values import (
    bounded,
    redact,
    redact_with_hash,
    say,
    to_json,
    to_text,
)
from django_signal_kit.rows.written import get_id
from django_signal_kit.units.failures import report_once
from django_signal_kit.units.sparing import spare
from django_signal_kit.units.unit import get_unit

#: What goes into the context of an entry, if it is certain what a write did, and if it is not.
CERTAIN: Mapping[str, Any] = {}
UNCERTAIN: Mapping[str, Any] = {"certain": False}
# Of values that stay what they are.
_FIXED = frozenset((str, int, bool, type(None)))


class Recording(Protocol):
    """What a recorder asks its receiver."""

    redact: Sequence[str]

    def get_actor(self) -> Any: ...

    def get_context(self) -> Mapping[str, Any]: ...

    def get_object_text(self, instance: Model) -> str: ...


class Recorder:
    """Makes the entries of one receiver."""

    def __init__(
        self,
        receiver: Recording,
        get_fields: Callable[[type[Model]], Iterable[Field[Any, Any]]],
        *,
        is_plain: bool,
        hash_secrets: bool = False,
    ) -> None:
        """``is_plain``: actor and context are the same for each row of a write."""
        self.receiver = receiver
        self.get_fields = get_fields
        self.is_plain = is_plain
        self.replace: Callable[[Any], str] = redact_with_hash if hash_secrets else redact
        self._plans: dict[type[Model], Plan] = {}
        self._hiders: dict[Any, Callable[[Any], Any] | None] = {}

    @cached_property
    def log(self) -> Log:
        return Log()

    @cached_property
    def secrets(self) -> tuple[str, ...]:
        """Parts of names, beside those that the kit knows."""
        return get_secrets(self.receiver)

    def forget_plans(self) -> None:
        """Make each anew when it is asked for: models have got fields."""
        self._plans.clear()

    def get_plan(self, model: type[Model]) -> Plan:
        plan = self._plans.get(model)
        if plan is None:
            fields = self.get_fields(model)
            plan = self._plans[model] = make_plan(model, fields, self.secrets, self.replace)
        return plan

    def make_entry(
        self,
        instance: Model,
        action: str,
        changes: Any,
        using: str,
        more: Mapping[str, Any] = CERTAIN,
    ) -> Entry:
        """An entry about a row, of changes or the text of their JSON; ``more`` goes into its
        context."""
        key = "" if instance.pk is None else self.get_plan(type(instance)).to_key(instance.pk)
        text = self.describe(instance, using)
        return self._make(type(instance), action, key, text, changes, using, more)

    def make_entries(
        self, model: type[Model], action: str, using: str
    ) -> Callable[[Model, str, Mapping[str, Any]], Entry]:
        """:meth:`make_entry` for many rows of ``model``: made of a row, what is told of it as
        JSON, and what goes into its context."""
        to_key, describe, get = self.get_plan(model).to_key, self.describe, self._get_circumstances
        found: dict[int, tuple[Circumstances, Any]] = {}

        def make(instance: Model, changes: str, more: Mapping[str, Any]) -> Entry:
            known = found.get(len(more)) if self.is_plain else None
            if known is None:
                known = found[len(more)] = get(model, using, more)
            key = "" if instance.pk is None else to_key(instance.pk)
            return _compose(known, action, key, describe(instance, using), changes)

        return make

    def make_rowless_entry(
        self, model: type[Model], action: str, text: str, using: str, more: Mapping[str, Any]
    ) -> Entry:
        """An entry about a row of ``model`` that nobody can name."""
        return self._make(model, action, "", text, {}, using, more)

    def make_statement_entry(
        self,
        model: type[Model],
        action: str,
        values: Mapping[str, Any],
        using: str,
        more: Mapping[str, Any],
    ) -> Entry | None:
        """An entry about all rows of a bulk write, or None. What they were nobody has read."""
        changes = tell_statement(self.get_plan(model).stored, values)
        if not more["rows"] or not (changes or action == "create"):
            return None
        text = f"{more['rows']} {model._meta.verbose_name_plural}"
        return self._make(model, action, "", text, changes, using, more)

    def _make(
        self,
        model: type[Model],
        action: str,
        key: str,
        text: str,
        changes: Any,
        using: str,
        more: Mapping[str, Any],
    ) -> Entry:
        if changes.__class__ is not str:
            changes = encode(changes)
        return _compose(self._get_circumstances(model, using, more), action, key, text, changes)

    def _get_circumstances(
        self, model: type[Model], using: str, more: Mapping[str, Any]
    ) -> tuple[Circumstances, Any]:
        """What the entries of a write have in common, and the key of the model's content type."""
        unit, scope = get_unit(), get_scope()
        at, order = (None, None) if unit is None else (unit.at, unit.order)
        # Statements of one write are told of at the times when they were run.
        key = (self, model, order, *more.items())
        if unit is not None and self.is_plain:
            noted = unit.notes.get(key)
            if noted is not None and noted[0] is scope:
                return noted[1]  # type: ignore[no-any-return]
        circumstances = get_circumstances(
            self.get_actor(),
            self.tell_context(more),
            None if unit is None else unit.shared_id,
            using,
            at,
        )
        found = circumstances, self.log.get_content_type_id(model, using)
        if unit is not None:
            unit.notes[key] = scope, found
        return found

    def get_actor(self) -> Any:
        """Who does this; nobody is asked outside of all blocks."""
        return self.receiver.get_actor() if get_scope() or not self.is_plain else None

    def tell_context(self, more: Mapping[str, Any] = CERTAIN) -> str:
        """What to store of the context, and ``more``, as JSON: made once for a block or a request,
        if nothing in it can change."""
        if more or not self.is_plain:
            return self._encode_context(more)
        made = get_made()
        if made is None:
            return "{}"
        text: str | None = made.get(self)
        if text is None:
            text = self._encode_context(more)
            if _is_fixed(get_scope() or {}):
                made[self] = text
        return text

    def _encode_context(self, more: Mapping[str, Any]) -> str:
        return encode(bounded({**self.receiver.get_context(), **more}, self.secrets))

    def note_text(self, instance: Model, using: str) -> None:
        """Keep what the row is called until it is deleted: what that is made of may go first."""
        unit = get_unit()
        if unit is not None:
            unit.notes[self, "text", id(instance)] = self.describe(instance, using)

    def describe(self, instance: Model, using: str) -> str:
        """What its receiver calls the row, without secrets."""
        unit = get_unit()
        noted = None if unit is None else unit.notes.pop((self, "text", get_id(instance)), None)
        if noted is not None:
            return noted  # type: ignore[no-any-return]
        # The unit has its connection at hand.
        is_here = unit is not None and unit.using == using
        connection = unit.journal.connection if is_here else connections[using]  # type: ignore[union-attr]
        text: str
        text, error = spare(connection, self._get_text, instance)
        if error is not None:
            # A row that cannot say its name is recorded all the same.
            text = f"{instance._meta.object_name} {say(instance.pk)}"
            lazy = _get_lazy_text(instance) if isinstance(error, TypeError) else ""
            if not lazy:
                report_once(self.receiver, "get_object_text", error)
            text = lazy or text
        plan = self.get_plan(type(instance))
        if not (plan.secrets or plan.documents or plan.related):
            return text
        return cleanse(text, self._find_secrets(plan, instance))

    def get_pk(self, instance: Model) -> Any:
        """The key of a row as JSON, without secrets."""
        hide = self.get_plan(type(instance)).hide_key
        return to_json(instance.pk if hide is None else hide(instance.pk))

    def to_members(self, field: Any, keys: Iterable[Any]) -> list[Any]:
        """Keys of the rows that a many-to-many field links to, as JSON without secrets."""
        try:
            hide = self._hiders[field]
        except KeyError:
            hide = self._hiders[field] = get_key_hider(field.remote_field.model)
        return [to_json(key if hide is None else hide(key)) for key in keys]

    def _find_secrets(self, plan: Plan, instance: Model) -> Iterator[Any]:
        """The values that must not be in a text about the row: its own, and those of rows that it
        has at hand."""
        values = instance.__dict__
        for attname in plan.secrets:
            yield values.get(attname)
        for attname in plan.documents:
            if values.get(attname).__class__ in (dict, list):
                yield from find_secrets(values[attname], self.secrets)
        at_hand = instance._state.fields_cache
        if at_hand:
            for name, attnames in plan.related:
                if (row := at_hand.get(name)) is not None:
                    for attname in attnames:
                        yield row.__dict__.get(attname)

    def _get_text(self, instance: Model) -> str:
        return to_text(str(self.receiver.get_object_text(instance)))


def _compose(
    known: tuple[Circumstances, Any], action: str, key: str, text: str, changes: str
) -> Entry:
    told, content_type_id = known
    return Entry(
        told.at,
        action,
        content_type_id,
        key,
        text,
        changes,
        told.actor_id,
        told.actor_text,
        told.context,
        told.unit,
        told.using,
    )


def _is_fixed(scope: Mapping[str, Any]) -> bool:
    return all(value.__class__ in _FIXED or key == "actor" for key, value in scope.items())


def _get_lazy_text(instance: Model) -> str:
    """What a ``__str__`` says that returns a lazy translation, which is no string."""
    try:
        found: Any = type(instance).__str__(instance)
    except Exception:
        return ""
    return say(found) if isinstance(found, Promise) else ""


def is_told_already(teller: object, instance: Model) -> bool:
    """Has this deletion been told of a multi-table child, or of another instance of the row?

    A child sends the signal for each of its parents, too. Of one row there are two instances if
    it is found as a proxy and by a cascade. ``teller``: who tells, and asks once for each.
    """
    unit = get_unit()
    if unit is None:
        return False
    told = unit.notes.setdefault((teller, "deleted"), set())
    row = instance._meta.concrete_model, instance.pk
    is_told = row in told
    told.add(row)
    for parent, link in instance._meta.parents.items():
        if link is not None:
            told.add((parent._meta.concrete_model, getattr(instance, link.attname)))
    return is_told
