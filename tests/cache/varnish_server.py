"""A Varnish of a test's own, on a port of its own, in front of a server of the test's own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.ports import get_free_port

VCL = """
vcl 4.1;
import std;

backend default {
    .host = "127.0.0.1";
    .port = "%d";
}

acl purgers {
    "127.0.0.1";
}

sub vcl_recv {
    if (req.method == "BAN") {
        if (client.ip !~ purgers) {
            return (synth(405, "Not allowed"));
        }
        if (std.ban("obj.http.Cache-Tag ~ " + req.http.Cache-Tag)) {
            return (synth(200, "Banned"));
        }
        return (synth(400, std.ban_error()));
    }
}

sub vcl_deliver {
    set resp.http.X-Hits = obj.hits;
    unset resp.http.Cache-Tag;
}
"""


class VarnishServer:
    def __init__(self, folder: Path, backend: str) -> None:
        path = shutil.which("varnishd")
        if path is None:
            if os.environ.get("SIGNAL_KIT_REQUIRE_SERVICES") == "1":
                pytest.fail("varnishd is not installed")
            pytest.skip("varnishd is not installed")
        self.port = get_free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        vcl = folder / "default.vcl"
        vcl.write_text(VCL % (urlsplit(backend).port or 80), encoding="utf-8")
        self.log = folder / "varnish.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    *(path, "-F", "-j", "none", "-n", str(folder / "work")),
                    *("-a", f"127.0.0.1:{self.port}", "-f", str(vcl), "-s", "malloc,16m"),
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self._wait()

    def _wait(self) -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end and self.process.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                    return
            except OSError:
                time.sleep(0.05)
        self.stop()
        pytest.fail(f"varnishd does not answer: {self.log.read_text(errors='replace')}")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()
