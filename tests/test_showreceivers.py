"""Who listens to this save?"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from functools import partial
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db.models.signals import post_save, pre_save
from django.dispatch import Signal

from django_signal_kit import ModelReceiver, Receiver, muted
from django_signal_kit.receivers import AuditLog, LastModified
from tests.testapp.models import Product, Tag

signed_up = Signal()


class Telling(ModelReceiver):
    models = ["testapp.*"]
    exclude = ["testapp.Plain"]

    async def post_save(self, **kwargs: Any) -> None: ...


class OfSignUps(Receiver):
    def signed_up(self, **kwargs: Any) -> None: ...


def plain(**kwargs: Any) -> None: ...


class Callable_:
    def __call__(self, **kwargs: Any) -> None: ...


def show(**options: Any) -> str:
    out = StringIO()
    call_command("showreceivers", stdout=out, no_color=True, **options)
    return out.getvalue()


def show_json(**options: Any) -> list[dict[str, Any]]:
    return json.loads(show(format="json", **options))


@pytest.fixture
def others() -> Any:
    """A plain function, a partial and a callable instance, connected by Django's own means."""
    instance = Callable_()
    connected = [(plain, Product), (partial(plain, a=1), None), (instance, Tag)]
    for function, sender in connected:
        post_save.connect(function, sender=sender, weak=False)
    yield
    for function, sender in connected:
        post_save.disconnect(function, sender=sender)


def test_the_kits_receivers_are_listed_with_name_path_senders_and_time(wire: Any) -> None:
    wire((AuditLog, {"models": ["testapp.Product"]}))
    found = [row for row in show_json(signal="post_save") if row["name"]]
    assert found == [
        {
            "signal": "post_save",
            "path": "django_signal_kit.receivers.audit_log.AuditLog.post_save",
            "name": "AuditLog",
            "senders": ["testapp.Product", "testapp.ProductProxy"],
            "acts": "before the commit",
            "async": False,
            "muted": False,
        }
    ]


def test_others_are_listed_whatever_they_are(wire: Any, others: Any) -> None:
    wire()
    found = {row["path"]: row["senders"] for row in show_json(signal="post_save")}
    assert found == {
        "tests.test_showreceivers.plain": ["testapp.Product"],
        "partial of tests.test_showreceivers.plain": None,
        "tests.test_showreceivers.Callable_": ["testapp.Tag"],
    }


def test_receivers_stand_in_the_order_in_which_they_are_called(wire: Any, others: Any) -> None:
    stamps, audit = {"models": ["testapp.Product"]}, {"models": ["testapp.*"]}
    wire(Telling, (LastModified, stamps), (AuditLog, audit))
    assert [row["name"] for row in show_json(signal="pre_save")] == ["LastModified", "AuditLog"]
    rows = show_json(signal="post_save")
    assert [row["name"] for row in rows][-2:] == ["AuditLog", "Telling"]
    assert [row["async"] for row in rows][-1] is True


def test_what_is_muted_says_so(wire: Any) -> None:
    wire(Telling)
    with muted("Telling"):
        assert [row["muted"] for row in show_json(signal="post_save")] == [True]
        assert "muted" in show(signal="post_save")
    assert [row["muted"] for row in show_json(signal="post_save")] == [False]


def test_a_model_shows_what_hears_it(wire: Any, others: Any) -> None:
    wire((AuditLog, {"models": ["testapp.Tag"]}))
    names = {row["path"].rsplit(".", 2)[-2] for row in show_json(model="testapp.Tag")}
    assert {"AuditLog", "test_showreceivers"} <= names
    paths = [row["path"] for row in show_json(model="testapp.Product", signal="post_save")]
    assert paths == [
        "tests.test_showreceivers.plain",
        "partial of tests.test_showreceivers.plain",
    ]


def test_extra_signals_are_listed(wire: Any) -> None:
    wire(OfSignUps, EXTRA_SIGNALS={"signed_up": "tests.test_showreceivers.signed_up"})
    [row] = show_json(signal="signed_up")
    assert (row["name"], row["senders"], row["acts"]) == ("OfSignUps", None, "at once")


def test_many_models_are_summed_up_in_the_table_and_all_there_in_json(wire: Any) -> None:
    wire(Telling)
    text = show(signal="post_save")
    assert "and 14 more · at once · async" in text
    assert max(map(len, text.splitlines())) <= 100
    [row] = show_json(signal="post_save")
    assert len(row["senders"]) == 17


def test_a_receiver_that_is_gone_is_not_listed(wire: Any) -> None:
    wire()
    instance = Callable_()
    pre_save.connect(instance, sender=Tag)
    assert len(show_json(signal="pre_save")) == 1
    del instance
    gc.collect()
    assert show_json(signal="pre_save") == []


def test_nobody_is_somebody_to_mention(wire: Any) -> None:
    wire()
    assert show(signal="pre_init") == "Nobody is listening.\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"signal": "post_svae"}, "Did you mean 'post_save'"),
        ({"model": "testapp.Prodcut"}, "Did you mean 'testapp.Product'"),
        ({"model": "nonsense"}, "There is no model 'nonsense'"),
    ],
)
def test_a_typo_is_answered_with_a_guess(options: Any, message: str) -> None:
    with pytest.raises(CommandError, match=message):
        show(**options)


def test_listing_loads_no_test_framework() -> None:
    code = (
        "import django, sys; django.setup();"
        "from django_signal_kit.listing import get_listeners; assert get_listeners();"
        "assert 'django.test' not in sys.modules"
    )
    subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
    )
