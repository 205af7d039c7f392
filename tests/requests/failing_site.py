"""A site that fails, and what it is asked by."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core import mail
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse
from django.test import Client
from django.urls import path, re_path
from django.views.debug import SafeExceptionReporterFilter
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables

from django_signal_kit.receivers import ExceptionAlert
from django_signal_kit.requests.exception_alert import Alert
from tests.requests.test_webhook import Hook
from tests.serving import serve

OPS = ["ops@shop.example"]


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise ZeroDivisionError("str")


class CautiousFilter(SafeExceptionReporterFilter):
    def get_post_parameters(self, request: Any) -> Any:
        return {"all": "hidden by the project"}


def view(request: Any, number: int = 0) -> HttpResponse:
    raise ValueError(f"number {number}")


def other_view(request: Any) -> HttpResponse:
    if "b" in request.GET:
        raise ValueError("b")
    raise ValueError("a")


async def async_view(request: Any) -> HttpResponse:
    raise ValueError("async")


def library_view(request: Any) -> HttpResponse:
    return HttpResponse(json.loads("{"))


@sensitive_variables("card")
@sensitive_post_parameters("card")
def form_view(request: Any) -> HttpResponse:
    card = request.POST["card"]
    raise ValueError(f"no credit, {len(card)}")


@sensitive_post_parameters()
def secret_view(request: Any) -> HttpResponse:
    raise ValueError("no credit")


def filtered_view(request: Any) -> HttpResponse:
    request.exception_reporter_filter = CautiousFilter()
    raise ValueError("no credit")


def unspeakable_view(request: Any) -> HttpResponse:
    raise UnspeakableError


def user_view(request: Any) -> HttpResponse:
    raise ValueError(len(request.user.username))


def known_view(request: Any, kind: str) -> HttpResponse:
    raise {"404": Http404, "403": PermissionDenied}[kind]


def deep_view(request: Any) -> HttpResponse:
    return deep_view(request)


def long_view(request: Any) -> HttpResponse:
    raise ValueError("x" * 10_000_000)


def echo_view(request: Any, token: str = "", **kwargs: Any) -> HttpResponse:
    """Fails with all that it was given in its message."""
    posted = dict(request.POST.items())
    raise ValueError(f"cannot take {posted} {request.GET.dict()} {token} {request.COOKIES}")


def json_view(request: Any) -> HttpResponse:
    data = json.loads(request.body)
    raise KeyError(data["card"]["passphrase"])


def chained_view(request: Any) -> HttpResponse:
    try:
        raise KeyError(request.POST["password"])
    except KeyError as error:
        values = ", ".join(["ann@x", "-".join(["geheim", "7"])])
        raise ValueError(f"Key (email, api_token)=({values}) already exists") from error


urlpatterns = [
    path("", view),
    path("item/<int:number>/", view),
    path("other/", other_view),
    path("async/", async_view),
    path("library/", library_view),
    path("form/", form_view),
    path("secret/", secret_view),
    path("filtered/", filtered_view),
    path("unspeakable/", unspeakable_view),
    path("user/", user_view),
    path("known/<str:kind>/", known_view),
    path("deep/", deep_view),
    path("long/", long_view),
    path("echo/", echo_view),
    path("json/", json_view),
    path("chained/", chained_view),
    path("reset/<uidb64>/<token>/", echo_view),
    path("invite/<str:secret_key>/", echo_view),
    re_path(r"^unnamed/([^/]+)/$", echo_view),
]


class ByPath(ExceptionAlert):
    """Each path is a kind."""

    def get_fingerprint(self, exception: BaseException, request: Any) -> str:
        return str(request.path)

    def should_alert(self, exception: BaseException, request: Any) -> bool:
        return request.path != "/item/13/"

    def get_subject(self, alert: Alert) -> str:
        return f"Oh\nno: {alert.request.path if alert.request else ''}"

    def get_body(self, alert: Alert) -> str:
        return f"suppressed {alert.suppressed}, held back {alert.held_back}"

    def get_payload(self, alert: Alert) -> dict[str, Any]:
        return {"content": self.get_body(alert), "who": alert.exception}


def get(url: str = "/", **kwargs: Any) -> int:
    return Client(raise_request_exception=False).get(url, **kwargs).status_code


def subjects() -> list[str]:
    return [message.subject for message in mail.outbox]


@contextmanager
def served(status: int = 204) -> Iterator[str]:
    Hook.got, Hook.status = [], status
    with serve(Hook) as address:
        yield address
