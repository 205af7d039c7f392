"""Fallen tags are told to the edge, after the commit that touched them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from django.conf import settings
from django.core.cache import caches
from django.core.checks import CheckMessage, Warning
from django.utils.module_loading import import_string

from django_signal_kit.cache.headers import ALL, encode_tag
from django_signal_kit.cache.recovery import drop
from django_signal_kit.cache.versions import get_version_key
from django_signal_kit.current import get_muted
from django_signal_kit.exceptions import FlushFailedError, Misconfigured, tell_class
from django_signal_kit.receiver import Receiver
from django_signal_kit.tasks.collecting import get_flush
from django_signal_kit.tasks.places import is_durable
from django_signal_kit.units.unit import UnitOfWork
from django_signal_kit.wiring.registry import registry

#: How MIDDLEWARE names the one that writes the tags.
MIDDLEWARE = "django_signal_kit.cache.CacheTagHeaders"

# They say of a response that it is for one alone, and have to be asked before.
_SAY_WHOSE = (
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
)


class Purge(Receiver):
    """Tells a cache in front of Django which tags have fallen. A base: override :meth:`purge`.

    Listed in ``RECEIVERS``, it hears no signal. What a ``CacheInvalidation`` touches, or
    ``touch()``, or ``invalidatecache``, is collected after the commit and after it was touched in
    Django's own caches, so that the edge is not filled again from these; a rollback collects
    nothing. It is told once for each unit of work, or in a task with ``flush_on="task"``.

    A task that waits in the transaction touches in the worker what it purges, before it does:
    whoever has committed may not have come to that.
    """

    #: More tags than this at once are one: all that is tagged.
    limit: int = 1000

    def purge(self, tags: Sequence[str]) -> None:
        """Drop what has one of ``tags``, which are as the headers of responses have them, each
        once. Called after the commit, or in a worker.

        What it raises is logged and sent as ``receiver_failed``; in a task it is tried again.
        Raise :class:`~django_signal_kit.exceptions.FlushFailedError` with those that failed if the
        others have been dropped.
        """
        raise NotImplementedError(f"{tell_class(type(self))} has no purge(tags).")

    def flush(self, items: list[Any]) -> None:
        """Purge the collected tags, which are text."""
        touch(item for item in items if isinstance(item, FallingTag))
        tags = list(dict.fromkeys(items))
        if len(tags) <= self.limit:
            self.purge(tags)
            return
        try:
            self.purge([ALL])
        except FlushFailedError as error:
            raise FlushFailedError(items, str(error)) from error

    def serialize(self, item: Any) -> Any:
        return item.pack() if isinstance(item, FallingTag) else item

    def deserialize(self, data: Any) -> Any:
        return FallingTag.unpack(data) if isinstance(data, Mapping) else data

    def get_methods(self, signal_names: Iterable[str]) -> Mapping[str, Callable[..., Any]]:
        """None, unless a subclass has any: it is told what has fallen, not what has been saved."""
        return super().get_methods(signal_names)

    def check(self) -> None:
        if self.flush_on == "before_commit":
            raise Misconfigured(
                "E065",
                f"{self.name} has flush_on='before_commit': the edge would be filled again with "
                f"what the commit is about to change.",
                "Leave it out, or set flush_on to 'task'.",
            )
        if self.limit < 1:
            raise Misconfigured(
                "E065",
                f"{self.name} has limit={self.limit!r}.",
                "Set it to the number of tags that are purged one by one, 1 at least.",
            )

    def get_warnings(self) -> list[CheckMessage]:
        places = [place for place, path in enumerate(settings.MIDDLEWARE) if _writes_tags(path)]
        if not places:
            return [
                Warning(
                    f"{self.name} purges tags that no response has: CacheTagHeaders is not in "
                    f"MIDDLEWARE.",
                    hint=f"Add {MIDDLEWARE!r} to MIDDLEWARE, as its first.",
                    id="signal_kit.W025",
                )
            ]
        above = [path for path in settings.MIDDLEWARE[: places[0]] if path in _SAY_WHOSE]
        if not above:
            return []
        return [
            Warning(
                f"CacheTagHeaders stands below {above[0]!r} in MIDDLEWARE, and does not see which "
                f"responses that makes one client's own.",
                hint="Let CacheTagHeaders be the first of MIDDLEWARE.",
                id="signal_kit.W024",
            )
        ]


def _writes_tags(path: str) -> bool:
    if path == MIDDLEWARE:
        return True
    try:
        found = import_string(path)
        return isinstance(found, type) and issubclass(found, import_string(MIDDLEWARE))
    except ImportError:
        return False


class FallingTag(str):
    """A tag, as the edge has it, of a transaction that is open. ``key``: that of its version, in
    each of ``caches``."""

    key: str
    caches: tuple[str, ...]

    @classmethod
    def make(cls, tag: str, caches: Iterable[str]) -> FallingTag:
        return cls.unpack(
            {"tag": encode_tag(tag), "key": get_version_key(tag), "caches": [*caches]}
        )

    @classmethod
    def unpack(cls, data: Mapping[str, Any]) -> FallingTag:
        found = cls(data["tag"])
        found.key, found.caches = data["key"], tuple(data["caches"])
        return found

    def pack(self) -> dict[str, Any]:
        return {"tag": str(self), "key": self.key, "caches": [*self.caches]}


def touch(tags: Iterable[FallingTag]) -> None:
    """Touch these in their caches. Raises what a cache raises."""
    keys: dict[str, dict[str, None]] = {}
    for tag in tags:
        for alias in tag.caches:
            keys.setdefault(alias, {})[tag.key] = None
    for alias, some in keys.items():
        drop(caches[alias], list(some))


def has_durable_purge() -> bool:
    """Is there anybody who purges in a task that a transaction keeps?"""
    return any(
        purge.flush_on == "task" and is_durable(purge) for purge in _list_purges(frozenset())
    )


def tell_falling(tags: Collection[str], aliases: Iterable[str], using: str) -> None:
    """``tags`` fall in the caches ``aliases`` with the commit of the transaction that is open:
    whoever purges in a task that this keeps collects them now."""
    aliases = tuple(aliases)
    for purge in _list_purges(get_muted()):
        if _is_in_transaction(purge, using):
            for tag in tags:
                falling = FallingTag.make(tag, aliases)
                purge.collect(falling, key=(falling, aliases), using=using)


def tell_fallen(tags: Collection[str], using: str, *, is_told: bool = False) -> None:
    """``tags`` have been touched, and what they tell of is committed in the database ``using``:
    whoever purges collects them, and purges when that is done. ``is_told``: those have been told
    whose tasks the transaction has kept."""
    purges = [
        purge
        for purge in _list_purges(get_muted())
        if not (is_told and _is_in_transaction(purge, using))
    ]
    if purges and tags:
        encoded = list(dict.fromkeys(map(encode_tag, tags)))
        with UnitOfWork(using, atomic=False):
            for purge in purges:
                for tag in encoded:
                    purge.collect(tag, key=tag, using=using)


def _list_purges(muted: Collection[str]) -> list[Purge]:
    return [
        receiver
        for receiver in registry.receivers
        if isinstance(receiver, Purge) and receiver.name not in muted
    ]


def _is_in_transaction(purge: Purge, using: str) -> bool:
    return purge.flush_on == "task" and get_flush(purge, using).for_commit
