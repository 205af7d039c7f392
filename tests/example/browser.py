"""A browser without a window: cookies, links and forms."""

from __future__ import annotations

from html.parser import HTMLParser
from http.cookiejar import CookieJar
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.parse import urlencode, urljoin
from urllib.request import HTTPCookieProcessor, ProxyHandler, Request, build_opener


class Page(NamedTuple):
    url: str
    status: int
    kind: str
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


class Browser:
    def __init__(self, home: str) -> None:
        self.home = home
        # Whatever proxy the surroundings name, it does not lead to this computer.
        self.opener = build_opener(ProxyHandler({}), HTTPCookieProcessor(CookieJar()))

    def get(self, path: str, data: list[tuple[str, str]] | None = None) -> Page:
        """The page at ``path``, or the one to which sending ``data`` to it leads."""
        body = None if data is None else urlencode(data).encode()
        request = Request(urljoin(self.home, path), body)
        try:
            with self.opener.open(request, timeout=30) as answer:
                kind = answer.headers.get_content_type()
                return Page(answer.url, answer.status, kind, answer.read())
        except HTTPError as error:
            with error:
                return Page(error.url, error.code, "", error.read())

    def send(self, page: Page, **values: str) -> Page:
        """Fill in and send the form of ``page`` that has these fields."""
        for form in Forms.read(page.text):
            if set(values) <= {name for name, _ in form}:
                kept = [(name, value) for name, value in form if name not in values]
                return self.get(page.url, [*kept, *values.items()])
        raise LookupError(f"No form of {page.url} has the fields {', '.join(values)}.")


class Forms(HTMLParser):
    """Each form of a page as the fields that a browser would send."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[list[tuple[str, str]]] = []
        self.select = ""
        self.area: str | None = None

    @classmethod
    def read(cls, text: str) -> list[list[tuple[str, str]]]:
        parser = cls()
        parser.feed(text)
        return parser.forms

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        have = dict(attrs)
        name, value = have.get("name") or "", have.get("value") or ""
        if tag == "form":
            self.forms.append([])
        elif tag == "input" and name and have.get("type") not in ("submit", "file"):
            if have.get("type") not in ("checkbox", "radio") or "checked" in have:
                self.forms[-1].append((name, value))
        elif tag == "select":
            self.select = name
        elif tag == "option" and "selected" in have and self.select:
            self.forms[-1].append((self.select, value))
        elif tag == "textarea":
            self.area = ""
            self.forms[-1].append((name, ""))

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea" and self.area is not None:
            name, _ = self.forms[-1].pop()
            self.forms[-1].append((name, self.area.removeprefix("\n")))
            self.area = None
        elif tag == "select":
            self.select = ""

    def handle_data(self, data: str) -> None:
        if self.area is not None:
            self.area += data
