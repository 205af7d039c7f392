"""A subject is one line, text is no HTML, and HTML is escaped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.template import TemplateDoesNotExist
from django.test.utils import override_settings

from django_signal_kit.mail.rendering import render_html, render_subject, render_text

TEMPLATES = {
    "name.txt": "Hello {{ name }}",
    "include.txt": "{% include 'name.txt' %} {% load i18n %}"
    "{% blocktranslate %}and {{ name }}{% endblocktranslate %}",
    "lines.txt": "\n  Welcome,\r\n\t{{ name }} \n\n",
    "name.html": "<p>{{ name }}</p>",
}


@pytest.fixture(autouse=True)
def _templates() -> Iterator[None]:
    loaders = [("django.template.loaders.locmem.Loader", TEMPLATES)]
    engine = {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "OPTIONS": {"loaders": loaders},
    }
    with override_settings(TEMPLATES=[engine]):
        yield


NASTY = "Tom & <b>Jerry</b> 'quoted'"


@pytest.mark.parametrize("name", ["name.txt", "include.txt"])
def test_text_is_not_escaped(name: str) -> None:
    text = render_text(name, {"name": NASTY})
    assert NASTY in text
    assert "&amp;" not in text
    assert text.count(NASTY) == (1 if name == "name.txt" else 2)


def test_html_is_escaped() -> None:
    assert render_html("name.html", {"name": "Tom & <b>"}) == "<p>Tom &amp; &lt;b&gt;</p>"


@pytest.mark.parametrize("break_", ["\n", "\r\n", "\r", "\x0b", "\x85", "\u2028", "\n\n \t"])
def test_a_subject_is_one_line_whatever_is_in_it(break_: str) -> None:
    subject = render_subject("lines.txt", {"name": f"Tom{break_}Bcc: eve@shop.example & co"})
    assert subject == "Welcome, Tom Bcc: eve@shop.example & co"


def test_what_is_rendered_does_not_leak_into_the_data() -> None:
    data: dict[str, Any] = {"name": "a"}
    render_text("name.txt", data)
    render_html("name.html", data)
    assert data == {"name": "a"}


def test_a_template_that_is_not_there_is_told() -> None:
    with pytest.raises(TemplateDoesNotExist):
        render_text("none.txt", {})


def test_another_template_engine_renders_as_it_does(tmp_path: Path) -> None:
    (tmp_path / "name.txt").write_text("Hello $name")
    engine = {
        "BACKEND": "django.template.backends.dummy.TemplateStrings",
        "DIRS": [tmp_path],
    }
    with override_settings(TEMPLATES=[engine]):
        assert render_text("name.txt", {"name": "Tom"}) == "Hello Tom"
        assert render_subject("name.txt", {"name": "Tom\nJerry"}) == "Hello Tom Jerry"
