"""What the database itself deletes or changes is not heard, and a check says so beforehand."""

from __future__ import annotations

from typing import Any

import django
import pytest
from django.conf import settings
from django.core.checks import Warning
from django.db import connection, models
from django.test.utils import override_settings

from django_signal_kit import ModelReceiver
from django_signal_kit.checks import check_signal_kit
from tests.apps.testapp.models import Category, Person, Place, Tag
from tests.factories import CategoryFactory, PersonFactory, TagFactory

pytestmark = pytest.mark.django_db(transaction=True)

only_where_the_database_does_it = pytest.mark.skipif(
    django.VERSION < (6, 1), reason="Django 6.1 is the first that has DB_CASCADE."
)


class Deletions(ModelReceiver):
    models = ["testapp.*"]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.heard: list[str] = []

    def post_delete(self, sender: Any, **kwargs: Any) -> None:
        self.heard.append(sender.__name__)


class MoreDeletions(Deletions):
    def pre_delete(self, **kwargs: Any) -> None: ...


class Updates(ModelReceiver):
    models = ["testapp.*"]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.heard: list[Any] = []

    def post_queryset_update(self, sender: Any, values: Any, **kwargs: Any) -> None:
        self.heard.append((sender.__name__, dict(values)))


class Rows(ModelReceiver):
    models = ["testapp.*"]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.heard: list[str] = []

    def post_save(self, sender: Any, **kwargs: Any) -> None:
        self.heard.append(sender.__name__)


def on_delete(name: str) -> Any:
    return getattr(models, name)


def get_warnings() -> list[str]:
    messages = check_signal_kit()
    assert all(isinstance(message, Warning) for message in messages)
    return [f"{message.obj}: {message.msg} ({message.id})" for message in messages]


def test_what_django_deletes_and_changes_itself_is_not_warned_of(wire: Any) -> None:
    wire(Deletions, Updates, (Rows, {"bulk": "all"}))
    assert get_warnings() == []


@only_where_the_database_does_it
def test_children_that_the_database_deletes_are_not_heard_and_the_check_said_so(
    wire: Any, make_model: Any
) -> None:
    step = make_model("Step", models.Model, tag=models.ForeignKey(Tag, on_delete("DB_CASCADE")))
    receiver = wire(Deletions)
    (message,) = check_signal_kit()
    assert isinstance(message, Warning)
    assert str(message) == (
        "testapp.Step.tag: (signal_kit.W002) The rows that DB_CASCADE deletes are not told to "
        "Deletions: the database deletes them, and Django sends no signal.\n\tHINT: Write "
        "on_delete=CASCADE, or leave testapp.Step out by the option 'exclude', or add "
        "'signal_kit.W002' to SILENCED_SYSTEM_CHECKS."
    )
    tag = TagFactory()
    step.objects.create(tag=tag)
    tag.delete()
    assert not step.objects.exists()
    assert receiver.heard == ["Tag"]


@only_where_the_database_does_it
@pytest.mark.parametrize(("name", "key"), [("DB_SET_NULL", None), ("DB_SET_DEFAULT", 1)])
def test_rows_that_the_database_changes_are_not_heard_and_the_check_said_so(
    wire: Any, make_model: Any, name: str, key: int | None
) -> None:
    if name == "DB_SET_DEFAULT" and not connection.features.supports_on_delete_db_default:
        pytest.skip("This database has no SET DEFAULT.")
    default = {} if key is None else {"db_default": models.Value(key)}
    step = make_model(
        "Step", models.Model, tag=models.ForeignKey(Tag, on_delete(name), null=True, **default)
    )
    updates, rows = wire(Updates, (Rows, {"bulk": "all"}))
    assert get_warnings() == [
        f"testapp.Step.tag: The rows that {name} changes are not told to Updates, Rows: the "
        f"database changes them, and Django sends no signal. (signal_kit.W002)"
    ]
    TagFactory(pk=1)
    tag = TagFactory(pk=2)
    row = step.objects.create(tag=tag)
    updates.heard.clear()
    rows.heard.clear()
    tag.delete()
    row.refresh_from_db()
    assert row.tag_id == key
    assert updates.heard == rows.heard == []


@only_where_the_database_does_it
def test_the_remedy_helps(wire: Any, make_model: Any) -> None:
    step = make_model("Step", models.Model, tag=models.ForeignKey(Tag, models.CASCADE))
    null = models.ForeignKey(Tag, models.SET_NULL, null=True)
    clue = make_model("Clue", models.Model, tag=null)
    deletions, updates, rows = wire(Deletions, Updates, (Rows, {"bulk": "all"}))
    assert get_warnings() == []
    tag = TagFactory()
    step.objects.create(tag=tag)
    clue.objects.create(tag=tag)
    rows.heard.clear()
    tag.delete()
    assert sorted(deletions.heard) == ["Step", "Tag"]
    assert updates.heard == [("Clue", {"tag": None})]
    assert rows.heard == ["Clue"]


@only_where_the_database_does_it
def test_each_foreign_key_is_told_once_with_all_who_miss_it(wire: Any, make_model: Any) -> None:
    make_model(
        "Step",
        models.Model,
        tag=models.ForeignKey(Tag, on_delete("DB_CASCADE")),
        category=models.ForeignKey(Category, on_delete("DB_SET_NULL"), null=True),
        person=models.ForeignKey(Person, models.CASCADE),
    )
    wire(Deletions, MoreDeletions, Updates)
    first, second = get_warnings()
    assert first.startswith("testapp.Step.tag: The rows that DB_CASCADE deletes are not told to ")
    assert " Deletions, MoreDeletions: " in first
    assert second.startswith("testapp.Step.category: The rows that DB_SET_NULL changes ")
    assert " Updates: " in second


@only_where_the_database_does_it
@pytest.mark.parametrize(
    ("entry", "keys"),
    [
        ((Deletions, {"exclude": ["testapp.Step"]}), {}),
        ((Updates, {"exclude": ["testapp.Step"]}), {}),
        ((Deletions, {"models": ["testapp.Tag"]}), {}),
        ((Rows, {"bulk": True}), {}),
        ((Updates, {}), {"BULK_SIGNALS": False}),
        ((Rows, {"bulk": "all"}), {"BULK_SIGNALS": False}),
    ],
)
def test_who_would_not_have_heard_it_anyway_misses_nothing(
    wire: Any, make_model: Any, entry: Any, keys: Any
) -> None:
    make_model(
        "Step",
        models.Model,
        category=models.ForeignKey(Category, on_delete("DB_SET_NULL"), null=True),
        tag=models.ForeignKey(Tag, on_delete("DB_CASCADE")),
    )
    wire(entry, **keys)
    assert get_warnings() == []


@only_where_the_database_does_it
def test_a_multi_table_child_that_goes_with_its_parents_row_is_warned_of(
    wire: Any, make_model: Any
) -> None:
    link = models.OneToOneField(Place, on_delete("DB_CASCADE"), parent_link=True)
    inn = make_model("Inn", Place, place_ptr=link)
    receiver = wire((Deletions, {"models": [inn]}))
    assert [warning.partition(":")[0] for warning in get_warnings()] == ["testapp.Inn.place_ptr"]
    inn.objects.create(name="x")
    Place.objects.get().delete()
    assert not inn.objects.exists()
    assert receiver.heard == []


@only_where_the_database_does_it
def test_an_inherited_foreign_key_is_the_parents(wire: Any, make_model: Any) -> None:
    category = models.ForeignKey(Category, on_delete("DB_SET_NULL"), null=True)
    house = make_model("House", models.Model, category=category)
    make_model("Villa", house)
    make_model("HouseProxy", house, meta={"proxy": True})
    wire(Updates)
    assert [warning.partition(":")[0] for warning in get_warnings()] == ["testapp.House.category"]


@only_where_the_database_does_it
def test_a_through_model_of_ones_own_is_warned_of(wire: Any, make_model: Any) -> None:
    seat = make_model(
        "Seat",
        models.Model,
        category=models.ForeignKey(Category, on_delete("DB_CASCADE")),
        person=models.ForeignKey(Person, on_delete("DB_CASCADE")),
    )
    receiver = wire(Deletions)
    assert [warning.partition(":")[0] for warning in get_warnings()] == [
        "testapp.Seat.category",
        "testapp.Seat.person",
    ]
    person = PersonFactory()
    seat.objects.create(category=CategoryFactory(), person=person)
    person.delete()
    assert not seat.objects.exists()
    assert receiver.heard == ["Person"]


@only_where_the_database_does_it
def test_an_audit_log_misses_both(wire: Any, make_model: Any) -> None:
    make_model(
        "Step",
        models.Model,
        category=models.ForeignKey(Category, on_delete("DB_SET_NULL"), null=True),
        tag=models.ForeignKey(Tag, on_delete("DB_CASCADE")),
    )
    wire(("django_signal_kit.receivers.AuditLog", {"models": ["testapp.*"]}))
    first, second = get_warnings()
    assert "changes are not told to AuditLog" in first
    assert "deletes are not told to AuditLog" in second


@only_where_the_database_does_it
def test_the_check_may_be_silenced(wire: Any, make_model: Any) -> None:
    make_model("Step", models.Model, tag=models.ForeignKey(Tag, on_delete("DB_CASCADE")))
    wire(Deletions)
    (message,) = check_signal_kit()
    assert not message.is_silenced()
    with override_settings(SILENCED_SYSTEM_CHECKS=["signal_kit.W002"]):
        assert message.is_silenced()


@only_where_the_database_does_it
def test_a_mistake_in_the_settings_comes_first(
    wire: Any, make_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_model("Step", models.Model, tag=models.ForeignKey(Tag, on_delete("DB_CASCADE")))
    signal_kit = {"RECEIVERS": [f"{__name__}.Deletions"], "BULK_SIGNALS": "no"}
    with monkeypatch.context() as patch:
        patch.setattr(settings, "SIGNAL_KIT", signal_kit)
        (message,) = check_signal_kit()
    assert message.id == "signal_kit.E002"
