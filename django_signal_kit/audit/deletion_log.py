"""One log line for each deleted row, after the commit."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal
from uuid import UUID

from django.core.checks import CheckMessage, Warning
from django.db.models import Field, Model

from django_signal_kit.audit.entries import get_known, get_user_key
from django_signal_kit.audit.keys import check_secrets
from django_signal_kit.audit.recording import Recorder, is_told_already
from django_signal_kit.current import get_context, get_details, get_scope
from django_signal_kit.exceptions import FlushFailedError, Misconfigured, did_you_mean
from django_signal_kit.middleware import get_missing
from django_signal_kit.receiver import ModelReceiver
from django_signal_kit.rows.secrets import is_session_model
from django_signal_kit.rows.snapshots import has_no_row
from django_signal_kit.rows.values import bounded, say, to_json
from django_signal_kit.rows.written import as_written
from django_signal_kit.units.failures import report_failure
from django_signal_kit.units.unit import get_unit
from django_signal_kit.wiring.idle import overrides
from django_signal_kit.wiring.senders import Coverage

Line = dict[str, Any]


class DeletionLog(ModelReceiver):
    """Tells ``logging`` of each deleted row, cascades to covered models included.

    After the commit, so that what is rolled back is never told. What is told is what the instance
    holds when it is deleted: no query is made for it. A handler that fails is reported as
    ``receiver_failed``; the deletion stands.
    """

    #: The name of the logger.
    logger: str = "django_signal_kit.deletions"
    #: The level of the lines: a name such as ``"INFO"``, or a number. If the logger is not
    #: enabled for it, nothing is collected.
    level: str | int = "INFO"
    #: ``"row"``: a line for each row. ``"unit"``: one for each model and unit of work, which
    #: lists its rows; 2,000 of them at most.
    per: Literal["row", "unit"] = "row"
    #: Names of the fields whose values are told, or ``"__all__"``; key and text always are.
    fields: Sequence[str] | Literal["__all__"] = ()
    #: Names of fields that are never told.
    exclude_fields: Sequence[str] = ()
    #: Parts of names, beside "password", "token" and the like, whose values are replaced whole.
    redact: Sequence[str] = ()
    #: Replace secrets by a keyed hash, so that equal ones can be recognised; costs some
    #: microseconds a secret.
    hash_secrets: bool = False

    _keeps_record = True

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._recorder = Recorder(
            self, self._list_fields, is_plain=True, hash_secrets=self.hash_secrets
        )

    def get_actor(self) -> Any:
        """The user who does this, a text that names who does it, or None."""
        return get_known(get_context()["actor"])

    def get_context(self) -> Mapping[str, Any]:
        """What to tell of the context, beside the actor."""
        return get_details()

    def get_object_text(self, instance: Model) -> str:
        """How the row is called in the log; ``str(instance)`` by default."""
        return str(instance)

    def get_values(self, instance: Model) -> Mapping[str, Any]:
        """The values to tell, as JSON. By default those of the option ``fields``, secrets
        replaced; a field that was not loaded is left out."""
        values = instance.__dict__
        return {
            name: None if values[attname] is None else store(values[attname])
            for name, attname, store, _ in self._recorder.get_plan(type(instance)).stored
            if attname in values
        }

    def should_log(self, instance: Model) -> bool:
        """Whether to tell of this row."""
        return True

    def pre_delete(self, instance: Model, using: str, **kwargs: Any) -> None:
        if logging.getLogger(self.logger).isEnabledFor(self._level):
            self._recorder.note_text(instance, using)

    def post_delete(self, instance: Model, using: str, **kwargs: Any) -> None:
        if not logging.getLogger(self.logger).isEnabledFor(self._level):
            return
        instance = as_written(instance)
        # Somebody else has deleted it, and told so, when the statement came.
        is_told = has_no_row(instance) or is_told_already(self, instance)
        if is_told or not self.should_log(instance):
            return
        unit = get_unit()
        line = _Line(
            model=instance._meta.label,
            pk=self._recorder.get_pk(instance),
            object=self._recorder.describe(instance, using),
            fields=self.get_values(instance),
            using=using,
            unit=None if unit is None else str(unit.shared_id),
            **self._get_circumstances(),
        )
        line.own_unit = None if unit is None else unit.id
        self.collect(line, using=using)

    def flush(self, items: list[Line]) -> None:
        """Write the lines. One that cannot be written does not stop the others; in a task, raises
        FlushFailedError for it, so that it is tried again."""
        gathered = [(item, [item]) for item in items] if self.per == "row" else _gather(items)
        failed: list[Line] = []
        failure: Exception | None = None
        for line, rows in gathered:
            try:
                self.log(line)
            except Exception as error:
                failure = failure or error
                failed += [row for row in rows if getattr(row, "is_of_task", False)]
                if not failed:
                    report_failure(self, "flush", error)
        if failed:
            raise FlushFailedError(failed) from failure

    def serialize(self, item: Line) -> Line:
        own_unit = getattr(item, "own_unit", None)
        line: Line = bounded(item, self._recorder.secrets, self._recorder.replace)
        return {"line": line, "own_unit": None if own_unit is None else str(own_unit)}

    def deserialize(self, data: Line) -> Line:
        line = _Line(data["line"])
        line.is_of_task = True
        line.own_unit = None if data["own_unit"] is None else UUID(data["own_unit"])
        return line

    def log(self, line: Line) -> None:
        """Write one line: a short message, and ``line`` as the attributes of the log record."""
        logger = logging.getLogger(self.logger)
        context = line["context"]
        request_id = context.get("request_id") if isinstance(context, Mapping) else None
        told = {"receiver": self.name, "request_id": request_id, **line}
        if self.per == "row":
            pk, text = _on_one_line(str(line["pk"])), _on_one_line(line["object"])
            logger.log(self._level, "Deleted %s %s (%s)", line["model"], pk, text, extra=told)
        else:
            count, model = line["count"], line["model"]
            logger.log(self._level, "Deleted %d of %s", count, model, extra=told)

    def check(self) -> None:
        check_secrets(self)
        levels = logging.getLevelNamesMapping()
        if isinstance(self.level, str) and self.level not in levels:
            raise Misconfigured(
                "E037",
                f"The option 'level' of {self.name} is {self.level!r}, which is no level of "
                f"logging.",
                did_you_mean(self.level, levels),
            )
        models = Coverage(self).get_models()
        known = {field.name for model in models for field in model._meta.concrete_fields}
        if isinstance(self.fields, str) and self.fields != "__all__":
            names: Sequence[str] = [self.fields]
        else:
            names = () if self.fields == "__all__" else self.fields
        for name in (*names, *self.exclude_fields):
            if models and name not in known:
                raise Misconfigured(
                    "E012",
                    f"{self.name} is told of a field {name!r}, and no model that it covers has "
                    f"such a column.",
                    did_you_mean(name, known),
                )

    def get_warnings(self) -> list[CheckMessage]:
        found: list[CheckMessage] = []
        if not overrides(self, DeletionLog, ["get_actor"]):
            found += get_missing(f"{self.name} does not know who makes a request")
        is_enabled = logging.getLogger(self.logger).isEnabledFor(self._level)
        if not is_enabled and not overrides(self, DeletionLog, ["post_delete"]):
            found.append(
                Warning(
                    f"{self.name} writes no line: the logger {self.logger!r} is not enabled for "
                    f"{self.level}.",
                    hint=f"Give it a handler and the level {self.level!r} in LOGGING.",
                    id="signal_kit.W011",
                )
            )
        return found

    @property
    def _level(self) -> int:
        if isinstance(self.level, int):
            return self.level
        return logging.getLevelNamesMapping()[self.level]

    def _forget_models(self) -> None:
        self._recorder.forget_plans()

    def _list_fields(self, model: type[Model]) -> Iterable[Field[Any, Any]]:
        return [
            field
            for field in model._meta.concrete_fields
            if (self.fields == "__all__" or field.name in self.fields)
            and field.name not in self.exclude_fields
        ]

    def _leaves_out(self, model: type[Model]) -> bool:
        # They come and go with each visit.
        return is_session_model(model)

    def _get_circumstances(self) -> Line:
        """Who and why, asked once for all rows of a deletion."""
        unit, scope = get_unit(), get_scope()
        key = (self, "circumstances")
        noted = None if unit is None else unit.notes.get(key)
        if noted is None or noted[0] is not scope:
            actor = self.get_actor()
            told: Line = {
                "actor": None if actor is None else say(actor),
                "actor_pk": to_json(get_user_key(actor)),
                "context": bounded(self.get_context(), self._recorder.secrets),
            }
            noted = (scope, told)
            if unit is not None:
                unit.notes[key] = noted
        return noted[1]


class _Line(dict[str, Any]):
    """A line of one row."""

    #: That of the row itself; what the line says is the same for a whole transaction.
    own_unit: UUID | None = None
    #: Does a worker write it?
    is_of_task: bool = False


def _gather(items: Iterable[Line]) -> list[tuple[Line, list[Line]]]:
    """One line for each model of each unit of work, in the order of their first rows, and the
    items of which it was made."""
    lines: dict[tuple[Any, ...], tuple[Line, list[Line]]] = {}
    for item in items:
        row = {name: item[name] for name in ("pk", "object", "fields")}
        told = {name: value for name, value in item.items() if name not in row}
        # Who does it may change within a batch().
        key = (
            getattr(item, "own_unit", None),
            item["unit"],
            item["using"],
            item["model"],
            repr(told),
        )
        line, rows = lines.setdefault(key, ({**told, "count": 0, "rows": []}, []))
        line["count"] += 1
        line["rows"].append(row)
        rows.append(item)
    return list(lines.values())


def _on_one_line(text: str) -> str:
    """Nobody forges a line of the log by the name of a row."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
