"""What the rows are called that foreign keys name: one query for each model of a page, and one
of the log for those that are gone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from django.contrib.admin import AdminSite
from django.contrib.auth import get_permission_codename
from django.core.exceptions import ValidationError
from django.db import connections, router
from django.db.models import Field, ManyToManyField, Model, QuerySet
from django.http import HttpRequest

from django_signal_kit.audit.entries import get_kind
from django_signal_kit.audit.keys import get_key_writer
from django_signal_kit.audit.pages.diff import Row, Value, reveal
from django_signal_kit.rows.values import to_json

#: Which rows: those of a model, by the values of one of its fields, in a database.
Place = tuple[type[Model], str, str]

#: The most rows of one model that are named on a page. The others have their keys only.
_MOST = 500


class Labels:
    """The names of rows that the user of ``request`` may view. Of those that were deleted it is
    the last that the entries of ``log`` have, if he may see these: without it they have none."""

    def __init__(
        self, request: HttpRequest, site: AdminSite, log: QuerySet[Any] | None = None
    ) -> None:
        self.request = request
        self.site = site
        self.log = log
        self._wanted: defaultdict[Place, dict[str, Any]] = defaultdict(dict)
        self._found: dict[Place, dict[str, str]] = {}

    def want(self, rows: Iterable[Row], using: str) -> None:
        """Note whom ``rows`` name. Costs no query."""
        for row in rows:
            if row.relation is not None and using in connections:
                target = _get_target(row.relation)
                wanted = self._wanted[_get_place(row.relation, using)]
                for value in row.get_values():
                    key = _clean(target, value.data)
                    if key is not None and len(wanted) < _MOST:
                        wanted[str(value.data)] = key

    def put(self, row: Row, using: str) -> Row:
        """``row`` with the names of what it names."""
        if row.relation is None:
            return row
        names = self._get_names(_get_place(row.relation, using))
        return replace(
            row,
            old=_put(row.old, names),
            new=_put(row.new, names),
            added=tuple(_put(value, names) for value in row.added),
            removed=tuple(_put(value, names) for value in row.removed),
        )

    def _get_names(self, place: Place) -> dict[str, str]:
        if place not in self._found:
            self._found[place] = self._read(place)
        return self._found[place]

    def _read(self, place: Place) -> dict[str, str]:
        model, name, using = place
        keys, rows = self._wanted.get(place), self._get_visible(model)
        if not keys or rows is None:
            return {}
        found = rows.using(using).filter(**{f"{name}__in": list(keys.values())})
        names = {str(to_json(getattr(row, name))): _describe(row) for row in found}
        gone = {text: key for text, key in keys.items() if text not in names}
        if self.log is not None and gone and name == model._meta.pk.attname:
            names |= _read_last(self.log, model, gone, using)
        return names

    def _get_visible(self, model: type[Model]) -> QuerySet[Any] | None:
        if self.site.is_registered(model):
            model_admin = self.site.get_model_admin(model)
            if not model_admin.has_view_or_change_permission(self.request):
                return None
            return model_admin.get_queryset(self.request)
        options = model._meta
        permission = f"{options.app_label}.{get_permission_codename('view', options)}"
        if not self.request.user.has_perm(permission):
            return None
        return model._default_manager.all()


def _read_last(
    log: QuerySet[Any], model: type[Model], keys: dict[str, Any], using: str
) -> dict[str, str]:
    """What rows were called when they were deleted."""
    to_key = get_key_writer(model)
    texts = {to_key(key): text for text, key in keys.items()}
    kind = get_kind(model, log.db)
    told = log.filter(content_type=kind, object_pk__in=list(texts), action="delete", using=using)
    names = told.order_by("pk").values_list("object_pk", "object_text")
    return {texts[key]: reveal(name) for key, name in names}


def _get_target(relation: Any) -> Field[Any, Any]:
    """The field of the other model whose values are stored."""
    if isinstance(relation, ManyToManyField):
        return relation.related_model._meta.pk
    target: Field[Any, Any] = relation.target_field
    return target


def _get_place(relation: Any, using: str) -> Place:
    model = relation.related_model
    if not router.allow_migrate_model(using, model):
        # Its rows are in another database than those that point to them.
        using = router.db_for_read(model)
    return model, _get_target(relation).attname, using


def _clean(target: Field[Any, Any], data: Any) -> Any:
    """What is stored as a value of the field, None if it cannot be one."""
    if data is None or data == "":
        return None
    try:
        value = target.to_python(data)
        # A number that no column holds would be an error of the database.
        target.run_validators(value)
    except (ValidationError, ValueError, TypeError):
        return None
    return value


def _put(value: Any, names: dict[str, str]) -> Any:
    if not isinstance(value, Value) or value.data is None:
        return value
    return replace(value, label=names.get(str(value.data)) or value.label)


def _describe(row: Model) -> str:
    try:
        return reveal(str(row))
    except Exception:
        # A row that cannot say its name has a key all the same.
        return ""
