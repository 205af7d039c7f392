"""The pages of the admin, asked for and read."""

from __future__ import annotations

from functools import partialmethod
from html.parser import HTMLParser
from typing import Any

from django.test import Client
from django.urls import reverse

from django_signal_kit.audit.models import AuditEntry
from tests.factories import ProductFactory

LIST = "admin:signal_kit_audit_auditentry_changelist"
PAGE = "admin:signal_kit_audit_auditentry_change"


def log_in(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


def get_list(client: Client, **params: Any) -> Any:
    response = client.get(reverse(LIST), params)
    assert response.status_code == 200, (response.status_code, response.headers)
    return response


def get_keys(client: Client, **params: Any) -> list[int]:
    return [entry.pk for entry in get_list(client, **params).context["cl"].result_list]


def get_page(client: Client, entry: Any = None) -> Any:
    entry = entry or AuditEntry.objects.latest("pk")
    response = client.get(reverse(PAGE, args=[entry.pk]))
    assert response.status_code == 200
    return response


def get_text(response: Any) -> str:
    """What a reader sees of the main part, without tags, all whitespace made one."""
    html = response.content.decode().split('id="content"', 1)[1].split(">", 1)[1]
    return " ".join(Text.of(html).split())


class Text(HTMLParser):
    INLINE = frozenset(("a", "bdi", "code", "del", "ins", "span", "strong", "time", "wbr"))

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.found.append("" if tag in self.INLINE else " ")

    handle_endtag = partialmethod(handle_starttag, attrs=())

    def handle_data(self, data: str) -> None:
        self.found.append(data)

    @classmethod
    def of(cls, html: str) -> str:
        parser = cls()
        parser.feed(html)
        return "".join(parser.found)


class Inline(HTMLParser):
    """Collects whatever a Content-Security-Policy of 'self' forbids."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Any] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        names = dict(attrs)
        if tag == "style" or (tag == "script" and "src" not in names):
            self.found.append(tag)
        self.found += [
            (tag, name)
            for name, value in attrs
            if name == "style" or name.startswith("on") or "javascript:" in (value or "")
        ]


def change_product(**values: Any) -> Any:
    product = ProductFactory(name="Lamp")
    for name, value in values.items():
        setattr(product, name, value)
    product.save()
    return product


def make_entry(changes: Any, action: str = "update", **values: Any) -> AuditEntry:
    values = {"object_text": "Lamp", "object_pk": "7", **values}
    return AuditEntry.objects.create(action=action, changes=changes, **values)
