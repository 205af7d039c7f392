"""A row of several tables is told by the entries about each of them, and by no stranger's."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import models

from django_signal_kit import muted
from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.audit.past import HistoryIncomplete
from django_signal_kit.receivers import AuditLog
from tests.audit.clock import Clock

pytestmark = pytest.mark.django_db(transaction=True)

CASCADE = models.CASCADE


def text() -> Any:
    return models.CharField(max_length=20, default="")


def as_of(obj: Any, moment: Any, *fields: str) -> Any:
    return AuditEntry.objects.as_of(obj, moment, fields or None)


def change(row: Any, **values: Any) -> None:
    for name, value in values.items():
        setattr(row, name, value)
    row.save()


class Shop:
    """An Offer and a Paper (a child of a Sheet) are the parents of a Voucher. Its key is that of
    the offer."""

    def __init__(self, make: Any) -> None:
        self.Offer = make("Offer", models.Model, name=text())
        self.Sheet = make(
            "Sheet", models.Model, number=models.AutoField(primary_key=True), title=text()
        )
        self.Paper = make(
            "Paper",
            self.Sheet,
            page=models.OneToOneField(
                self.Sheet, CASCADE, parent_link=True, primary_key=True, related_name="paper"
            ),
            colour=text(),
        )
        self.Voucher = make(
            "Voucher",
            self.Offer,
            self.Paper,
            deal=models.OneToOneField(self.Offer, CASCADE, parent_link=True, primary_key=True),
            printed=models.OneToOneField(self.Paper, CASCADE, parent_link=True, related_name="+"),
            code=text(),
        )
        self.Gift = make("Gift", self.Voucher, ribbon=text())
        self.GiftProxy = make("GiftProxy", self.Gift, meta={"proxy": True})
        # Another child of the same parent, with a field of the same name as one of the voucher.
        self.Bill = make("Bill", self.Sheet, code=text())


@pytest.fixture
def shop(make_model: Any, wire: Any) -> Shop:
    shop = Shop(make_model)
    wire((AuditLog, {"models": ["testapp.*"]}))
    for _ in range(3):
        shop.Sheet.objects.create(title="filler")
    return shop


@pytest.fixture
def voucher(shop: Shop) -> Any:
    row = shop.Voucher.objects.create(name="ten", title="mine", colour="red", code="x")
    assert row.pk != row.number
    return row


@pytest.fixture
def clock(voucher: Any) -> Clock:
    clock = Clock()
    clock.tick()
    return clock


def test_each_parent_is_told_by_its_own_key(shop: Shop, voucher: Any, clock: Clock) -> None:
    stranger = shop.Sheet.objects.get(pk=voucher.pk)
    shop.Paper(page=stranger, title="stranger", colour="blue").save()
    at = clock.tick()
    change(shop.Paper.objects.get(pk=stranger.pk), title="changed", colour="green")
    assert as_of(voucher, at).title == "mine"
    shop.Sheet.objects.filter(pk=voucher.number).update(title="new")
    shop.Paper.objects.filter(pk=voucher.number).update(colour="black")
    shop.Offer.objects.filter(pk=voucher.pk).update(name="twenty")
    clock.tick()
    row = as_of(voucher, at)
    assert (row.name, row.title, row.colour, row.code) == ("ten", "mine", "red", "x")
    assert as_of((shop.Sheet, voucher.number), at, "title").title == "mine"


def test_a_parent_is_told_by_its_children_of_any_depth(shop: Shop, clock: Clock) -> None:
    gift = shop.Gift.objects.create(name="a", title="b", colour="c", ribbon="d")
    at = clock.tick()
    change(shop.GiftProxy.objects.get(pk=gift.pk), title="new", ribbon="e")
    clock.tick()
    for model, key in (
        (shop.Sheet, gift.number),
        (shop.Paper, gift.number),
        (shop.Voucher, gift.pk),
        (shop.Gift, gift.pk),
        (shop.GiftProxy, gift.pk),
    ):
        assert as_of((model, key), at).title == "b", model
    assert as_of((shop.GiftProxy, gift.pk), at).ribbon == "d"
    assert as_of((shop.Offer, gift.pk), at).name == "a"


def test_a_row_that_is_gone_is_told_by_each_of_its_keys(
    shop: Shop, voucher: Any, clock: Clock
) -> None:
    at, key, number = clock.tick(), voucher.pk, voucher.number
    shop.Sheet.objects.filter(pk=number).update(title="new")
    clock.tick()
    voucher.refresh_from_db()
    voucher.delete()
    gone = clock.tick()
    assert as_of((shop.Voucher, key), at).title == "mine"
    assert as_of((shop.Sheet, number), at).title == "mine"
    assert as_of((shop.Paper, number), at).colour == "red"
    assert as_of((shop.Sheet, number), gone) is None
    # Nobody was ever there.
    assert as_of((shop.Voucher, 4711), at) is None


def test_a_row_whose_key_in_a_parent_nobody_knows_is_not_told(
    shop: Shop, voucher: Any, clock: Clock, wire: Any
) -> None:
    at, key = clock.now, voucher.pk
    voucher.delete()
    clock.tick()
    for entry in AuditEntry.objects.filter(object_pk=key, content_type__model="voucher"):
        changes = {k: v for k, v in entry.changes.items() if k not in ("number", "page")}
        AuditEntry.objects.filter(pk=entry.pk).update(changes=changes)
    with pytest.raises(HistoryIncomplete, match=r"no entry tells .*its key as a"):
        as_of((shop.Voucher, key), at)


def test_another_child_of_the_same_parent_tells_of_the_parent_alone(
    shop: Shop, voucher: Any, clock: Clock
) -> None:
    bill = shop.Bill(sheet_ptr_id=voucher.number, title="mine", code="bill")
    bill.save_base(raw=True)
    assert AuditEntry.objects.latest("pk").content_type.model != "bill"
    at = clock.tick()
    change(shop.Bill.objects.get(), title="new", code="other")
    clock.tick()
    row = as_of(voucher, at)
    assert (row.title, row.code) == ("mine", "x")
    # Its creation by a full save has written what they share.
    shop.Bill.objects.all()._raw_delete("default")
    shop.Bill(sheet_ptr_id=voucher.number, title="written over", code="bill").save()
    clock.tick()
    assert as_of(voucher, clock.now - (clock.now - at) / 2, "title").title == "new"
    AuditEntry.objects.filter(content_type__model="sheet", action="update").delete()
    with pytest.raises(HistoryIncomplete, match="title"):
        as_of(voucher, clock.now - (clock.now - at) / 2, "title")
    assert as_of(voucher, at, "code").code == "x"


def test_a_child_that_leaves_its_parent_behind_harms_nothing(
    shop: Shop, voucher: Any, clock: Clock
) -> None:
    at, number = clock.now, voucher.number
    change(voucher, title="new")
    clock.tick()
    voucher.delete(keep_parents=True)
    gone = clock.tick()
    assert as_of((shop.Sheet, number), at).title == "mine"
    assert as_of((shop.Sheet, number), gone).title == "new"


def test_a_child_that_was_made_of_a_row_that_was_there_does_not_hide_it(
    shop: Shop, clock: Clock
) -> None:
    sheet = shop.Sheet.objects.create(title="a")
    at = clock.tick()
    shop.Paper(page=sheet, title="a", colour="red").save()
    clock.tick()
    assert as_of(sheet, at).title == "a"
    with muted("AuditLog"):
        unheard = shop.Sheet.objects.create(title="a")
    change(unheard, title="b")
    at = clock.tick()
    shop.Paper(page=unheard, title="b", colour="red").save()
    clock.tick()
    assert as_of(unheard, at).title == "b"
    # Nobody knows but the entry of the child what the title was.
    AuditEntry.objects.filter(object_pk=unheard.pk, action="update").update(changes={})
    with pytest.raises(HistoryIncomplete, match="title is not known: entry"):
        as_of(unheard, at)
    with muted("AuditLog"):
        change(sheet, title="b")
    with pytest.raises(HistoryIncomplete, match="title"):
        as_of(sheet, at)


def test_a_field_that_has_moved_to_the_parent_keeps_its_history(
    shop: Shop, voucher: Any, clock: Clock
) -> None:
    at = clock.now
    change(voucher, title="new", code="y")
    clock.tick()
    # The title was the voucher's own once; its code was the offer's.
    (entry,) = AuditEntry.objects.filter(action="update")
    kind = AuditEntry.objects.get(content_type__model="voucher", action="create").content_type
    AuditEntry.objects.filter(pk=entry.pk).update(changes={"title": ["mine", "new"]})
    offer = type(kind).objects.get_for_model(shop.Offer)
    AuditEntry.objects.create(
        at=entry.at,
        action="update",
        content_type=offer,
        object_pk=str(voucher.pk),
        using="default",
        changes={"code": ["x", "y"]},
    )
    assert as_of((shop.Sheet, voucher.number), at).title == "mine"
    row = as_of(voucher, at)
    assert (row.title, row.code) == ("mine", "x")
