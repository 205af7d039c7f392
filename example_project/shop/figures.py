"""What the receivers did, counted from what the database, the folders and the cache hold."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.db.models import Count, QuerySet
from django.utils.text import slugify

from django_signal_kit.audit.models import AuditEntry
from django_signal_kit.mail.models import WelcomeSent
from django_signal_kit.signals import post_file_delete
from shop.models import Destination, Order, Product, Profile, Stamped, Tag
from shop.story import DELETED_TAG, NEWCOMER, NOBODY

#: The actions of LoginLog, which tell of no change.
LOGINS = ("login", "logout", "login_failed")


class Witness:
    """Hears which files FileCleanup takes away while the demo runs."""

    def __init__(self) -> None:
        self.deleted_files: list[str] = []

    def __enter__(self) -> Witness:
        post_file_delete.connect(self.hear_file)
        return self

    def __exit__(self, *args: object) -> None:
        post_file_delete.disconnect(self.hear_file)

    def hear_file(self, name: str, **kwargs: Any) -> None:
        self.deleted_files.append(name)


@dataclass
class Figures:
    """Every figure of the demo's table."""

    #: What was changed and committed, as the story counted: rows, and links between them.
    made: dict[str, int] = field(default_factory=dict)
    #: The same, as the audit log tells it.
    told: dict[str, int] = field(default_factory=dict)
    #: In how many entries, by action.
    entries: dict[str, int] = field(default_factory=dict)
    #: Entries that were written and rolled back with their change.
    entries_undone: int = 0
    units: int = 0
    logins: int = 0
    logins_of_newcomer: int = 0
    rows: int = 0
    rows_stamped: int = 0
    rows_with_editor: int = 0
    #: Rows whose last save left the stamp of an earlier one.
    rows_late: int = 0
    cached: int = 0
    cached_dropped: int = 0
    pages: int = 0
    pages_stale: int = 0
    files: int = 0
    files_deleted: int = 0
    #: Files that wait in quarantine.
    files_kept: int = 0
    #: Files that were taken away, and came back with their row.
    files_back: int = 0
    #: Files that no row names.
    files_orphaned: int = 0
    #: Files that a row names, and that are not there.
    files_missing: int = 0
    #: Tasks that were left to a worker, and that are not done after it.
    tasks: int = 0
    tasks_left: int = 0
    #: Welcomes.
    mails: int = 0
    mails_to_newcomer: int = 0
    mails_to_nobody: int = 0
    #: Welcomes that those who work here do not get.
    mails_to_staff: int = 0
    #: Of how many orders the mails tell that they have been sent.
    mails_of_orders: int = 0
    orders_mailed: int = 0
    orders_sent: int = 0
    users: int = 0
    profiles: int = 0
    #: Bad rows of a delivery that was refused as a whole, and how many of its rows are there.
    rows_refused: int = 0
    rows_delivered: int = 0
    tags: int = 0
    #: Changes that would have given a product too many.
    tags_refused: int = 0
    #: The most that any product has.
    tags_most: int = 0
    #: Tags whose counter is the number of their products.
    tags_right: int = 0
    tags_unused: int = 0
    #: Tags that went by themselves.
    tags_swept: int = 0
    products: int = 0
    #: Products that have the attribute that is no column, with the value to start from.
    products_with_ordered: int = 0
    slugs: int = 0
    destinations: int = 0

    def get_problems(self) -> Iterator[str]:
        """A sentence for each thing that is not as it has to be."""
        if self.told != self.made:
            yield f"The log tells of {self.told}, and the changes were {self.made}."
        if not self.entries_undone:
            yield "No entry was rolled back with its change."
        if (self.logins, self.logins_of_newcomer) != (1, 1):
            yield f"{self.logins} logins, {self.logins_of_newcomer} of them by the newcomer."
        if self.rows_stamped != self.rows or self.rows_late:
            yield f"Of {self.rows} rows {self.rows_stamped} are stamped, {self.rows_late} late."
        if not self.cached_dropped or self.pages_stale:
            yield f"{self.cached_dropped} dropped from the cache, {self.pages_stale} pages stale."
        if self.files_kept != self.files_deleted:
            yield f"{self.files_deleted} files went, and {self.files_kept} wait in quarantine."
        if self.files_back != 1 or self.files_orphaned or self.files_missing:
            yield (
                f"Of the files {self.files_back} came back, {self.files_orphaned} belong to no "
                f"row, and {self.files_missing} are missing."
            )
        if (self.mails, self.mails_to_newcomer) != (1, 1):
            yield f"{self.mails} welcomes, {self.mails_to_newcomer} of them to the newcomer."
        if not self.mails_of_orders == self.orders_mailed == self.orders_sent:
            yield (
                f"{self.orders_sent} orders were sent, and {self.mails_of_orders} mails tell of "
                f"{self.orders_mailed}."
            )
        mails = self.mails + self.mails_to_staff + self.mails_of_orders
        if self.tasks != mails or self.tasks_left:
            yield (
                f"{self.tasks} tasks were left to a worker, {mails} mails came of them, and "
                f"{self.tasks_left} are not done."
            )
        if (self.rows_refused, self.rows_delivered) != (3, 0):
            yield f"{self.rows_refused} rows refused, {self.rows_delivered} there all the same."
        if self.tags_right != self.tags or self.tags_unused or self.tags_swept != 2:
            yield (
                f"Of {self.tags} tags {self.tags_right} have the right count, {self.tags_unused} "
                f"no product; {self.tags_swept} went with their last one."
            )
        if self.tags_refused != 1 or self.tags_most > 8:
            yield f"{self.tags_refused} changes of tags refused, {self.tags_most} at a product."
        if self.products_with_ordered != self.products:
            yield f"{self.products_with_ordered} of {self.products} products know what is ordered."
        if self.profiles != self.users or self.slugs != self.products:
            yield (
                f"{self.users} users have {self.profiles} profiles, {self.products} products "
                f"{self.slugs} slugs."
            )


def count(figures: Figures, witness: Witness) -> None:
    """Count everything that can be counted when the day is over."""
    count_log(figures)
    count_stamps(figures)
    count_files(figures, witness)
    count_mails(figures)
    count_tags(figures)
    figures.rows_delivered = Product.objects.filter(sku__startswith="NEW-").count()
    figures.users = User.objects.count()
    figures.profiles = Profile.objects.count()
    figures.products = Product.objects.count()
    figures.products_with_ordered = sum(
        getattr(product, "ordered", None) == 0 for product in Product.objects.all()
    )
    figures.slugs = sum(
        slug == slugify(f"{name} {sku}")
        for slug, name, sku in Product.objects.values_list("slug", "name", "sku")
    )
    figures.destinations = Destination.objects.count()


def count_log(figures: Figures) -> None:
    changes = AuditEntry.objects.exclude(action__in=LOGINS)
    logins = AuditEntry.objects.filter(action__in=LOGINS)
    actions = changes.values_list("action", flat=True)
    figures.entries = dict(sorted(Counter(actions).items()))
    figures.told = dict(sorted(count_told(changes).items()))
    figures.units = changes.values("unit").distinct().count()
    figures.logins = logins.count()
    figures.logins_of_newcomer = logins.filter(action="login", actor_text=NEWCOMER).count()


def count_told(changes: QuerySet[AuditEntry]) -> Counter[str]:
    """Of which changes the entries tell. One entry of a product tells of all the tags that it
    gets; triggers may write one for each."""
    told = Counter[str]()
    for action, changed in changes.values_list("action", "changes"):
        if not action.startswith("m2m_"):
            told[action] += 1
            continue
        for ends in changed.values():
            told["link"] += len(ends.get("added", ()))
            told["unlink"] += len(ends.get("removed", ()))
    return told


def count_stamps(figures: Figures) -> None:
    saves = AuditEntry.objects.filter(action__in=("create", "update")).order_by("-pk")
    times = defaultdict(list)
    for kind, pk, at in saves.values_list("content_type", "object_pk", "at"):
        times[kind, pk].append(at)
    for model in Stamped.__subclasses__():
        kind = ContentType.objects.get_for_model(model).pk
        for row in model._default_manager.all():
            figures.rows += 1
            is_stamped = row.updated_at is not None and row.created_at is not None
            figures.rows_stamped += is_stamped
            figures.rows_with_editor += row.updated_by_id is not None
            # The stamp is made at the start of a save and the entry at its end, so the stamp of
            # the last save lies between the last entry and the one before.
            before = times[kind, str(row.pk)][1:2]
            figures.rows_late += not is_stamped or any(row.updated_at < at for at in before)


def count_files(figures: Figures, witness: Witness) -> None:
    root = Path(settings.MEDIA_ROOT)
    found = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    kept = {name for name in found if name.startswith("quarantine/")}
    found -= kept
    named = set(Product.objects.exclude(image="").values_list("image", flat=True))
    figures.files = len(found)
    figures.files_deleted = len(set(witness.deleted_files) - found)
    figures.files_kept = len(kept)
    figures.files_back = len(found.intersection(witness.deleted_files))
    figures.files_orphaned = len(found - named)
    figures.files_missing = len(named - found)


def count_tags(figures: Figures) -> None:
    counts = Tag.objects.annotate(count=Count("products")).values_list("product_count", "count")
    figures.tags = len(counts)
    figures.tags_right = sum(kept == count for kept, count in counts)
    figures.tags_unused = sum(count == 0 for _, count in counts)
    figures.tags_most = max(
        Product.objects.annotate(count=Count("tags")).values_list("count", flat=True)
    )
    # A tag that went by itself did so in the unit of work in which its product let go of it, or
    # was deleted. The one that was deleted by hand has told its products so, too.
    kind = ContentType.objects.get_for_model(Tag)
    gone = AuditEntry.objects.filter(action="delete", content_type=kind)
    gone = gone.exclude(object_text=DELETED_TAG)
    product = ContentType.objects.get_for_model(Product)
    letting_go = AuditEntry.objects.filter(content_type=product)
    figures.tags_swept = gone.filter(unit__in=letting_go.values("unit")).count()


def count_mails(figures: Figures) -> None:
    mails = read_outbox(Path(settings.OUTBOX))
    welcomed = [mail["To"] for mail in mails if "Welcome" in mail["Subject"]]
    figures.mails = len(welcomed)
    figures.mails_to_newcomer = sum(NEWCOMER in to for to in welcomed)
    figures.mails_to_nobody = sum(NOBODY in mail["To"] for mail in mails)
    figures.mails_to_staff = WelcomeSent.objects.filter(state="skipped").count()
    orders = [mail["Subject"] for mail in mails if "on its way" in mail["Subject"]]
    figures.mails_of_orders = len(orders)
    figures.orders_mailed = len(set(orders))
    figures.orders_sent = Order.objects.filter(status=Order.Status.SENT).count()


def read_outbox(folder: Path) -> list[Message]:
    """The mails in the files of Django's filebased backend, which ends each with a line."""
    end = b"\n" + b"-" * 79 + b"\n"
    return [
        message_from_bytes(text)
        for path in sorted(folder.glob("*.log"))
        for text in path.read_bytes().split(end)[:-1]
    ]
