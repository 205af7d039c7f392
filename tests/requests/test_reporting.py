"""What a request was is told in text, as far as it can be read."""

from __future__ import annotations

from typing import Any

from django.test import RequestFactory

from django_signal_kit.requests.reporting import describe_request


def test_the_servers_environment_is_not_told() -> None:
    request = RequestFactory().get("/", DATABASE_URL="postgres://me:geheim@db", HTTP_ACCEPT="a/b")
    told = describe_request(request)["META"]
    assert told["HTTP_ACCEPT"] == "a/b"
    assert "geheim" not in str(told)


def test_a_body_that_is_still_coming_in_is_not_waited_for() -> None:
    request: Any = RequestFactory().post("/", {"a": "b"})
    assert describe_request(request)["POST"] == {}
    assert request.POST["a"] == "b"
    assert describe_request(request)["POST"] == {"a": "b"}
    assert describe_request(None) == {}


def test_what_cannot_be_read_says_so() -> None:
    request: Any = RequestFactory().post(
        "/", "a=b", content_type="application/x-www-form-urlencoded", CONTENT_LENGTH="99999999999"
    )
    assert describe_request(request)["POST"] == {
        "(not readable)": "django.core.exceptions.RequestDataTooBig"
    }
