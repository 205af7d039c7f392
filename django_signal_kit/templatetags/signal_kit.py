"""``{% load signal_kit %}``: fragments that are cached until one of their tags is touched."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.core.cache.utils import make_template_fragment_key
from django.template import Library, Node, TemplateSyntaxError
from django.template.base import FilterExpression, NodeList, Parser, Token, token_kwargs
from django.template.context import Context

from django_signal_kit.cache.tagged import tagged

register = Library()

_USAGE = '{% cachetagged 600 "name" product.pk tags=product_tags %} … {% endcachetagged %}'


@register.tag("cachetagged")
def do_cachetagged(parser: Parser, token: Token) -> CacheTaggedNode:
    """``{% cachetagged timeout name [vary …] tags=… [using="alias"] %}``, as ``{% cache %}``.

    ``timeout``: seconds, or None for ever; ``tags``: a list of tags, or a text with commas between
    them. A fragment of this name is dropped by the option ``fragments`` of CacheInvalidation too.
    """
    nodelist = parser.parse(("endcachetagged",))
    parser.delete_first_token()
    bits = token.split_contents()[1:]
    options: dict[str, FilterExpression] = {}
    plain: list[str] = []
    for bit in bits:
        if "=" in bit.split('"')[0].split("'")[0]:
            options |= token_kwargs([bit], parser)
        else:
            plain.append(bit)
    if len(plain) < 2 or "tags" not in options:
        raise TemplateSyntaxError(
            f"{{% cachetagged %}} needs a time, a name and tags: write {_USAGE}."
        )
    if unknown := options.keys() - {"tags", "using"}:
        raise TemplateSyntaxError(
            f"{{% cachetagged %}} has no option {sorted(unknown)[0]!r}, only 'tags' and 'using': "
            f"write {_USAGE}."
        )
    timeout, name, *vary_on = (parser.compile_filter(bit) for bit in plain)
    return CacheTaggedNode(nodelist, timeout, name, vary_on, options["tags"], options.get("using"))


class CacheTaggedNode(Node):
    def __init__(
        self,
        nodelist: NodeList,
        timeout: FilterExpression,
        name: FilterExpression,
        vary_on: list[FilterExpression],
        tags: FilterExpression,
        using: FilterExpression | None,
    ) -> None:
        self.nodelist = nodelist
        self.timeout = timeout
        self.name = name
        self.vary_on = vary_on
        self.tags = tags
        self.using = using

    def render(self, context: Context) -> Any:
        key = make_template_fragment_key(
            self.name.resolve(context), [part.resolve(context) for part in self.vary_on]
        )
        alias = "default" if self.using is None else self.using.resolve(context)
        return tagged(alias).get_or_set(
            key,
            lambda: self.nodelist.render(context),
            tags=self._get_tags(context),
            timeout=self._get_timeout(context),
        )

    def _get_tags(self, context: Context) -> Iterable[str]:
        tags = self.tags.resolve(context)
        if isinstance(tags, str):
            return [tag for part in tags.split(",") if (tag := part.strip())]
        if not isinstance(tags, Iterable):
            raise TemplateSyntaxError(
                f"{{% cachetagged %}} got tags={self.tags.token}, which is {tags!r}. Give it a "
                f"list of tags, or a text with commas between them."
            )
        return [str(tag) for tag in tags]

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
