"""The parts of a mail from templates: a subject of one line, text that is not HTML, and HTML."""

from __future__ import annotations

from typing import Any
from unicodedata import category

from django.template import Context
from django.template.backends.django import Template
from django.template.loader import get_template, render_to_string

from django_signal_kit.mail.templates import find_name


def render_subject(template_name: str, data: dict[str, Any]) -> str:
    """A subject on one line, without control characters and halves of a character: a line break in
    it would be refused as a forged header. What reads as an encoded word is none any more, as the
    email package decodes it, line breaks too, and writes a header of what comes after them."""
    words = " ".join(render_text(template_name, data).split())
    kept = "".join(char for char in words if category(char) not in ("Cc", "Cs"))
    return kept.replace("=?", "= ?")


def render_text(template_name: str, data: dict[str, Any]) -> str:
    """Text without HTML escaping, which Django applies to ``.txt`` templates as well."""
    template = get_template(find_name(template_name))
    if isinstance(template, Template):
        return template.template.render(Context(data, autoescape=False))
    return template.render(data)


def render_html(template_name: str, data: dict[str, Any]) -> str:
    return render_to_string(find_name(template_name), data)
