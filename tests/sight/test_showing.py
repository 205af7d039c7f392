"""showreceivers: why, lint, a baseline, a tree and pictures."""

from __future__ import annotations

import gc
import inspect
import json
import shutil
from dataclasses import dataclass
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock, MagicMock, Mock
from xml.etree import ElementTree

import pytest
from django.core.management import CommandError, call_command
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_save
from django.test import override_settings

from django_signal_kit import ModelReceiver, Receiver, muted
from django_signal_kit.receivers import AuditLog, CacheInvalidation, LastModified
from django_signal_kit.sight.story import get_summary
from django_signal_kit.wiring.listing import get_path
from tests.apps.testapp.models import Product, Tag
from tests.management.test_showreceivers import Holder, order_paid

AUDIT_LOG = "django_signal_kit.receivers.AuditLog"


class Index(ModelReceiver):
    """Tells the search engine.

    Later.
    """

    models = ["testapp.Tag"]
    #: Which.
    engine: str = "none"

    def post_save(self, instance: Any, **kwargs: Any) -> None: ...

    def flush(self, items: list[Any]) -> None: ...


class Slow(ModelReceiver):
    models = ["testapp.Tag"]

    async def post_save(self, **kwargs: Any) -> None: ...


class Requests(Receiver):
    def request_started(self, **kwargs: Any) -> None: ...


def plain(**kwargs: Any) -> None:
    """Counts them."""


async def plain_async(**kwargs: Any) -> None: ...


def show(*arguments: str) -> str:
    out = StringIO()
    call_command("showreceivers", *arguments, stdout=out, no_color=True)
    return out.getvalue()


def why(model: str, signal: str, receiver: str) -> str:
    return show("--why", model, signal, receiver)


class TestWhy:
    def test_it_hears(self, wire: Any) -> None:
        wire(Index)
        assert why("testapp.Tag", "post_save", "Index").splitlines() == [
            "Index hears post_save of testapp.Tag.",
            "Not for fixtures: its option raw is False.",
            "Not for rows of QuerySet.update(), unless it has methods for that itself.",
        ]

    def test_by_its_path_too(self, wire: Any) -> None:
        wire((AuditLog, {"models": ["testapp.Tag"]}))
        assert why("testapp.Tag", "post_save", AUDIT_LOG).startswith("AuditLog hears")

    def test_it_leaves_that_to_triggers(self, wire: Any) -> None:
        wire((AuditLog, {"models": ["testapp.Tag", "testapp.Product"], "capture": "triggers"}))
        assert why("testapp.Tag", "post_save", "AuditLog") == (
            "AuditLog does not hear post_save of testapp.Tag.\n"
            "It covers the model, and triggers of the database do its work there.\n"
        )
        for model in ("testapp.Tag", "testapp.Product_tags"):
            assert why(model, "triggers", "AuditLog") == f"AuditLog hears triggers of {model}.\n"

    def test_triggers_are_guessed_too(self, wire: Any) -> None:
        with pytest.raises(CommandError, match="Did you mean 'triggers'"):
            why("testapp.Tag", "trigers", "AuditLog")

    def test_no_trigger_does_the_work_of_others(self, wire: Any) -> None:
        wire(Index)
        assert why("testapp.Tag", "triggers", "Index") == (
            "Index does not hear triggers of testapp.Tag.\nPython does its work, and no trigger.\n"
        )

    @pytest.mark.parametrize(
        ("options", "model", "signal", "reason"),
        [
            ({}, "testapp.Product", "post_save", "models is ['testapp.Tag'], which does not mean"),
            ({"models": []}, "testapp.Tag", "post_save", "models is empty"),
            (
                {"models": ["testapp.*"], "exclude": ["testapp.Tag"]},
                *("testapp.Tag", "post_save"),
                "exclude is ['testapp.Tag'], which leaves testapp.Tag out",
            ),
            ({}, "testapp.Tag", "pre_save", "has no method pre_save(). It has methods for post_"),
            ({"bulk": False}, "testapp.Tag", "post_bulk_create", "hears no bulk write"),
            (
                {"models": ["__all__"]},
                *("signal_kit_audit.AuditEntry", "post_save"),
                "one of the kit's own",
            ),
        ],
    )
    def test_it_does_not(
        self, wire: Any, options: Any, model: str, signal: str, reason: str
    ) -> None:
        wire((Index, options))
        told = why(model, signal, "Index")
        assert told.startswith(f"Index does not hear {signal} of {model}.\n")
        assert reason in told

    def test_a_pattern_skips_what_lacks_something(self, wire: Any) -> None:
        wire((LastModified, {"models": ["testapp.*"], "field": "changed"}))
        assert "A pattern means testapp.Tag, and leaves it out: it has no" in why(
            "testapp.Tag", "pre_save", "LastModified"
        )

    def test_raw_bulk_and_muted(self, wire: Any) -> None:
        wire((Index, {"raw": True, "bulk": False}))
        with muted("Index"):
            told = why("testapp.Tag", "post_save", "Index")
        assert told.splitlines()[1:] == [
            "It is muted here.",
            "Not for rows of bulk writes: its option bulk is False.",
        ]

    def test_a_proxy_has_a_sender_of_its_own(self, wire: Any, make_model: Any) -> None:
        meta = type("Meta", (), {"proxy": True, "app_label": "testapp"})
        make_model("ProxyOfTag", Tag, Meta=meta)
        wire((Index, {"exclude": ["testapp.ProxyOfTag"]}))
        told = why("testapp.Tag", "post_save", "Index")
        assert "Not for what is saved as its proxy testapp.ProxyOfTag." in told

    def test_functions(self, wire: Any, connect: Any) -> None:
        wire()
        path = f"{__name__}.plain"
        assert why("testapp.Tag", "post_save", path).startswith(f"Nothing named '{path}'")
        connect(post_save, plain, Tag)
        assert "It is connected to it." in why("testapp.Tag", "post_save", path)
        assert "plain hears post_save of testapp.Tag" in why("testapp.Tag", "post_save", "plain")
        assert "connected to another sender" in why("testapp.Product", "post_save", path)
        connect(pre_save, plain)
        assert "connected to all senders" in why("testapp.Product", "pre_save", path)

    def test_what_is_nowhere(self, wire: Any) -> None:
        wire(Index)
        assert "Did you mean 'Index'?" in why("testapp.Tag", "post_save", "Indx")
        assert "The module 'shop.handlers' has not been imported" in why(
            "testapp.Tag", "post_save", "shop.handlers.on_save"
        )
        assert "under @register" in why("testapp.Tag", "post_save", "Xyzzy")

    def test_a_function_that_is_gone(self, wire: Any) -> None:
        wire()
        signals_before = list(post_save.receivers)

        def connect_it() -> None:
            def local(**kwargs: Any) -> None: ...

            post_save.connect(local, sender=Tag)
            gc.collect()

        gc.disable()
        try:
            connect_it()
            # Django drops the dead ones at the next send only.
            if len(post_save.receivers) > len(signals_before):
                assert "is gone: Django holds functions weakly" in why(
                    "testapp.Tag", "post_save", "local"
                )
        finally:
            gc.enable()

    def test_mistakes_are_guessed(self, wire: Any) -> None:
        wire(Index)
        with pytest.raises(CommandError, match="Did you mean 'post_save'"):
            why("testapp.Tag", "post_sav", "Index")
        with pytest.raises(CommandError, match=r"Did you mean 'testapp\.Tag'"):
            why("testapp.Tga", "post_save", "Index")


class TestLint:
    def test_nothing(self, wire: Any) -> None:
        wire(Index)
        assert "Nothing is wired" in show("--lint")

    def fail(self) -> str:
        out = StringIO()
        with pytest.raises(CommandError, match=r"(1 thing is|[2-9] things are) wired in a way"):
            call_command("showreceivers", "--lint", stdout=out)
        return out.getvalue()

    def test_a_function_that_is_called_twice(self, wire: Any, connect: Any) -> None:
        wire()
        connect(post_save, plain, Tag)
        post_save.connect(plain, sender=Tag, dispatch_uid="again", weak=False)
        try:
            assert (
                f"post_save: {__name__}.plain is connected 2 times to testapp.Tag" in self.fail()
            )
        finally:
            post_save.disconnect(sender=Tag, dispatch_uid="again")

    def test_to_all_and_to_one(self, wire: Any, connect: Any) -> None:
        wire()
        connect(post_save, plain, Tag)
        connect(post_save, plain)
        assert "to all senders, and to testapp.Tag once more: it is called twice" in self.fail()

    @pytest.mark.parametrize("signal", [post_delete, m2m_changed])
    def test_all_senders(self, wire: Any, connect: Any, signal: Any) -> None:
        wire()
        connect(signal, plain)
        assert "is connected to all senders, which" in self.fail()

    def test_async_receivers_of_rows(self, wire: Any, connect: Any) -> None:
        wire(Slow)
        connect(pre_save, plain_async, Tag)
        told = self.fail()
        assert f"post_save: {__name__}.Slow" in told
        assert f"pre_save: {__name__}.plain_async is async" in told

    def test_closures_that_are_held_weakly(self, wire: Any) -> None:
        wire()

        def local(**kwargs: Any) -> None: ...

        post_save.connect(local, sender=Tag)
        try:
            assert "is defined within a function and held weakly" in self.fail()
        finally:
            post_save.disconnect(local, sender=Tag)

    def test_two_logs(self, wire: Any) -> None:
        options = {"models": ["testapp.Tag"]}
        wire((AuditLog, options), {"RECEIVER": AUDIT_LOG, "NAME": "Again", "OPTIONS": options})
        assert "testapp.Tag is covered by AuditLog and Again" in self.fail()


class TestBaseline:
    def write(self, path: Path) -> None:
        path.write_text(show("--format", "json"), encoding="utf-8")

    def fail(self, path: Path) -> list[str]:
        out = StringIO()
        with pytest.raises(CommandError, match="changed"):
            call_command("showreceivers", "--check", str(path), stdout=out)
        return out.getvalue().splitlines()

    def test_it_passes_as_long_as_nothing_changes(self, wire: Any, tmp_path: Path) -> None:
        wire(Index)
        self.write(tmp_path / "b.json")
        assert show("--check", str(tmp_path / "b.json")) == "Nothing has changed.\n"
        with muted("Index"):
            assert show("--check", str(tmp_path / "b.json")) == "Nothing has changed.\n"

    def test_what_changes_is_said(self, wire: Any, tmp_path: Path, connect: Any) -> None:
        path = tmp_path / "b.json"
        connect(post_save, plain, Tag)
        wire(Index)
        self.write(path)
        wire((Index, {"flush_on": "before_commit", "models": [Tag, Product]}))
        lines = self.fail(path)
        own = f"post_save of testapp.Tag: {__name__}.Index (Index)"
        assert f"~ {own}: acts is 'before_commit', was 'after_commit'" in lines
        assert f"+ post_save of testapp.Product: {__name__}.Index (Index)" in lines
        post_save.disconnect(plain, sender=Tag)
        assert f"- post_save of testapp.Tag: {__name__}.plain" in self.fail(path)

    def test_where_an_object_lies_is_no_change(
        self, wire: Any, tmp_path: Path, connect: Any
    ) -> None:
        file = tmp_path / "receivers.json"
        wire()
        kept = []
        for number in range(2):
            kept += [object.__new__(type("Till", (), {})), f"a text {number}"]
            for sender in kept[-2:]:
                connect(order_paid, plain, sender)
            if number == 0:
                file.write_text(show("--format", "json"), encoding="utf-8")
                for sender in kept:
                    order_paid.disconnect(plain, sender=sender)
        assert show("--check", str(file)) == "Nothing has changed.\n"

    def test_another_order_is_a_change(self, wire: Any, tmp_path: Path) -> None:
        path = tmp_path / "b.json"
        wire(Index, {"RECEIVER": f"{__name__}.Index", "NAME": "Again"})
        self.write(path)
        wire({"RECEIVER": f"{__name__}.Index", "NAME": "Again"}, Index)
        assert self.fail(path) == ["~ the order of the calls is another one"]

    @pytest.mark.parametrize("content", [None, "", "{}", "[1]", '[{"signal": "x"}]'])
    def test_a_file_that_is_no_baseline(
        self, wire: Any, tmp_path: Path, content: str | None
    ) -> None:
        wire()
        path = tmp_path / "b.json"
        if content is not None:
            path.write_text(content, encoding="utf-8")
        with pytest.raises(CommandError, match=r"cannot be read: .* --format json > "):
            show("--check", str(path))


def test_the_tree_tells_what_happens_in_order(wire: Any, connect: Any) -> None:
    connect(post_save, plain, Tag)
    wire((AuditLog, {"models": ["testapp.Tag"]}), (Index, {"engine": "tantivy"}))
    lines = show("testapp.Tag", "--format", "tree").splitlines()
    assert lines[0] == "testapp.Tag"
    start = lines.index("├─ save()")
    block = lines[start + 1 : lines.index("├─ delete()")]
    assert block[0] == "│  ├─ pre_save"
    assert block[2] == "│  ├─ post_save"
    assert block[3:] == [
        f"│  │  ├─ {__name__}.plain",
        "│  │  ├─ AuditLog",
        "│  │  └─ Index",
        "│  ├─ then, before the commit: AuditLog",
        "│  └─ after the commit: Index",
    ]
    start = lines.index("Index")
    assert lines[start:] == [
        "Index",
        "    Tells the search engine.",
        "    models = ['testapp.Tag']",
        "    engine = 'tantivy'",
    ]
    start = lines.index(f"{__name__}.plain")
    place = f"    tests/sight/test_showing.py:{inspect.getsourcelines(plain)[1]}"
    assert lines[start + 1 : start + 3] == [place, "    Counts them."]
    assert max(map(len, lines)) <= 100


def test_what_hears_rows_of_links_is_not_called_for_a_row(wire: Any, connect: Any) -> None:
    """A through model has signals of its own, which no write of a product sends."""
    wire()
    through = Product.tags.through
    connect(post_save, plain, through)
    assert "plain" not in show("testapp.Product", "--format", "tree")
    assert "plain does not hear" in why("testapp.Product", "post_save", "plain")
    connect(m2m_changed, plain, through)
    assert f"m2m_changed\n      └─ {__name__}.plain" in show("testapp.Product", "--format", "tree")
    assert "plain hears m2m_changed" in why("testapp.Product", "m2m_changed", "plain")


def test_a_docstring_is_told_without_what_sphinx_needs(wire: Any) -> None:
    wire((CacheInvalidation, {"models": ["testapp.Tag"], "keys": ["tag:{pk}"]}))
    told = " ".join(show("testapp.Tag", "--format", "tree").split())
    assert "touches tags that are: what tagged has cached with one of them" in told
    assert get_summary(documented) == "Calls shop.send() of Mailer once, with to_all."


def documented() -> None:
    """Calls :func:`shop.send()` of :class:`~shop.mail.Mailer` once, with ``to_all``. Else not."""


@pytest.mark.parametrize("kind", [Mock, MagicMock, AsyncMock])
@pytest.mark.parametrize("given", [(), ("--format", "tree"), ("--format", "svg"), ("--mine",)])
def test_a_mock_is_not_the_kits(
    wire: Any, connect: Any, kind: Any, given: tuple[str, ...]
) -> None:
    wire(Index)
    connect(post_save, kind(), sender=Tag)
    shown = show("testapp.Tag", *given)
    assert (f"unittest.mock.{kind.__name__}()" in shown) is ("--mine" not in given)


def test_a_tree_is_about_a_model(wire: Any) -> None:
    wire()
    with pytest.raises(CommandError, match="is about one model"):
        show("--format", "tree")


def test_pictures_name_everybody_and_are_escaped(wire: Any, connect: Any) -> None:
    class Odd:
        def __repr__(self) -> str:
            return '<b>"odd" & more</b>'

    sender = Odd()
    connect(post_save, plain, sender)
    wire(Index)
    for kind in ("mermaid", "dot", "svg"):
        text = show("--signal", "post_save", "--format", kind)
        assert "Index" in text
        assert f"{__name__}.plain" in text
    tree = ElementTree.fromstring(show("--signal", "post_save", "--format", "svg"))
    texts = [node.text for node in tree.iter("{http://www.w3.org/2000/svg}text")]
    assert '<b>"odd" & more</b>' in texts
    mermaid = show("--name", "Index", "--signal", "post_save", "--format", "mermaid")
    assert mermaid.splitlines() == [
        "flowchart LR",
        '  s0["testapp.Tag"]',
        '  r1["Index"]',
        '  s0 -->|"post_save"| r1',
    ]


def test_a_picture_for_mermaid_has_no_html(wire: Any, connect: Any) -> None:
    """It would take the name of a lambda for an element, and leave it out."""
    wire()
    connect(post_save, lambda **kwargs: None, Tag)
    text = show("testapp.Tag", "--signal", "post_save", "--format", "mermaid")
    assert '.#60;lambda#62;"]' in text
    assert ".#60;locals#62;." in text
    assert set(text) & set("<&'") == set()


@dataclass
class Unhashable:
    """Two that are equal have no hash."""

    number: int = 1

    def __call__(self, **kwargs: Any) -> None: ...


class Anything:
    """Has every attribute, as proxies of objects elsewhere have."""

    def __getattr__(self, name: str) -> str:
        if name in ("__self__", "__func__"):
            raise AttributeError(name)
        return f"<{name}>"

    def __call__(self, **kwargs: Any) -> None: ...


@override_settings(DEBUG=False)
@pytest.mark.parametrize("make", [Unhashable, Anything, lambda: partial(plain, number=1)])
def test_whatever_django_calls_is_shown_in_all_ways(wire: Any, connect: Any, make: Any) -> None:
    wire(Index)
    receiver = make()
    connect(post_save, receiver, Tag)
    connect(pre_save, receiver, Tag)
    for kind in ("table", "json", "mermaid", "dot", "svg"):
        assert "Index" in show("testapp.Tag", "--format", kind)
    tree = show("testapp.Tag", "--format", "tree")
    assert tree.count(f"\n{get_path(receiver)}\n    ") == 1
    assert "Create a new function with partial" not in tree
    assert show("--lint") == "Nothing is wired in a way that bites later.\n"


def test_an_object_that_is_called_is_in_the_file_of_its_class(wire: Any, connect: Any) -> None:
    wire()
    connect(post_save, Holder(), Tag)
    line = inspect.getsourcelines(Holder)[1]
    assert f"test_showreceivers.py:{line}\n" in show("testapp.Tag", "--format", "tree")


def test_a_function_that_wraps_itself_has_no_file(wire: Any, connect: Any) -> None:
    def odd(**kwargs: Any) -> None: ...

    odd.__wrapped__ = odd  # type: ignore[attr-defined]
    wire()
    connect(post_save, odd, Tag)
    assert "<locals>.odd" in show("testapp.Tag", "--format", "tree")


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not here")
def test_graphviz_reads_it(wire: Any, tmp_path: Path) -> None:
    import subprocess

    wire(Index)
    subprocess.run(["dot", "-Tsvg"], input=show("--format", "dot"), text=True, check=True)


def test_one_receiver_and_ones_own(wire: Any, connect: Any) -> None:
    connect(post_save, plain, Tag)
    wire((AuditLog, {"models": ["testapp.Tag"]}), Index)

    def names(*arguments: str) -> set[str]:
        rows = json.loads(show("--signal", "post_save", "--format", "json", *arguments))
        return {row["receiver"] for row in rows}

    assert names("--name", "Index") == {f"{__name__}.Index"}
    assert names("--name", AUDIT_LOG) == {AUDIT_LOG}
    assert names("--mine") == {f"{__name__}.Index", f"{__name__}.plain"}
    with pytest.raises(CommandError, match="Did you mean 'Index'"):
        names("--name", "Indx")


def test_a_model_can_be_named_without_an_option(wire: Any) -> None:
    wire(Index)
    assert show("testapp.Tag") == show("--model", "testapp.Tag")


class Unshown:
    def __repr__(self) -> str:
        raise RuntimeError("no")


def test_a_sender_that_cannot_be_shown_is_named_by_its_class(wire: Any, connect: Any) -> None:
    sender = Unshown()
    connect(post_save, plain, sender)
    wire()
    assert f"an object of {__name__}.Unshown" in show("--signal", "post_save")


class Long:
    def __repr__(self) -> str:
        return "two\nlines " + "x" * 1000


def test_a_sender_has_one_line(wire: Any, connect: Any) -> None:
    sender = Long()
    connect(post_save, plain, sender)
    wire()
    (line,) = [line for line in show("--signal", "post_save").splitlines() if "two" in line]
    assert "two lines xxx" in line
    assert "x… " in line
    assert len(line) < 200


def test_a_model_is_named_once(wire: Any) -> None:
    wire()
    with pytest.raises(CommandError, match="Name the model once"):
        show("testapp.Tag", "--model", "testapp.Product")


class TestTriggers:
    """Where triggers do the work of a receiver, who asks for receivers has to see it."""

    @pytest.fixture(autouse=True)
    def _log(self, wire: Any) -> None:
        wire((AuditLog, {"models": ["testapp.Product"], "capture": "triggers"}), Index)

    def test_the_table_has_them_below_the_signals(self) -> None:
        heading, line = show("testapp.Product").splitlines()[-2:]
        assert heading == "triggers"
        assert line.split() == [
            *("AuditLog", "at", "once", "testapp.Product,", "testapp.Product_tags", AUDIT_LOG)
        ]
        assert "triggers" not in show("testapp.Tag", "--signal", "post_save")

    def test_from_the_other_side_of_links_too(self) -> None:
        line = show("testapp.Tag").splitlines()[-1]
        assert line.split() == ["AuditLog", "at", "once", "testapp.Product_tags", AUDIT_LOG]

    def test_they_can_be_asked_for(self) -> None:
        rows = json.loads(show("--signal", "triggers", "--format", "json"))
        assert [(row["sender"], row["name"], row["acts"]) for row in rows] == [
            ("testapp.Product", "AuditLog", "at_once"),
            ("testapp.ProductProxy", "AuditLog", "at_once"),
            ("testapp.Product_tags", "AuditLog", "at_once"),
        ]
        assert "post_save" not in {row["signal"] for row in rows}

    def test_who_is_muted_is_so_for_triggers(self) -> None:
        with muted("AuditLog"):
            assert "at once, muted" in show("--signal", "triggers")

    def test_the_tree_has_them_last(self) -> None:
        lines = show("testapp.Product", "--format", "tree").splitlines()
        assert lines[1:4] == [
            "└─ rows change in the database, whoever writes",
            "   └─ triggers",
            "      └─ AuditLog",
        ]
        assert lines[-4:] == [
            "AuditLog",
            "    Writes one entry for each change of a covered row, or none if nothing changed.",
            "    models = ['testapp.Product']",
            "    capture = 'triggers'",
        ]

    def test_a_picture_has_them(self) -> None:
        assert '-->|"triggers"|' in show("testapp.Product", "--format", "mermaid")
