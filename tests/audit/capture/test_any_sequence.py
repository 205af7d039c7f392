"""Whatever is written, in whatever order: both captures tell the same histories, and what triggers
tell leads to the rows."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import connection, transaction
from django.db.models import F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_signal_kit import batch, context
from django_signal_kit.audit.models import AuditEntry
from tests.apps.testapp.models import Category, Line, Product, Tag, Token
from tests.audit.capture.pairs import PYTHON, TRIGGERS, get_entries, installed, list_entries
from tests.audit.replaying import replay

pytestmark = pytest.mark.django_db(transaction=True)

MODELS = [Product, Category, Line, Tag, Token]
#: Says in the context of an entry that Python does not hear the write, or cannot tell what it did.
UNTOLD = "untold"


class ChangedMindError(Exception):
    """Rolls a block back."""


class Writing:
    """Each write takes what it needs from ``draw``."""

    def __init__(self, draw: Callable[[Any], Any]) -> None:
        self.draw = draw

    def pick(self, model: Any) -> Any:
        keys = list(model.objects.order_by("pk").values_list("pk", flat=True))
        return model.objects.get(pk=self.draw(st.sampled_from(keys))) if keys else None

    def pick_some(self, model: Any) -> list[Any]:
        rows = list(model.objects.order_by("pk"))
        return [row for row in rows if self.draw(st.booleans())]

    def word(self) -> str:
        return self.draw(st.sampled_from(["tea", "Tea", "ñandú", "it's 100%", ""]))  # type: ignore[no-any-return]

    def secret(self) -> str:
        # What a row is called is no secret: Python would hide that, too.
        return self.draw(st.sampled_from(["", "12345", "67890"]))  # type: ignore[no-any-return]

    def number(self) -> int:
        return self.draw(st.integers(0, 3))  # type: ignore[no-any-return]

    def make(self) -> Product:
        return Product(
            name=self.word(),
            price=f"{self.number()}.5",
            data={"n": self.number(), "text": self.word()},
            api_token=self.secret(),
            category=self.pick(Category),
        )

    def create(self) -> None:
        self.make().save()

    def create_others(self) -> None:
        Category.objects.create(name=self.word())
        Tag.objects.create(name=self.word())
        Token.objects.create(name=self.word())

    def create_line(self) -> None:
        if product := self.pick(Product):
            product.lines.create(text=self.word())

    def save(self) -> None:
        if product := self.pick(Product):
            names = self.draw(st.sampled_from([None, ["name"], ["data"]]))
            product.api_token = self.secret()
            # Python calls a row what the instance calls itself, triggers what is written.
            if names != ["data"]:
                product.name = self.word()
            product.data["n"] = self.number()
            product.save(update_fields=names)

    def save_unchanged(self) -> None:
        if product := self.pick(Product):
            product.save()

    def create_many(self) -> None:
        Product.objects.bulk_create([self.make() for _ in range(self.number())])

    def update_many(self) -> None:
        products = self.pick_some(Product)
        for product in products:
            product.name, product.stock = self.word(), self.number()
        Product.objects.bulk_update(products, ["name", "stock"])

    def update(self) -> None:
        Product.objects.filter(stock__lte=self.number()).update(
            stock=F("stock") + self.number(), name=self.word()
        )

    def delete(self) -> None:
        if row := self.pick(self.draw(st.sampled_from([Product, Category, Tag, Token]))):
            row.delete()

    def delete_many(self) -> None:
        Product.objects.filter(pk__in=[row.pk for row in self.pick_some(Product)]).delete()

    def change_key(self) -> None:
        if token := self.pick(Token):
            Token.objects.filter(pk=token.pk).update(id=uuid.uuid4())

    def link(self) -> None:
        if product := self.pick(Product):
            tags = self.pick_some(Tag)
            act = self.draw(st.sampled_from(["add", "remove", "set", "clear"]))
            manager: Any = getattr(product.tags, act)
            manager(*{"set": (tags,), "clear": ()}.get(act, tags))

    def link_from_the_other_side(self) -> None:
        if tag := self.pick(Tag):
            act = self.draw(st.sampled_from(["add", "remove", "clear"]))
            manager: Any = getattr(tag.products, act)
            manager(*(() if act == "clear" else self.pick_some(Product)))

    def upsert(self) -> None:
        tokens = [Token(name=self.word()), *self.pick_some(Token)]
        options: Any = {"update_conflicts": True, "update_fields": ["name"]}
        if connection.features.supports_update_conflicts_with_target:
            options["unique_fields"] = ["id"]
        for token in tokens:
            token.name = self.word()
        with context(**{UNTOLD: True}):
            Token.objects.bulk_create(tokens, **options)

    def write_raw(self) -> None:
        sql, *params = self.draw(
            st.sampled_from(
                [
                    ("INSERT INTO testapp_tag (name) VALUES (%s)", self.word()),
                    ("UPDATE testapp_product SET stock = stock + 1 WHERE name = %s", self.word()),
                    ("DELETE FROM testapp_line WHERE text = %s", self.word()),
                ]
            )
        )
        with context(**{UNTOLD: True}), connection.cursor() as cursor:
            cursor.execute(sql, params)


WRITES = [value for name, value in vars(Writing).items() if callable(value)]
WRITES = [
    each
    for each in WRITES
    if each.__name__ not in ("__init__", "pick", "pick_some", "word", "secret", "number", "make")
]
#: How a block is opened, and whether it is rolled back.
BLOCKS = st.sampled_from(
    [(None, False), (transaction.atomic, False), (transaction.atomic, True), (batch, False)]
)


@settings(
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.data())
def test_both_captures_tell_the_same_histories(both: None, data: Any) -> None:
    for model in (*MODELS, AuditEntry):
        model.objects.all().delete()
    AuditEntry.objects.all().delete()
    writing = Writing(data.draw)
    with context(actor="somebody"):
        for _ in range(data.draw(st.integers(1, 8))):
            run_block(writing, depth=0)
    assert tell(TRIGGERS) == tell(PYTHON)
    AuditEntry.objects.filter(pk__in=[entry.pk for entry in get_entries(PYTHON)]).delete()
    drop_what_goes_with_a_key()
    replay(Product, Category, Line, Tag)


def run_block(writing: Writing, depth: int) -> None:
    make_block, is_undone = writing.draw(BLOCKS)
    if make_block is None or depth > 1:
        writing.draw(st.sampled_from(WRITES))(writing)
        return
    try:
        with make_block():
            for _ in range(writing.draw(st.integers(1, 3))):
                run_block(writing, depth + 1)
            if is_undone:
                raise ChangedMindError
    except ChangedMindError:
        pass


def drop_what_goes_with_a_key() -> None:
    """Links that end with their row are no part of a history of rows."""
    AuditEntry.objects.filter(action__startswith="m2m").delete()


# What may differ


def tell(capture: str) -> dict[Any, list[Any]]:
    """The history of each row, apart from what the two need not tell alike."""
    entries = [entry for entry in get_entries(capture) if UNTOLD not in entry.context]
    histories: dict[Any, list[Any]] = {}
    for entry in entries:
        histories.setdefault((entry.content_type_id, entry.object_pk), []).append(entry)
    told = {key: list(_normalise(history)) for key, history in histories.items()}
    return {key: history for key, history in told.items() if history}


def _normalise(history: list[Any]) -> Iterator[Any]:
    links: dict[str, dict[int, str]] = {}
    unit = None
    for entry in history:
        if entry.action == "delete" and entry.unit == unit:
            # Triggers tell of the links that end with their owner, Python does not.
            links.clear()
        if entry.unit != unit or not entry.action.startswith("m2m"):
            yield from _end(links)
        unit = entry.unit
        if entry.action.startswith("m2m"):
            _merge_links(links, entry)
        elif entry.action != "update" or not _only_reorders(entry.changes):
            yield entry.action, entry.object_text, entry.actor_text, entry.changes
    yield from _end(links)


def _merge_links(links: dict[str, dict[int, str]], entry: Any) -> None:
    """One entry a link or one an owner, and "cleared" is "removed"."""
    for name, change in entry.changes.items():
        for verb, keys in change.items():
            links.setdefault(name, {}).update(dict.fromkeys(keys, verb))


def _end(links: dict[str, dict[int, str]]) -> Iterator[Any]:
    if links:
        yield "m2m", json.dumps(links, sort_keys=True)
        links.clear()


def _only_reorders(changes: Any) -> bool:
    """Keys of JSON in another order are no change to Python."""
    return all(old == new and isinstance(old, dict) for old, new in changes.values())


@pytest.fixture
def both(wire: Any) -> Iterator[None]:
    ContentType.objects.clear_cache()
    wire(*list_entries(MODELS))
    with installed():
        yield
