"""The page "Signals" in the admin: who sees what, escaped, cheap, and in whichever admin."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.core.management import call_command
from django.db import connection, connections
from django.db.models.signals import post_save
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils.html import escape

from django_signal_kit import ModelReceiver, Receiver, tally
from django_signal_kit.receivers import AuditLog, CacheInvalidation, LastModified
from django_signal_kit.sight import counting
from django_signal_kit.sight.pages.filters import Filters
from django_signal_kit.sight.pages.picture import MOST, Node, draw
from django_signal_kit.sight.pages.rows import breakable
from django_signal_kit.sight.pages.wired import list_wired
from tests.apps.testapp.models import Category, Product, Tag
from tests.audit.browsing import Inline, Text, log_in
from tests.factories import TagFactory, UserFactory

pytestmark = pytest.mark.django_db(databases=["default", "other"])

LIST = "/admin/signal_kit_sight/receiver/"
OFFICE = "/office/signal_kit_sight/receiver/"
EVIL = "<script>alert('x')</script>"
SECRET = "hunter2"


class First(ModelReceiver):
    """Hears tags. And a :class:`~tests.apps.testapp.models.Tag` is saved in ``testapp``."""

    models = ["testapp.Tag"]

    def post_save(self, instance: Any, **kwargs: Any) -> None:
        if instance.name == "bad":
            raise ValueError(f"{EVIL} password={SECRET}")


class Second(ModelReceiver):
    models = ["testapp.*"]

    def post_save(self, **kwargs: Any) -> None: ...

    def post_delete(self, **kwargs: Any) -> None: ...


class Elsewhere(ModelReceiver):
    models = ["auth.Group"]

    async def post_save(self, **kwargs: Any) -> None: ...


class Addressed(Receiver):
    url = ""
    key = ""
    retries = 0

    def request_started(self, **kwargs: Any) -> None: ...


class Asks(ModelReceiver):
    models = ["testapp.Tag"]

    def post_save(self, instance: Any, **kwargs: Any) -> None:
        for _ in range(len(instance.name)):
            Tag.objects.count()
        self.collect(instance.pk)

    def flush(self, items: list[Any]) -> None:
        Tag.objects.count()


def plain(**kwargs: Any) -> None: ...


@pytest.fixture(autouse=True)
def _site(settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.sight.signals_site"
    counting.forget()


@pytest.fixture
def wired(wire: Any) -> Any:
    return wire(First, Second, Elsewhere, COUNTERS=True, ADMIN_MUTING=True)


@pytest.fixture
def root() -> Client:
    return log_in(UserFactory(username="root", is_staff=True, is_superuser=True))


def log_in_with(*codenames: str) -> Client:
    user = UserFactory(username="-".join(codenames) or "nobody", is_staff=True)
    user.user_permissions.add(*Permission.objects.filter(codename__in=codenames))
    return log_in(user)


def get(client: Client, path: str = LIST, **params: Any) -> Any:
    response = client.get(path, params)
    assert response.status_code == 200, (response.status_code, response.headers)
    return response


def get_text(response: Any) -> str:
    html = response.content.decode().split('id="content"', 1)[1].split(">", 1)[1]
    return " ".join(Text.of(html).split())


def get_names(client: Client, **params: Any) -> list[str]:
    return [row.wired.key for row in get(client, **params).context["page"].object_list]


def page_of(name: str, site: str = LIST) -> str:
    return f"{site}{name}/change/"


# Who sees it


@pytest.mark.parametrize("path", [LIST, page_of("First")])
def test_who_has_no_permission_is_sent_away(wired: Any, path: str) -> None:
    assert log_in_with().get(path).status_code == 403
    assert Client().get(path).status_code == 302
    assert log_in_with("view_receiver").get(path).status_code == 200


def test_the_index_leads_to_it_for_those_who_may_see_it(wired: Any) -> None:
    assert LIST in log_in_with("view_receiver").get("/admin/").content.decode()
    assert LIST not in log_in_with("view_user").get("/admin/").content.decode()


@pytest.mark.parametrize("path", ["add/", "First/delete/", "First/history/"])
def test_there_is_no_other_page(wired: Any, root: Client, path: str) -> None:
    assert root.get(f"{LIST}{path}").status_code == 404


def test_nobody_is_found_under_a_name_that_nobody_has(wired: Any, root: Client) -> None:
    assert root.get(page_of("Nobody")).status_code == 404


def test_it_stands_in_an_admin_of_the_project_too(wired: Any, root: Client) -> None:
    response = get(root, OFFICE)
    assert "Back office" in response.content.decode()
    assert page_of("First", OFFICE) in response.content.decode()
    assert LIST not in response.content.decode()
    assert OFFICE in get(root, page_of("First", OFFICE)).content.decode()


def test_there_is_no_table_and_nothing_asks_for_one(capsys: Any) -> None:
    assert "signal_kit_sight_receiver" not in connection.introspection.table_names()
    call_command("dumpdata", "signal_kit_sight")
    call_command("dumpdata", "signal_kit_sight", use_base_manager=True)
    assert "".join(capsys.readouterr().out.split()) == "[][]"
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


# What it shows


def test_each_receiver_is_there_with_what_it_hears(wired: Any, root: Client) -> None:
    text = get_text(get(root, show="kit"))
    assert "First never ran at once saves testapp.Tag" in text
    assert "saves, deletions testapp." in text
    assert "Elsewhere never ran at once async saves auth.Group" in text


def test_plain_functions_are_there_too(wired: Any, root: Client) -> None:
    post_save.connect(plain, sender=Tag, dispatch_uid="plain")
    try:
        assert f"{__name__}.plain" in get_names(root, show="functions", app="testapp")
        assert "A plain function: it is not counted." in get_text(get(root))
        assert get(root, page_of(f"{__name__}.plain")).context["row"].figures is None
    finally:
        post_save.disconnect(dispatch_uid="plain", sender=Tag)


def test_functions_of_django_and_the_kit_are_shown_to_who_asks(wired: Any, root: Client) -> None:
    inner = get_names(root, show="inner")
    assert "django.contrib.auth.models.update_last_login" in inner
    assert any(name.startswith("django_signal_kit.") for name in inner)
    assert not set(inner) & set(get_names(root))


def test_calls_are_counted(wired: Any, root: Client) -> None:
    TagFactory(name="tea")
    TagFactory(name="milk")
    context = get(root, show="kit").context
    calls = {row.wired.key: row.counted.calls.count for row in context["page"].object_list}
    assert calls == {"First": 2, "Second": 2, "Elsewhere": 0}
    assert context["sums"]["calls"] == 4
    assert context["sums"]["idle"] == 1
    assert "Elsewhere never ran at once" in get_text(get(root))
    assert "The sum of 1 process" in get_text(get(root))


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_queries_are_counted_and_who_sends_most_comes_first(wire: Any, root: Client) -> None:
    wire(First, Asks, COUNTERS=True)
    TagFactory(name="tea")
    TagFactory(name="milk")
    response = get(root, show="kit", o="queries")
    rows = {row.wired.key: row.queries for row in response.context["page"].object_list}
    assert list(rows.items()) == [("Asks", 9), ("First", 0)]
    assert response.context["sums"]["queries"] == 9
    text = get_text(get(root, page_of("Asks")))
    assert "Queries 9 Queries a call 3.5 Queries a flush 1 Collected 2" in text
    assert "Queries a" not in get_text(get(root, page_of("First")))


def test_what_receivers_count_themselves_reads_right_of_one_too(wired: Any, root: Client) -> None:
    tally.add("First", "mails_sent")
    tally.add("First", "pages_indexed")
    text = get_text(get(root))
    assert "at once mails sent: 1 pages indexed: 1" in text
    assert "Mails sent 1 Pages indexed 1" in text
    assert "Mails sent 1 Pages indexed 1" in get_text(get(root, page_of("First")))


def test_it_says_that_nothing_is_counted(wire: Any, root: Client) -> None:
    wire(First)
    assert 'Nothing is counted: SIGNAL_KIT["COUNTERS"] is off.' in get_text(get(root))


def test_the_last_errors_are_there_without_secrets(wired: Any, root: Client) -> None:
    with pytest.raises(ValueError, match=SECRET):
        TagFactory(name="bad")
    for path in (LIST, page_of("First")):
        html = get(root, path).content.decode()
        assert "ValueError" in html
        assert "in post_save" in html
        assert SECRET not in html
        assert EVIL not in html
        assert escape("<script>alert(") in html
    assert get_names(root, show="failing") == ["First"]
    assert "ValueError" not in get_text(get(root, page_of("Second")))


def test_the_page_of_a_receiver_says_what_it_is(wire: Any, root: Client) -> None:
    wire((LastModified, {"models": ["testapp.Product"], "field": "updated_at"}), First)
    text = get_text(get(root, page_of("LastModified")))
    assert "django_signal_kit.receivers.LastModified" in text
    assert "models ['testapp.Product']" in text
    assert "Hears tags." in get_text(get(root, page_of("First")))


def test_what_may_be_an_address_or_a_key_is_not_shown(wire: Any, root: Client) -> None:
    wire((Addressed, {"url": "https://u:pw@example.com", "key": "s3cr3t", "retries": 3}))
    response = get(root, page_of("Addressed"))
    assert "s3cr3t" not in response.content.decode()
    assert "example.com" not in response.content.decode()
    assert "retries 3" in get_text(response)


def test_a_long_path_goes_on_in_another_line_after_its_parts(wired: Any, root: Client) -> None:
    html = get(root, show="inner", q="on_class_prepared").content.decode()
    assert "registry.<wbr>Registry._<wbr>on_<wbr>class_<wbr>prepared<wbr></bdi></a>" in html
    assert breakable("<b>.c") == "&lt;b&gt;.<wbr>c<wbr>"


@pytest.mark.parametrize(
    ("path", "label"),
    [
        ("app.receivers.short", "app.receivers.short"),
        (
            "long_package.apps.customer.alerts.receivers.tell",
            "…apps.customer.alerts.receivers.tell",
        ),
        (f"a.{'b' * 60}", f"…{'b' * 43}"),
    ],
)
def test_what_is_long_is_drawn_by_its_last_parts(path: str, label: str) -> None:
    assert Node([path], 0, 0).label == label


def test_names_are_escaped(wire: Any, root: Client) -> None:
    name = f"{EVIL}/é&"
    wire({"RECEIVER": f"{__name__}.First", "NAME": name})
    response = get(root, q=EVIL)
    assert EVIL not in response.content.decode()
    (row,) = response.context["page"].object_list
    assert EVIL not in get(root, row.url).content.decode()
    assert get(root, row.url).context["row"].wired.key == name


@pytest.mark.parametrize("path", [LIST, f"{LIST}?app=testapp", page_of("First")])
def test_nothing_stands_in_a_page_that_a_strict_policy_forbids(
    wired: Any, root: Client, path: str
) -> None:
    with pytest.raises(ValueError, match=SECRET):
        TagFactory(name="bad")
    parser = Inline()
    parser.feed(get(root, path).content.decode())
    assert parser.found == []


# Filters


def test_an_app_narrows_to_what_hears_its_models(wired: Any, root: Client) -> None:
    assert get_names(root, app="testapp") == ["First", "Second"]
    assert get_names(root, app="auth") == ["Elsewhere"]
    assert get_names(root, app="nowhere") == []
    labels = [app["label"] for app in get(root).context["apps"]]
    assert {"auth", "testapp"} <= set(labels)
    assert "orders" not in labels


def test_a_model_narrows_further(wired: Any, root: Client) -> None:
    response = get(root, app="testapp", model="testapp.Category")
    assert [row.wired.key for row in response.context["page"].object_list] == ["Second"]
    assert "saves, deletions testapp.Category" in get_text(response)
    assert "testapp.Tag" in response.context["models"]


@pytest.mark.parametrize(
    ("params", "names"),
    [
        ({"show": "kit"}, ["First", "Second", "Elsewhere"]),
        ({"show": "idle"}, ["Second", "Elsewhere"]),
        ({"show": "muted"}, []),
        ({"show": "nonsense"}, ["First", "Second", "Elsewhere"]),
        ({"q": "ELSE"}, ["Elsewhere"]),
        ({"q": "tests.sight", "app": "testapp"}, ["First", "Second"]),
        ({"p": "99"}, ["First", "Second", "Elsewhere"]),
        ({"p": "²"}, ["First", "Second", "Elsewhere"]),
        ({"o": "calls"}, ["First", "Second", "Elsewhere"]),
        ({"q": "\x00"}, []),
    ],
)
def test_what_is_asked_for_is_shown(wired: Any, root: Client, params: Any, names: Any) -> None:
    with pytest.raises(ValueError, match=SECRET):
        TagFactory(name="bad")
    # Packages have functions, too.
    assert get_names(root, **{"show": "kit", **params}) == names or params == {"show": "nonsense"}
    assert set(names) <= set(get_names(root, **params))


def test_an_address_has_what_was_changed_and_nothing_else() -> None:
    filters = Filters.read({"app": "shop", "p": "3", "q": " a&b "})
    assert filters == Filters(app="shop", p=3, q="a&b")
    assert filters.get_url(o="calls") == "?app=shop&q=a%26b&o=calls"
    assert filters.get_url(p=2) == "?app=shop&q=a%26b&p=2"
    assert Filters().get_url() == "?"


def test_whose_work_triggers_do_is_there_with_his_models(wire: Any, root: Client) -> None:
    log = (AuditLog, {"models": ["testapp.Tag"], "capture": "triggers"})
    wire(log, First, COUNTERS=True, ADMIN_MUTING=True)
    assert get_names(root, app="testapp", show="kit") == ["First", "AuditLog"]
    assert get_names(root, app="testapp", show="idle") == ["First"]
    text = get_text(get(root, app="testapp"))
    assert "triggers testapp.Tag Triggers of the database do it: they are not counted." in text
    page = get(root, page_of("AuditLog"))
    assert "capture 'triggers' triggers testapp.Tag" in get_text(page)
    assert "It cannot be muted." in get_text(page)
    assert "Ran last" not in get_text(page)


# The picture


def test_senders_that_are_heard_alike_are_one(wire: Any) -> None:
    wire((Second, {"models": ["testapp.Tag", "testapp.Category"]}), First)
    found = [each for each in list_wired() if each.name]
    picture = draw(found)
    assert picture is not None
    assert sorted(node.label for node in picture.senders) == ["testapp.Category", "testapp.Tag"]
    wire((Second, {"models": ["testapp.Tag", "testapp.Category"]}))
    picture = draw([each for each in list_wired() if each.name])
    assert picture is not None
    (node,) = picture.senders
    assert set(node.names) == {"testapp.Tag", "testapp.Category"}
    assert node.label.endswith(" and 1 more")
    assert picture.kinds == ["save", "delete"]
    assert [line.kind for line in picture.receivers[0].lines] == ["save", "delete"]


def test_a_picture_never_grows_beyond_what_can_be_read(wire: Any, root: Client) -> None:
    models = [Tag, Category, Product]
    many = [
        {
            "RECEIVER": f"{__name__}.Second",
            "NAME": f"Many{number}",
            "OPTIONS": {"models": [models[number % 3]._meta.label]},
        }
        for number in range(3 * MOST)
    ]
    wire(*many)
    picture = draw([each for each in list_wired() if each.name])
    assert picture is not None
    assert len(picture.receivers) == 3
    assert picture.receivers[0].label == f"Many0 and {MOST - 1} more"
    assert picture.left_out == 0
    assert get(root).context["page"].paginator.num_pages == 3


def test_what_does_not_fit_is_told_once_an_app_is_chosen(
    wired: Any, root: Client, monkeypatch: Any
) -> None:
    monkeypatch.setattr("django_signal_kit.sight.pages.picture.MOST", 1)
    assert "There is too much for one picture. Choose an app." in get_text(get(root))
    text = get_text(get(root, app="testapp"))
    assert "more do not fit. Choose a model." in text


def test_nothing_is_drawn_of_nobody(wired: Any, root: Client) -> None:
    assert draw([]) is None
    response = get(root, q="nobody of this name")
    assert "There are no such receivers." in get_text(response)
    assert "too much" not in get_text(response)


# What it costs


@pytest.mark.parametrize("path", [LIST, f"{LIST}?app=testapp", page_of("AuditLog")])
def test_a_page_asks_the_database_little(wire: Any, path: str) -> None:
    wire(
        (AuditLog, {"models": ["testapp.*"]}),
        (CacheInvalidation, {"models": ["testapp.*"], "keys": ["x:{pk}"]}),
        *({"RECEIVER": f"{__name__}.Second", "NAME": f"Many{n}"} for n in range(100)),
        COUNTERS=True,
        ADMIN_MUTING=True,
    )
    client = log_in_with("view_receiver", "change_receiver")
    with (
        CaptureQueriesContext(connection) as queries,
        CaptureQueriesContext(connections["other"]) as others,
    ):
        get(client, path)
    # Of each database with an outbox two are about its tasks.
    assert len(queries) + len(others) <= 10
