"""What a change made wrong is dropped from the cache, and what is cached knows its tags.

from django_signal_kit.cache import cached, tagged
"""

from django_signal_kit.cache.decorators import cached
from django_signal_kit.cache.tagged import Found, TaggedCache, tagged
from django_signal_kit.cache.views import cache_view

__all__ = ["Found", "TaggedCache", "cache_view", "cached", "tagged"]
