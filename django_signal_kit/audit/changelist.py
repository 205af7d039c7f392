"""The list of entries, over a table that grows for years."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any, cast
from uuid import UUID

from django.contrib.admin import SimpleListFilter
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.contrib.contenttypes.models import ContentType
from django.core.paginator import Paginator
from django.db.models import Exists, Model, OuterRef, Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_signal_kit.audit.diff import reveal


class EntryPaginator(Paginator):  # type: ignore[type-arg]
    """Counts the newest ``max_count`` entries and no more: counting a table reads all of it."""

    max_count = 10_000

    @cached_property
    def count(self) -> int:
        return min(self._counted, self.max_count)

    @property
    def is_cut(self) -> bool:
        """Are there entries beyond those that can be paged to?"""
        return self._counted > self.max_count

    @cached_property
    def _counted(self) -> int:
        entries = cast("QuerySet[Any]", self.object_list)
        return entries[: self.max_count + 1].count()


class KindFilter(SimpleListFilter):
    """The kinds of objects that have entries, found by one look into the index for each."""

    title = _("kind")
    parameter_name = "content_type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[Any, str]]:
        entries = model_admin.model._default_manager.all()
        kinds = ContentType.objects.using(entries.db).filter(
            Exists(entries.order_by().filter(content_type=OuterRef("pk")))
        )
        choices = ((kind.pk, str(kind)) for kind in kinds)
        return sorted(choices, key=lambda choice: choice[1].casefold())

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if value is None:
            return queryset
        try:
            return queryset.filter(content_type=value)
        except ValueError as error:
            raise IncorrectLookupParameters(error) from error


class EntryChangeList(ChangeList):
    """Knows the kinds of all entries of its page, and says in words what it is narrowed to."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        set_kinds(self.result_list)

    def get_narrowings(self) -> list[tuple[str, str, str]]:
        """What the list is narrowed to by links: a sentence, its subject, where it is not."""
        first = next(iter(self.result_list), None)
        found = []
        for name, sentence, text, others in (
            ("object_pk", gettext("History of"), "object_text", ["object_pk", "content_type"]),
            ("actor", gettext("Everything done by"), "actor_text", ["actor"]),
            ("unit", gettext("Everything in the unit of work"), "unit", ["unit"]),
        ):
            if name in self.params:
                subject = getattr(first, text, None) or self.params[name]
                found.append(
                    (sentence, reveal(str(subject)), self.get_query_string(remove=others))
                )
        return found


def set_kinds(entries: Iterable[Any]) -> None:
    """Set ``content_type`` of each entry from Django's cache; None where it is gone."""
    kinds: dict[Any, Model | None] = {None: None}
    for entry in entries:
        key = entry.content_type_id
        if key not in kinds:
            manager = ContentType.objects.db_manager(entry._state.db)
            try:
                kinds[key] = manager.get_for_id(key)
            except ContentType.DoesNotExist:
                kinds[key] = None
        # Not by assignment, which would forget the key where the kind is gone.
        entry._meta.get_field("content_type").set_cached_value(entry, kinds[key])


def search(entries: QuerySet[Any], text: str) -> QuerySet[Any]:
    """Those about objects with exactly this key, of whatever kind, or of this unit of work."""
    text = text.strip()
    if not text:
        return entries
    # The index on the key begins with the kind.
    kinds = list(ContentType.objects.using(entries.db).values_list("pk", flat=True))
    try:
        unit = UUID(text)
    except ValueError:
        return entries.filter(content_type__in=kinds, object_pk=text)
    keys = {text, str(unit)}
    return entries.filter(Q(content_type__in=kinds, object_pk__in=keys) | Q(unit=unit))
