"""Who changed what, from what to what, in the transaction of the change."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from django.apps import apps
from django.conf import settings
from django.core.exceptions import FieldDoesNotExist
from django.db import models, router
from django.db.models import Field, Model

from django_signal_kit import bulk
from django_signal_kit.batching import FlushOn, get_unit
from django_signal_kit.conf import conf
from django_signal_kit.current import get_context
from django_signal_kit.exceptions import Misconfigured, did_you_mean
from django_signal_kit.m2m import M2MChange
from django_signal_kit.receiver import ModelReceiver
from django_signal_kit.registry import registry
from django_signal_kit.senders import Coverage
from django_signal_kit.signals import audit_entries_created
from django_signal_kit.snapshots import get_new_row, get_old_row
from django_signal_kit.values import REDACTED, is_secret, to_json, to_text

Changes = dict[str, Any]


class AuditLog(ModelReceiver):
    """Writes one entry for each change of a covered row, or none if nothing changed.

    Hears saves, deletions and many-to-many changes from both sides. Entry and change are in one
    transaction, which is opened in autocommit; both are kept or neither. Needs the app
    ``django_signal_kit.audit``.
    """

    flush_on: FlushOn = "before_commit"

    #: Names of the only fields to record; all if empty.
    fields: Sequence[str] = ()
    #: Names of fields never to record.
    exclude_fields: Sequence[str] = ()
    #: Parts of names, beside "password", "token" and the like, whose values are replaced whole.
    redact: Sequence[str] = ()
    #: Record many-to-many changes; costs a query before each, to know what really changes.
    m2m: bool = True
    #: Hear ``QuerySet.update()`` too, which reads and locks its rows before it changes them.
    bulk: bool | Literal["all"] = "all"
    #: Where the old values come from: the row, read and locked before the write (one query).
    old_values: Literal["database"] = "database"

    def get_actor(self) -> Any:
        """The user who does this, or None. By default the context's."""
        actor = get_context()["actor"]
        return actor if isinstance(actor, Model) and actor.pk is not None else None

    def get_context(self) -> Mapping[str, Any]:
        """What to store of the context, beside the actor."""
        return {key: value for key, value in get_context().items() if key != "actor"}

    def get_object_text(self, instance: Model) -> str:
        """How the row is called in the log; ``str(instance)`` by default."""
        return str(instance)

    def get_changes(
        self, instance: Model, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None
    ) -> Changes:
        """``{field: [old, new]}`` as JSON of what differs. ``old`` and ``new`` are values by
        attname, None where there is no such row (before a create, after a delete)."""
        changes: Changes = {}
        for field in self._get_fields(type(instance)):
            name = field.attname
            if (old is not None and name not in old) or (new is not None and name not in new):
                continue
            before = None if old is None else old[name]
            after = None if new is None else new[name]
            if before == after or (before != before and after != after):
                continue
            changes[field.name] = [self._store(field, before), self._store(field, after)]
        return changes

    def should_record(self, instance: Model, action: str, changes: Changes) -> bool:
        """Whether to write an entry. By default not for an update of nothing but stamps."""
        if action != "update":
            return True
        stamps = registry.get_stamp_fields(type(instance))
        return any(
            name not in stamps and not _is_auto_now(type(instance), name) for name in changes
        )

    def pre_save(self, instance: Model, using: str, **kwargs: Any) -> None:
        get_old_row(instance, using)

    def post_save(
        self,
        instance: Model,
        created: bool | None,
        update_fields: Any,
        using: str,
        **kwargs: Any,
    ) -> None:
        old = get_old_row(instance, using)
        fields = [
            field
            for field in self._get_fields(type(instance))
            if old is None or update_fields is None or _is_among(field, update_fields)
        ]
        new = get_new_row(instance, fields, using)
        changes = self.get_changes(instance, old, new)
        if old is None:
            self.record(instance, "create", changes, using=using, certain=created is not None)
        elif changes:
            self.record(instance, "update", changes, using=using)

    def pre_delete(self, instance: Model, using: str, **kwargs: Any) -> None:
        get_old_row(instance, using)

    def post_delete(self, instance: Model, using: str, **kwargs: Any) -> None:
        old = get_old_row(instance, using)
        if old is None or self._is_told_by_child(instance):
            return
        changes = self.get_changes(instance, old, None)
        self.record(instance, "delete", changes, using=using)

    def m2m_changed(
        self,
        sender: type[Model],
        instance: Model,
        action: str,
        reverse: bool,
        model: type[Model],
        pk_set: set[Any] | None,
        using: str,
        **kwargs: Any,
    ) -> None:
        change = M2MChange(sender, instance, reverse, model, using)
        if not self._records_m2m(change):
            return
        if action in ("pre_remove", "pre_clear"):
            change.remember(pk_set)
        elif action == "post_add" and pk_set:
            self._record_m2m(change, "m2m_add", "added", pk_set)
        elif action == "post_remove":
            self._record_m2m(change, "m2m_remove", "removed", change.recall(pk_set))
        elif action == "post_clear":
            self._record_m2m(change, "m2m_clear", "removed", change.recall(pk_set))

    def record(
        self,
        instance: Model,
        action: str,
        changes: Changes,
        *,
        using: str,
        certain: bool = True,
    ) -> None:
        """Collect an entry about ``instance``; it is written when the unit of work ends.

        An entry that is not ``certain`` says so in its context: after ``ignore_conflicts`` or an
        upsert nobody can tell whether a row was made, changed or left alone.
        """
        if not self.should_record(instance, action, changes):
            return
        told = dict(self.get_context())
        if not certain:
            told["certain"] = False
        actor = self.get_actor()
        unit = get_unit()
        entry = get_entry_model()(
            action=action,
            content_type_id=_get_content_type_id(instance),
            object_pk="" if instance.pk is None else to_key(instance.pk),
            object_text=self._describe(instance),
            changes=changes,
            actor_id=None if actor is None else actor.pk,
            actor_text="" if actor is None else to_text(str(actor))[:255],
            context=to_json(told, self._secrets),
            using=using,
            **({} if unit is None else {"unit": unit.id}),
        )
        self.collect(entry, using=using)

    def flush(self, items: list[Any]) -> None:
        """Write the entries, all in one INSERT or as many as the database's limits force."""
        alias = _log_alias()
        entries = get_entry_model()._base_manager.using(alias).bulk_create(items)
        audit_entries_created.send(sender=type(entries[0]), entries=entries, using=alias)

    def check(self) -> None:
        label = getattr(settings, "SIGNAL_KIT_AUDIT_ENTRY_MODEL", "")
        if not label and not apps.is_installed("django_signal_kit.audit"):
            raise Misconfigured(
                "E011",
                f"{self.name} writes into the audit log, but its app is not installed.",
                "Add 'django_signal_kit.audit' to INSTALLED_APPS and run migrate.",
            )
        try:
            get_entry_model()
        except (LookupError, ValueError) as error:
            raise Misconfigured(
                "E011",
                f"SIGNAL_KIT_AUDIT_ENTRY_MODEL is {label!r}: {error}.",
                "Give the label of an installed model that subclasses AbstractAuditEntry.",
            ) from error
        models = Coverage(self).get_models()
        known = {
            field.name
            for model in models
            for field in (*model._meta.fields, *model._meta.many_to_many)
        }
        for option in ("fields", "exclude_fields"):
            for name in getattr(self, option):
                if models and name not in known:
                    raise Misconfigured(
                        "E012",
                        f"The option {option!r} of {self.name} has {name!r}, and no model that it "
                        f"covers has such a field.",
                        did_you_mean(name, known),
                    )

    def get_old_fields(self, model: type[Model]) -> Iterable[Field[Any, Any]]:
        return self._get_fields(model)

    def get_m2m_fields(self, model: type[Model]) -> list[Any]:
        if not self.m2m:
            return []
        return [field for field in super().get_m2m_fields(model) if self._records(field.name)]

    @property
    def _secrets(self) -> tuple[str, ...]:
        return (*conf.REDACT, *self.redact)

    def _records(self, name: str) -> bool:
        return (not self.fields or name in self.fields) and name not in self.exclude_fields

    def _get_fields(self, model: type[Model]) -> list[Field[Any, Any]]:
        return [field for field in model._meta.concrete_fields if self._records(field.name)]

    def _store(self, field: Field[Any, Any], value: Any) -> Any:
        if value is not None and is_secret(field.name, self._secrets):
            return REDACTED
        return to_json(value, self._secrets)

    def _describe(self, instance: Model) -> str:
        try:
            text = to_text(str(self.get_object_text(instance)))
        except Exception:
            # A row that cannot say its name is recorded all the same.
            text = f"{instance._meta.object_name} {instance.pk}"
        for field in instance._meta.concrete_fields:
            secret = instance.__dict__.get(field.attname)
            if isinstance(secret, str) and secret and is_secret(field.name, self._secrets):
                text = text.replace(secret, REDACTED)
        return text

    def _is_told_by_child(self, instance: Model) -> bool:
        # Deleting a row of a multi-table child sends the signal for each of its parents, too.
        unit = get_unit()
        if unit is None:
            return False
        told = unit.notes.setdefault((self, "deleted"), set())
        for parent, link in instance._meta.parents.items():
            if link is not None:
                told.add((parent._meta.concrete_model, getattr(instance, link.attname)))
        return (instance._meta.concrete_model, instance.pk) in told

    def _records_m2m(self, change: M2MChange) -> bool:
        # The rows of an explicit through model that is covered itself tell the same, and more.
        is_told_by_rows = registry.covers(self, change.through) and change.through in bulk.covered
        return self._records(change.field.name) and not is_told_by_rows

    def _record_m2m(
        self, change: M2MChange, action: str, verb: str, targets: Iterable[Any]
    ) -> None:
        for instance, keys in change.by_row(set(targets)):
            if keys:
                changes = {change.field.name: {verb: to_json(sorted(keys, key=_sort_key))}}
                self.record(instance, action, changes, using=change.using)


def get_entry_model() -> Any:
    """The model of the log: SIGNAL_KIT_AUDIT_ENTRY_MODEL, or the kit's own.

    Through the app registry: the audit app need not be installed for the kit to be imported.
    """
    label = getattr(settings, "SIGNAL_KIT_AUDIT_ENTRY_MODEL", "signal_kit_audit.AuditEntry")
    return apps.get_model(label, require_ready=False)


def to_key(pk: Any) -> str:
    """A primary key as text; a composite one as a JSON list."""
    return json.dumps(to_json(pk)) if isinstance(pk, tuple) else to_text(str(pk))


def _get_content_type_id(instance: Model) -> Any:
    # Through the app registry as well: a subclass may be imported before the models are.
    manager = apps.get_model("contenttypes", "ContentType")._default_manager
    return manager.db_manager(_log_alias()).get_for_model(instance).pk


def _log_alias() -> str:
    return router.db_for_write(get_entry_model())


def _is_among(field: Field[Any, Any], names: Iterable[str]) -> bool:
    return field.name in names or field.attname in names


def _is_auto_now(model: type[Model], name: str) -> bool:
    try:
        field = model._meta.get_field(name)
    except FieldDoesNotExist:
        return False
    return isinstance(field, models.DateField | models.TimeField) and field.auto_now


def _sort_key(value: Any) -> tuple[str, Any]:
    return (type(value).__name__, value)
