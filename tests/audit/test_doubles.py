"""Two logs that record the same changes are told, with the models."""

from __future__ import annotations

from typing import Any

from django_signal_kit.checks import check_signal_kit
from django_signal_kit.receivers import AuditLog

PATH = "django_signal_kit.receivers.AuditLog"
HERE = __name__
HINT = "Leave it to one of them, by the options 'models' and 'exclude'."


class OnlyUpdates(AuditLog):
    def should_record(self, instance: Any, action: str, changes: Any) -> bool:
        return action == "update"


class Elsewhere(AuditLog):
    def flush(self, items: list[Any]) -> None: ...


class Shouting(AuditLog):
    """Tells the same, louder."""

    def get_object_text(self, instance: Any) -> str:
        return str(instance).upper()


def entry(name: str, *models: str, path: str = PATH, **options: Any) -> dict[str, Any]:
    return {"RECEIVER": path, "NAME": name, "OPTIONS": {"models": list(models), **options}}


def get_messages() -> list[str]:
    messages = [message for message in check_signal_kit() if message.id == "signal_kit.W010"]
    assert all((message.hint, message.level) == (HINT, 30) for message in messages)
    return [str(message.msg) for message in messages]


def test_the_model_that_two_logs_cover_is_named(wire: Any) -> None:
    wire(entry("All", "testapp.*"), entry("Tags", "testapp.Tag"))
    assert get_messages() == ["All and Tags cover testapp.Tag: each change is recorded twice."]


def test_a_proxy_is_no_second_model_and_a_child_is(wire: Any) -> None:
    wire(entry("All", "testapp.*"), entry("Goods", "testapp.Product", "testapp.Place"))
    assert get_messages() == [
        "All and Goods cover testapp.Product, testapp.Place and testapp.Restaurant: each change "
        "is recorded twice."
    ]


def test_a_proxy_alone_is_named(wire: Any) -> None:
    wire(entry("Proxies", "testapp.ProductProxy"), entry("Same", "testapp.ProductProxy"))
    assert get_messages() == [
        "Proxies and Same cover testapp.ProductProxy: each change is recorded twice."
    ]


def test_of_many_models_some_are_named(wire: Any) -> None:
    wire(entry("All", "__all__"), entry("App", "testapp.*"))
    [message] = get_messages()
    assert message.startswith("All and App cover testapp.")
    assert message.count("testapp.") == 5
    assert " more: each change is recorded twice." in message


def test_three_are_told_together_and_two_by_themselves(wire: Any) -> None:
    wire(
        entry("One", "testapp.Tag", "testapp.Page"),
        entry("Two", "testapp.Tag", "testapp.Page"),
        entry("Three", "testapp.Tag"),
    )
    assert sorted(get_messages()) == [
        "One and Two cover testapp.Page: each change is recorded twice.",
        "One, Two and Three cover testapp.Tag: each change is recorded 3 times.",
    ]


def test_a_subclass_that_only_tells_it_otherwise_is_a_second_log(wire: Any) -> None:
    wire(entry("One", "testapp.Tag"), entry("Loud", "testapp.Tag", path=f"{HERE}.Shouting"))
    assert len(get_messages()) == 1


def test_logs_that_share_nothing_are_no_doubles(wire: Any) -> None:
    wire(
        entry("Tags", "testapp.Tag"),
        entry("Others", "testapp.*", exclude=["testapp.Tag"]),
    )
    assert get_messages() == []


def test_who_shares_out_what_is_recorded_is_not_told_of(wire: Any) -> None:
    wire(
        entry("All", "testapp.*"),
        entry("Updates", "testapp.Tag", path=f"{HERE}.OnlyUpdates"),
        entry("Elsewhere", "testapp.Tag", path=f"{HERE}.Elsewhere"),
    )
    assert get_messages() == []
