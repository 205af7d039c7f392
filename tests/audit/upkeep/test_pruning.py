"""Old entries go, in short transactions, and nothing else does."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.contenttypes.models import ContentType
from django.core.management import CommandError, call_command
from django.db import connection, models
from django.db.models.signals import pre_delete
from django.test.utils import CaptureQueriesContext, override_settings
from django.utils import timezone

from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.audit.upkeep.pruning import Pruning
from django_signal_kit.durations import parse_duration
from django_signal_kit.receivers import AuditLog
from tests.apps.testapp.models import Category, Product, ProductProxy, Tag
from tests.management.test_progress import Terminal
from tests.threads import in_threads

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

DAY = timedelta(days=1)


def write(
    model: type[models.Model] | int | None, *ages: float, using: str = "default"
) -> list[AuditEntry]:
    """An entry about ``model``, or with that content type, for each age in days."""
    kind = model
    if isinstance(model, type):
        kind = ContentType.objects.db_manager(using).get_for_model(model).pk
    now = timezone.now()
    return AuditEntry.objects.using(using).bulk_create(
        [
            AuditEntry(
                at=now - age * DAY,
                action="update",
                content_type_id=kind,
                object_pk="1",
                object_text=str(age),
                using="default",
            )
            for age in ages
        ]
    )


def left(using: str = "default") -> list[str]:
    return list(
        AuditEntry.objects.using(using).order_by("id").values_list("object_text", flat=True)
    )


def prune(*args: str, **options: Any) -> str:
    out = io.StringIO()
    call_command("pruneauditlog", *args, stdout=out, **options)
    return out.getvalue()


def retain(**durations: str) -> Any:
    names = {"cart": "testapp.Tag", "app": "testapp.*", "all": "__all__"}
    return override_settings(
        SIGNAL_KIT={"RETENTION": {names[name]: text for name, text in durations.items()}}
    )


# What goes


def test_what_is_older_goes_and_what_is_younger_stays() -> None:
    write(Tag, 91, 89, 400, 0.1, 90.01)
    assert prune("--older-than", "90d") == ("testapp.Tag: 3 deleted\nTotal: 3 deleted\n")
    assert left() == ["89", "0.1"]


def test_each_kind_is_told_by_itself() -> None:
    write(Tag, 5, 6)
    write(Product, 7)
    assert prune("--older-than", "1d") == (
        "testapp.Product: 1 deleted\ntestapp.Tag: 2 deleted\nTotal: 3 deleted\n"
    )


def test_only_the_models_that_are_named_are_pruned() -> None:
    write(Tag, 5)
    write(Product, 6)
    write(Category, 7)
    write(ContentType, 8)
    prune("--older-than", "1d", "--model", "testapp.Tag", "testapp.product")
    assert left() == ["7", "8"]
    prune("--older-than", "1d", "--model", "testapp.*")
    assert left() == ["8"]


def test_a_proxy_stands_for_its_model() -> None:
    write(Product, 5)
    prune("--older-than", "1d", "--model", ProductProxy._meta.label)
    assert left() == []


def test_a_model_of_which_there_are_no_entries_is_no_mistake() -> None:
    assert prune("--older-than", "1d", "--model", "testapp.Line") == "Total: 0 deleted\n"


def test_a_model_that_is_not_there_is_told_and_guessed() -> None:
    with pytest.raises(CommandError, match=r"no model 'testapp.Tga'. Did you mean 'testapp.Tag'"):
        prune("--older-than", "1d", "--model", "testapp.Tga")
    with pytest.raises(CommandError, match=r"There is no model 'shoop.\*'"):
        prune("--older-than", "1d", "--model", "shoop.*")


@pytest.mark.parametrize("text", ["90", "soon", "-1d", "0d"])
def test_a_length_of_time_that_is_none_is_told(text: str) -> None:
    with pytest.raises(CommandError, match="is no length of time"):
        prune(f"--older-than={text}")


@pytest.mark.parametrize("text", ["0", "-1", "x"])
def test_a_chunk_that_is_none_is_told(text: str) -> None:
    with pytest.raises(CommandError, match="no whole number above 0"):
        prune("--older-than=1d", f"--chunk={text}")


def test_without_a_word_on_how_old_nothing_is_deleted() -> None:
    write(Tag, 9999)
    with pytest.raises(CommandError, match="Nothing says how old entries may grow"):
        prune()
    assert left() == ["9999"]


# Entries about what is gone


def test_entries_whose_content_type_is_gone_go_with_the_rest() -> None:
    write(999_999, 5, 0.1)
    write(None, 6)
    assert prune("--older-than", "1d") == "(unknown): 2 deleted\nTotal: 2 deleted\n"
    assert left() == ["0.1"]


def test_entries_whose_content_type_is_gone_are_about_no_model() -> None:
    write(999_999, 5)
    prune("--older-than", "1d", "--model", "testapp.*")
    assert left() == ["5"]


def test_a_model_that_is_gone_can_still_be_named() -> None:
    kind = ContentType.objects.create(app_label="gone", model="thing")
    write(kind.pk, 5)
    try:
        assert "gone.thing: 1 deleted" in prune("--older-than", "1d", "--model", "gone.Thing")
    finally:
        kind.delete()


# Retention


def test_the_most_specific_retention_counts() -> None:
    write(Tag, 31, 29)
    write(Product, 40, 800)
    write(ContentType, 900, 4000)
    write(None, 901, 4001)
    with retain(all="10y", cart="30d", app="2y"):
        prune()
    assert left() == ["29", "40", "900", "901"]


def test_a_longer_retention_protects_one_model_of_many() -> None:
    write(Tag, 400)
    write(Product, 500)
    with retain(cart="10y", all="1y"):
        prune()
    assert left() == ["400"]


def test_what_no_retention_speaks_of_stays() -> None:
    write(Tag, 400)
    write(Product, 401)
    write(None, 402)
    with retain(cart="1y"):
        prune()
    assert left() == ["401", "402"]


def test_the_retention_of_some_models_only() -> None:
    write(Tag, 400)
    write(Product, 400)
    with retain(all="1y"):
        assert prune("--model", "testapp.Tag").endswith("Total: 1 deleted\n")


def test_older_than_goes_before_the_retention() -> None:
    write(Tag, 40)
    with retain(cart="1d"):
        prune("--older-than", "50d")
    assert left() == ["40"]


# How


def test_a_dry_run_tells_and_deletes_nothing() -> None:
    write(Tag, 5, 6, 0.1)
    assert prune("--older-than", "1d", "--dry-run", "--chunk", "1") == (
        "testapp.Tag: 2 would be deleted\nTotal: 2 would be deleted\n"
    )
    assert len(left()) == 3


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 100])
def test_chunks_of_any_size_delete_the_same(chunk: int) -> None:
    write(Tag, 5, 5, 5, 0.1, 9, 7)
    write(Product, 8, 0.2)
    prune("--older-than", "1d", "--chunk", str(chunk))
    assert left() == ["0.1", "0.2"]


def test_entries_of_the_same_moment_are_none_of_them_skipped() -> None:
    now = timezone.now()
    AuditEntry.objects.bulk_create(
        [AuditEntry(at=now - DAY, action="update", using="default") for _ in range(10)]
    )
    with retain(cart="1h", all="1h"):
        prune("--chunk", "3")
    assert left() == []


def test_a_statement_never_touches_more_than_a_chunk_and_never_counts_rows_off() -> None:
    write(Tag, *range(2, 12))
    with CaptureQueriesContext(connection) as queries:
        prune("--older-than", "1d", "--chunk", "4")
    sql = [query["sql"] for query in queries]
    assert not any("OFFSET" in statement for statement in sql)
    assert sum(statement.startswith("DELETE") for statement in sql) == 3
    # No transaction holds more than one of the deletions.
    begun = [
        statement.split()[0] for statement in sql if statement.split()[0] in ("BEGIN", "DELETE")
    ]
    assert "DELETE DELETE" not in " ".join(begun)


def test_nobody_who_protects_the_log_is_asked(wire: Any) -> None:
    def refuse(**kwargs: Any) -> None:
        raise TypeError("An entry is not deleted.")

    wire((AuditLog, {"models": ["testapp.*"]}))
    write(Tag, 5)
    pre_delete.connect(refuse, sender=AuditEntry)
    try:
        prune("--older-than", "1d")
    finally:
        pre_delete.disconnect(refuse, sender=AuditEntry)
    assert left() == []


def test_what_is_broken_off_keeps_whole_chunks_and_can_be_run_again() -> None:
    write(Tag, 5, 6, 7, 8, 9)
    deletions = 0

    def interrupt(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        nonlocal deletions
        result = execute(sql, params, many, context)
        deletions += sql.startswith("DELETE")
        if deletions == 2:
            # After the statement, before the commit.
            raise KeyboardInterrupt
        return result

    out = io.StringIO()
    with connection.execute_wrapper(interrupt), pytest.raises(CommandError) as caught:
        call_command("pruneauditlog", "--older-than=1d", "--chunk=2", stdout=out)
    assert caught.value.returncode == 130
    assert out.getvalue().endswith("Total: 2 deleted\n")
    assert left() == ["5", "6", "7"]
    assert prune("--older-than", "1d").endswith("Total: 3 deleted\n")


def test_two_runs_at_once_count_no_entry_twice() -> None:
    write(Tag, *range(2, 62))

    def run() -> int:
        pruning = Pruning({"__all__": parse_duration("1d")}, chunk=3)
        list(pruning.run())
        return pruning.counts.total()

    assert sum(in_threads(*[run] * 3)) == 60
    assert left() == []


def test_an_entry_that_comes_meanwhile_is_left_alone() -> None:
    write(Tag, 5, 6, 7)
    pruning = Pruning({"__all__": parse_duration("1d")}, chunk=1)
    steps = pruning.run()
    assert 0 <= next(steps) <= 1
    write(Tag, 0)
    assert all(0 <= step <= 1 for step in steps)
    assert left() == ["0"]


def test_a_log_in_another_database_is_pruned_there() -> None:
    write(Tag, 5)
    write(Tag, 6, 0.1, using="other")
    assert "testapp.Tag: 1 deleted" in prune("--older-than", "1d", "--using", "other")
    assert (left(), left("other")) == (["5"], ["0.1"])


class LogElsewhere:
    def db_for_write(self, model: type[models.Model], **hints: Any) -> str | None:
        return "other" if model is AuditEntry else None


@override_settings(DATABASE_ROUTERS=[f"{__name__}.LogElsewhere"])
def test_the_router_says_where_the_log_is() -> None:
    write(Tag, 5)
    write(Tag, 6, using="other")
    prune("--older-than", "1d")
    assert (left(), left("other")) == (["5"], [])


def test_a_terminal_sees_how_far_it_is() -> None:
    write(Tag, 5)
    screen = Terminal()
    prune("--older-than", "1d", stderr=screen)
    assert "1 found" in screen.getvalue()
    assert prune("--older-than", "1d", verbosity=0) == ""


# A swapped model, to which others refer


@pytest.fixture
def swapped() -> Iterator[Callable[[], Any]]:
    from django.apps import apps

    from django_signal_kit.audit.models import AbstractAuditEntry

    class OwnEntry(AbstractAuditEntry):
        tenant = models.CharField(max_length=20, default="acme")

        class Meta(AbstractAuditEntry.Meta):
            abstract = False
            app_label = "testapp"
            indexes = ()

    class Remark(models.Model):
        entry = models.ForeignKey(OwnEntry, models.CASCADE)

        class Meta:
            app_label = "testapp"

    with connection.schema_editor() as editor:
        editor.create_model(OwnEntry)
        editor.create_model(Remark)
    try:
        with override_settings(SIGNAL_KIT_AUDIT_ENTRY_MODEL="testapp.OwnEntry"):
            yield OwnEntry, Remark
    finally:
        with connection.schema_editor() as editor:
            editor.delete_model(Remark)
            editor.delete_model(OwnEntry)
        for name in ("remark", "ownentry"):
            del apps.all_models["testapp"][name]
        apps.clear_cache()


def test_a_swapped_model_is_pruned_with_what_hangs_on_its_entries(swapped: Any) -> None:
    entry_model, remark_model = swapped
    now = timezone.now()
    old, new = (
        entry_model.objects.create(at=now - age * DAY, action="create", using="default")
        for age in (5, 0)
    )
    for entry in (old, new):
        remark_model.objects.create(entry=entry)
    assert "Total: 1 deleted" in prune("--older-than", "1d")
    assert entry_model.objects.get() == new
    assert remark_model.objects.get().entry == new


def test_a_sealed_log_that_is_pruned_is_verified_and_what_else_is_gone_is_told() -> None:
    now = timezone.now()
    for age in range(10):
        AuditEntry.objects.create(at=now - age * DAY, action="create", using="default")
    call_command("sealauditlog", stdout=io.StringIO())
    assert "Total: 6 deleted" in prune("--older-than", "4d", chunk=4)
    call_command("verifyauditlog", stdout=io.StringIO())
    AuditEntry.objects.order_by("pk")[1:2].get().delete()
    with pytest.raises(CommandError, match="removed"):
        call_command("verifyauditlog", stdout=io.StringIO())
