"""Helpers for tests: which templates were rendered, and with what."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from django import forms
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.template import Context, Engine, Template, engines
from django.test import Client
from django.test.signals import template_rendered
from django.test.utils import override_settings
from django.urls import reverse

from django_signal_kit import muted
from django_signal_kit.test import TemplateRecorder
from django_signal_kit.wiring.registry import registry
from tests.projects import KIT, SHOP, Project

PAGES = {
    "base.html": "<h1>{% block title %}{% endblock %}</h1>",
    "page.html": '{% extends "base.html" %}'
    "{% block title %}{% for item in items %}"
    '{% include "item.html" with price=5 %}{% endfor %}{% endblock %}',
    "item.html": "{{ item }}",
}


def render(name: str, **given: Any) -> str:
    loaders = [("django.template.loaders.locmem.Loader", PAGES)]
    return Engine(loaders=loaders).get_template(name).render(Context(given))


def test_it_names_what_was_rendered_with_parents_and_parts() -> None:
    with TemplateRecorder() as templates:
        render("page.html", items=["a", "b"], user="ann")
    assert templates.names == ["page.html", "base.html", "item.html"]
    assert [rendering.name for rendering in templates.renderings].count("item.html") == 2


def test_it_knows_what_a_template_was_given_when_it_was_rendered() -> None:
    with TemplateRecorder() as templates:
        render("page.html", items=["a"], user="ann")
        render("page.html", items=[], extra=1)
    assert templates.get_keys("page.html") == {"items", "user", "extra"}
    assert templates.get_keys("item.html") >= {"items", "user", "item", "price"}
    first, *_, last = (r for r in templates.renderings if r.name == "page.html")
    assert (first.keys, last.keys) == ({"items", "user"}, {"items", "extra"})


def test_nothing_is_heard_before_and_after_the_block() -> None:
    before = list(template_rendered.receivers)
    render("item.html")
    with TemplateRecorder() as templates:
        pass
    render("item.html")
    assert templates.names == []
    assert template_rendered.receivers == before


def test_it_ends_with_the_block_after_an_exception_too() -> None:
    before = list(template_rendered.receivers)
    with pytest.raises(ZeroDivisionError):
        with TemplateRecorder():
            raise ZeroDivisionError
    assert template_rendered.receivers == before


def test_two_at_once_hear_each_their_own_block() -> None:
    with TemplateRecorder() as outer:
        render("base.html")
        with TemplateRecorder() as inner:
            render("item.html")
        render("page.html")
    assert inner.names == ["item.html"]
    assert outer.names == ["base.html", "item.html", "page.html"]


def test_it_can_be_used_again_and_forget() -> None:
    templates = TemplateRecorder()
    with templates:
        render("base.html")
    with templates:
        render("item.html")
    assert templates.names == ["base.html", "item.html"]
    templates.clear()
    assert templates.names == []


def test_a_template_that_was_not_rendered_is_an_error_that_guesses() -> None:
    with TemplateRecorder() as templates:
        with pytest.raises(LookupError, match=r"'page\.html' was not rendered\. Nothing was"):
            templates.get_keys("page.html")
        render("page.html")
    with pytest.raises(LookupError, match=r"Did you mean 'page\.html'"):
        templates.get_keys("pgae.html")


def test_a_template_without_a_name_has_an_empty_one() -> None:
    with TemplateRecorder() as templates:
        engines["django"].from_string("{{ x }}").render({"x": 1})
    assert templates.names == [""]
    assert "x" in templates.get_keys("")


class Search(forms.Form):
    query = forms.CharField()


def test_form_widgets_are_left_out_unless_asked_for() -> None:
    with TemplateRecorder() as templates, TemplateRecorder(ignore=[]) as every:
        assert "<input" in str(Search())
        render("base.html")
    with TemplateRecorder(ignore=["b*"]) as others:
        render("base.html")
        render("item.html")
    assert templates.names == ["base.html"]
    assert "django/forms/widgets/text.html" in every.names
    assert others.names == ["item.html"]


def test_a_wrong_option_is_an_error() -> None:
    with pytest.raises(ImproperlyConfigured, match="E007"):
        TemplateRecorder(ignore="admin/*")
    with pytest.raises(ImproperlyConfigured, match=r"E006"):
        TemplateRecorder(ignores=[])


@pytest.mark.django_db
def test_the_page_of_a_client_is_heard() -> None:
    with TemplateRecorder() as templates:
        Client().get(reverse("admin:login"))
    assert {"admin/login.html", "admin/base.html"} <= set(templates.names)
    assert {"form", "user", "request"} <= templates.get_keys("admin/login.html")


@pytest.mark.django_db(transaction=True)
def test_the_threads_of_a_live_server_are_heard(live_server: Any) -> None:
    with TemplateRecorder() as templates:
        with urlopen(f"{live_server.url}{reverse('admin:login')}", timeout=60) as response:
            assert b"csrfmiddlewaretoken" in response.read()
    assert "admin/login.html" in templates.names
    assert threading.current_thread().name not in {r.thread for r in templates.renderings}


def test_many_threads_are_heard_without_a_loss() -> None:
    start = threading.Barrier(8)

    def run() -> None:
        start.wait(60)
        for _ in range(50):
            render("item.html", item=threading.current_thread().name)
        connections.close_all()

    threads = [threading.Thread(target=run, name=f"reader {number}") for number in range(8)]
    with TemplateRecorder() as templates:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert len(templates.renderings) == 400
    assert {r.thread for r in templates.renderings} == {thread.name for thread in threads}


def test_it_can_be_listed_in_the_settings_as_any_receiver() -> None:
    entry = {"RECEIVER": "django_signal_kit.test.TemplateRecorder", "OPTIONS": {"ignore": []}}
    with override_settings(SIGNAL_KIT={"RECEIVERS": [entry]}):
        (templates,) = registry.receivers
        assert isinstance(templates, TemplateRecorder)
        render("base.html")
        with muted("TemplateRecorder"):
            render("item.html")
    render("item.html")
    assert templates.names == ["base.html"]


def test_outside_of_the_test_environment_it_says_so(tmp_path: Path) -> None:
    project = Project(tmp_path, SHOP, ["shop", KIT])
    told = project.fail(
        "from django_signal_kit.test import TemplateRecorder\nwith TemplateRecorder(): pass"
    )
    assert told.startswith("RuntimeError: TemplateRecorder hears nothing here")
    assert "setup_test_environment()" in told


def test_the_engine_of_these_tests_is_the_instrumented_one() -> None:
    with TemplateRecorder() as templates:
        Template("x", engine=Engine()).render(Context())
    assert len(templates.renderings) == 1
