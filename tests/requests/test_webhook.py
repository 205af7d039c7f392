"""JSON is posted to whom the settings name, and to nobody else."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from django_signal_kit.requests.webhook import (
    WebhookError,
    is_public,
    post_json,
    resolve,
)
from tests.ports import get_free_port
from tests.serving import serve

DATA = {"text": "Tómaš", "count": 3}


class Hook(BaseHTTPRequestHandler):
    """Answers as ``status`` says and keeps what it got."""

    status = 204
    got: list[dict[str, Any]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.got.append({"path": self.path, "body": json.loads(body), **self.headers})
        self.send_response(self.status)
        if 300 <= self.status < 400:
            self.send_header(
                "Location", "http://127.0.0.1:{}/other".format(*self.server.server_address[1:])
            )
        self.end_headers()

    def do_GET(self) -> None:
        self.got.append({"path": self.path, "method": "GET"})

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[str]:
    Hook.got, Hook.status = [], 204
    with serve(Hook) as address:
        yield address


def post(url: str, **options: Any) -> None:
    post_json(url, DATA, **{"timeout": 30, "allow_private": True, **options})


def test_the_webhook_gets_json(hook: str) -> None:
    post(f"{hook}/in/box?token=1")
    (got,) = Hook.got
    assert (got["path"], got["body"]) == ("/in/box?token=1", DATA)
    assert got["Content-Type"] == "application/json"
    assert f"http://{got['Host']}" == hook


def test_without_a_path_it_is_the_root(hook: str) -> None:
    post(hook)
    assert Hook.got[0]["path"] == "/"


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(hook: str, status: int) -> None:
    Hook.status = status
    with pytest.raises(WebhookError, match=rf"^127\.0\.0\.1 answered {status}\.$"):
        post(hook)
    assert len(Hook.got) == 1


@pytest.mark.parametrize("status", [400, 404, 500, 503])
def test_an_error_is_one(hook: str, status: int) -> None:
    Hook.status = status
    with pytest.raises(WebhookError, match=str(status)):
        post(hook)


@pytest.mark.parametrize("status", [200, 201, 202, 299])
def test_each_success_is_one(hook: str, status: int) -> None:
    Hook.status = status
    post(hook)
    assert [got["body"] for got in Hook.got] == [DATA]


# Private addresses


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "0.0.0.0"])
def test_this_host_is_refused(hook: str, name: str) -> None:
    with pytest.raises(WebhookError):
        post(f"http://{name}:{urlsplit(hook).port}/", allow_private=False)
    assert Hook.got == []


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.9.9.9", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254"),
        *("0.0.0.0", "100.64.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "255.255.255.255"),
        *("240.0.0.1", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00::1", "ff02::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "2002:7f00:1::", "64:ff9b::7f00:1", "fec0::1"),
        *("2001:db8::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2"),
    ],
)
def test_an_address_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_an_address_is_public(address: str) -> None:
    assert is_public(address)


class Names:
    """A name server whose answer is another one each time."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)

    def __call__(self, host: str, port: int, *args: Any, **kwargs: Any) -> Any:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in self.answers.pop(0)
        ]


def test_the_name_is_asked_for_once(hook: str, monkeypatch: Any) -> None:
    names = Names(["127.0.0.1"], ["10.0.0.1"])
    monkeypatch.setattr(socket, "getaddrinfo", names)
    port = urlsplit(hook).port
    post(f"http://hooks.example:{port}/")
    assert Hook.got[0]["Host"] == f"hooks.example:{port}"
    assert len(names.answers) == 1


def test_a_name_that_leads_home_is_refused(hook: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", Names(["127.0.0.1", "10.0.0.1"]))
    with pytest.raises(WebhookError, match=r"^hooks\.example has a private address only\.$"):
        post(f"http://hooks.example:{urlsplit(hook).port}/", allow_private=False)
    assert Hook.got == []


def test_of_several_addresses_the_public_ones_are_used(monkeypatch: Any) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", Names(["127.0.0.1", "8.8.8.8"]))
    found = resolve("hooks.example", 80, allow_private=False)
    assert found == [(socket.AF_INET, ("8.8.8.8", 80))]


def test_the_next_address_is_tried_if_the_first_is_down(hook: str, monkeypatch: Any) -> None:
    # Nobody listens on the second loopback address.
    monkeypatch.setattr(socket, "getaddrinfo", Names(["127.0.0.2", "127.0.0.1"]))
    post(f"http://hooks.example:{urlsplit(hook).port}/")
    assert len(Hook.got) == 1


def test_a_failure_does_not_show_the_path(hook: str) -> None:
    Hook.status = 500
    with pytest.raises(WebhookError) as caught:
        post(f"{hook}/secret-path")
    assert "secret" not in str(caught.value)


# Servers that do not behave


class Endless(BaseHTTPRequestHandler):
    """Sends a byte now and then, and never a line."""

    stop = threading.Event()

    def handle(self) -> None:
        try:
            while not self.stop.wait(0.02):
                self.request.sendall(b"H")
        except OSError:
            pass


class Silent(BaseHTTPRequestHandler):
    stop = threading.Event()

    def handle(self) -> None:
        self.stop.wait(30)


class Hanging(BaseHTTPRequestHandler):
    def handle(self) -> None:
        self.request.recv(100)


class Rude(BaseHTTPRequestHandler):
    def handle(self) -> None:
        self.request.recv(65536)
        self.request.sendall(b"SSH-2.0-OpenSSH\r\n")


class Long(BaseHTTPRequestHandler):
    def handle(self) -> None:
        with contextlib.suppress(OSError):
            self.request.sendall(b"x" * 10_000_000)


@pytest.mark.parametrize("handler", [Endless, Silent])
def test_a_slow_server_is_left(handler: Any) -> None:
    handler.stop.clear()
    with serve(handler) as address:
        try:
            with pytest.raises(WebhookError, match="timed out"):
                post(address, timeout=0.3)
        finally:
            handler.stop.set()


@pytest.mark.parametrize("handler", [Hanging, Rude, Long])
def test_a_server_that_speaks_something_else_is_left(handler: Any) -> None:
    with serve(handler) as address, pytest.raises(WebhookError, match=r"127\.0\.0\.1: "):
        post(address)


def test_a_server_that_is_down_is_told() -> None:
    port = get_free_port()
    with pytest.raises(WebhookError, match="ConnectionRefusedError"):
        post(f"http://127.0.0.1:{port}/")


def test_a_name_that_is_none_is_told() -> None:
    with pytest.raises(WebhookError, match=r"no-such-host\.invalid: gaierror"):
        post("https://no-such-host.invalid/")


# TLS


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of 127.0.0.1, and its key, in one file."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to make a certificate")
    file = tmp_path / "both.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")),
        ],
        check=True,
        capture_output=True,
    )
    parts = [(tmp_path / name).read_text() for name in ("key.pem", "cert.pem")]
    file.write_text("".join(parts))
    return file


@pytest.fixture
def secure_hook(certificate: Path) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    class SecureHook(Hook):
        def setup(self) -> None:
            self.request = context.wrap_socket(self.request, server_side=True)
            super().setup()

        def handle(self) -> None:
            super().handle()
            self.connection.close()

    Hook.got, Hook.status = [], 204
    with serve(SecureHook) as address:
        yield address.replace("http://", "https://")


def test_a_known_certificate_is_taken(
    secure_hook: str, certificate: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    post(f"{secure_hook}/in")
    assert Hook.got[0]["body"] == DATA


def test_an_unknown_certificate_is_refused(secure_hook: str) -> None:
    with pytest.raises(WebhookError, match="CERTIFICATE_VERIFY_FAILED"):
        post(secure_hook)
    assert Hook.got == []


def test_the_certificate_has_to_be_that_of_the_host(
    secure_hook: str, certificate: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    monkeypatch.setattr(socket, "getaddrinfo", Names(["127.0.0.1"]))
    with pytest.raises(WebhookError, match="CERTIFICATE_VERIFY_FAILED"):
        post(f"https://hooks.example:{urlsplit(secure_hook).port}/")
    assert Hook.got == []


def test_tls_to_a_server_that_has_none_fails(hook: str) -> None:
    with pytest.raises(WebhookError, match="SSL"):
        post(hook.replace("http:", "https:"))
