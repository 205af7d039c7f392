"""What is asked of the log from code."""

from __future__ import annotations

import datetime
import uuid
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_signal_kit import batch, context
from django_signal_kit.audit.models import AuditEntry
from tests.apps.testapp.models import Product, ProductProxy, Tag, Token
from tests.audit.plans import get_indexes, get_plans, has_seq_scan
from tests.factories import ProductFactory, TagFactory, UserFactory

pytestmark = pytest.mark.django_db


def actions(entries: Any) -> list[str]:
    return list(entries.values_list("action", flat=True))


def test_the_history_of_an_object_is_told_newest_first(log: None) -> None:
    product = ProductFactory(name="a")
    ProductFactory()
    product.name = "b"
    product.save()
    assert actions(AuditEntry.objects.for_object(product)) == ["update", "create"]


def test_a_row_that_is_gone_is_named_by_its_key(log: None) -> None:
    product, token = ProductFactory(), Token.objects.create()
    key = product.pk
    product.delete()
    history = AuditEntry.objects.for_object((Product, key))
    assert actions(history) == ["delete", "create"]
    assert actions(AuditEntry.objects.for_object((Product, str(key)))) == ["delete", "create"]
    assert actions(AuditEntry.objects.for_object((ProductProxy, key))) == ["delete", "create"]
    assert actions(AuditEntry.objects.for_object((Token, str(token.pk).upper()))) == ["create"]
    assert actions(AuditEntry.objects.for_object((Tag, key))) == []


def test_an_instance_that_was_never_saved_is_refused(log: None) -> None:
    with pytest.raises(ValueError, match=r"never saved.*\(Product, key\)"):
        AuditEntry.objects.for_object(Product())
    with pytest.raises(ValueError, match="never saved"):
        AuditEntry.objects.for_object(Token())
    with pytest.raises(ValueError, match=r"No row of testapp.Product has the key None"):
        AuditEntry.objects.for_object((Product, None))


def test_a_person_is_an_instance_a_key_or_nobody(log: None) -> None:
    ann, ben = UserFactory.create_batch(2)
    with context(actor=ann):
        TagFactory(name="ann's")
    with context(actor=ben):
        TagFactory()
    TagFactory(name="nobody's")
    for user in (ann, ann.pk, str(ann.pk)):
        assert AuditEntry.objects.by(user).get().object_text == "ann's"
    assert AuditEntry.objects.by(None).get().object_text == "nobody's"
    for user in (AnonymousUser(), UserFactory.build()):
        with pytest.raises(ValueError, match=r"no key. by\(None\)"):
            AuditEntry.objects.by(user)


def test_a_time_begins_with_its_start_and_ends_before_its_end(log: None) -> None:
    TagFactory()
    at = AuditEntry.objects.get().at
    second = datetime.timedelta(seconds=1)
    assert AuditEntry.objects.between(at, at + second).exists()
    assert not AuditEntry.objects.between(at - second, at).exists()
    assert not AuditEntry.objects.between(at, at).exists()


def test_a_date_is_its_midnight_here(log: None) -> None:
    TagFactory()
    late = datetime.datetime(2026, 6, 1, 22, 30, tzinfo=datetime.UTC)
    AuditEntry.objects.update(at=late)
    first, second, third = (datetime.date(2026, 6, day) for day in (1, 2, 3))
    assert not AuditEntry.objects.between(first, second).exists()
    assert AuditEntry.objects.between(second, third).exists()


def test_times_that_mean_nothing_are_refused(settings: Any) -> None:
    naive, aware = datetime.datetime(2026, 1, 1), timezone.now()
    with pytest.raises(ValueError, match=r"start is .*make_aware"):
        AuditEntry.objects.between(naive, aware)
    with pytest.raises(ValueError, match=r"end is .*make_aware"):
        AuditEntry.objects.between(aware, naive)
    with pytest.raises(ValueError, match="Swap them"):
        AuditEntry.objects.between(datetime.date(2026, 2, 1), datetime.date(2026, 1, 1))
    settings.USE_TZ = False
    with pytest.raises(ValueError, match=r"start is .*make_naive"):
        AuditEntry.objects.between(aware, naive)
    assert not AuditEntry.objects.between(naive, datetime.date(2026, 2, 1)).exists()


def test_a_unit_is_named_by_its_id_or_by_any_of_its_entries(log: None) -> None:
    with batch():
        TagFactory(), TagFactory()
    TagFactory()
    entry = AuditEntry.objects.earliest("id")
    for unit in (entry, entry.unit, str(entry.unit)):
        assert AuditEntry.objects.of_unit(unit).count() == 2
    assert not AuditEntry.objects.of_unit(uuid.uuid4()).exists()


def test_an_entry_without_a_unit_stands_alone(log: None) -> None:
    TagFactory(), TagFactory()
    AuditEntry.objects.update(unit=None)
    entry = AuditEntry.objects.latest("id")
    assert AuditEntry.objects.of_unit(entry).get() == entry


def test_questions_are_chained_and_asked_once(log: None, django_assert_num_queries: Any) -> None:
    ann, product = UserFactory(), ProductFactory()
    with context(actor=ann):
        product.delete()
    last = AuditEntry.objects.latest("id")
    today = timezone.localdate()
    with django_assert_num_queries(1):
        found = AuditEntry.objects.filter(action="delete").for_object((Product, last.object_pk))
        days = datetime.timedelta(days=1)
        found = found.by(ann).between(today - days, today + days).of_unit(last)
        assert list(found) == [last]


@pytest.mark.django_db(transaction=True)
def test_each_question_is_answered_by_an_index(long_log: None) -> None:
    start = datetime.date(2020, 3, 1)
    entry = AuditEntry.objects.exclude(content_type=None).exclude(actor=None)[0]
    row = (entry.content_type.model_class(), entry.object_pk)
    for questions in (
        AuditEntry.objects.for_object(row)[:50],
        AuditEntry.objects.by(entry.actor_id)[:50],
        AuditEntry.objects.between(start, start + datetime.timedelta(days=1)),
        AuditEntry.objects.of_unit(uuid.uuid4())[:50],
    ):
        with CaptureQueriesContext(
            connection,
        ) as queries:
            list(questions)
        nodes = get_plans(queries)
        assert nodes
        assert not has_seq_scan(nodes)
        assert get_indexes(nodes)
