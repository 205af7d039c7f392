"""What a receiver method costs beside the same plain function."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.db.models.signals import m2m_changed, post_delete, post_init, post_save, pre_save
from django.dispatch import Signal

from django_signal_kit import ModelReceiver
from django_signal_kit.wiring.dispatch import make_function
from tests.benchmarks.interleave import compare, show

CALLS = {"plain": 0, "method": 0}


def plain(sender: Any, instance: Any, **kwargs: Any) -> None:
    CALLS["plain"] += 1


class Counting(ModelReceiver):
    def receive(self, sender: Any, instance: Any, **kwargs: Any) -> None:
        CALLS["method"] += 1

    pre_save = post_save = post_delete = m2m_changed = post_init = receive


class Model:
    """Stands for a model class: the signals are sent by hand, nothing is written."""


ARGUMENTS: dict[str, dict[str, Any]] = {
    "pre_save": {"raw": False, "using": "default", "update_fields": None},
    "post_save": {"created": True, "raw": False, "using": "default", "update_fields": None},
    "post_delete": {"using": "default", "origin": None},
    "post_init": {},
    "m2m_changed": {
        "action": "post_add",
        "reverse": False,
        "model": Model,
        "pk_set": {1},
        "using": "default",
    },
}


def test_a_method_beside_a_plain_function() -> None:
    receiver = Counting()
    for signal_name, django_signal in (
        ("pre_save", pre_save),
        ("post_save", post_save),
        ("post_delete", post_delete),
        ("post_init", post_init),
        ("m2m_changed", m2m_changed),
    ):
        with_plain, with_method = (type(django_signal)(use_caching=True) for _ in range(2))
        with_plain.connect(plain, sender=Model)
        function = make_function(receiver, signal_name, getattr(receiver, signal_name))
        with_method.connect(function, sender=Model, weak=False)
        instance = Model()
        arguments = ARGUMENTS[signal_name] | {"instance": instance}

        def send(signal: Signal, arguments: dict[str, Any] = arguments) -> None:
            signal.send(sender=Model, **arguments)

        CALLS.update(plain=0, method=0)
        result = compare(
            {
                "plain function by @receiver": partial(send, with_plain),
                "method of a receiver": partial(send, with_method),
            },
            number=2000,
        )
        assert CALLS["plain"] == CALLS["method"] > 0
        show(f"{signal_name}: sending to one receiver", result)
