"""Fragments of templates in the cache: one that is looked up, and many that are read ahead."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.template import Node, TemplateSyntaxError
from django.template.base import FilterExpression, NodeList
from django.template.context import Context

from django_signal_kit.cache.ahead import Ahead
from django_signal_kit.cache.entry import Entry
from django_signal_kit.cache.fragments import Fragment
from django_signal_kit.cache.freshness import check_times
from django_signal_kit.cache.steps import run
from django_signal_kit.cache.tagged import tagged

_AHEAD = "signal_kit:ahead"


class CacheTaggedNode(Node):
    """A fragment, from the cache or rendered."""

    def __init__(
        self,
        nodelist: NodeList,
        fragment: Fragment,
        timeout: FilterExpression,
        options: dict[str, FilterExpression],
    ) -> None:
        self.nodelist = nodelist
        self.fragment = fragment
        self.timeout = timeout
        self.options = options

    def render(self, context: Context) -> Any:
        alias = self.fragment.get_alias(context)
        times = [self._get_number(name, context) for name in ("stale", "early")]
        entry = Entry(
            alias,
            self.fragment.get_key(context),
            self.fragment.get_tags(context),
            self._get_timeout(context),
            *times,
        )
        look_up = tagged(alias).look_up(entry, ahead=[*_list_ahead(context, alias)])
        return run(look_up, lambda: self.nodelist.render(context))

    def _get_timeout(self, context: Context) -> float | None:
        timeout = self.timeout.resolve(context)
        if timeout is None:
            return None
        try:
            return int(timeout)
        except (TypeError, ValueError):
            raise TemplateSyntaxError(
                f"{{% cachetagged %}} got {timeout!r} as its time. Give it seconds, or None."
            ) from None

    def _get_number(self, name: str, context: Context) -> float:
        if name not in self.options:
            return 0
        value = self.options[name].resolve(context)
        try:
            check_times(value, 0)
        except (TypeError, ValueError):
            raise TemplateSyntaxError(
                f"{{% cachetagged %}} got {name}={value!r}. Give it a number, 0 for none."
            ) from None
        return value  # type: ignore[no-any-return]


class PrefetchTaggedNode(Node):
    """Reads the fragments of a loop that comes after it."""

    def __init__(
        self, fragment: Fragment, names: Sequence[str], sequence: FilterExpression
    ) -> None:
        self.fragment = fragment
        self.names = names
        self.sequence = sequence

    def render(self, context: Context) -> str:
        alias = self.fragment.get_alias(context)
        ahead = Ahead(alias, self._list_entries(alias, context))
        context.render_context[_AHEAD] = [
            *(context.render_context.get(_AHEAD) or ()),
            ahead,
        ]
        return ""

    def _list_entries(self, alias: str, context: Context) -> Iterator[Entry]:
        items = self.sequence.resolve(context, ignore_failures=True)
        if items is None:
            return
        if iter(items) is items:
            raise TemplateSyntaxError(
                f"{{% prefetchtagged %}} got {self.sequence.token}, which can be gone through "
                f"only once, and the loop after it would find nothing. Give it a list."
            )
        for item in items:
            values = (item,) if len(self.names) == 1 else item
            with context.push(**dict(zip(self.names, values, strict=True))):
                key, tags = self.fragment.get_key(context), self.fragment.get_tags(context)
            yield Entry(alias, key, tags, DEFAULT_TIMEOUT)


def _list_ahead(context: Context, alias: str) -> Iterator[Ahead]:
    """What has been read ahead by this template, and by those that include it."""
    dicts: Any = context.render_context.dicts
    for values in dicts:
        for ahead in values.get(_AHEAD, ()):
            if ahead.alias == alias:
                yield ahead
