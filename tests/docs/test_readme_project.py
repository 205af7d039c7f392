"""By the README alone, from an empty directory to receivers that work."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from django_signal_kit import receivers
from django_signal_kit.wiring.catalog import DJANGO_SIGNALS
from tests.docs.blocks import ROOT, Block, check_output, get_expected, get_reference, read
from tests.docs.project import Project

README = ROOT / "README.md"


def follow(project: Project, blocks: list[Block]) -> Iterator[Block]:
    """Do what the README says, in its order; yield each block after it was done.

    The settings of its first screen are pasted where it says so: before the tables are made.
    """
    first = next(block for block in blocks if block.language == "python")
    for index, block in enumerate(blocks):
        if block is first:
            continue
        if "makemigrations" in block.code:
            project.do(first)
        printed = project.do(block)
        if printed is not None:
            check_output(block, printed, get_expected(blocks, index))
        yield block


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project as far as the README's first settings take it."""
    project = Project(tmp_path_factory.mktemp("readme"))
    for block in follow(project, read(README)):
        if "migrate" in block.code:
            break
    return project


def test_the_first_settings_pass_all_checks(project: Project) -> None:
    assert "no issues" in project.manage("check")


def test_an_entry_has_the_old_and_the_new_value(project: Project) -> None:
    project.execute("""
from django.contrib.auth.models import User
from django.test import Client
from django_signal_kit import context
from django_signal_kit.audit.models import AuditEntry
from shop.models import Product

ann = User.objects.create(username="ann")
with context(actor=ann):
    tea = Product.objects.create(name="Tea", price="4.50")
    tea.price = "4.80"
    tea.save(update_fields=["price"])
key = tea.pk
tea.delete()
entries = AuditEntry.objects.filter(object_pk=str(key)).order_by("pk")
create, update, delete = entries
assert [entry.action for entry in entries] == ["create", "update", "delete"]
assert create.changes["price"] == [None, "4.50"], create.changes
assert update.changes["price"] == ["4.50", "4.80"], update.changes
assert delete.changes["name"] == ["Tea", None], delete.changes
assert [entry.actor for entry in entries] == [ann, ann, None]
""")


def test_a_request_says_who_changed_the_row(project: Project) -> None:
    project.execute("""
from django.contrib.auth.models import User
from django.test import Client
from django_signal_kit.audit.models import AuditEntry
from shop import models
from django.contrib import admin

admin.site.register(models.Product)
root = User.objects.create_superuser("root", "", "root")
client = Client()
client.force_login(root)
data = {"name": "Pot", "price": "20.00"}
response = client.post("/admin/shop/product/add/", data)
assert response.status_code == 302, response.content
entry = AuditEntry.objects.get(action="create", object_text="Pot")
assert entry.actor == root
assert entry.context["path"] == "/admin/shop/product/add/", entry.context
page = client.get("/admin/signal_kit_audit/auditentry/")
assert page.status_code == 200 and b"Pot" in page.content
""")


def test_the_cached_key_is_gone(project: Project) -> None:
    project.execute("""
from django.core.cache import cache
from shop.models import Product

tea, pot = (Product.objects.create(name=name, price=1) for name in ("Tea", "Pot"))
for row in (tea, pot):
    cache.set(f"product:{row.pk}", row.name)
tea.save()
assert cache.get(f"product:{tea.pk}") is None
assert cache.get(f"product:{pot.pk}") == "Pot"
key = pot.pk
pot.delete()
assert cache.get(f"product:{key}") is None
""")


def test_the_replaced_file_is_deleted(project: Project) -> None:
    project.execute("""
from pathlib import Path
from django.conf import settings
from django.core.files.base import ContentFile
from shop.models import Product

tea = Product.objects.create(name="Tea", price=1, image=ContentFile(b"old", "old.png"))
old = Path(tea.image.path)
assert old.is_relative_to(settings.MEDIA_ROOT) and old.exists()
tea.image = ContentFile(b"new", "new.png")
tea.save()
new = Path(tea.image.path)
assert not old.exists() and new.exists()
tea.delete()
assert not new.exists()
""")


def test_the_stamp_is_written(project: Project) -> None:
    project.execute("""
from django.utils import timezone
from shop.models import Product

tea = Product.objects.create(name="Tea", price=1)
before = timezone.now()
tea.save(update_fields=["price"])
tea.refresh_from_db()
assert tea.updated_at >= before
""")


def test_a_mail_is_in_the_outbox(project: Project) -> None:
    project.execute("""
from django.contrib.auth.models import User
from django.core import mail
from django.db import transaction

with transaction.atomic():
    User.objects.create_user("bea", "bea@shop.example")
    assert mail.outbox == []
assert [message.to for message in mail.outbox] == [["bea@shop.example"]]
assert mail.outbox[0].subject == "Welcome, bea"
""")


def test_everything_else_that_the_readme_shows_runs(tmp_path: Path) -> None:
    project = Project(tmp_path)
    done = list(follow(project, read(README)))
    assert "shop/tests.py" in [block.path for block in done]
    assert "no issues" in project.manage("check")


def test_what_a_command_prints_is_shown_to_the_letter() -> None:
    # It is compared with what is printed when the README is followed; nothing of it is left out.
    blocks = read(README)
    shown = [
        expected.code
        for index, block in enumerate(blocks)
        if block.language == "sh" and (expected := get_expected(blocks, index)) is not None
    ]
    assert len(shown) == 1
    assert [code for code in shown if "..." in code] == []


def test_the_readme_lists_each_ready_made_with_its_signals_and_its_page() -> None:
    rows = re.findall(
        r"^\| \[(\w+)\]\((docs/reference/[\w/-]+\.md)\) \| ([^|]+) \|",
        README.read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    said = {name: (page, set(re.findall(r"`(\w+)`", signals))) for name, page, signals in rows}
    expected = {}
    for name in receivers.__all__:
        cls = getattr(receivers, name)
        page = str(get_reference(cls).relative_to(ROOT))
        expected[name] = (page, set(vars(cls)) & set(DJANGO_SIGNALS))
    assert said == expected
    assert len(rows) == len(said)


def test_the_readme_links_to_what_exists() -> None:
    for page in (README, ROOT / "CHANGELOG.md"):
        targets = re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8"))
        missing = [target for target in targets if not (ROOT / target).is_file()]
        assert missing == []


@pytest.mark.parametrize(
    ("title", "line"),
    [
        (
            "## Try it",
            'python -m pip install -e ".[example]" && python example_project/manage.py demo',
        ),
        (
            "## Run the tests",
            'python -m pip install "tox>=4.22" && python -m tox run -e py',
        ),
    ],
)
def test_what_scripts_read_from_the_readme_is_one_line(title: str, line: str) -> None:
    text = README.read_text(encoding="utf-8")
    first = text[: text.index(title)].count("\n")
    end = text.find("\n## ", text.index(title) + 1)
    last = text[:end].count("\n")
    codes = [block.code for block in read(README) if first < block.line <= last]
    assert codes == [line + "\n"]
