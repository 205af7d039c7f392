"""Files moved among rows, fields, models, transactions and quarantine at random: after each commit
and rollback the named ones are in their places, and the rest in quarantine."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.management import call_command
from django.db import IntegrityError, transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from django_signal_kit import batch
from tests.apps.testapp.models import Gallery, Product
from tests.files.uploads import exist, get_kept, read

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

PLACES = ((Product, "image"), (Product, "manual"), (Gallery, "cover"))
NUMBERS = st.integers(0, 5)


class Files(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        for model in (Product, Gallery):
            model._base_manager.all().delete()
        #: Name -> content, of all that was ever uploaded.
        self.contents: dict[str, bytes] = {}
        self.blocks: list[Any] = []
        self.count = 0

    def teardown(self) -> None:
        while self.blocks:
            self.end(rollback=True)

    def upload(self) -> ContentFile:
        self.count += 1
        return ContentFile(str(self.count).encode(), f"{id(self)}-{self.count}.txt")

    def pick(self, number: int) -> tuple[Any, str] | None:
        found = [(row, field) for model, field in PLACES for row in model.objects.order_by("pk")]
        return found[number % len(found)] if found else None

    def note(self, row: Any, field: str) -> None:
        # What could not be written is as it was before.
        folder = row._meta.get_field(field).upload_to
        self.contents[f"{folder}/{id(self)}-{self.count}.txt"] = str(self.count).encode()

    @rule(number=NUMBERS)
    def create(self, number: int) -> None:
        model, field = PLACES[number % 3]
        row = model(**{field: self.upload()})
        row.save()
        self.note(row, field)

    @rule(number=NUMBERS, early=st.booleans())
    def replace(self, number: int, early: bool) -> None:
        if found := self.pick(number):
            row, field = found
            if early:
                content = self.upload()
                getattr(row, field).save(content.name, content, save=False)
            else:
                setattr(row, field, self.upload())
            row.save(update_fields=[field] if number % 2 else None)
            self.note(row, field)

    @rule(number=NUMBERS)
    def fail(self, number: int) -> None:
        if found := self.pick(number):
            row = type(found[0])(pk=found[0].pk, **{found[1]: self.upload()})
            with pytest.raises(IntegrityError), transaction.atomic():
                row.save(force_insert=True)
            self.note(row, found[1])

    @rule(number=NUMBERS, which=NUMBERS, how=st.sampled_from(["save", "update", "bulk"]))
    def name(self, number: int, which: int, how: str) -> None:
        """Give a row any name that there ever was, or none."""
        if found := self.pick(number):
            row, field = found
            names = ["", *self.contents]
            setattr(row, field, names[which % len(names)])
            value = getattr(row, field).name
            if how == "save":
                row.save()
            elif how == "update":
                type(row).objects.filter(pk=row.pk).update(**{field: value})
            else:
                type(row).objects.bulk_update([row], [field])

    @rule(first=NUMBERS, second=NUMBERS)
    def swap(self, first: int, second: int) -> None:
        one, two = self.pick(first), self.pick(second)
        if one and two and one[0] != two[0]:
            names = [getattr(row, field).name for row, field in (one, two)]
            with batch():
                for (row, field), name in zip((one, two), reversed(names), strict=True):
                    setattr(row, field, name)
                    row.save()

    @rule(number=NUMBERS, copied=st.booleans())
    def copy_or_delete(self, number: int, copied: bool) -> None:
        if found := self.pick(number):
            row = found[0]
            if copied:
                row.pk, row._state.adding = None, True
                row.save()
            else:
                type(row).objects.filter(pk=row.pk).delete()

    @precondition(lambda self: len(self.blocks) < 3)
    @rule()
    def begin(self) -> None:
        block = transaction.atomic()
        block.__enter__()
        self.blocks.append(block)

    @precondition(lambda self: self.blocks)
    @rule(rollback=st.booleans())
    def end(self, rollback: bool) -> None:
        transaction.set_rollback(rollback)
        self.blocks.pop().__exit__(None, None, None)

    @precondition(lambda self: not self.blocks)
    @rule()
    def clean(self) -> None:
        call_command("cleanfiles", "--delete", verbosity=0, stdout=Nowhere())

    @invariant()
    def each_file_is_where_it_belongs(self) -> None:
        if getattr(self, "blocks", True):
            return
        named: set[str] = set()
        for model, field in PLACES:
            named.update(model.objects.values_list(field, flat=True))
        named.discard("")
        assert exist(*self.contents) == [name for name in self.contents if name in named]
        kept = get_kept()
        for name, content in self.contents.items():
            assert read(name if name in named else kept[name]) == content


class Nowhere:
    def write(self, text: str) -> None:
        """Nobody reads it."""


def test_files_are_where_they_belong_whatever_happens(cleanup: Any) -> None:
    run_state_machine_as_test(
        Files,
        settings=settings(
            suppress_health_check=list(HealthCheck), deadline=None, stateful_step_count=20
        ),
    )
