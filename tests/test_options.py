"""Options are the public attributes of the class, and are checked against its annotations."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Optional

import pytest
from django.core.exceptions import ImproperlyConfigured

from django_signal_kit import ModelReceiver, Receiver
from django_signal_kit.options import get_options

if TYPE_CHECKING:
    from nowhere import Unknown


class Typed(Receiver):
    text: str = "text"
    flag: bool = False
    number: int = 1
    share: float = 0.5
    price: Decimal = Decimal("1.5")
    choice: Literal["a", "b"] = "a"
    mixed: bool | Literal["all"] = True
    literal: Literal[1, "one"] = 1
    words: Sequence[str] = ()
    plain: Sequence = ()  # type: ignore[type-arg]
    letters: Iterable[str] = ()
    numbers: list[int] = []
    unique: Collection[int] = ()
    labels: Mapping[str, str] = {}
    table: dict[str, int] = {}
    maybe: str | None = None
    optional: Optional[int] = None  # noqa: UP045
    anything: Any = None
    thing: object = None
    things: Sequence[Any] = ()
    parts: Sequence[str] | None = None
    unknown: Unknown = None
    bare = "bare"
    bare_list = ["a"]
    bare_none = None

    def request_started(self, **kwargs: Any) -> None: ...


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("text", ""),
        ("flag", True),
        ("number", -5),
        ("share", 1.5),
        ("share", 1),
        ("price", Decimal(2)),
        ("choice", "b"),
        ("mixed", False),
        ("mixed", "all"),
        ("literal", "one"),
        ("words", ["a"]),
        ("words", ("a", "b")),
        ("words", {"a"}),
        ("plain", [1, "a"]),
        ("letters", ["a"]),
        ("numbers", (1, 2)),
        ("unique", frozenset([1])),
        ("labels", {"a": "b"}),
        ("table", {}),
        ("maybe", None),
        ("maybe", "x"),
        ("optional", 3),
        ("anything", object()),
        ("anything", True),
        ("thing", True),
        ("things", [1, None, "a"]),
        ("unknown", 5),
        ("bare", "x"),
        ("bare_list", ("a", "b")),
        ("bare_none", 5),
    ],
)
def test_a_value_of_the_right_type_is_set(name: str, value: Any) -> None:
    assert getattr(Typed(**{name: value}), name) is value


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("text", 5, "a string"),
        ("text", None, "a string"),
        ("flag", 1, "True or False"),
        ("flag", "yes", "True or False"),
        ("number", "1", "a whole number"),
        ("number", True, "a whole number"),
        ("number", 1.5, "a whole number"),
        ("share", "0.5", "a number"),
        ("share", False, "a number"),
        ("price", 1.5, "a Decimal"),
        ("choice", "c", "'a' or 'b'"),
        ("choice", ["a"], "'a' or 'b'"),
        ("mixed", "some", "True or False or 'all'"),
        ("mixed", 1, "True or False or 'all'"),
        ("literal", True, "1 or 'one'"),
        ("words", "abc", 'a list, each item a string. Write ["abc"]'),
        ("words", None, "a list, each item a string"),
        ("words", {"a": 1}, "a list, each item a string"),
        ("plain", "abc", 'a list. Write ["abc"]'),
        ("letters", "abc", 'a list, each item a string. Write ["abc"]'),
        ("unique", 5, "a list, each item a whole number"),
        ("labels", [("a", "b")], "a dict"),
        ("table", "a", "a dict"),
        ("maybe", 5, "a string or None"),
        ("optional", "5", "a whole number or None"),
        ("things", "abc", 'a list. Write ["abc"]'),
        ("bare", 5, "a string"),
        ("bare_list", "a", 'a list. Write ["a"]'),
    ],
)
def test_a_value_of_a_wrong_type_is_refused_with_what_it_has_to_be(
    name: str, value: Any, expected: str
) -> None:
    with pytest.raises(ImproperlyConfigured) as raised:
        Typed(**{name: value})
    assert str(raised.value) == (
        f"The option {name!r} of {__name__}.Typed is {value!r}, of type {type(value).__name__}. "
        f"It has to be {expected}. (signal_kit.E007)"
    )


@pytest.mark.parametrize(
    ("name", "value", "item", "expected"),
    [
        ("words", ["a", 1], 1, "a string"),
        ("numbers", [True], True, "a whole number"),
        ("unique", {"a"}, "a", "a whole number"),
        ("parts", [1, "a"], 1, "a string"),
    ],
)
def test_an_item_of_a_wrong_type_is_named(
    name: str, value: Any, item: object, expected: str
) -> None:
    with pytest.raises(ImproperlyConfigured) as raised:
        Typed(**{name: value})
    assert str(raised.value) == (
        f"The option {name!r} of {__name__}.Typed has the item {item!r}, of type "
        f"{type(item).__name__}. Each item has to be {expected}. (signal_kit.E007)"
    )


def test_a_method_in_the_place_of_an_option_is_told_of_its_getter() -> None:
    class Wrong(ModelReceiver):
        def models(self) -> Any: ...  # type: ignore[override]

        def raw(self) -> Any: ...  # type: ignore[override]

    with pytest.raises(ImproperlyConfigured, match=r"'models' of .* is a method. Override get"):
        Wrong()
    with pytest.raises(ImproperlyConfigured, match=r"'raw' of .*Wrong is a method. Rename it"):
        Wrong(models=[])


def test_a_default_of_a_wrong_type_in_a_subclass_is_refused() -> None:
    class Wrong(ModelReceiver):
        models = "shop.*"  # type: ignore[assignment]

    with pytest.raises(ImproperlyConfigured, match=r"'models' of .*Wrong is 'shop\.\*'"):
        Wrong()


def test_an_option_given_makes_good_for_a_wrong_default() -> None:
    class Wrong(ModelReceiver):
        models = "shop.*"  # type: ignore[assignment]

    assert Wrong(models=["testapp.*"]).models == ["testapp.*"]


def test_options_are_the_public_attributes_that_are_not_callable() -> None:
    class Own(ModelReceiver):
        colour = "red"
        _private = 1

        class Inner:
            pass

        @property
        def computed(self) -> int:
            return 1

        @cached_property
        def cached(self) -> int:
            return 1

        @staticmethod
        def helper() -> None: ...

        @classmethod
        def make(cls) -> None: ...

        def post_save(self, **kwargs: Any) -> None: ...

    assert list(get_options(Own)) == [
        "on_error",
        "flush_on",
        "task_options",
        "models",
        "exclude",
        "raw",
        "bulk",
        "atomic",
        "colour",
    ]
    with pytest.raises(ImproperlyConfigured, match="has no option 'computed'"):
        Own(computed=5)


def test_a_subclass_may_give_an_option_another_default() -> None:
    class Own(ModelReceiver):
        on_error = "log"

    assert get_options(Own)["on_error"] == "log"
    assert Own(on_error="raise").on_error == "raise"
    assert Own.on_error == "log"


def test_an_unknown_option_is_answered_with_a_guess() -> None:
    with pytest.raises(ImproperlyConfigured) as raised:
        Typed(nubmer=1)
    assert str(raised.value) == (
        f"{__name__}.Typed has no option 'nubmer'. Did you mean 'number'? (signal_kit.E006)"
    )


def test_an_unknown_option_that_resembles_none_is_answered_with_all() -> None:
    with pytest.raises(ImproperlyConfigured, match="Choose from 'anything', 'bare', "):
        Typed(xyz=1)
