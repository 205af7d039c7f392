"""``{% load signal_kit %}``: fragments that are cached until one of their tags is touched."""

from __future__ import annotations

from django.template import Library, TemplateSyntaxError
from django.template.base import FilterExpression, Parser, Token

from django_signal_kit.cache.fragment_nodes import CacheTaggedNode, PrefetchTaggedNode
from django_signal_kit.cache.fragments import Fragment, split
from django_signal_kit.exceptions import join

register = Library()

_USAGE = (
    '{% cachetagged 600 "card" product.pk tags="product:{product.pk}" %} … {% endcachetagged %}'
)
_AHEAD_USAGE = (
    '{% prefetchtagged "card" product.pk tags="product:{product.pk}" for product in products %}'
)


@register.tag("cachetagged")
def do_cachetagged(parser: Parser, token: Token) -> CacheTaggedNode:
    """``{% cachetagged timeout name [vary …] tags=… [stale=…] [early=…] [using="alias"] %}``, as
    ``{% cache %}``.

    ``timeout``: seconds, or None for ever; ``tags``: a list of tags, or a text with commas between
    them, in which ``{product.pk}`` is what that is in the template; ``stale`` and ``early``: see
    ``tagged().get_or_set()``. A fragment of this name is dropped by the option ``fragments`` of
    CacheInvalidation too.
    """
    nodelist = parser.parse(("endcachetagged",))
    parser.delete_first_token()
    plain, options = split(token.split_contents()[1:], parser)
    if len(plain) < 2 or "tags" not in options:
        raise TemplateSyntaxError(
            f"{{% cachetagged %}} needs a time, a name and tags: write {_USAGE}."
        )
    _refuse("cachetagged", options, ("tags", "stale", "early", "using"), _USAGE)
    timeout, *words = plain
    fragment = Fragment("cachetagged", words, options, parser)
    return CacheTaggedNode(nodelist, fragment, parser.compile_filter(timeout), options)


@register.tag("prefetchtagged")
def do_prefetchtagged(parser: Parser, token: Token) -> PrefetchTaggedNode:
    """``{% prefetchtagged name [vary …] tags=… [using="alias"] for item in items %}``: reads at
    once the fragments ``{% cachetagged timeout name [vary …] tags=… %}`` of a loop after it, in an
    included template too, as they are in the cache by then.
    """
    bits = token.split_contents()[1:]
    if "for" not in bits or "in" not in bits[bits.index("for") :]:
        raise TemplateSyntaxError(
            f"{{% prefetchtagged %}} needs the loop that comes after it: write {_AHEAD_USAGE}."
        )
    start = bits.index("for")
    end = bits.index("in", start)
    plain, options = split(bits[:start], parser)
    names = [name for bit in bits[start + 1 : end] for name in bit.split(",") if name]
    if not plain or "tags" not in options or not names or len(bits) != end + 2:
        raise TemplateSyntaxError(
            f"{{% prefetchtagged %}} needs a name, tags and a loop: write {_AHEAD_USAGE}."
        )
    _refuse("prefetchtagged", options, ("tags", "using"), _AHEAD_USAGE)
    fragment = Fragment("prefetchtagged", plain, options, parser)
    return PrefetchTaggedNode(fragment, names, parser.compile_filter(bits[-1]))


def _refuse(
    tag: str, options: dict[str, FilterExpression], known: tuple[str, ...], usage: str
) -> None:
    if unknown := options.keys() - {*known}:
        raise TemplateSyntaxError(
            f"{{% {tag} %}} has no option {sorted(unknown)[0]!r}, only "
            f"{join(map(repr, known), 'and')}: write {usage}."
        )
