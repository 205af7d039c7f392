"""From INSTALLED_APPS to connected receivers, in a process that starts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db.models.signals import post_save
from django.test.utils import modify_settings, override_settings

from django_signal_kit import ModelReceiver
from django_signal_kit.wiring.registry import registry
from tests.apps.testapp.models import Product, Tag
from tests.projects import KIT, SHOP, Project

pytestmark = pytest.mark.django_db

PRINT_NAMES = """
from django_signal_kit.wiring.registry import registry
print(*[receiver.name for receiver in registry.receivers])
"""

REGISTERED = """
from django_signal_kit import ModelReceiver, register

@register
class Bare(ModelReceiver):
    models = ["shop.Product"]
    def post_save(self, instance, **kwargs):
        print("Bare", instance.name)

@register(name="Second", models=["shop.Product"])
class Named(ModelReceiver):
    def post_save(self, instance, **kwargs):
        print(self.name, self.models, instance.name)
"""

SAVE = """
from django.core.management import call_command
from shop.models import Product
call_command("migrate", run_syncdb=True, verbosity=0)
Product.objects.create(name="Tea")
"""


def test_the_signals_module_of_an_app_registers_with_and_without_arguments(
    tmp_path: Path,
) -> None:
    project = Project(tmp_path, {**SHOP, "shop/signals.py": REGISTERED}, ["shop", KIT])
    assert project.run(SAVE).splitlines() == ["Bare Tea", "Second ['shop.Product'] Tea"]


def test_a_plain_function_in_a_signals_module_is_found(tmp_path: Path) -> None:
    plain = """
from django.db.models.signals import post_save
from django.dispatch import receiver
from shop.models import Product

@receiver(post_save, sender=Product)
def on_save(instance, **kwargs):
    print("plain", instance.name)
"""
    project = Project(tmp_path, {**SHOP, "shop/signals.py": plain}, ["shop", KIT])
    assert project.run(SAVE) == "plain Tea\n"


def test_an_app_without_a_signals_module_is_fine(tmp_path: Path) -> None:
    assert Project(tmp_path, SHOP, ["shop", KIT]).run("print('up')") == "up\n"


def test_a_broken_signals_module_raises_its_own_error(tmp_path: Path) -> None:
    broken = "import a_module_that_is_not_there\n"
    project = Project(tmp_path, {**SHOP, "shop/signals.py": broken}, ["shop", KIT])
    assert project.fail() == ("ModuleNotFoundError: No module named 'a_module_that_is_not_there'")


def test_a_signals_package_is_found_as_a_module_is(tmp_path: Path) -> None:
    project = Project(tmp_path, {**SHOP, "shop/signals/__init__.py": REGISTERED}, ["shop", KIT])
    assert project.run(PRINT_NAMES) == "Bare Second\n"


def test_an_excluded_app_is_not_imported(tmp_path: Path) -> None:
    files = {
        **SHOP,
        "shop/signals.py": "raise RuntimeError('imported')",
        "other/__init__.py": "",
        "other/signals.py": REGISTERED,
    }
    project = Project(tmp_path, files, ["shop", "other", KIT], DISCOVER_EXCLUDE=["shop"])
    assert project.run(PRINT_NAMES) == "Bare Second\n"


def test_an_excluded_app_may_import_its_signals_by_itself(tmp_path: Path) -> None:
    files = {
        **SHOP,
        "shop/signals.py": REGISTERED,
        "shop/apps.py": """
from django.apps import AppConfig

class ShopConfig(AppConfig):
    name = "shop"
    def ready(self):
        from shop import signals
""",
    }
    project = Project(tmp_path, files, ["shop", KIT], DISCOVER_EXCLUDE=["shop"])
    again = """
from django.conf import settings
from django.test import override_settings
with override_settings(SIGNAL_KIT={**settings.SIGNAL_KIT, "REDACT": []}):
    print(*[receiver.name for receiver in registry.receivers])
"""
    assert project.run(PRINT_NAMES + again) == "Bare Second\nBare Second\n"


def test_the_simple_config_wires_without_looking_for_more(tmp_path: Path) -> None:
    files = {
        **SHOP,
        "shop/signals.py": "raise RuntimeError('imported')",
        "shop/receivers.py": REGISTERED,
        "shop/apps.py": """
from django.apps import AppConfig

class ShopConfig(AppConfig):
    name = "shop"
    def ready(self):
        from shop import receivers
""",
    }
    project = Project(
        tmp_path,
        files,
        ["shop", "django_signal_kit.apps.SimpleSignalKitConfig"],
        RECEIVERS=[{"RECEIVER": "shop.receivers.Bare", "NAME": "Listed"}],
    )
    assert project.run(PRINT_NAMES) == "Listed Bare Second\n"


def test_the_order_is_settings_then_apps(tmp_path: Path) -> None:
    def make(name: str) -> str:
        return f"""
from django_signal_kit import ModelReceiver, register

@register(models=["shop.Product"])
class {name}(ModelReceiver):
    def post_save(self, **kwargs):
        print("{name}")
"""

    files = {
        **SHOP,
        "shop/signals.py": make("OfShop"),
        "first/__init__.py": "",
        "first/signals.py": make("OfFirst"),
        "listed.py": make("B").replace("@register(", "dict(")
        + make("A").replace("@reg", "# @reg"),
    }
    project = Project(
        tmp_path,
        files,
        ["first", KIT, "shop"],
        RECEIVERS=[
            {"RECEIVER": "listed.B", "OPTIONS": {"models": ["shop.Product"]}},
            {"RECEIVER": "listed.A", "OPTIONS": {"models": ["shop.Product"]}},
        ],
    )
    assert project.run(SAVE).split() == ["B", "A", "OfFirst", "OfShop"]


def test_the_public_names_can_be_imported_before_the_apps_are_ready(tmp_path: Path) -> None:
    models = (
        "from django_signal_kit import (ModelReceiver, Receiver, batch, context, get_context,\n"
        "    muted, only, register)\n"
        "from django_signal_kit.receivers import (AuditLog, CacheInvalidation, FileCleanup,\n"
        "    LastModified, WelcomeEmail)\n"
    )
    files = {"early/__init__.py": models, "early/models.py": models}
    assert Project(tmp_path, files, ["early", KIT]).run("print('up')") == "up\n"


@pytest.mark.parametrize(
    ("signal_kit", "sentence"),
    [
        (
            {"RECIEVERS": []},
            "Unknown key 'RECIEVERS' in SIGNAL_KIT. Did you mean 'RECEIVERS'? (signal_kit.E001)",
        ),
        (
            {"RECEIVERS": ["django_signal_kit.receivers.AuditLgo"]},
            "Did you mean 'django_signal_kit.receivers.AuditLog'? (signal_kit.E004)",
        ),
        (
            {
                "RECEIVERS": [
                    {
                        "RECEIVER": "django_signal_kit.receivers.LastModified",
                        "OPTIONS": {"models": ["shop.Prodct"]},
                    }
                ]
            },
            "The option 'models' of LastModified has 'shop.Prodct', but there is no such model. "
            "Did you mean 'shop.Product'? (signal_kit.E008)",
        ),
    ],
)
def test_a_mistake_stops_the_start_with_a_sentence(
    tmp_path: Path, signal_kit: dict[str, Any], sentence: str
) -> None:
    last = Project(tmp_path, SHOP, ["shop", KIT], **signal_kit).fail()
    assert last.startswith("django.core.exceptions.ImproperlyConfigured: ")
    assert last.endswith(sentence)


def test_the_sentence_is_all_that_the_traceback_ends_with(tmp_path: Path) -> None:
    said = Project(tmp_path, SHOP, ["shop", KIT], RECEIVERS=["shop.models.Nobody"]).start().stderr
    assert said.rstrip().endswith("Give the dotted path of a Receiver class. (signal_kit.E004)")
    # No chain of exceptions, and of the kit's own functions the one that Django calls.
    assert said.count("Traceback (most recent call last)") == 1
    assert [line for line in said.splitlines() if KIT in line and line.startswith("  File")] == [
        line for line in said.splitlines() if line.endswith(", in ready")
    ]


def test_what_fails_in_a_module_of_the_project_is_shown_from_there_on(tmp_path: Path) -> None:
    files = {**SHOP, "shop/broken.py": "import django\nimport nowhere\n"}
    said = Project(tmp_path, files, ["shop", KIT], RECEIVERS=["shop.broken.Mine"]).start().stderr
    first, second = said.split("The above exception was the direct cause of the following")
    assert "shop/broken.py" in first.splitlines()[1]
    assert first.strip().endswith("ModuleNotFoundError: No module named 'nowhere'")
    assert "importlib" not in said
    assert second.rstrip().endswith("(signal_kit.E004)")


def test_what_a_module_of_the_project_raises_itself_keeps_its_traceback(tmp_path: Path) -> None:
    source = "from django.core.exceptions import ImproperlyConfigured as No\nraise No('no')\n"
    files = {**SHOP, "shop/signals.py": source}
    said = Project(tmp_path, files, ["shop", KIT]).start().stderr
    assert "shop/signals.py" in said
    assert said.rstrip().endswith("ImproperlyConfigured: no")


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    result = Project(tmp_path, SHOP, ["shop", KIT], RECEIVERS=["a.B", 5], REDCAT=[]).start()
    assert [f"E00{n}" for n in range(1, 6) if f"(signal_kit.E00{n})" in result.stderr] == [
        "E001",
        "E003",
        "E004",
    ]


def test_a_mistake_of_register_stops_the_start(tmp_path: Path) -> None:
    registered = REGISTERED.replace("models=[", "modles=[")
    project = Project(tmp_path, {**SHOP, "shop/signals.py": registered}, ["shop", KIT])
    assert project.fail().endswith(
        "Named has no option 'modles'. Did you mean 'models'? (signal_kit.E006)"
    )


@pytest.mark.parametrize("signal_kit", [{}, {"RECEIVERS": []}])
def test_the_app_of_the_log_without_the_kit_stops_the_start(
    tmp_path: Path, signal_kit: dict[str, Any]
) -> None:
    apps = ["django.contrib.auth", "django.contrib.contenttypes", "shop", f"{KIT}.audit"]
    last = Project(tmp_path, SHOP, apps, **signal_kit).fail()
    assert last == (
        "django_signal_kit.exceptions.Misconfigured: INSTALLED_APPS has 'django_signal_kit.audit' "
        "and not 'django_signal_kit', so no receiver is wired and nothing is recorded. Add "
        "'django_signal_kit' to INSTALLED_APPS. (signal_kit.E047)"
    )


@pytest.mark.parametrize("kit", [KIT, f"{KIT}.apps.SimpleSignalKitConfig"])
@pytest.mark.parametrize("is_first", [True, False])
def test_wherever_the_kit_stands_it_is_there(tmp_path: Path, kit: str, is_first: bool) -> None:
    both = [kit, f"{KIT}.audit"] if is_first else [f"{KIT}.audit", kit]
    apps = ["django.contrib.auth", "django.contrib.contenttypes", "shop", *both]
    assert Project(tmp_path, SHOP, apps).run("print('started')") == "started\n"


def test_a_test_may_take_the_kit_away_and_leave_the_log() -> None:
    with modify_settings(INSTALLED_APPS={"remove": KIT}):
        assert not apps.is_installed(KIT)
        assert apps.is_installed(f"{KIT}.audit")
    assert apps.is_installed(KIT)


def test_a_start_is_clean_when_warnings_are_errors(tmp_path: Path) -> None:
    project = Project(
        tmp_path,
        {**SHOP, "shop/signals.py": REGISTERED},
        [
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "shop",
            KIT,
            "django_signal_kit.audit",
            "django_signal_kit.mail",
        ],
        settings="""
SIGNAL_KIT["RECEIVERS"] = [
    {"RECEIVER": f"django_signal_kit.receivers.{name}", "OPTIONS": {"models": ["shop.*"]}}
    for name in ("AuditLog", "CacheInvalidation", "FileCleanup", "LastModified")
] + ["django_signal_kit.receivers.WelcomeEmail"]
SIGNAL_KIT["RECEIVERS"][1]["OPTIONS"]["keys"] = ["product:{pk}"]
SILENCED_SYSTEM_CHECKS = ["signal_kit.W001"]
MIDDLEWARE = ["django_signal_kit.middleware.RequestContextMiddleware"]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
""",
    )
    result = project.start(
        "from django.core.management import call_command\ncall_command('check')\n" + SAVE,
        "-X",
        "dev",
        "-W",
        "error",
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert "Bare Tea" in result.stdout


def test_starting_imports_neither_what_is_not_used_nor_djangos_test_framework(
    tmp_path: Path,
) -> None:
    project = Project(tmp_path, {**SHOP, "shop/signals.py": REGISTERED}, ["shop", KIT])
    printed = project.run("""
import sys
print(*[name for name in ("django.test", "django.contrib.auth.models",
    "django_signal_kit.audit.audit_log", "django_signal_kit.middleware",
    "django.contrib.admin", "django_signal_kit.audit") if name in sys.modules])
""")
    assert printed.strip() == ""


class Saves(ModelReceiver):
    def post_save(self, instance: Any, **kwargs: Any) -> None:
        heard.append(instance.name)


heard: list[str] = []


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    yield
    heard.clear()


def get_state() -> list[tuple[str, int]]:
    return [(c.uid, id(c.sender)) for c in registry.connections]


def test_ready_again_doubles_nothing(wire: Any) -> None:
    wire((Saves, {"models": ["testapp.Product"]}))
    before, count = get_state(), len(post_save.receivers)
    with modify_settings(INSTALLED_APPS={"append": "django.contrib.humanize"}):
        Product.objects.create(name="inside")
        assert heard == ["inside"]
        assert len(post_save.receivers) == count
    Product.objects.create(name="after")
    assert heard == ["inside", "after"]
    assert get_state() == before
    apps.get_app_config("signal_kit").ready()
    assert get_state() == before
    assert len(post_save.receivers) == count


def test_models_that_are_not_installed_for_a_while_are_covered_again_afterwards(
    wire: Any,
) -> None:
    wire((Saves, {"models": ["__all__"]}))
    rest = [name for name in settings.INSTALLED_APPS if name != "tests.apps.testapp"]
    with override_settings(INSTALLED_APPS=rest):
        assert Product not in [connection.sender for connection in registry.connections]
    Product.objects.create(name="after")
    assert heard == ["after"]


def test_apps_and_receivers_may_change_together(wire: Any) -> None:
    wire(("django_signal_kit.receivers.AuditLog", {"models": ["testapp.*"]}))
    rest = [name for name in settings.INSTALLED_APPS if name != "django_signal_kit.audit"]
    with override_settings(INSTALLED_APPS=rest, SIGNAL_KIT={}):
        assert registry.receivers == []
    assert [receiver.name for receiver in registry.receivers] == ["AuditLog"]
    with pytest.raises(ImproperlyConfigured, match="E011"):
        with override_settings(INSTALLED_APPS=rest):
            pass
    assert [receiver.name for receiver in registry.receivers] == ["AuditLog"]
    assert apps.is_installed("django_signal_kit.audit")


def test_apps_that_a_test_case_does_not_use_stay_wired(wire: Any) -> None:
    from django.test import TransactionTestCase

    class FewApps(TransactionTestCase):
        available_apps = ["tests.apps.testapp"]

    wire(
        (Saves, {"models": ["testapp.Product"]}),
        {"RECEIVER": f"{__name__}.Saves", "NAME": "User", "OPTIONS": {"models": ["auth.User"]}},
    )
    before = get_state()
    FewApps.setUpClass()
    try:
        assert get_state() == before
    finally:
        FewApps.tearDownClass()
        FewApps.doClassCleanups()
    assert get_state() == before


def test_override_settings_wires_and_goes_back(wire: Any) -> None:
    wire((Saves, {"models": ["testapp.Product"]}))
    inner = {"RECEIVERS": [{"RECEIVER": f"{__name__}.Saves", "OPTIONS": {"models": [Tag]}}]}
    with override_settings(SIGNAL_KIT=inner):
        Product.objects.create(name="product")
        Tag.objects.create(name="tag")
    Product.objects.create(name="after")
    assert heard == ["tag", "after"]


def test_after_a_failing_override_the_previous_wiring_is_there(wire: Any) -> None:
    wire((Saves, {"models": ["testapp.Product"]}))
    before = get_state()
    with pytest.raises(ImproperlyConfigured, match="E001"):
        with override_settings(SIGNAL_KIT={"RECIEVERS": []}):
            pass
    assert get_state() == before
    Product.objects.create(name="after")
    assert heard == ["after"]


def test_other_settings_change_nothing(wire: Any) -> None:
    receiver = wire((Saves, {"models": ["testapp.Product"]}))
    with override_settings(USE_TZ=False):
        assert registry.receivers == [receiver]


# The checks of JSON fields ask every database.
@pytest.mark.django_db(databases=["default", "other"])
def test_the_check_runs_as_a_system_check() -> None:
    call_command("check")
    with override_settings(SIGNAL_KIT={"RECEIVERS": [f"{__name__}.Saves"]}):
        with pytest.raises(SystemCheckError, match=r"signal_kit\.W001"):
            call_command("check", fail_level="WARNING")
