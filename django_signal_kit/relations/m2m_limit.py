"""Refuses a change of a many-to-many relation that breaks a limit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from django.core.exceptions import FieldError, ValidationError
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import Model, Q, QuerySet
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from django_signal_kit.exceptions import Misconfigured
from django_signal_kit.receiver import ModelReceiver
from django_signal_kit.relations.pointers import in_parts
from django_signal_kit.relations.sides import Side, get_side, lacks_relation
from django_signal_kit.units.unit import FlushOn
from django_signal_kit.wiring.idle import check_idle
from django_signal_kit.wiring.senders import Coverage
from django_signal_kit.writes.calls import tell_links_changed
from django_signal_kit.writes.links import LinkChange


class _Loss(NamedTuple):
    """A row that has lost links."""

    model: type[Model]
    key: Any
    using: str


class M2MLimit(ModelReceiver):
    """Refuses ``add``, ``remove``, ``set`` and ``clear``, from both sides, that would leave a row
    with too many links, with too few, or with one that is not allowed.

    Raises ``ValidationError``, and nothing is written. The rows are locked first, so that
    concurrent calls cannot break the limit together; what is linked already does not count anew.
    Costs a query that locks the rows and one that counts their links for each call.
    """

    #: The many-to-many relation, by the name that it has on ``models``: a field's, or that of the
    #: manager on the other side ("product_set", a ``related_name``).
    relation: str = ""
    #: The most links that a row may have; None for no limit.
    maximum: int | None = None
    #: The fewest links that a row may be left with; None for no limit. Looked at when the unit of
    #: work ends, so that ``set()`` may go through less.
    minimum: int | None = None
    #: What may be linked, as conditions for ``filter()``: ``{"is_active": True}``. Empty: all.
    #: Costs a query for each ``add()``.
    allowed: Mapping[str, Any] = {}
    #: When rows that have lost links are looked at; nothing else keeps a minimum.
    flush_on: FlushOn = "before_commit"

    _not_in_task = "after the commit nothing can be refused any more"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._sides: dict[type[Model], list[Side]] = {}

    def get_maximum(self, instance: Model) -> int | None:
        """The most links that this row may have, or None."""
        return self.maximum

    def get_minimum(self, instance: Model) -> int | None:
        """The fewest links that this row may be left with, or None."""
        return self.minimum

    def get_allowed(self, instance: Model) -> Q | None:
        """What may be linked with this row, as a condition on the other model, or None for all."""
        return Q(**self.allowed) if self.allowed else None

    m2m_changed = tell_links_changed

    def links_changed(self, change: LinkChange, using: str, **kwargs: Any) -> None:
        if change.action == "add":
            return
        for side in self._sides[change.relation.through]:
            if side.links is change.relation and (groups := change.group(side.end)):
                rows = {side.get_value(row): row for row in side.lock(groups, using)}
                if change.action == "pre_add":
                    self._check_added(side, change, rows, groups)
                elif any(self.get_minimum(row) is not None for row in rows.values()):
                    self._lose(side, rows.keys() & change.get_keys(side.end, exactly=True), using)

    def flush(self, items: list[_Loss]) -> None:
        """Look at the rows that have lost links, and raise ``ValidationError`` for one that has
        too few."""
        groups: dict[tuple[type[Model], str], set[Any]] = {}
        for model, key, using in items:
            groups.setdefault((model, using), set()).add(key)
        for (model, using), keys in groups.items():
            side = self.get_side(model)
            for some in in_parts(keys):
                rows: QuerySet[Any] = QuerySet(model, using=using)
                rows = rows.filter(**{f"{side.key}__in": some})
                found = side.count(some, None, using)
                for row in rows:
                    self._check_minimum(row, found.get(side.get_value(row), (0, 0))[0])

    def validate(self, instance: Model, others: Collection[Model]) -> None:
        """Raise ``ValidationError`` if ``instance``, new or not, may not have exactly these links.
        For forms: they save links only after everything has been validated. Locks the row."""
        side = self.get_side(type(instance))
        field = side.far.target_field.attname
        wanted = {getattr(other, field) for other in others}
        known: set[Any] = set()
        using = instance._state.db
        if using is not None and not instance._state.adding:
            key = getattr(instance, side.key)
            if connections[using].in_atomic_block:
                list(side.lock({key}, using))
            known = side.read_linked(key, using)
        if wanted - known:
            self._check_maximum(instance, len(wanted))
            database = next(iter(others))._state.db or DEFAULT_DB_ALIAS
            self._check_allowed(side, [instance], wanted - known, using or database)
        if known - wanted or instance._state.adding:
            self._check_minimum(instance, len(wanted))

    def get_side(self, model: type[Model]) -> Side:
        """The relation that is limited, as seen from a covered model."""
        return get_side(model, self.relation)

    def check(self) -> None:
        if not self.relation:
            raise Misconfigured(
                "E012",
                f"The option 'relation' of {self.name} is empty.",
                "Name the many-to-many relation that is limited.",
            )
        options = ["maximum", "minimum", "allowed"]
        is_set = self.maximum is not None or self.minimum is not None or bool(self.allowed)
        hooks = [f"get_{option}" for option in options]
        check_idle(self, M2MLimit, options, hooks, is_set=is_set)
        for option in ("minimum", "maximum"):
            value = getattr(self, option)
            if value is not None and value < 0:
                raise Misconfigured(
                    "E024",
                    f"The option {option!r} of {self.name} is {value!r}, less than nothing.",
                    "Write a number of links, or None for no limit.",
                )
        if None not in (self.minimum, self.maximum) and self.minimum > self.maximum:  # type: ignore[operator]
            raise Misconfigured(
                "E024",
                f"{self.name} wants at least {self.minimum} links and at most {self.maximum}.",
                "Give 'minimum' a number that is not above 'maximum'.",
            )
        if self.flush_on != "before_commit":
            raise Misconfigured(
                "E025",
                f"{self.name} has flush_on={self.flush_on!r}, when nothing can be refused any "
                f"more.",
                "Leave 'flush_on' out.",
            )
        self._check_conditions()

    def lacks(self, model: type[Model]) -> str | None:
        return lacks_relation(model, self.relation)

    def get_m2m_fields(self, model: type[Model]) -> list[Any]:
        side = self.get_side(model)
        sides = self._sides.setdefault(side.through, [])
        # The rows of a proxy or a multi-table child are rows of the covered parent as well.
        if not any(_covers(known, side) for known in sides):
            sides[:] = [*(known for known in sides if not _covers(side, known)), side]
        return [side.relation]

    def _check_conditions(self) -> None:
        for model in Coverage(self).get_models() if self.allowed else ():
            other = self.get_side(model).other
            try:
                QuerySet(other).filter(**self.allowed)
            except (FieldError, ValueError, TypeError) as error:
                raise Misconfigured(
                    "E012",
                    f"The option 'allowed' of {self.name} does not fit {other._meta.label}: "
                    f"{error}.",
                    "Write conditions as for filter(): {'is_active': True}.",
                ) from error

    def _check_added(
        self,
        side: Side,
        change: LinkChange,
        rows: dict[Any, Any],
        groups: dict[Any, set[Any]],
    ) -> None:
        using = change.using
        lost = Counter(link[side.end] for link in change.instead_of)
        found: dict[Any, tuple[int, int]] = {}
        if any(self.get_maximum(row) is not None for row in rows.values()):
            for keys, others in _by_others(groups):
                for some in in_parts(keys):
                    found |= side.count(some, others, using)
        for key, row in rows.items():
            total, known = found.get(key, (0, 0))
            self._check_maximum(row, total - known - lost[key] + len(groups[key]))
        for keys, others in _by_others(groups):
            self._check_allowed(side, [rows[key] for key in keys if key in rows], others, using)

    def _lose(self, side: Side, keys: Iterable[Any], using: str) -> None:
        for key in keys:
            loss = _Loss(side.model, key, using)
            self.collect(loss, key=loss, using=using)

    def _check_maximum(self, row: Model, number: int) -> None:
        maximum = self.get_maximum(row)
        if maximum is not None and number > maximum:
            message = _("%(object)s may have at most %(limit)s %(relation)s, not %(number)s.")
            raise self._make_error(message, "m2m_maximum", row, limit=maximum, number=number)

    def _check_minimum(self, row: Model, number: int) -> None:
        minimum = self.get_minimum(row)
        if minimum is not None and number < minimum:
            message = _("%(object)s has to have at least %(limit)s %(relation)s, not %(number)s.")
            raise self._make_error(message, "m2m_minimum", row, limit=minimum, number=number)

    def _check_allowed(self, side: Side, rows: Iterable[Any], keys: set[Any], using: str) -> None:
        asked: list[tuple[Q, list[Any]]] = []
        for row in rows:
            allowed = self.get_allowed(row)
            if allowed is None:
                continue
            refused = next((found for known, found in asked if known == allowed), None)
            if refused is None:
                refused = side.find_refused(keys, allowed, using)
                asked.append((allowed, refused))
            if refused:
                message = _("%(object)s may not have these %(relation)s: %(refused)s.")
                names = ", ".join(map(str, refused))
                raise self._make_error(message, "m2m_not_allowed", row, refused=names)

    def _make_error(self, message: str, code: str, row: Model, **params: Any) -> ValidationError:
        name = capfirst(row._meta.verbose_name) if row._state.adding else str(row)
        params |= {"object": name, "relation": self.relation}
        return ValidationError(message, code=code, params=params)


def _covers(side: Side, other: Side) -> bool:
    return side.near == other.near and issubclass(other.model, side.model)


def _by_others(groups: dict[Any, set[Any]]) -> Iterator[tuple[list[Any], set[Any]]]:
    """The rows that are to be linked with the same others, and these."""
    found: dict[frozenset[Any], list[Any]] = {}
    for key, others in groups.items():
        found.setdefault(frozenset(others), []).append(key)
    return ((keys, set(others)) for others, keys in found.items())
