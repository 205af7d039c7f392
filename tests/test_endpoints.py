"""URLs to which the kit sends requests: what is one, and what is told of it."""

from __future__ import annotations

import pytest

from django_signal_kit.endpoints import hide_credentials, parse_endpoint


def test_what_is_one_is_given_in_parts() -> None:
    parts = parse_endpoint("https://hooks.example:8443/a?b=c")
    assert (parts.scheme, parts.hostname, parts.port) == ("https", "hooks.example", 8443)
    assert (parts.path, parts.query) == ("/a", "b=c")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("", "begins neither"),
        ("hooks.example/x", "begins neither"),
        ("ftp://hooks.example/", "begins neither"),
        ("file:///etc/passwd", "begins neither"),
        ("gopher://127.0.0.1:25/x", "begins neither"),
        ("https://", "names no host"),
        ("https:///path", "names no host"),
        ("https://hooks.example:0/", "names no host"),
        ("https://hooks.example:99999/", "is no URL"),
        ("https://hooks.example:x/", "is no URL"),
        ("https://[::1/", "is no URL"),
        ("https://me:secret@hooks.example/", "a name or a password"),
        ("https://hooks.example/a b", "a character"),
        ("https://hooks.example/a\r\nX-Y: z", "a character"),
        ("https://hooks.example/ü", "a character"),
    ],
)
def test_what_is_no_url_is_told(url: str, told: str) -> None:
    with pytest.raises(ValueError, match=told) as caught:
        parse_endpoint(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://hooks.example/@a", "https://hooks.example/@a"),
        ("https://me:secret@hooks.example/a", "https://…@hooks.example/a"),
        ("http://a@b@c/", "http://…@c/"),
        ("no url", "no url"),
    ],
)
def test_a_url_is_told_without_its_password(url: str, told: str) -> None:
    assert hide_credentials(url) == told
