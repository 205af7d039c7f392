"""The receivers that are wired, each once, with what it hears."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from django.apps import apps

from django_signal_kit.wiring import catalog
from django_signal_kit.wiring.listing import TRIGGERS, Acts, get_listings

#: What stands for the app of a sender that is no model.
NO_APP = "-"

#: Functions of these packages are how they work themselves.
_INNER = ("django.", "django_signal_kit.")

#: Kinds of signals that a project has many of, and Django's signals of each.
KINDS = {
    "save": catalog.BULK_SIGNALS | {"pre_save", "post_save"},
    "delete": {"pre_delete", "post_delete"},
    "links": {"m2m_changed"},
}
OTHER = "other"


@dataclass
class Wired:
    """A receiver of the kit, or a plain function."""

    #: Its name, or its dotted path if it has none: by this it is asked for.
    key: str
    path: str
    #: None if it is not the kit's.
    name: str | None
    acts: Acts
    is_async: bool
    #: Signal -> its senders, in the order in which they were connected.
    hears: dict[str, list[str]] = field(default_factory=dict)

    @property
    def is_inner(self) -> bool:
        """Is it one of Django's own functions, or of the kit's?"""
        return self.name is None and self.path.removeprefix("partial(").startswith(_INNER)

    @property
    def is_called(self) -> bool:
        """Does anybody in this process call it?"""
        return self.hears.keys() != {TRIGGERS}

    @property
    def senders(self) -> list[str]:
        return list(dict.fromkeys(each for senders in self.hears.values() for each in senders))

    def narrow(self, senders: Iterable[str]) -> Wired | None:
        """The same with these senders alone; None if it hears none of them."""
        kept = frozenset(senders)
        hears = {
            signal: found
            for signal, heard in self.hears.items()
            if (found := [sender for sender in heard if sender in kept])
        }
        return replace(self, hears=hears) if hears else None


def get_kind(signal: str) -> str:
    return next((kind for kind, signals in KINDS.items() if signal in signals), OTHER)


def list_wired() -> list[Wired]:
    """All that is connected, the kit's receivers first, in their order; after these such as leave
    all their models to triggers."""
    found: dict[str, Wired] = {}
    for each in get_listings():
        key = each.name or each.receiver
        if key not in found:
            found[key] = Wired(key, each.receiver, each.name, each.acts, each.is_async)
        senders = found[key].hears.setdefault(each.signal, [])
        senders.append(each.sender)
    return sorted(found.values(), key=lambda wired: wired.name is None)


def get_apps(senders: Iterable[str]) -> dict[str, list[str]]:
    """App label -> those of ``senders`` that are its models. Under ``NO_APP`` is the rest."""
    labels = {
        model._meta.label: model._meta.app_label
        for model in apps.get_models(include_auto_created=True, include_swapped=True)
    }
    found: dict[str, list[str]] = {}
    for sender in dict.fromkeys(senders):
        found.setdefault(labels.get(sender, NO_APP), []).append(sender)
    return dict(sorted(found.items()))
