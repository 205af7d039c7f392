"""Signals that neither Django, nor the kit, nor ``EXTRA_SIGNALS`` names: those of packages and of
the project itself."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Iterable

from django.dispatch import Signal

#: What one is called that no module has under a name.
NAMELESS = "a signal"


#: How many modules there were at the last look, and what was found. To look at all that there is
#: takes long in a large project, and a page may be asked for again and again.
_seen: tuple[int, list[tuple[str, weakref.ref[Signal]]]] = (0, [])


def find_others(known: Iterable[Signal]) -> list[tuple[str, Signal]]:
    """All without those that are ``known``: dotted path and signal, in the order of the paths.
    Django keeps no list of them. Those that are made when the modules have long been imported may
    be missed."""
    global _seen
    if _seen[0] != len(sys.modules):
        found = [thing for thing in gc.get_objects() if issubclass(type(thing), Signal)]
        paths = find_paths(found)
        pairs = [(paths[id(signal)], weakref.ref(signal)) for signal in found]
        _seen = len(sys.modules), sorted(pairs, key=lambda pair: pair[0])
    ids = {id(signal) for signal in known}
    alive = ((path, reference()) for path, reference in _seen[1])
    return [
        (path, signal) for path, signal in alive if signal is not None and id(signal) not in ids
    ]


def find_paths(signals: Iterable[Signal]) -> dict[int, str]:
    """Id of a signal -> the dotted path under which a module has it."""
    wanted = {id(signal): signal for signal in signals}
    found: dict[int, list[tuple[bool, bool, int, str]]] = {id_: [] for id_ in wanted}
    for module, value in list(sys.modules.items()) if wanted else ():
        names = getattr(value, "__dict__", {})
        for name, thing in list(names.items()):
            if id(thing) in wanted:
                # Who imports a signal has it as well. Its own module has its class, too, and is
                # called signals as a rule.
                has_class = any(each is type(thing) for each in list(names.values()))
                is_own = module.endswith("signals")
                path = f"{module}.{name}"
                found[id(thing)].append((not has_class, not is_own, path.count("."), path))
    return {id_: min(ranks)[-1] if ranks else NAMELESS for id_, ranks in found.items()}
