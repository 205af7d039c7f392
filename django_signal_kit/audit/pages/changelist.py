"""The list of entries, over a table that grows for years."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib.admin import SimpleListFilter
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import SEARCH_VAR, ChangeList
from django.contrib.contenttypes.models import ContentType
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_signal_kit.audit.pages.diff import reveal
from django_signal_kit.audit.pages.kinds import set_kinds
from django_signal_kit.audit.pages.paging import (
    REACH,
    ByKey,
    ByTime,
    Cursor,
    Page,
    Pager,
    Sorted,
    has_at_most,
)

#: A kind with fewer entries is found by its index, and not looked for along the log.
RARE = 10_000

_DATES = frozenset(("at__gte", "at__lt"))
#: A request, and around which time it was.
_REQUEST = ("context__request_id", *sorted(_DATES))


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
    """Pages by key, knows the kinds of all entries of its page, and says in words what it is
    narrowed to."""

    #: How many entries are looked through for a page of those that no index finds.
    reach = REACH
    page: Page
    cursor: Cursor

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        try:
            self.cursor = Cursor.read(self.params)
        except ValueError as error:
            raise IncorrectLookupParameters(error) from error
        # They say where in the list, not what is listed: a link to a filter begins anew.
        for name in ("before", "after"):
            self.params.pop(name, None)
            self.filter_params.pop(name, None)
        return super().get_queryset(request, exclude_parameters)

    def get_results(self, request: HttpRequest) -> None:
        scope, order, used = self._get_scope()
        is_loose = not used.issuperset(self._get_narrowed())
        pager = Pager(
            self.queryset,
            self.list_per_page,
            order,
            scope=scope if is_loose else None,
            reach=self.reach,
        )
        self.page = pager.get_page(self.cursor)
        self.result_list = self.page.entries
        # The templates of the admin ask for these. Nothing is counted, and all is never shown.
        self.result_count = self.full_result_count = len(self.page.entries)
        self.show_full_result_count = self.can_show_all = self.multi_page = False
        self.show_admin_actions = False
        self.paginator = None
        set_kinds(self.result_list)

    @property
    def is_whole(self) -> bool:
        """Is this the beginning of a list that leaves nothing out?"""
        return self.cursor == Cursor() and not self._get_narrowed()

    @property
    def newer_url(self) -> str | None:
        return self._get_page_url(after=self.page.newer)

    @property
    def older_url(self) -> str | None:
        return self._get_page_url(before=self.page.older)

    @property
    def newest_url(self) -> str | None:
        return self.get_query_string() if self.page.newer is not None else None

    def _get_page_url(self, **cursor: int | None) -> str | None:
        return self.get_query_string(cursor) if None not in cursor.values() else None

    def get_narrowings(self) -> list[tuple[str, str, str]]:
        """What the list is narrowed to by links: a sentence, its subject, where it is not."""
        first = next(iter(self.result_list), None)
        found = []
        for name, sentence, text, others in (
            ("object_pk", gettext("History of"), "object_text", ["object_pk", "content_type"]),
            ("actor", gettext("Everything done by"), "actor_text", ["actor"]),
            ("unit", gettext("Everything in the unit of work"), "unit", ["unit"]),
            ("context__request_id", gettext("Everything in the request"), "", list(_REQUEST)),
            (SEARCH_VAR, gettext("Found by the key"), "", [SEARCH_VAR]),
        ):
            if self.params.get(name, "").strip():
                subject = getattr(first, text, None) or self.params[name]
                found.append(
                    (sentence, reveal(str(subject)), self.get_query_string(remove=others))
                )
        return found

    def _get_narrowed(self) -> set[str]:
        """The parameters that leave entries out."""
        return {*self.get_filters_params(), *({SEARCH_VAR} if self.query.strip() else ())}

    def _get_scope(self) -> tuple[QuerySet[Any], ByKey, set[str]]:
        """What an index finds of that which is asked for, in which order, and the parameters that
        say so."""
        # Of several values of one parameter Django makes a condition of its own.
        given = {
            name: values[-1] for name, values in self.filter_params.items() if len(values) == 1
        }
        log = self.root_queryset
        if self.query.strip():
            return search(log, self.query), Sorted(), {SEARCH_VAR}
        for names, order in (
            (("content_type", "object_pk"), ByKey()),
            (("unit",), Sorted()),
            (("actor",), ByKey()),
        ):
            if given.keys() >= set(names):
                return log.filter(**{name: given[name] for name in names}), order, set(names)
        if dates := _DATES & given.keys():
            return log.filter(**{name: given[name] for name in dates}), ByTime(log), {*dates}
        kind = log.filter(content_type=given.get("content_type"))
        if "content_type" in given and has_at_most(kind, RARE):
            return kind, Sorted(), {"content_type"}
        return log, ByKey(), set()


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
