"""A template of a mail that is not there, or cannot be read, stops the start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMultiAlternatives
from django.db.models import BooleanField, CharField, DateTimeField, IntegerField, UUIDField
from django.template import engines
from django.template.loader import get_template
from django.test import override_settings

from django_signal_kit.checks import check_signal_kit
from django_signal_kit.mail.preview import make_up
from django_signal_kit.receivers import WelcomeEmail
from tests.factories import UserFactory
from tests.projects import KIT, Project

BACKEND = "django.template.backends.django.DjangoTemplates"
JINJA = "django.template.backends.jinja2.Jinja2"


class Folder:
    """Templates in a folder that TEMPLATES names, in front of those of apps."""

    def __init__(self, path: Path, settings: Any) -> None:
        self.path = path
        settings.TEMPLATES = [{"BACKEND": BACKEND, "DIRS": [path], "APP_DIRS": True}]

    def write(self, name: str, text: str) -> None:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path, settings: Any) -> Folder:
    return Folder(tmp_path, settings)


def refuse(wire: Any, cls: type = WelcomeEmail, **options: Any) -> str:
    with pytest.raises(ImproperlyConfigured) as error:
        wire((cls, options))
    return str(error.value)


@pytest.mark.parametrize("option", ["subject_template", "text_template", "html_template"])
def test_a_template_that_is_not_there_is_named_with_its_option(
    folder: Folder, wire: Any, option: str
) -> None:
    folder.write("mail/welcome.txt", "Hi")
    assert refuse(wire, **{option: "mail/welcom.txt"}) == (
        f"The option {option!r} of WelcomeEmail is 'mail/welcom.txt', and there is no such "
        f"template. Did you mean 'mail/welcome.txt'? (signal_kit.E048)"
    )
    assert refuse(wire, **{option: "shop/hi.txt"}) == (
        f"The option {option!r} of WelcomeEmail is 'shop/hi.txt', and there is no such template. "
        f"Templates are looked for where TEMPLATES says: in its DIRS, and in the templates "
        f"folders of apps if APP_DIRS is True. (signal_kit.E048)"
    )


@pytest.mark.parametrize("option", ["subject_template", "text_template", "html_template"])
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{{ user.username", None),
        ("{% if user %}Hi", "Unclosed tag on line 1: 'if'"),
        ("{% hi %}", "Invalid block tag on line 1: 'hi'"),
        ("{% load nothing_of_this_name %}", "'nothing_of_this_name' is not a registered tag"),
        ("{{ user|loud }}", "Invalid filter: 'loud'"),
    ],
)
def test_a_template_that_cannot_be_parsed_is_named_with_what_is_wrong(
    folder: Folder, wire: Any, option: str, text: str, told: str | None
) -> None:
    folder.write("hi.txt", text)
    if told is None:
        # To Django that is text.
        wire((WelcomeEmail, {option: "hi.txt"}))
        return
    said = refuse(wire, **{option: "hi.txt"})
    assert said.startswith(
        f"The option {option!r} of WelcomeEmail is 'hi.txt', which cannot be parsed: "
    )
    assert told in said
    assert said.endswith(". Correct the template. (signal_kit.E048)")
    assert "\n" not in said
    assert ".." not in said
    assert "admin_list" not in said


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{% extends 'mail/bse.txt' %}", "which needs 'mail/bse.txt', and there is no such"),
        ("{% if user %}{% include 'foot.txt' %}{% endif %}", "which needs 'foot.txt', and there"),
        ("{% extends 'mail/middle.txt' %}", "which needs 'mail/lost.txt', and there is no such"),
        (
            "{% extends 'mail/broken.txt' %}",
            "which needs 'mail/broken.txt', which cannot be",
        ),
    ],
)
def test_so_is_one_that_it_extends_or_includes(
    folder: Folder, wire: Any, text: str, told: str
) -> None:
    folder.write("mail/base.txt", "{% block body %}{% endblock %}")
    folder.write("mail/broken.txt", "{% block body %}")
    folder.write("mail/middle.txt", "{% extends 'mail/base.txt' %}{% include 'mail/lost.txt' %}")
    folder.write("mail/hi.txt", text)
    said = refuse(wire, text_template="mail/hi.txt")
    assert f"The option 'text_template' of WelcomeEmail is 'mail/hi.txt', {told}" in said
    assert said.endswith("(signal_kit.E048)")


@pytest.mark.parametrize(
    "text",
    [
        "{% extends 'mail/base.txt' %}{% block body %}Hi{% endblock %}",
        "{% include user.username %}",
        "{% extends parent %}",
        "{% extends 'mail/base'|add:user.username %}",
        # One that includes itself, under a condition, and two that include each other.
        "{% if user.pk %}{% include 'mail/hi.txt' %}{% endif %}",
        "{% if user.pk %}{% include 'mail/ho.txt' %}{% endif %}",
    ],
)
def test_what_is_there_or_known_only_later_is_no_mistake(
    folder: Folder, wire: Any, text: str
) -> None:
    folder.write("mail/base.txt", "{% block body %}{% endblock %}")
    folder.write("mail/ho.txt", "{% include 'mail/ho.txt' %}{% include 'mail/hi.txt' %}")
    folder.write("mail/hi.txt", text)
    wire((WelcomeEmail, {"text_template": "mail/hi.txt"}))


def test_a_template_may_extend_the_one_that_it_stands_in_for(folder: Folder, wire: Any) -> None:
    folder.write("signal_kit/welcome.html", "{% extends 'signal_kit/welcome.html' %}")
    wire(WelcomeEmail)


def test_an_empty_html_template_is_none(folder: Folder, wire: Any) -> None:
    wire((WelcomeEmail, {"html_template": ""}))
    assert "'text_template' of WelcomeEmail is '', and there" in refuse(wire, text_template="")


def test_a_template_of_another_engine_is_found_and_parsed(
    folder: Folder, wire: Any, settings: Any
) -> None:
    pytest.importorskip("jinja2")
    settings.TEMPLATES = [
        {"BACKEND": BACKEND, "APP_DIRS": True},
        {"BACKEND": JINJA, "DIRS": [folder.path]},
    ]
    folder.write("hi.txt", "{% for x in [] %}{% endfor %}")
    wire((WelcomeEmail, {"text_template": "hi.txt"}))
    folder.write("hi.txt", "{% for x in [] %}")
    assert "is 'hi.txt', which cannot be parsed: " in refuse(wire, text_template="hi.txt")


class Own(WelcomeEmail):
    """Makes the mail by itself."""

    def get_message(self, user: Any) -> EmailMultiAlternatives:
        return EmailMultiAlternatives("Hi", "", None, [user.email])


class Chosen(Own):
    text_template = "mail/none.txt"


def test_who_makes_the_mail_needs_no_templates_but_those_that_it_chooses(
    wire: Any, settings: Any
) -> None:
    settings.TEMPLATES = []
    wire(Own)
    assert (
        "'text_template' of tests.mail.test_templates.Chosen is 'mail/none.txt', and there"
        in refuse(wire, Chosen)
    )
    said = refuse(wire, Own, html_template="mail/none.html")
    assert (
        "'html_template' of tests.mail.test_templates.Own is 'mail/none.html', and there" in said
    )
    assert "'subject_template' of WelcomeEmail is 'signal_kit/wel" in refuse(wire)


def test_templates_that_come_with_the_same_override_are_there(tmp_path: Path) -> None:
    (tmp_path / "hi.txt").write_text("Hi", encoding="utf-8")
    entry = {
        "RECEIVER": "django_signal_kit.receivers.WelcomeEmail",
        "OPTIONS": {"text_template": "hi.txt"},
    }
    # In the one order and in the other: each setting is announced by itself.
    new = {"TEMPLATES": [{"BACKEND": BACKEND, "DIRS": [tmp_path], "APP_DIRS": True}]}
    kit = {"SIGNAL_KIT": {"RECEIVERS": [entry]}}
    for values in ({**new, **kit}, {**kit, **new}):
        with override_settings(**values):
            assert engines["django"].get_template("hi.txt").render() == "Hi"


def test_templates_of_an_app_that_comes_with_the_same_override_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mailclub" / "templates").mkdir(parents=True)
    (tmp_path / "mailclub" / "__init__.py").touch()
    (tmp_path / "mailclub" / "templates" / "club.txt").write_text("Hi", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    entry = {
        "RECEIVER": "django_signal_kit.receivers.WelcomeEmail",
        "OPTIONS": {"text_template": "club.txt"},
    }
    # Where the templates of apps are has been looked up before.
    get_template("signal_kit/welcome.txt")
    installed = [*settings.INSTALLED_APPS, "mailclub"]
    with override_settings(INSTALLED_APPS=installed, SIGNAL_KIT={"RECEIVERS": [entry]}):
        assert get_template("club.txt").render() == "Hi"


TAGS = """
from django import template

register = template.Library()

@register.simple_tag
def hello():
    return "Hello"
"""

FILES = {
    "club/__init__.py": "",
    "club/templatetags/__init__.py": "",
    "club/templatetags/hello.py": TAGS,
    "club/templates/club/hi.txt": "{% load hello %}{% hello %}",
}


def test_a_project_with_tags_of_its_own_starts_and_freezes_no_engine(tmp_path: Path) -> None:
    project = Project(
        tmp_path,
        FILES,
        # The kit is ready before the app whose template and tags it looks for.
        ["django.contrib.auth", "django.contrib.contenttypes", KIT, "club"],
        f"TEMPLATES = [{{'BACKEND': {BACKEND!r}, 'APP_DIRS': True}}]\n",
        RECEIVERS=[
            {
                "RECEIVER": "django_signal_kit.receivers.WelcomeEmail",
                "OPTIONS": {"text_template": "club/hi.txt"},
            }
        ],
    )
    made = "from django.template import engines; print('templates' in vars(engines))"
    assert project.run(made) == "False\n"
    (tmp_path / "club/templates/club/hi.txt").write_text("{% load hallo %}", encoding="utf-8")
    assert "'hallo' is not a registered tag library" in project.fail()


# Rendered by the checks, for somebody who is made up


def ask(cls: type = WelcomeEmail, **options: Any) -> list[str]:
    path = f"{cls.__module__}.{cls.__qualname__}"
    with override_settings(SIGNAL_KIT={"RECEIVERS": [{"RECEIVER": path, "OPTIONS": options}]}):
        return [f"{message.msg} {message.hint} ({message.id})" for message in check_signal_kit()]


@pytest.mark.parametrize("option", ["subject_template", "text_template", "html_template"])
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{% url 'nowhere' %}", "NoReverseMatch: Reverse for 'nowhere' not found"),
        ("{{ user.email|add:1|slice:user }}{% include user.username %}", "TemplateDoesNotExist"),
        ("{% widthratio user.pk 0 'x' %}", "TemplateSyntaxError: widthratio"),
    ],
)
def test_a_template_that_fails_is_an_error_of_the_checks(
    folder: Folder, option: str, text: str, told: str
) -> None:
    folder.write("mail/hi.txt", text)
    [said] = ask(**{option: "mail/hi.txt"})
    assert said.startswith(
        f"The option {option!r} of WelcomeEmail is 'mail/hi.txt', which cannot be rendered: {told}"
    )
    assert said.endswith(
        ". Correct the template. It was given a row that is made up. (signal_kit.E062)"
    )


@pytest.mark.parametrize(
    "text",
    [
        "{{ user.get_username }} {{ user.date_joined|date }} {{ site_url }} {{ user.pk|add:1 }}",
        # What asks the database is not judged, nor does it reach it.
        "{% for group in user.groups.all %}{{ group }}{% endfor %}",
        "{{ user.nothing.of.this }}",
    ],
)
def test_what_a_real_user_is_needed_for_is_no_error(folder: Folder, text: str) -> None:
    folder.write("mail/hi.txt", text)
    assert ask(text_template="mail/hi.txt") == []


class Needing(WelcomeEmail):
    def get_context_data(self, user: Any) -> dict[str, Any]:
        return {**super().get_context_data(user), "groups": list(user.groups.all())}


def test_nor_is_a_hook_that_asks_the_database(folder: Folder) -> None:
    folder.write("mail/hi.txt", "{% url 'nowhere' %}")
    assert ask(Needing, text_template="mail/hi.txt") == []


def test_somebody_who_is_made_up_has_something_of_everything() -> None:
    for model in apps.get_models():
        instance = make_up(model)
        missing = [
            field.attname
            for field in model._meta.concrete_fields
            if isinstance(field, (CharField, IntegerField, DateTimeField, BooleanField, UUIDField))
            and getattr(instance, field.attname) is None
            and not field.choices
        ]
        assert missing == []


# Former names


@pytest.mark.parametrize(
    ("option", "old", "new"),
    [
        ("subject_template", "signal_kit/welcome_subject.txt", "signal_kit/welcome/subject.txt"),
        ("text_template", "signal_kit/welcome.txt", "signal_kit/welcome/body.txt"),
        ("html_template", "signal_kit/welcome.html", "signal_kit/welcome/body.html"),
    ],
)
def test_a_template_of_a_project_under_its_former_name_is_taken_with_a_warning(
    folder: Folder, settings: Any, option: str, old: str, new: str
) -> None:
    told = (
        f"The template {old!r}, for the option {option!r} of WelcomeEmail, has its former name. "
        f"Move it to {new!r}. (signal_kit.W022)"
    )
    assert ask() == []
    # Who names it in the settings has it, too.
    assert ask(**{option: old}) == [told]
    folder.write(old, "old")
    # The engine keeps what it has read.
    folder = Folder(folder.path, settings)
    assert ask() == [told]
    user = UserFactory.build(email="ann@shop.example")
    assert "old" in get_parts(user)
    folder.write(new, "new")
    folder = Folder(folder.path, settings)
    assert ask() == []
    assert "new" in get_parts(user)


def get_parts(user: Any) -> list[str]:
    message = WelcomeEmail().get_message(user)
    assert message is not None
    [html] = message.alternatives
    return [message.subject, message.body, str(html.content)]


def test_a_memory_that_passes_is_a_warning(settings: Any) -> None:
    assert ask() == []
    settings.INSTALLED_APPS = [
        name for name in settings.INSTALLED_APPS if name != "django_signal_kit.mail"
    ]
    assert ask() == [
        "WelcomeEmail remembers whom it has mailed in the memory of each process and in the cache "
        "'default' alone. Add 'django_signal_kit.mail' to INSTALLED_APPS and migrate, so that "
        "nobody is mailed twice, or not at all, when a process ends. (signal_kit.W021)"
    ]
    assert ask(once=False) == []
