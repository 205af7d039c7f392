"""Why a receiver does or does not hear a signal of a model."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from django.db.models import Model

from django_signal_kit.current import get_muted
from django_signal_kit.exceptions import did_you_mean, join
from django_signal_kit.receiver import ModelReceiver, Receiver
from django_signal_kit.wiring import catalog
from django_signal_kit.wiring.configured import get_declared
from django_signal_kit.wiring.listing import (
    TRIGGERS,
    get_function,
    get_left,
    get_own_senders,
    get_path,
    get_signals,
)
from django_signal_kit.wiring.registry import registry
from django_signal_kit.wiring.senders import Coverage, can_be_covered
from django_signal_kit.wiring.specs import get_specs


def explain(model: type[Model], signal_name: str, name: str) -> list[str]:
    """Sentences: the first says whether the receiver ``name`` hears the signal of ``model``, and
    the others why. ``name`` is the name of a receiver of the kit, or the dotted path of a class or
    of a function."""
    found = [r for r in registry.receivers if name in (r.name, get_path(type(r)))]
    if not found:
        return list(_explain_function(model, signal_name, name))
    sentences: list[str] = []
    for receiver in found:
        reason = _find_reason(receiver, model, signal_name)
        hears = "hears" if reason is None else "does not hear"
        sentences.append(f"{receiver.name} {hears} {signal_name} of {model._meta.label}.")
        sentences += [reason] if reason else _tell_limits(receiver, model, signal_name)
    return sentences


def _find_reason(receiver: Receiver, model: type[Model], signal_name: str) -> str | None:
    """Why it is not connected; None if it is."""
    if signal_name == TRIGGERS and model in get_left(receiver):
        return None
    senders = {id(None), *map(id, get_own_senders(model, signal_name))}
    mine = [c for c in registry.connections if c.receiver is receiver]
    if any(c.signal_name == signal_name and id(c.sender) in senders for c in mine):
        return None
    heard = {c.signal_name for c in mine}
    if isinstance(receiver, ModelReceiver) and not registry.covers(receiver, model):
        return _tell_uncovered(receiver, model)
    if isinstance(receiver, ModelReceiver) and not receiver.hears(model):
        return "It covers the model, and triggers of the database do its work there."
    if signal_name == TRIGGERS:
        return "Python does its work, and no trigger."
    if signal_name not in heard:
        if signal_name in catalog.BULK_SIGNALS and not getattr(receiver, "bulk", True):
            return "Its option bulk is False: it hears no bulk write."
        methods = sorted(receiver.get_methods(catalog.get_paths()))
        has = f"It has methods for {join(methods)}" if methods else "It has a method for no signal"
        return f"It has no method {signal_name}(). {has}."
    others = {c.sender._meta.label for c in mine if c.signal_name == signal_name and c.sender}
    return f"It covers the model, and hears that signal of {join(sorted(others), most=5)} alone."


def _tell_uncovered(receiver: ModelReceiver, model: type[Model]) -> str:
    label = model._meta.label
    if not can_be_covered(model):
        return (
            f"No receiver covers {label}: it is abstract, made by Django for a relation, swapped "
            f"for another model, or one of the kit's own."
        )
    coverage = Coverage(receiver)
    specs = [_tell_spec(spec) for spec in get_specs(receiver)]
    if not coverage.means(model):
        says = f"is [{', '.join(specs)}]" if specs else "is empty"
        return f"Its option models {says}, which does not mean {label}."
    if coverage.excluded.match(model):
        excluded = ", ".join(map(_tell_spec, receiver.exclude))
        return f"Its option exclude is [{excluded}], which leaves {label} out."
    if lack := receiver.lacks(model):
        return f"A pattern means {label}, and leaves it out: it has {lack}."
    return f"A pattern means {label}, and {receiver.name} leaves it out unless it is named."


def _tell_spec(spec: Any) -> str:
    if isinstance(spec, type):
        return spec._meta.label if issubclass(spec, Model) else get_path(spec)
    return repr(spec)


def _tell_limits(receiver: Receiver, model: type[Model], signal_name: str) -> Iterator[str]:
    """When it is connected, and may be silent all the same."""
    if receiver.name in get_muted():
        yield "It is muted here."
    if not isinstance(receiver, ModelReceiver):
        return
    if signal_name in ("pre_save", "post_save"):
        if not receiver.raw:
            yield "Not for fixtures: its option raw is False."
        if receiver.bulk is False:
            yield "Not for rows of bulk writes: its option bulk is False."
        elif receiver.bulk is True:
            yield "Not for rows of QuerySet.update(), unless it has methods for that itself."
    for child in model.__subclasses__():
        if child._meta.proxy and not registry.covers(receiver, child):
            yield f"Not for what is saved as its proxy {child._meta.label}."


def _explain_function(model: type[Model], signal_name: str, name: str) -> Iterator[str]:
    senders = {id(sender): sender for sender in (None, *get_own_senders(model, signal_name))}
    is_dead = False
    for item in [item for _, signal in get_signals([signal_name]) for item in signal.receivers]:
        function = get_function(item)
        if function is None:
            is_dead = True
        elif name in (get_path(function), getattr(function, "__name__", "")):
            if item[0][1] in senders:
                yield f"{get_path(function)} hears {signal_name} of {model._meta.label}."
                of_all = senders[item[0][1]] is None
                yield "It is connected to all senders." if of_all else "It is connected to it."
            else:
                yield f"{get_path(function)} does not hear {signal_name} of {model._meta.label}."
                yield "It is connected to another sender."
            return
    yield f"Nothing named {name!r} is connected to {signal_name}."
    yield _guess(name, is_dead=is_dead)


def _guess(name: str, *, is_dead: bool) -> str:
    declared = {get_path(declaration.cls) for declaration in get_declared()}
    known = [receiver.name for receiver in registry.receivers]
    near = did_you_mean(name, [*known, *declared], " ")
    if near.strip():
        return near
    module = name.rpartition(".")[0]
    if module and module not in sys.modules:
        return (
            f"The module {module!r} has not been imported: name it signals.py, or import it in "
            f"the ready() of its app."
        )
    if is_dead:
        return (
            "A function that was connected to it is gone: Django holds functions weakly, so that "
            "one that is defined within another needs connect(..., weak=False)."
        )
    return (
        "A receiver of the kit has to stand in SIGNAL_KIT['RECEIVERS'], or under @register in a "
        "signals.py; a function has to be connected."
    )
