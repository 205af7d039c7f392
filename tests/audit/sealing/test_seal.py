"""What is sealed cannot be altered, removed or inserted unseen."""

from __future__ import annotations

import datetime
import io
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections, transaction
from django.db.transaction import TransactionManagementError
from hypothesis import given
from hypothesis import strategies as st

from django_signal_kit.audit.models import AuditEntry, AuditSeal
from django_signal_kit.audit.sealing.chain import get_digest
from django_signal_kit.audit.sealing.seal import note_pruned
from django_signal_kit.management import progress
from tests.projects import Project

TABLE = AuditEntry._meta.db_table
SEALS = AuditSeal._meta.db_table


def write(count: int, using: str = "default") -> list[int]:
    """Write entries; their ids, ascending."""
    for number in range(count):
        AuditEntry(
            action="update",
            content_type_id=1,
            object_pk=str(number),
            object_text=f"Lamp {number}",
            changes={"price": [f"{number}.50", 1.5], "on": [True, None]},
            actor_id=7,
            actor_text="maria",
            context={"path": "/"},
            unit=uuid.UUID(int=number),
            using="default",
        ).save(using=using)
    return list(AuditEntry.objects.using(using).order_by("pk").values_list("pk", flat=True))


def run(command: str, *arguments: str) -> str:
    stdout = io.StringIO()
    call_command(command, *arguments, stdout=stdout)
    return stdout.getvalue()


def seal(*arguments: str) -> str:
    """Seal the log; the digest of the last seal."""
    return run("sealauditlog", "--lag=0", *arguments).split()[-1]


def verify(*arguments: str) -> str:
    """What is told of the log: its first line, or the error."""
    try:
        return run("verifyauditlog", *arguments).splitlines()[0]
    except CommandError as error:
        return str(error)


def sql(statement: str, *params: Any, using: str = "default") -> None:
    with connections[using].cursor() as cursor:
        cursor.execute(statement, params)


def alter(id: int, column: str, value: Any) -> None:
    quoted = connections["default"].ops.quote_name(column)
    sql(f"UPDATE {TABLE} SET {quoted} = %s WHERE id = %s", value, id)


def remove(id: int) -> None:
    sql(f"DELETE FROM {TABLE} WHERE id = %s", id)


def insert(id: int) -> None:
    AuditEntry(id=id, action="create", object_pk="1").save(force_insert=True)


OK = "OK. Entries as they were sealed: {}."

FORGED = {
    "at": datetime.datetime(2020, 2, 2, 2, 2, 2, 123456),
    "action": "delete",
    "content_type_id": 2,
    "object_pk": "forged",
    "object_text": "",
    "changes": '{"price": ["0.50", 1.25], "on": [true, null]}',
    "actor_id": None,
    "actor_text": "Maria",
    "context": '{"path": "/", "ip": null}',
    "unit": uuid.UUID(int=2**100).hex,
    "using": "other",
}


def test_a_forgery_is_tried_in_every_column():
    assert {*FORGED, "id"} == {field.column for field in AuditEntry._meta.concrete_fields}


@pytest.mark.django_db
@pytest.mark.parametrize("column", FORGED)
@pytest.mark.parametrize("place", [0, 3, 9])
def test_an_altered_entry_is_named_whatever_was_altered(column, place):
    ids = write(10)
    seal("--size=4")
    alter(ids[place], column, FORGED[column])
    assert verify() == f"Entry {ids[place]} was altered."


@pytest.mark.django_db
@pytest.mark.parametrize("place", [0, 3, 4, 9])
def test_a_removed_entry_is_named(place):
    ids = write(10)
    seal("--size=4")
    remove(ids[place])
    assert verify() == f"Entry {ids[place]} was removed."


@pytest.mark.django_db
@pytest.mark.parametrize("place", [0, 3, 4, 8, 9])
def test_an_inserted_entry_is_named(place):
    ids = write(10)
    gap = ids[place]
    remove(gap)
    seal("--size=4")
    if place == 9:
        # Behind the last that is sealed anybody may write.
        write(1)
        seal("--size=4")
    insert(gap)
    assert verify() == f"Entry {gap} was inserted."


@pytest.mark.django_db
def test_an_entry_before_the_first_is_named():
    write(2)
    seal()
    insert(-5)
    assert verify() == "Entry -5 was inserted."


@pytest.mark.django_db
def test_an_entry_with_another_id_is_a_removed_one():
    ids = write(3)
    seal()
    alter(ids[1], "id", ids[2] + 100)
    assert verify() == f"Entry {ids[1]} was removed."


@pytest.mark.django_db
def test_two_entries_that_were_swapped_are_found():
    ids = write(3)
    seal()
    alter(ids[0], "id", 10**9)
    alter(ids[1], "id", ids[0])
    alter(10**9, "id", ids[1])
    assert verify() == f"Entry {ids[0]} was altered."


@pytest.mark.django_db
@given(
    count=st.integers(1, 12),
    size=st.integers(1, 5),
    gaps=st.sets(st.integers(0, 11), max_size=4),
    deeds=st.dictionaries(st.integers(0, 11), st.sampled_from(["altered", "removed"]), max_size=4),
    inserted=st.booleans(),
    pruned=st.sets(st.integers(0, 11), max_size=3),
    column=st.sampled_from(sorted(FORGED)),
)
def test_the_first_deed_is_always_found(count, size, gaps, deeds, inserted, pruned, column):
    sql(f"DELETE FROM {TABLE}")
    sql(f"DELETE FROM {SEALS}")
    ids = write(count)
    missing = [ids[place] for place in gaps if place < count - 1]
    for id in missing:
        remove(id)
    sealed = [id for id in ids if id not in missing]
    seal(f"--size={size}")
    gone = [ids[place] for place in pruned if place < count and ids[place] in sealed]
    prune(gone)
    expected = {}
    for place, deed in deeds.items():
        if place < count and ids[place] in sealed and ids[place] not in gone:
            expected[ids[place]] = deed
            if deed == "removed":
                remove(ids[place])
            else:
                alter(ids[place], column, FORGED[column])
    if inserted and missing:
        insert(missing[0])
        expected[missing[0]] = "inserted"
    if expected:
        first = min(expected)
        assert verify() == f"Entry {first} was {expected[first]}."
    else:
        assert verify() == OK.format(len(sealed) - len(gone))


def prune(ids: list[int], using: str = "default") -> None:
    with transaction.atomic(using=using):
        AuditEntry.objects.using(using).filter(pk__in=ids).delete()
        note_pruned(AuditEntry, ids, using)


@pytest.mark.django_db
def test_an_empty_log_has_nothing_to_seal():
    assert run("sealauditlog", "--lag=0") == "Nothing to seal.\n"
    assert run("verifyauditlog") == "Nothing is sealed. Entries not yet sealed: 0.\n"
    assert not AuditSeal.objects.exists()


@pytest.mark.django_db
def test_a_log_that_is_sealed_has_nothing_to_seal():
    write(1)
    digest = seal()
    assert run("sealauditlog", "--lag=0") == f"Nothing to seal.\nLatest digest: {digest}\n"
    assert AuditSeal.objects.count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize("count", [1, 2, 3, 4, 6, 7])
def test_all_is_sealed_whatever_the_size_of_a_seal(count):
    ids = write(count)
    assert run("sealauditlog", "--lag=0", "--size=3").startswith(f"Sealed {count} entries.\n")
    seals = AuditSeal.objects.order_by("pk")
    assert [one.count for one in seals] == [3] * (count // 3) + [count % 3] * (count % 3 > 0)
    assert (seals.first().first_id, seals.last().last_id) == (ids[0], ids[-1])
    assert verify() == OK.format(count)


@pytest.mark.django_db
def test_more_than_a_page_is_sealed_and_verified():
    AuditEntry.objects.bulk_create(
        AuditEntry(action="create", object_pk=str(number)) for number in range(1201)
    )
    seal("--size=1100")
    assert verify() == OK.format(1201)
    assert [one.count for one in AuditSeal.objects.order_by("pk")] == [1100, 101]


@pytest.mark.django_db
def test_what_is_not_yet_sealed_is_counted():
    write(2)
    seal()
    write(3)
    assert run("verifyauditlog").splitlines()[:3] == [
        OK.format(2),
        "Pruned by command: 0.",
        "Not yet sealed: 3.",
    ]


@pytest.mark.django_db
def test_the_size_has_to_be_reasonable():
    for size in ("0", "-1", "100001"):
        with pytest.raises(CommandError, match=f"--size is {size}. Choose one from 1 to 100000"):
            seal(f"--size={size}")


@pytest.mark.django_db
def test_a_database_that_does_not_exist_is_named():
    with pytest.raises(CommandError, match=r"no database 'oter'\. Choose from default, other"):
        seal("--using=oter")


@pytest.mark.django_db
class TestChain:
    @pytest.fixture(autouse=True)
    def _three_seals(self) -> None:
        self.ids = write(6)
        self.digest = seal("--size=2")
        self.seals = list(AuditSeal.objects.order_by("pk"))

    @pytest.mark.parametrize(
        ("column", "value"),
        [
            ("at", datetime.datetime(2020, 2, 2)),
            ("kind", "pruned"),
            ("first_id", 0),
            ("last_id", 10**6),
            ("count", 1),
            ("columns", "id"),
            ("evidence", b"\x00"),
            ("previous", "0" * 64),
            ("digest", "0" * 64),
        ],
    )
    @pytest.mark.parametrize("place", [0, 1, 2])
    def test_an_altered_seal_is_named(self, column, value, place):
        key = self.seals[place].pk
        quoted = connections["default"].ops.quote_name(column)
        sql(f"UPDATE {SEALS} SET {quoted} = %s WHERE id = %s", value, key)
        assert verify() == f"Seal {key} was altered."

    def test_a_removed_seal_is_told(self):
        sql(f"DELETE FROM {SEALS} WHERE id = %s", self.seals[1].pk)
        first, _, last = (one.pk for one in self.seals)
        assert verify() == (
            f"A seal was removed: seal {last} does not follow seal {first}, or seal {first} was "
            f"written anew."
        )

    def test_a_removed_first_seal_is_told(self):
        sql(f"DELETE FROM {SEALS} WHERE id = %s", self.seals[0].pk)
        second = self.seals[1].pk
        assert verify() == f"A seal was removed: the chain begins with seal {second}."

    def test_a_seal_that_belongs_to_another_log_is_removed(self):
        sql(f"UPDATE {SEALS} SET log = 'a.B' WHERE id = %s", self.seals[1].pk)
        assert verify().startswith("A seal was removed: ")

    def test_removed_last_seals_are_told_by_an_anchor(self):
        sql(f"DELETE FROM {SEALS} WHERE id = %s", self.seals[2].pk)
        assert verify() == OK.format(4)
        assert verify(f"--anchor={self.digest}") == (
            f"No seal has the digest {self.digest}: the last seals were removed, or the chain was "
            f"written anew."
        )

    def test_a_chain_that_was_written_anew_is_told_by_an_anchor(self):
        alter(self.ids[0], "actor_id", None)
        sql(f"DELETE FROM {SEALS}")
        seal("--size=2")
        assert verify() == OK.format(6)
        assert verify(f"--anchor={self.digest}").startswith("No seal has the digest")

    def test_any_digest_of_the_chain_is_an_anchor_and_there_may_be_many(self):
        digests = [one.digest for one in self.seals]
        assert digests[-1] == self.digest
        assert verify(*(f"--anchor={digest.upper()}" for digest in digests)) == OK.format(6)
        assert verify(f"--anchor={digests[0]}", f"--anchor={'0' * 64}").startswith("No seal")

    @pytest.mark.parametrize("anchor", ["", "abc", "g" * 64, "0" * 63])
    def test_half_an_anchor_is_refused(self, anchor):
        assert "Give a whole digest, 64 digits from 0 to f" in verify(f"--anchor={anchor}")

    def test_a_stored_seal_is_not_saved_again(self):
        with pytest.raises(TypeError, match="not changed once it is written"):
            self.seals[0].save()

    def test_a_seal_costs_little(self):
        assert all(len(bytes(one.evidence)) == one.count * 17 for one in self.seals)


@pytest.mark.skipif(
    connections["default"].vendor == "sqlite", reason="does not give up a constraint"
)
@pytest.mark.django_db(transaction=True)
def test_an_inserted_seal_is_named():
    write(2)
    seal("--size=1")
    first, second = AuditSeal.objects.order_by("pk")
    sql(f"UPDATE {SEALS} SET id = %s WHERE id = %s", second.pk + 10, second.pk)
    forged = AuditSeal.objects.get(pk=first.pk)
    forged.pk, forged.previous = second.pk, first.digest
    forged.digest = get_digest(forged)
    (constraint,) = AuditSeal._meta.constraints
    with connections["default"].schema_editor() as editor:
        editor.remove_constraint(AuditSeal, constraint)
    try:
        AuditSeal.objects.bulk_create([forged])
        assert verify() == (
            f"Seal {forged.pk} was inserted: seal {second.pk + 10} follows the one before."
        )
    finally:
        AuditSeal.objects.filter(pk=forged.pk).delete()
        with connections["default"].schema_editor() as editor:
            editor.add_constraint(AuditSeal, constraint)


@pytest.mark.django_db
class TestPruning:
    def test_what_was_pruned_by_command_is_not_removed(self):
        ids = write(10)
        seal("--size=3")
        prune(ids[:5])
        assert run("verifyauditlog").splitlines()[:2] == [OK.format(5), "Pruned by command: 5."]
        prune(ids[5:])
        assert run("verifyauditlog").splitlines()[:2] == [OK.format(0), "Pruned by command: 10."]

    def test_what_was_pruned_before_it_was_sealed_is_nobodys_loss(self):
        ids = write(4)
        seal()
        more = write(4)[4:]
        prune([ids[0], more[0]])
        seal()
        assert run("verifyauditlog").splitlines()[:2] == [OK.format(6), "Pruned by command: 1."]

    def test_pruning_hides_nothing_else(self):
        ids = write(10)
        seal("--size=3")
        prune(ids[:5])
        remove(ids[5])
        assert verify() == f"Entry {ids[5]} was removed."

    def test_what_was_pruned_does_not_come_back_unseen(self):
        ids = write(3)
        seal()
        entry = AuditEntry.objects.get(pk=ids[1])
        prune([ids[1]])
        AuditEntry.objects.bulk_create([entry])
        assert verify() == f"Entry {ids[1]} was inserted: it had been pruned."

    def test_a_note_cannot_be_altered_or_taken_back(self):
        ids = write(3)
        seal()
        prune([ids[0]])
        digest = seal()
        key = AuditSeal.objects.get(kind="pruned").pk
        sql(f"UPDATE {SEALS} SET first_id = %s, last_id = %s WHERE id = %s", ids[1], ids[1], key)
        assert verify() == f"Seal {key} was altered."
        sql(f"DELETE FROM {SEALS} WHERE id = %s", key)
        assert verify(f"--anchor={digest}").startswith("No seal has the digest")

    def test_a_log_that_was_never_sealed_needs_no_notes(self):
        prune(write(3))
        assert not AuditSeal.objects.exists()

    def test_to_prune_nothing_is_not_noted(self):
        write(1)
        seal()
        prune([])
        assert AuditSeal.objects.count() == 1

    def test_many_are_noted_in_seals_of_bounded_size(self, monkeypatch):
        ids = write(7)
        seal("--size=2")
        monkeypatch.setattr("django_signal_kit.audit.sealing.seal._PRUNED", 3)
        prune(ids[::-1])
        notes = AuditSeal.objects.filter(kind="pruned").order_by("pk")
        assert [note.count for note in notes] == [3, 3, 1]
        assert verify() == OK.format(0)


@pytest.mark.django_db(transaction=True)
def test_pruning_is_noted_in_the_transaction_of_the_deletion():
    ids = write(2)
    seal()
    with pytest.raises(TransactionManagementError, match=r"Open atomic\(using='default'\) around"):
        note_pruned(AuditEntry, ids, "default")
    with transaction.atomic():
        prune(ids)
        transaction.set_rollback(True)
    assert verify() == OK.format(2)


@pytest.mark.django_db(transaction=True)
def test_nobody_seals_in_a_transaction():
    write(1)
    with pytest.raises(RuntimeError, match="durable"), transaction.atomic():
        seal()


@pytest.mark.django_db
def test_who_prunes_during_the_verification_is_not_taken_for_a_thief():
    ids = write(3)
    seal()
    left = [ids[0]]

    def prune_first(execute, statement, *args):
        if left and statement.startswith("SELECT") and f"FROM {quoted} WHERE" in statement:
            prune([left.pop()])
        return execute(statement, *args)

    quoted = connections["default"].ops.quote_name(TABLE)
    with connections["default"].execute_wrapper(prune_first):
        told = run("verifyauditlog").splitlines()
    assert not left
    assert told[:2] == [OK.format(2), "Pruned by command: 1."]


@pytest.mark.django_db(databases=["default", "other"])
def test_a_log_in_another_database_is_sealed_there():
    ids = write(3, using="other")
    seal("--using=other")
    assert not AuditSeal.objects.using("default").exists()
    assert verify("--using=other") == OK.format(3)
    assert verify().startswith("Nothing is sealed.")
    sql(f"DELETE FROM {TABLE} WHERE id = %s", ids[0], using="other")
    assert verify("--using=other") == f"Entry {ids[0]} was removed."


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setattr(progress, "_INTERVAL", 0)
    return Terminal()


@pytest.mark.django_db
@pytest.mark.parametrize("command", ["sealauditlog", "verifyauditlog"])
def test_on_a_terminal_there_is_a_bar_that_grows(command, terminal):
    write(4)
    if command == "verifyauditlog":
        seal("--size=3")
    out = io.StringIO()
    options = {"size": 3} if command == "sealauditlog" else {}
    call_command(command, stdout=out, stderr=terminal, **options)
    lines = terminal.getvalue().split("\r")
    assert lines[:3] == [
        "",
        f"[{'#' * 22}{'.' * 8}]  75%  3 entries",
        f"[{'#' * 30}] 100%  4 entries",
    ]
    assert lines[-1] == ""
    assert out.getvalue().startswith(("Sealed 4 entries.", OK.format(4)))


@pytest.mark.django_db
def test_a_quiet_command_prints_no_more_than_the_digest():
    write(2)
    out, terminal = io.StringIO(), Terminal()
    call_command("sealauditlog", verbosity=0, stdout=out, stderr=terminal)
    digest = AuditSeal.objects.get().digest
    assert out.getvalue() == f"Latest digest: {digest}\n"
    call_command("verifyauditlog", verbosity=0, stdout=out, stderr=terminal)
    assert out.getvalue() == f"Latest digest: {digest}\n"
    assert terminal.getvalue() == ""


@pytest.mark.django_db
def test_a_talkative_command_prints_each_seal():
    ids = write(2)
    lines = run("sealauditlog", "--lag=0", "--size=1", "--verbosity=2").splitlines()
    first, second = AuditSeal.objects.order_by("pk")
    assert lines == [
        f"{first.digest} {ids[0]} to {ids[0]}",
        f"{second.digest} {ids[1]} to {ids[1]}",
        "Sealed 2 entries.",
        f"Latest digest: {second.digest}",
    ]


MODELS = """
from django.db import models

from django_signal_kit.audit.models import AbstractAuditEntry


class Entry(AbstractAuditEntry):
    {columns}
"""

SETTINGS = """
DATABASES["default"]["NAME"] = "db.sqlite3"
SIGNAL_KIT_AUDIT_ENTRY_MODEL = "logbook.Entry"
"""

MIGRATE = """
from django.core.management import CommandError, call_command
from django.db import connection
call_command("makemigrations", "logbook", verbosity=0)
call_command("migrate", verbosity=0)
from logbook.models import Entry
cursor = connection.cursor()

def verify():
    try:
        call_command("verifyauditlog")
    except CommandError as error:
        print(error)
"""

TENANT = "tenant = models.CharField(max_length=9, default='acme')"
PRICE = "price = models.DecimalField(max_digits=9, decimal_places=2, default='4.50')"
APPS = ["django.contrib.auth", "django.contrib.contenttypes", "django_signal_kit"]
APPS += ["django_signal_kit.audit", "logbook"]


def get_project(directory: Path, *columns: str) -> Project:
    """A project with a log of its own, which has ``columns`` more."""
    text = MODELS.format(columns="\n    ".join(columns))
    files = {"logbook/__init__.py": "", "logbook/models.py": text}
    return Project(directory, files, APPS, SETTINGS)


def test_the_columns_of_a_model_of_ones_own_are_sealed(tmp_path):
    project = get_project(tmp_path, TENANT, PRICE)
    project.run(MIGRATE + "Entry().save(); Entry().save(); call_command('sealauditlog')")
    for change in ("tenant = 'evil'", "price = 4"):
        forge = f'cursor.execute("UPDATE logbook_entry SET {change} WHERE id = 2"); verify()'
        undo = (
            "cursor.execute(\"UPDATE logbook_entry SET tenant = 'acme', price = 4.5\"); verify()"
        )
        told = project.run(f"{MIGRATE}{forge}\n{undo}").splitlines()
        assert told[:2] == ["Entry 2 was altered.", OK.format(2)]


def test_a_column_that_is_added_later_is_covered_by_later_seals(tmp_path):
    project = get_project(tmp_path, PRICE)
    project.run(MIGRATE + "Entry().save(); call_command('sealauditlog')")
    project = get_project(tmp_path, PRICE, TENANT)
    told = project.run(
        MIGRATE + "verify(); Entry().save(); call_command('sealauditlog'); verify()"
    )
    assert OK.format(1) in told
    assert OK.format(2) in told
    forge = 'cursor.execute("UPDATE logbook_entry SET tenant = 1 WHERE id = {}"); verify()'
    assert OK.format(2) in project.run(MIGRATE + forge.format(1))
    assert project.run(MIGRATE + forge.format(2)) == "Entry 2 was altered.\n"


def test_a_column_that_is_gone_is_named(tmp_path):
    project = get_project(tmp_path, TENANT)
    project.run(MIGRATE + "Entry().save(); call_command('sealauditlog')")
    project = get_project(tmp_path, PRICE)
    assert project.run(MIGRATE + "verify()").startswith(
        "Seal 1 covers the column 'tenant', which logbook.Entry no longer has"
    )


def test_a_log_whose_key_does_not_count_up_is_refused(tmp_path):
    project = get_project(
        tmp_path, "id = models.UUIDField(primary_key=True, default=__import__('uuid').uuid4)"
    )
    assert project.run(MIGRATE + "verify()") == (
        "logbook.Entry has the key 'id', which does not count up, so it cannot be sealed. Leave "
        "its key to AbstractAuditEntry.\n"
    )


def test_a_missing_table_is_named(tmp_path):
    project = get_project(tmp_path, TENANT)
    forget = "call_command('migrate', 'signal_kit_audit', '0001', verbosity=0); verify()"
    assert project.run(MIGRATE + forget) == (
        "The database 'default' has no table 'signal_kit_audit_auditseal'. Run migrate --database "
        "default, or name another with --using.\n"
    )
