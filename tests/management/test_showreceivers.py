"""Who listens to this save?"""

from __future__ import annotations

import gc
import json
import sys
from functools import partial
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db.models.signals import m2m_changed, post_migrate, post_save, pre_init, pre_save
from django.dispatch import Signal

from django_signal_kit import ModelReceiver, Receiver, muted, only
from django_signal_kit.wiring import catalog
from django_signal_kit.wiring.listing import Listing, collapse, get_listings, get_signals
from django_signal_kit.wiring.sender_names import ANY
from tests.apps.testapp.models import Person, Product, Tag, Token
from tests.projects import KIT, SHOP, Project

order_paid = Signal()
quiet = Signal()

AUDIT_LOG = "django_signal_kit.receivers.AuditLog"


class Saves(ModelReceiver):
    models = ["testapp.Tag"]

    def post_save(self, **kwargs: Any) -> None: ...


class Writes(Saves):
    def flush(self, items: list[Any]) -> None: ...


class InNoHurry(ModelReceiver):
    models = ["testapp.Tag"]

    async def post_save(self, **kwargs: Any) -> None: ...


class Payments(Receiver):
    def order_paid(self, **kwargs: Any) -> None: ...


class Holder:
    def method(self, **kwargs: Any) -> None: ...

    def __call__(self, **kwargs: Any) -> None: ...


class Sender:
    def __repr__(self) -> str:
        return "<a sender>"


def plain(**kwargs: Any) -> None: ...


async def plain_async(**kwargs: Any) -> None: ...


def show(*arguments: str) -> str:
    out = StringIO()
    call_command("showreceivers", *arguments, stdout=out, no_color=True)
    return out.getvalue()


def show_json(*arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(show("--format", "json", *arguments))
    return found


def test_a_receiver_of_the_kit_is_shown_with_all_that_there_is_to_say(wire: Any) -> None:
    wire({"RECEIVER": AUDIT_LOG, "NAME": "Log", "OPTIONS": {"models": [Tag]}})
    assert show_json("--signal", "post_save") == [
        {
            "signal": "post_save",
            "sender": "testapp.Tag",
            "receiver": "django_signal_kit.receivers.AuditLog",
            "name": "Log",
            "acts": "before_commit",
            "is_async": False,
            "is_muted": False,
            "queued": None,
        }
    ]


@pytest.mark.parametrize(
    ("cls", "options", "acts"),
    [
        (Saves, {}, "at_once"),
        (Saves, {"flush_on": "before_commit"}, "at_once"),
        (Writes, {}, "after_commit"),
        (Writes, {"flush_on": "before_commit"}, "before_commit"),
        (Writes, {"flush_on": "task"}, "task"),
    ],
)
def test_it_says_when_a_receiver_acts(wire: Any, cls: Any, options: Any, acts: str) -> None:
    wire((cls, options))
    assert [row["acts"] for row in show_json("--signal", "post_save")] == [acts]
    assert acts.replace("_", " ") in show("--signal", "post_save")


def test_async_receivers_are_marked_and_come_last(wire: Any, connect: Any) -> None:
    connect(post_save, plain_async)
    wire(InNoHurry, Saves)
    connect(post_save, plain)
    rows = show_json("--signal", "post_save")
    assert [(row["name"], row["is_async"]) for row in rows] == [
        ("Saves", False),
        (None, False),
        (None, True),
        ("InNoHurry", True),
    ]
    assert "at once, async" in show("--signal", "post_save")


def test_the_order_is_the_one_of_the_calls(wire: Any, connect: Any) -> None:
    connect(post_save, plain, Tag)
    wire(Writes, Saves, {"RECEIVER": f"{__name__}.Saves", "NAME": "Again"})
    connect(post_save, Holder().method)
    rows = show_json("--signal", "post_save")
    assert [row["name"] or row["receiver"] for row in rows] == [
        f"{__name__}.plain",
        "Writes",
        "Saves",
        "Again",
        f"{__name__}.Holder.method",
    ]
    called = [getattr(f, "signal_kit_receiver", None) for f in post_save._live_receivers(Tag)[0]]
    assert [row["name"] for row in rows] == [r and r.name for r in called]


def test_what_is_muted_is_marked(wire: Any) -> None:
    wire(Saves, Writes)
    with muted("Saves"):
        assert [row["is_muted"] for row in show_json("--signal", "post_save")] == [True, False]
        assert show("--signal", "post_save").count("muted") == 1
    with only():
        assert [row["is_muted"] for row in show_json("--signal", "post_save")] == [True, True]
    assert "muted" not in show("--signal", "post_save")


@pytest.mark.parametrize(
    ("function", "path"),
    [
        (plain, f"{__name__}.plain"),
        (Holder().method, f"{__name__}.Holder.method"),
        (Holder(), f"{__name__}.Holder()"),
        (partial(plain, a=1), f"partial({__name__}.plain)"),
        (partial(Holder(), a=1), f"partial({__name__}.Holder())"),
        (lambda **kwargs: None, f"{__name__}.<lambda>"),
        (dict, "builtins.dict"),
    ],
)
def test_whatever_is_connected_has_a_path(
    wire: Any, connect: Any, function: Any, path: str
) -> None:
    connect(order_paid, function)
    wire(EXTRA_SIGNALS={"order_paid": f"{__name__}.order_paid"})
    assert [row["receiver"] for row in show_json("--signal", "order_paid")] == [path]
    assert path in show("--signal", "order_paid")


def test_extra_signals_and_those_of_the_kit_are_shown(wire: Any) -> None:
    wire(Payments, EXTRA_SIGNALS={"order_paid": f"{__name__}.order_paid"})
    rows = show_json("--signal", "order_paid")
    assert [(row["name"], row["sender"]) for row in rows] == [("Payments", "any")]
    assert "order_paid\n" in show()
    assert show_json("--signal", "receiver_failed") == []


def test_senders_have_names(wire: Any, connect: Any) -> None:
    sender = Sender()
    config = apps.get_app_config("testapp")
    wire(EXTRA_SIGNALS={"order_paid": f"{__name__}.order_paid"})
    for one in (None, Tag, Product.tags.through, config, Sender, sender):
        connect(order_paid, plain, one)
    assert [row["sender"] for row in show_json("--signal", "order_paid")] == [
        "any",
        "testapp.Tag",
        "testapp.Product_tags",
        "<TestappConfig: testapp>" if type(config).__name__ == "TestappConfig" else repr(config),
        repr(Sender),
        "<a sender>",
    ]


def test_a_sender_that_nobody_can_name_is_an_id(wire: Any, connect: Any) -> None:
    wire(EXTRA_SIGNALS={"order_paid": f"{__name__}.order_paid"})
    sender = "a text that is its own only name"
    connect(order_paid, plain, sender)
    assert [row["sender"] for row in show_json("--signal", "order_paid")] == [
        f"an object of id {id(sender)}"
    ]


def test_a_receiver_that_is_gone_is_not_shown(wire: Any, connect: Any) -> None:
    wire(EXTRA_SIGNALS={"order_paid": f"{__name__}.order_paid"})
    holder = Holder()
    connect(order_paid, holder, weak=True)
    connect(order_paid, holder.method, weak=True)
    assert len(show_json("--signal", "order_paid")) == 2
    del holder
    gc.collect()
    assert show_json("--signal", "order_paid") == []


def test_a_model_shows_what_hears_it_and_what_hears_all(wire: Any, connect: Any) -> None:
    connect(post_save, plain)
    connect(pre_save, Holder().method, Product)
    wire(Saves, (AUDIT_LOG, {"models": [Product]}))
    rows = show_json("--model", "testapp.Tag")
    assert [(r["signal"], r["sender"], r["name"]) for r in rows if r["name"] != "AuditLog"] == [
        ("post_save", "any", None),
        ("post_save", "testapp.Tag", "Saves"),
        ("post_bulk_create", "testapp.Tag", "Saves"),
        ("post_bulk_update", "testapp.Tag", "Saves"),
    ]
    # The other end of a product's tags is heard through the table between them.
    assert {(r["signal"], r["sender"]) for r in rows if r["name"] == "AuditLog"} == {
        ("m2m_changed", "testapp.Product_tags")
    }
    rows = show_json("--model", "testapp.Product", "--signal", "pre_save")
    assert [row["name"] for row in rows] == [None, "AuditLog"]


def test_a_model_shows_nothing_of_signals_that_are_not_about_rows(wire: Any, connect: Any) -> None:
    wire()
    signals = {row["signal"] for row in show_json()}
    assert {"request_started", "setting_changed", "class_prepared"} <= signals
    assert show_json("--model", "testapp.Tag") == []
    connect(post_migrate, plain, Tag)
    assert [row["signal"] for row in show_json("--model", "testapp.Tag")] == ["post_migrate"]


def test_links_from_and_to_a_model_are_its_own(wire: Any, connect: Any) -> None:
    wire()
    for through in (Person.friends.through, Product.tags.through):
        connect(m2m_changed, plain, through)
    for label, expected in (
        ("testapp.Person", "testapp.Person_friends"),
        ("testapp.Product", "testapp.Product_tags"),
        ("testapp.ProductProxy", "testapp.Product_tags"),
        ("testapp.Tag", "testapp.Product_tags"),
    ):
        assert [row["sender"] for row in show_json("--model", label)] == [expected]


def test_a_table_is_aligned_and_fits_a_screen(wire: Any) -> None:
    wire(
        (AUDIT_LOG, {"models": ["__all__"]}),
        ("django_signal_kit.receivers.CacheInvalidation", {"models": [Tag], "keys": ["t:{pk}"]}),
        InNoHurry,
    )
    lines = show("--model", "testapp.Tag").splitlines()
    header, rows = lines[0], [line for line in lines[1:] if line.startswith(" ")]
    assert header.split() == ["NAME", "ACTS", "SENDER", "RECEIVER"]
    assert len(rows) > 5
    for name in ("ACTS", "SENDER", "RECEIVER"):
        column = header.index(name)
        assert {line[column - 2 : column] for line in rows} == {"  "}
        assert " " not in {line[column] for line in rows}
    assert max(map(len, lines)) <= 120
    assert [line for line in lines if line != line.rstrip()] == []
    assert lines[1] == "pre_save"


def test_the_many_models_of_one_receiver_are_one_line_of_the_table(wire: Any) -> None:
    wire((Saves, {"models": ["testapp.*"], "bulk": False}))
    count = len(show_json("--signal", "post_save"))
    assert count > 15
    lines = show("--signal", "post_save").splitlines()
    assert len(lines) == 3
    assert f"  testapp.Category and {count - 1} more  " in lines[2]


def test_as_many_models_are_named_as_fit(wire: Any) -> None:
    wire((Saves, {"models": [Tag, Person]}))
    assert "  testapp.Tag, testapp.Person  " in show("--signal", "post_save")
    wire((Saves, {"models": [Tag, Person, Token]}))
    assert "  testapp.Tag, testapp.Person and 1 more  " in show("--signal", "post_save")


def test_what_is_called_in_between_keeps_lines_apart(wire: Any, connect: Any) -> None:
    wire()
    other = Holder()
    connect(post_save, plain, Tag)
    connect(post_save, other.method, Tag)
    connect(post_save, plain, Person)
    rows = show("--signal", "post_save").splitlines()[2:]
    assert [line.rpartition(".")[2] for line in rows] == ["plain", "method", "plain"]


def test_collapsing_names_each_sender_once() -> None:
    one = Listing("post_save", ANY, "a.b", None, "at_once", False, False)
    assert list(collapse([one, one])) == [(one, [ANY])]
    assert list(collapse([])) == []


def test_nobody_is_said_so(wire: Any) -> None:
    wire()
    assert show("--signal", "pre_bulk_create") == "No receivers.\n"
    assert show_json("--signal", "pre_bulk_create") == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--signal", "post_safe"], "No signal is named 'post_safe'. Did you mean 'post_save'?"),
        (
            ["--model", "testapp.Prodct"],
            "There is no model 'testapp.Prodct'. Did you mean 'testapp.Product'?",
        ),
        (["--model", "xyz"], "There is no model 'xyz'. Write app_label.Model."),
        (["--model", "a.b.c"], "There is no model 'a.b.c'. Write app_label.Model."),
    ],
)
def test_a_mistake_is_answered_with_a_guess(arguments: list[str], message: str) -> None:
    with pytest.raises(CommandError) as raised:
        show(*arguments)
    assert str(raised.value) == message


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(CommandError, match="invalid choice: 'yaml'"):
        show("--format", "yaml")


def test_the_list_is_the_same_each_time(wire: Any) -> None:
    wire((AUDIT_LOG, {"models": ["__all__"]}), Saves)
    assert show("--format", "json") == show("--format", "json")
    assert list({row["signal"]: None for row in show_json()}) == [
        name for name in dict(get_signals()) if list(get_listings([name]))
    ]


def test_signals_that_nobody_has_named_to_the_kit_are_shown_too(wire: Any, connect: Any) -> None:
    wire()
    connect(order_paid, plain, Tag)
    connect(order_paid, plain_async)
    path = f"{__name__}.order_paid"
    expected = [
        (path, "testapp.Tag", f"{__name__}.plain"),
        (path, "any", f"{__name__}.plain_async"),
    ]
    found = [row for row in show_json() if row["signal"] == path]
    assert [(row["signal"], row["sender"], row["receiver"]) for row in found] == expected
    for name in (path, "order_paid"):
        assert show_json("--signal", name) == found
        assert "connected to it" in show("--why", "testapp.Tag", name, "plain")
    assert "is connected 2 times" not in show("--signal", path)
    assert show_json("--signal", f"{__name__}.quiet") == []


def test_a_signal_is_named_by_the_module_that_made_it(wire: Any, connect: Any) -> None:
    """Who imports it is imported first, and has it as well."""
    importer, maker = ModuleType("a"), ModuleType("zz.zz.signals")
    maker.made = importer.made = Signal()  # type: ignore[attr-defined]
    modules = {"a": importer, "zz.zz.signals": maker}
    with mock.patch.dict(sys.modules, modules):
        connect(maker.made, plain)
        assert [row["signal"] for row in show_json("--signal", "made")] == ["zz.zz.signals.made"]
    importer, maker = ModuleType("a"), ModuleType("zz.zz")
    maker.also = importer.also = Signal()  # type: ignore[attr-defined]
    maker.Signal = Signal  # type: ignore[attr-defined]
    modules = {"a": importer, "zz.zz": maker, "another": ModuleType("another")}
    with mock.patch.dict(sys.modules, modules):
        connect(maker.also, plain)
        assert [row["signal"] for row in show_json("--signal", "also")] == ["zz.zz.also"]


def test_a_signal_without_a_name_is_shown(wire: Any, connect: Any) -> None:
    wire()
    nameless = [Signal()]
    connect(nameless[0], plain)
    with mock.patch.dict(sys.modules, {"imported_since": ModuleType("imported_since")}):
        (row,) = show_json("--signal", "a signal")
    assert row["receiver"] == f"{__name__}.plain"


def test_a_name_that_two_signals_have_is_no_name(wire: Any, connect: Any) -> None:
    wire()
    one, two = ModuleType("one"), ModuleType("two")
    one.doubled, two.doubled = Signal(), Signal()  # type: ignore[attr-defined]
    with mock.patch.dict(sys.modules, {"one": one, "two": two}):
        with pytest.raises(CommandError, match=r"'doubled' is one.doubled and two.doubled. Give"):
            show("--signal", "doubled")
        connect(two.doubled, plain)
        assert show_json("--signal", "doubled") == show_json("--signal", "two.doubled") != []


def test_the_sender_of_many_receivers_is_looked_for_once(wire: Any, connect: Any) -> None:
    """To find out what a text is goes through all objects that there are."""
    wire()
    for number in range(3):
        connect(order_paid, Holder(), f"sender {number}")
    with mock.patch("gc.get_objects", wraps=gc.get_objects) as look:
        assert len(show_json("--signal", "order_paid")) == 3
        assert look.call_count <= 2
        show("--signal", "order_paid")
        # Nor are signals looked for again, if no module has been imported since.
        assert look.call_count <= 3


def test_loading_and_saving_is_unchanged_by_looking(wire: Any, connect: Any) -> None:
    wire(Saves)
    connect(pre_init, plain, Tag)
    before = [list(catalog.get_signal(name).receivers) for name in catalog.get_paths()]
    show()
    after = [list(catalog.get_signal(name).receivers) for name in catalog.get_paths()]
    assert all(
        one is other
        for then, now in zip(before, after, strict=True)
        for one, other in zip(then, now, strict=True)
    )


def test_djangos_test_framework_is_not_imported_to_find_nobody(tmp_path: Path) -> None:
    project = Project(tmp_path, SHOP, ["shop", KIT])
    printed = project.run("""
import sys
from django.core.management import call_command
call_command("showreceivers")
call_command("showreceivers", signal="template_rendered")
print("django.test" in sys.modules)
""")
    assert printed.splitlines()[-2:] == ["No receivers.", "False"]


def test_a_project_that_fails_its_checks_is_still_shown(tmp_path: Path) -> None:
    project = Project(
        tmp_path, SHOP, ["shop", KIT], settings="LANGUAGE_CODE = 'no such language'\n"
    )
    code = "from django.core.management import execute_from_command_line as run\n"
    assert project.start(code + "run(['manage.py', 'check'])").returncode == 1
    assert "setting_changed" in project.run(code + "run(['manage.py', 'showreceivers'])")
