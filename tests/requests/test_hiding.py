"""No secret of a request is in any alert."""

from __future__ import annotations

import json
import logging
import re
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.tokens import default_token_generator
from django.core import mail
from django.http import QueryDict
from django.test import Client, RequestFactory
from hypothesis import given
from hypothesis import strategies as st

from django_signal_kit.receivers import ExceptionAlert
from django_signal_kit.requests.hiding import Hider
from django_signal_kit.requests.reporting import describe_request
from tests.factories import UserFactory
from tests.requests.failing_site import OPS, CautiousFilter, served
from tests.requests.test_webhook import Hook

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("failing_site"),
]


# What the project calls a secret


def test_what_the_project_calls_sensitive_is_not_told(wire: Any) -> None:
    wire((ExceptionAlert, {"to": OPS, "channels": ["mail", "log"]}))
    client = Client(raise_request_exception=False, headers={"authorization": "Bearer geheim"})
    client.cookies["sessionid"] = "geheim"
    client.cookies["theme"] = "dark"
    client.post(
        "/form/?api_token=geheim&page=7",
        {"card": "geheim", "name": "Ann"},
        headers={"referer": "https://shop.example/reset?token=geheim", "x-api-key": "geheim"},
    )
    body = str(mail.outbox[0].body)
    assert "geheim" not in body
    for line in ("card = ****", "name = Ann", "page = 7", "theme = dark", "sessionid = ****"):
        assert f"    {line}" in body
    assert "HTTP_REFERER = https://shop.example/reset\n" in body


@pytest.mark.parametrize("url", ["/secret/", "/filtered/"])
def test_the_requests_own_filter_is_asked(url: str, wire: Any) -> None:
    wire((ExceptionAlert, {"to": OPS}))
    client = Client(raise_request_exception=False)
    client.post(url, "a=geheim", content_type="application/x-www-form-urlencoded")
    body = str(mail.outbox[0].body)
    assert "geheim" not in body
    assert ("all = hidden by the project" if url == "/filtered/" else "a = ****") in body


def test_the_settings_filter_is_asked(wire: Any, settings: Any) -> None:
    from django.views.debug import get_default_exception_reporter_filter

    settings.DEFAULT_EXCEPTION_REPORTER_FILTER = f"{CautiousFilter.__module__}.CautiousFilter"
    get_default_exception_reporter_filter.cache_clear()
    try:
        wire((ExceptionAlert, {"to": OPS}))
        Client(raise_request_exception=False).post("/form/", {"card": "geheim"})
    finally:
        get_default_exception_reporter_filter.cache_clear()
    assert "geheim" not in str(mail.outbox[0].body)
    assert "all = hidden by the project" in str(mail.outbox[0].body)


# What looks like one


def tell(wire: Any, method: str, url: str, *args: Any, **kwargs: Any) -> str:
    """All that three channels tell of one request."""
    told: list[str] = []

    class Keeps(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(record.getMessage())

    logger, keeps = logging.getLogger("django_signal_kit.alerts"), Keeps()
    logger.addHandler(keeps)
    try:
        with served() as address:
            options = {"channels": ["mail", "log", "webhook"], "to": OPS}
            options |= {"webhook_url": address, "allow_private": True}
            wire((ExceptionAlert, options))
            client = Client(raise_request_exception=False)
            for name, value in kwargs.pop("cookies", {}).items():
                client.cookies[name] = value
            assert getattr(client, method)(url, *args, **kwargs).status_code == 500
    finally:
        logger.removeHandler(keeps)
    (got,) = Hook.got
    (message,) = mail.outbox
    return "\n".join([message.subject, str(message.body), *told, json.dumps(got["body"])])


FORM = {
    "username": "ann",
    "password": "geheim-1",
    "api_key": "geheim-2",
    "jwt": "geheim-3",
    "passphrase": "geheim-4",
    "user[new_password]": "geheim-5",
    "payload": '{"city": "Bonn", "auth": {"sid": "geheim-6"}, "access_key": ["geheim-7"]}',
    "next": "/accept?token=geheim-8&page=7",
    "iban": "geheim-9",
}


def test_what_was_posted_under_the_name_of_a_secret_is_nowhere(wire: Any, settings: Any) -> None:
    told = tell(wire, "post", "/echo/", FORM)
    told = told.replace("geheim-9", "")
    assert "geheim" not in told
    for shown in ("username = ann", "Bonn", "page=7", "cannot take"):
        assert shown in told


def test_what_the_project_calls_a_secret_is_one(wire: Any, settings: Any) -> None:
    request = RequestFactory().post("/", FORM)
    request.POST  # noqa: B018
    settings.SIGNAL_KIT = {"REDACT": ["iban"]}
    assert "geheim" not in str(describe_request(request))


def test_query_cookies_and_headers_are_cleansed(wire: Any) -> None:
    told = tell(
        wire,
        "get",
        "/echo/?passcode=geheim-1&sid=geheim-2&sid=geheim-3&page=7&data=%7B%22jwt%22:%22geheim-4%22%7D",
        cookies={"sid": "geheim-5", "remember_token": "geheim-6", "theme": "dark"},
        headers={
            "authorization": "Bearer geheim-7",
            "x-passphrase": "geheim-8",
            "x-jwt": "geheim-9",
            "x-original-url": "/echo/?code=geheim-10",
            "referer": "https://ann:geheim-11@shop.example/invite/geheim-12/?a=geheim-13",
        },
    )
    assert "geheim" not in told
    for shown in ("page = 7", "theme = dark", "https://shop.example/invite/"):
        assert shown in told


def test_the_token_of_a_path_is_nowhere(wire: Any) -> None:
    token = default_token_generator.make_token(UserFactory())
    referer = f"https://shop.example/reset/MQ/{token}/"
    told = tell(wire, "get", f"/reset/MQ/{token}/", headers={"referer": referer})
    assert token not in told
    assert "/reset/MQ/" in told
    assert "reset/<uidb64>/<token>/" in told


@pytest.mark.parametrize("url", ["/invite/geheim!7/", "/reset/MQ/geheim!7/"])
def test_a_secret_that_the_route_takes_from_the_path_is_nowhere(wire: Any, url: str) -> None:
    told = tell(wire, "get", url)
    assert "geheim" not in told


def test_a_token_of_django_is_known_by_its_shape_where_nothing_names_it(wire: Any) -> None:
    token = default_token_generator.make_token(UserFactory())
    assert token not in tell(wire, "get", f"/unnamed/{token}/")


def test_a_secret_of_a_json_body_is_not_in_the_message(wire: Any) -> None:
    data = {"card": {"passphrase": "geheim-1"}}
    told = tell(wire, "post", "/json/", data, content_type="application/json")
    assert "geheim" not in told
    assert "KeyError" in told


def test_the_messages_of_all_exceptions_of_a_chain_are_cleansed(wire: Any) -> None:
    told = tell(wire, "post", "/chained/", {"password": "geheim-1"})
    assert "geheim" not in told
    assert "already exists" in told
    assert "request.POST" in told


def test_a_message_of_a_stranger_does_not_take_forever() -> None:
    request = RequestFactory().post("/", {f"password{n}": "x" * 50 + str(n) for n in range(900)})
    request.POST  # noqa: B018
    hider = Hider(request)
    assert len(describe_request(request, hider)["POST"]) == 900
    for text in ("x" * 100_000, '"a' * 50_000, "(a)=(" * 20_000, 'x="\\"' * 20_000, "a=" * 50_000):
        hider.hide_in_text(text)


@given(
    st.dictionaries(st.sampled_from(["password", "api_key", "x_jwt"]), st.text(min_size=4)),
    st.text(),
)
def test_no_secret_of_a_form_is_in_any_text(form: dict[str, str], text: str) -> None:
    request: Any = RequestFactory().get("/")
    request.method, request.POST = "POST", QueryDict(urlencode(form, errors="replace"))
    request._post = request.POST
    hider = Hider(request)
    described = describe_request(request, hider)
    values = [value for value in request.POST.values() if len(value) >= 4]
    shown = hider.hide_in_text("; ".join([text, *values]))
    for part in (*re.split(r"\[redacted\]|\*+", shown), *described["POST"].values()):
        for value in values:
            assert value not in part or set(value) == {"*"}
