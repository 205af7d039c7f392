"""``{% made "name" %}`` in a fragment says that it is being made, to ``?debug=cache``."""

from django.template import Library

from shop.caching import note_made

register = Library()


@register.simple_tag
def made(name: str) -> str:
    note_made(name)
    return ""
