"""The demo: an empty shop is filled, lives through a day, and is looked at afterwards."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connections
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from django_signal_kit import context
from shop import story
from shop.catalogue import load_destinations, load_goods, read_goods
from shop.figures import Figures, Witness, count
from shop.models import Category, Tag
from shop.pages import find_stale, get_cached, get_paths, visit
from shop.worker import count_tasks, count_waiting, empty_queue

KEEPER = "keeper"
#: All that the shop writes into its folder, and all that is ever deleted there.
OWN = (
    "db.sqlite3",
    "db.sqlite3-wal",
    "db.sqlite3-shm",
    "cache",
    "media",
    "outbox",
    "deletions.log",
    "requests.log",
    "address.txt",
    "capture.txt",
)


class NotOursError(Exception):
    """What would have to be deleted may belong to somebody else."""


def start_afresh(var: Path) -> None:
    """Delete what an earlier demo left in ``var``.

    Raises NotOursError if the shop writes elsewhere, or if the folder may hold what is
    somebody else's.
    """
    written = {
        "DATABASES": (settings.DATABASES["default"]["NAME"], var / "db.sqlite3"),
        "CACHES": (settings.CACHES["default"]["LOCATION"], var / "cache"),
        "MEDIA_ROOT": (settings.MEDIA_ROOT, var / "media"),
        "OUTBOX": (settings.OUTBOX, var / "outbox"),
    }
    for setting, (path, expected) in written.items():
        if Path(path) != expected:
            raise NotOursError(
                f"{setting} is set to {path}, and the demo starts afresh only in {var}. "
                f"Run it with the settings that it came with."
            )
    if not settings.VAR_MARK.exists():
        raise NotOursError(
            f"{var} was not empty when the shop first saw it, so nothing in it is deleted. Let "
            f"SHOP_VAR name an empty folder, or one that is not there yet."
        )
    connections.close_all()
    for path in (var / name for name in OWN):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def run_demo(console: Console, pages: int | None = None) -> Figures:
    """Do everything, looking at so many ``pages`` or at all, and return what was counted.

    Raises NotOursError for a folder that may hold what is somebody else's, before anything is
    deleted.
    """
    start_afresh(settings.VAR)
    settings.ADDRESS.write_text(settings.SHOP_URL)
    settings.CAPTURE_NOTE.write_text(settings.CAPTURE)
    call_command("migrate", verbosity=0)
    figures, made = Figures(), Counter[str]()
    columns = (TextColumn("{task.description:<32}"), BarColumn(28), MofNCompleteColumn())
    with Witness() as witness, Progress(*columns, console=console) as progress:
        keeper = User.objects.create_user(KEEPER, is_staff=True, is_superuser=True)
        made["create"] += 1  # His profile.
        with context(actor=keeper, reason="opening"):
            open_shop(made, progress)
        story.move_customers(made)
        story.sign_up(made)
        story.sign_up_in_vain(made)
        with context(actor=keeper, reason="orders"):
            story.take_orders(made)

        paths = get_paths()[:pages]
        for _ in progress.track(visit(paths), len(paths), description="Pages, looked at once"):
            pass
        cached = get_cached()
        with context(actor=keeper, reason="a day in the shop"):
            for change in progress.track(story.DAY, description="A day of changes"):
                change(made)
        figures.cached = len(cached)
        figures.cached_dropped = len(cached - get_cached())

        paths = get_paths()[:pages]
        stale = progress.track(find_stale(paths), len(paths), description="Pages, looked at again")
        figures.pages_stale = sum(stale)
        figures.pages = len(paths)

        figures.tasks = count_tasks()
        queue = progress.add_task("The queue, emptied by a worker", total=figures.tasks)
        for waiting in empty_queue():
            progress.update(queue, completed=figures.tasks - waiting)
        figures.tasks_left = count_waiting()
        progress.update(queue, completed=figures.tasks - figures.tasks_left)
    figures.entries_undone = made.pop("entry undone", 0)
    figures.rows_refused = made.pop("row refused", 0)
    figures.tags_refused = made.pop("tags refused", 0)
    figures.made = dict(sorted(made.items()))
    count(figures, witness)
    return figures


def open_shop(made: Counter[str], progress: Progress) -> None:
    goods = progress.add_task("Goods with pictures and tags", total=len(read_goods()))
    for product in load_goods():
        made["create"] += 1
        made["link"] += product.tags.count()
        progress.advance(goods)
    made["create"] += Category.objects.count() + Tag.objects.count()
    cities = progress.add_task("Cities to send parcels to", total=None)
    for size in load_destinations():
        progress.advance(cities, size)
    progress.update(cities, total=progress.tasks[cities].completed)


def make_table(figures: Figures) -> Table:
    """What each receiver did, and how we know."""
    f = figures
    table = Table(title="What each receiver did", show_lines=True)
    table.add_column("Receiver", style="bold")
    table.add_column("What it did")
    table.add_column("Compared with what is there")
    entries = ", ".join(f"{action} {number:,}" for action, number in f.entries.items())
    table.add_row(
        "LastModified",
        f"{f.rows_stamped:,} of {f.rows:,} rows stamped, {f.rows_with_editor:,} with an editor",
        f"{f.rows_late} stamps older than the row's last change",
    )
    table.add_row(
        f"AuditLog, by\n{settings.CAPTURE}",
        entries,
        f"{sum(f.told.values()):,} of {sum(f.made.values()):,} changes told, in {f.units:,} "
        f"units of work; {f.entries_undone} entries more rolled back with their change",
    )
    table.add_row(
        "LoginLog", f"{f.logins} login", f"{f.logins_of_newcomer} by who signed up, after that"
    )
    table.add_row(
        "ProductPages\nCategoryPages\nTaggedPages",
        f"{f.cached_dropped} of {f.cached} cached parts of pages dropped",
        f"{f.pages_stale} of {f.pages} pages show anything old",
    )
    table.add_row(
        "FileCleanup",
        f"{f.files_kept} files in quarantine, {f.files} left",
        f"{f.files_orphaned} files without a row, {f.files_missing} rows without their file",
    )
    table.add_row(
        "ShopWelcomeEmail\nOrderSent",
        f"{f.tasks} tasks for a worker, {f.tasks_left} left after it; {f.mails} welcome, "
        f"{f.mails_of_orders} of orders, {f.mails_to_staff} not to be sent",
        f"{f.mails_to_newcomer} to who signed up, {f.mails_to_nobody} to whose sign-up was "
        f"rolled back; {f.orders_sent} orders sent",
    )
    table.add_row(
        "Validate",
        f"{f.rows_refused} delivered rows refused",
        f"{f.rows_delivered} rows of that delivery",
    )
    table.add_row(
        "FewTags\nProductCount\nUnusedTags",
        f"{f.tags_refused} change refused, {f.tags_right} tags counted, {f.tags_swept} deleted "
        f"with their last product",
        f"at most {f.tags_most} of 8 tags a product, {f.tags} tags, {f.tags_unused} without a "
        f"product",
    )
    table.add_row(
        "InitialAttributes",
        f"{f.products_with_ordered} start with 0 ordered",
        f"{f.products} products",
    )
    table.add_row("ProfileForEveryUser", f"{f.profiles} profiles", f"{f.users} users")
    table.add_row(
        "make_slug, a plain\nreceiver of Django", f"{f.slugs} slugs", f"{f.products} products"
    )
    return table


def save_figures(figures: Figures, path: Path) -> None:
    path.write_text(json.dumps(asdict(figures), indent=2) + "\n")
