"""What cannot be had with triggers is refused, and what is given up is said."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import django
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, models
from django.test.utils import CaptureQueriesContext, override_settings
from django.utils.translation import gettext_lazy

from django_signal_kit.audit.capture import standing
from django_signal_kit.audit.capture.installing import drop, install
from django_signal_kit.audit.capture.naming import find_template
from django_signal_kit.audit.capture.wanted import compare, list_installed
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.checks import check_log_tables, check_signal_kit
from django_signal_kit.exceptions import TriggersMissingError
from django_signal_kit.receivers import AuditLog
from tests.apps.testapp.models import Product, Tag
from tests.audit.capture.both import alone
from tests.factories import ProductFactory, TagFactory

pytestmark = pytest.mark.django_db(transaction=True)


def capturing(**options: Any) -> Any:
    return AuditLog, {"models": ["testapp.Tag"], "capture": "triggers", **options}


class Choosy(AuditLog):
    def should_record(self, *args: Any) -> bool:
        return False


class Naming(AuditLog):
    def get_object_text(self, instance: models.Model) -> str:
        return "a row"


class Hearing(AuditLog):
    def post_init(self, **kwargs: Any) -> None: ...


@pytest.fixture
def _clean() -> Iterator[None]:
    yield
    drop("default", list_installed("default"))
    standing.forget()


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        (capturing(hash_secrets=True), "hash_secrets=True: the key of the hashes would stand"),
        (capturing(old_values="snapshot"), "old_values='snapshot': a trigger has the old row"),
        (capturing(contract="best_effort"), "contract='best_effort': a trigger and its write"),
        (capturing(bulk="statement"), "bulk='statement': a trigger hears each row"),
        (capturing(flush_on="after_commit"), "flush_on='after_commit': a trigger writes at once"),
        ((Choosy, capturing()[1]), "overrides should_record(), which nobody calls"),
        ((Naming, capturing()[1]), "Give the option 'object_text' a template"),
        ((Hearing, capturing()[1]), "overrides post_init(), which nobody calls"),
        (capturing(object_text={"testapp.Tug": "{name}"}), "Did you mean 'testapp.Tag'?"),
        (capturing(object_text={"testapp.Tag": "{title}"}), "has {title}, and the fields are: id"),
        (capturing(object_text={"testapp.Tag": "{name"}), "'{name' is no template"),
        (
            capturing(object_text={"testapp.Tag": "{name!r}"}),
            "'{name!r}' says how {name} is to be written, and a trigger writes as str() does",
        ),
        (capturing(object_text={"testapp.Tag": gettext_lazy("{name}")}), "is no text, the same"),
        (capturing(object_text={"testapp.Tag": None}), "for testapp.Tag: None is no text"),
        (
            capturing(models=["testapp.Product"], object_text={"testapp.ProductProxy": "{name}"}),
            "has 'testapp.ProductProxy', a proxy, whose rows are called as those of "
            "testapp.Product. Did you mean",
        ),
        (
            capturing(object_text={"testapp.Tag": "{name}"}, redact=["name"]),
            "has {name}, which is a secret",
        ),
        (
            (AuditLog, {"models": ["testapp.Tag"], "object_text": {"testapp.Tag": "{name}"}}),
            "has 'object_text', which is for triggers",
        ),
    ],
)
def test_what_triggers_cannot_do_is_refused(wire: Any, entry: Any, said: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"signal_kit\.E07") as caught:
        wire(entry)
    assert said in str(caught.value)


@pytest.mark.usefixtures("_clean")
@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("", "|"),
        ("{{name}} 100% '\"\\ %s\n😀", "{name} 100% '\"\\ %s\n😀|{name} 100% '\"\\ %s\n😀"),
        ("{name} {category} {price} {image}", "Tea None 1.50 |Pot None 1.50 "),
    ],
)
def test_a_template_may_have_any_text_and_fields_without_a_value(
    wire: Any, template: str, said: str
) -> None:
    with alone():
        wire(
            capturing(models=["testapp.Product"], object_text={"testapp.Product": template}),
        )
        install("default")
        ProductFactory(name="Tea", price="1.50")
        Product.objects.update(name="Pot")
    entries = AuditEntry.objects.order_by("pk").values_list("object_text", flat=True)
    assert "|".join(entries) == said


class InNoLog:
    """A router that keeps the log in the other database."""

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return "other" if model is AuditEntry else None


def test_a_log_in_another_database_is_refused(wire: Any) -> None:
    with (
        override_settings(DATABASE_ROUTERS=[f"{__name__}.InNoLog"]),
        pytest.raises(ImproperlyConfigured, match="of which the log is in 'other'"),
    ):
        wire(capturing())


def get_warnings(id: str, databases: Any = None) -> list[str]:
    found = check_log_tables(databases=databases) if databases else check_signal_kit()
    return [each.msg for each in found if each.id == f"signal_kit.{id}"]


def test_what_python_goes_on_recording_is_said(wire: Any) -> None:
    wire(capturing(models=["testapp.Tag", "testapp.Restaurant", "testapp.Place"]))
    assert get_warnings("W028") == [
        "AuditLog records testapp.Place by Python, not by triggers: testapp.Place has the "
        "multi-table child testapp.Restaurant, whose rows are in two tables.",
        "AuditLog records testapp.Restaurant by Python, not by triggers: testapp.Restaurant is a "
        "multi-table child, whose rows are in two tables.",
    ]


@pytest.mark.usefixtures("_clean")
def test_a_model_is_recorded_by_one_of_the_two_as_a_whole(wire: Any) -> None:
    wire(capturing(models=["testapp.Tag", "testapp.Restaurant"]))
    install("default")
    from tests.apps.testapp.models import Restaurant

    Restaurant.objects.create(name="Inn")
    TagFactory(name="hot")
    told = AuditEntry.objects.order_by("pk").values_list("content_type__model", "action")
    assert list(told) == [("restaurant", "create"), ("tag", "create")]


_OPTIONS: dict[str, dict[str, Any]] = {
    "CharField": {"max_length": 9},
    "DecimalField": {"max_digits": 9, "decimal_places": 2},
    "FilePathField": {"path": "/"},
}


def test_of_each_field_of_django_triggers_can_tell(wire: Any, make_model: Any) -> None:
    names = (*models.fields.__all__, "FileField", "ImageField", "JSONField")
    # Without those that were taken out, and the keys that Django makes.
    fields = {
        name.lower(): getattr(models, name)(null=True, **_OPTIONS.get(name, {}))
        for name in names
        if name.endswith("Field") and name != "Field" and "Auto" not in name
        if getattr(models, name).system_check_removed_details is None
    }
    assert len(fields) > 20
    with alone():
        wire(capturing(models=[make_model("Holder", models.Model, **fields)]))
        assert get_warnings("W028") == []


@pytest.mark.usefixtures("_clean")
@pytest.mark.parametrize("of", ["rows", "links"])
def test_a_table_with_quotes_in_its_name_is_recorded_by_one_of_the_two(
    wire: Any, make_model: Any, of: str
) -> None:
    """PostgreSQL has triggers for it; what others have in the place of a schema is no place for
    ours."""
    tables = {
        "postgresql": '"public"."quoted"',
        "sqlite": '"quoted"',
        "mysql": f"`{connection.settings_dict['NAME']}`.`quoted`",
    }
    fields: dict[str, Any] = {"name": models.CharField(max_length=9)}
    if of == "links":
        if connection.vendor == "mysql":
            pytest.skip("Django makes no such table of links there.")
        fields["tags"] = models.ManyToManyField(Tag, db_table=tables[connection.vendor])
    meta = {"db_table": tables[connection.vendor] if of == "rows" else "plain"}
    model = make_model("Holder", models.Model, **fields, meta=meta)
    with alone():
        wire(capturing(models=[model]))
        install("default")
        assert len(get_warnings("W028")) == (0 if connection.vendor == "postgresql" else 1)
        row = model.objects.create(name="a")
        row.name = "b"
        row.save()
        if of == "links":
            row.tags.add(TagFactory())
    actions = AuditEntry.objects.order_by("pk").values_list("action", flat=True)
    assert list(actions) == ["create", "update", "m2m_add"][: 3 if of == "links" else 2]


class Odd(models.CharField[str, str]):
    def from_db_value(self, value: Any, *args: Any) -> Any:
        return value


def test_a_field_that_reads_something_else_is_named(wire: Any, make_model: Any) -> None:
    model = make_model("Peculiar", models.Model, name=Odd(max_length=9))
    wire(capturing(models=[model]))
    assert get_warnings("W028") == [
        "AuditLog records testapp.Peculiar by Python, not by triggers: testapp.Peculiar has the "
        "field name (Odd), of which the database cannot tell what Python reads."
    ]


def test_a_row_whose_name_nobody_can_tell_is_called_by_its_key(wire: Any, make_model: Any) -> None:
    model = make_model(
        "Visit",
        models.Model,
        at=models.DateTimeField(),
        __str__=lambda self: f"{self.at:%A}",
    )
    wire(capturing(models=[model]))
    (said,) = check_signal_kit()
    assert said.msg.startswith("Triggers cannot tell what __str__ of testapp.Visit says")
    assert said.hint == "Give AuditLog a template: object_text={'testapp.Visit': 'Visit {pk}'}."
    wire(capturing(models=[model], object_text={"testapp.Visit": "Visit {pk}"}))
    assert get_warnings("W030") == []


def test_the_template_of_the_hint_can_be_filled(wire: Any, make_model: Any) -> None:
    fields = {"token": models.CharField(max_length=9), "title": models.CharField(max_length=9)}
    model = make_model("Visit", models.Model, **fields, __str__=lambda self: self.title.upper())
    wire(capturing(models=[model]))
    (said,) = check_signal_kit()
    template = "{title} ({pk})"
    assert said.hint == f"Give AuditLog a template: object_text={{'testapp.Visit': {template!r}}}."
    wire(capturing(models=[model], object_text={"testapp.Visit": template}))
    assert check_signal_kit() == []


def test_a_row_without_a_name_of_its_own_is_called_as_django_does(make_model: Any) -> None:
    tag = models.OneToOneField(Tag, models.CASCADE, primary_key=True)
    assert find_template(make_model("Detail", models.Model, tag=tag)) == "Detail object ({tag})"


@pytest.mark.usefixtures("_clean")
def test_what_two_models_of_one_table_tell_twice_is_said(
    wire: Any, make_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model("Label", models.Model, name=models.CharField(max_length=50))
    with monkeypatch.context() as patch:
        patch.setattr(model._meta, "managed", False)
        patch.setattr(model._meta, "db_table", Tag._meta.db_table)
        wire(capturing(models=[Tag, model]))
        install("default")
        assert get_warnings("W032") == [
            "What is written through testapp.Label is told twice: by Python, and by the triggers "
            "of testapp.Tag, which has a table of the same name."
        ]
        model.objects.create(name="hot")
        assert AuditEntry.objects.count() == 2
        AuditEntry.objects.all().delete()
        wire(capturing(models=[Tag, model], exclude=[model]))
        assert get_warnings("W032") == []
        model.objects.create(name="cold")
        assert AuditEntry.objects.get().object_text == "cold"


@pytest.mark.usefixtures("_clean")
def test_a_name_that_depends_on_more_is_found_in_the_rows(wire: Any, make_model: Any) -> None:
    model = make_model(
        "Guest",
        models.Model,
        name=models.CharField(max_length=20, blank=True),
        __str__=lambda self: self.name or "nobody",
    )
    wire(capturing(models=[model]))
    install("default")
    model.objects.create(name="Ada")
    assert get_warnings("W030", databases=["default"]) == []
    model.objects.create(name="")
    assert get_warnings("W030", databases=["default"]) == [
        "Triggers call a row of testapp.Guest '', and __str__ calls it 'nobody'."
    ]
    AuditEntry.objects.all().delete()


@pytest.mark.usefixtures("_clean")
@pytest.mark.skipif(django.VERSION < (6, 1), reason="Django 6.1 is the first that has DB_CASCADE.")
@pytest.mark.parametrize("name", ["DB_CASCADE", "DB_SET_NULL"])
def test_triggers_hear_it_where_the_database_runs_them_and_the_check_says_just_that(
    wire: Any, make_model: Any, name: str
) -> None:
    field = models.ForeignKey(Tag, getattr(models, name), null=True)
    step = make_model("Step", models.Model, tag=field)
    odd = make_model(
        "Odd",
        models.Model,
        tag=models.ForeignKey(Tag, getattr(models, name), null=True),
        # Python goes on recording it.
        span=models.JSONField(encoder=DjangoJSONEncoder, null=True),
    )
    with alone():
        wire(capturing(models=[step, odd]))
        install("default")
        tag = TagFactory()
        step.objects.create(tag=tag)
        odd.objects.create(tag=tag)
        AuditEntry.objects.all().delete()
        tag.delete()
        warned = {
            message.obj.model
            for message in check_signal_kit()
            if message.id == "signal_kit.W002" and isinstance(message.obj, models.Field)
        }
    heard = set(AuditEntry.objects.values_list("content_type__model", flat=True))
    expected = {step, odd} if connection.vendor == "mysql" else {odd}
    assert warned == expected
    assert heard == {model._meta.model_name for model in {step, odd} - expected}


@pytest.mark.usefixtures("_clean")
def test_a_secret_is_in_no_name_as_with_python(wire: Any, make_model: Any) -> None:
    model = make_model(
        "Card",
        models.Model,
        owner=models.CharField(max_length=40),
        api_token=models.CharField(max_length=20, null=True),
        password=models.TextField(default=""),
        tags=models.ManyToManyField(Tag),
        __str__=lambda self: f"{self.owner} {self.api_token}",
    )
    tag = TagFactory()
    named: dict[str, list[str]] = {}
    for capture in ("python", "triggers"):
        options = {"models": [model], "capture": capture, "exclude_fields": ["password"]}
        wire((AuditLog, options))
        install("default")
        AuditEntry.objects.all().delete()
        card = model.objects.create(owner="ann", api_token="s3cr\\'et%", password="Zed")
        card.owner = "s3cr\\'et%: Zed, not zed"
        card.save()
        card.tags.add(tag)
        card.tags.remove(tag)
        card.delete()
        model.objects.create(owner="ann", api_token="x")
        assert get_warnings("W030", databases=["default"]) == []
        # Who has no secret has nothing to hide, and triggers hide it.
        model.objects.create(owner="None of them")
        named[capture] = list(AuditEntry.objects.order_by("pk").values_list("object_text"))
        model.objects.all().delete()
    assert named["triggers"] == [
        ("ann [redacted]",),
        *[("[redacted]: [redacted], not zed [redacted]",)] * 4,
        ("ann [redacted]",),
        ("None of them [redacted]",),
    ]
    assert named["python"][:-1] == named["triggers"][:-1]


@pytest.mark.usefixtures("_clean")
def test_a_row_that_fails_to_say_its_name_fails_no_check(wire: Any, make_model: Any) -> None:
    model = make_model(
        "Guest",
        models.Model,
        name=models.CharField(max_length=20, blank=True),
        __str__=lambda self: self.name or self.nobody.name,
    )
    wire(capturing(models=[model]))
    install("default")
    row = model.objects.create(name="")
    assert get_warnings("W030", databases=["default"]) == [
        f"Triggers call a row of testapp.Guest '', and __str__ calls it 'Guest {row.pk}'."
    ]


@pytest.mark.usefixtures("_clean")
def test_the_check_asks_the_database_for_its_triggers(wire: Any) -> None:
    wire(capturing())
    (said,) = get_warnings("W031", databases=["default"])
    assert "are missing (on testapp_tag)" in said
    install("default")
    assert get_warnings("W031", databases=["default"]) == []
    wire(capturing(exclude_fields=["name"]))
    (said,) = get_warnings("W031", databases=["default"])
    assert "are others (on testapp_tag)" in said
    wire((AuditLog, {"models": ["testapp.Tag"]}))
    (said,) = get_warnings("W031", databases=["default"])
    assert "are not wanted (on testapp_tag)" in said


@pytest.mark.usefixtures("_clean")
def test_a_write_without_its_triggers_fails_and_leaves_nothing(wire: Any) -> None:
    wire(capturing())
    with pytest.raises(TriggersMissingError, match="leaves testapp_tag to triggers"):
        TagFactory()
    assert not Tag.objects.exists()
    install("default")
    TagFactory(name="hot")
    assert AuditEntry.objects.count() == 1


@pytest.mark.usefixtures("_clean")
def test_whether_they_stand_takes_no_more_queries_for_more_models(wire: Any) -> None:
    counts = []
    for labels in (["testapp.Tag"], ["testapp.Tag", "testapp.Category", "testapp.Product"]):
        wire(capturing(models=labels))
        install("default")
        standing.forget()
        with CaptureQueriesContext(connection) as queries:
            standing.check(connection)
        counts.append(len(queries))
    assert counts[0] == counts[1]


@pytest.mark.usefixtures("_clean")
def test_what_is_installed_twice_is_installed_once(wire: Any) -> None:
    wire(capturing(models=["testapp.Product", "testapp.Tag"]))
    assert install("default")
    assert not compare("default")
    assert not install("default")
    product = ProductFactory()
    product.tags.add(TagFactory(name="hot"))
    actions = AuditEntry.objects.order_by("pk").values_list("action", flat=True)
    assert list(actions) == ["create", "create", "m2m_add"]
    Product.objects.all().delete()
    assert AuditEntry.objects.filter(action="delete").count() == 1


@pytest.mark.usefixtures("_clean")
def test_other_connections_follow_what_is_wired_now(wire: Any) -> None:
    wire(capturing())
    install("default")
    TagFactory()
    wire()
    TagFactory()
    last = AuditEntry.objects.latest("pk")
    # Nobody tells the triggers any more who it is.
    assert last.context == {"by": "database"}
    wire(capturing())
    TagFactory()
    assert AuditEntry.objects.latest("pk").context == {}
    assert connection.vendor
