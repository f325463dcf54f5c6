"""The listener with a console: page, metrics, headers, certificate."""

import http.client
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from diffmask_service.errors import StartError
from diffmask_service.render import stylesheet
from diffmask_service.repository import Repository
from diffmask_service.telemetry import Telemetry
from diffmask_service.transport.tokens import TokenFile
from tests.service.transport.http.console.conftest import Caller, Opening
from tests.support.certificates import Authority
from tests.support.process import running_server

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " img-src 'self' data:; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)
TOKEN = "metrics-token-0123456789"


@pytest.fixture
async def caller(opening: Opening) -> AsyncIterator[Caller]:
    async with opening(Repository([])) as opened:
        yield opened


async def test_the_page_and_all_it_names_are_there(caller: Caller) -> None:
    page = (await caller.get("/console/")).body.decode()
    names = set(re.findall(r'(?:src|href)="([\w.]+)"', page))
    kinds = {}
    while names:
        name = names.pop()
        heard = await caller.get(f"/console/{name}")
        assert heard.status == 200
        kinds[name] = heard.headers["content-type"].partition(";")[0]
        imported = set(re.findall(r'from "\./([\w.]+)"', heard.body.decode()))
        names |= imported - set(kinds)
    assert kinds["console.js"] == kinds["watch.js"] == "text/javascript"
    assert kinds["console.css"] == "text/css"
    page_css = await caller.get("/console/page.css")
    assert page_css.body.decode() == stylesheet()


@pytest.mark.parametrize(
    "path", ["/console/", "/console/console.js", "/metrics", "/nothing"]
)
async def test_every_answer_carries_the_policy(caller: Caller, path: str) -> None:
    headers = (await caller.get(path)).headers
    assert headers["content-security-policy"] == POLICY
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"


async def test_nothing_in_the_page_is_inline_or_from_elsewhere(
    caller: Caller,
) -> None:
    page = (await caller.get("/console/")).body.decode()
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?! type=\S+ src=)", page)
    assert not re.search(r"https?:|//", page)


@pytest.mark.parametrize(
    ("path", "target"), [("/", "console/"), ("/console", "./console/")]
)
async def test_the_page_is_found(caller: Caller, path: str, target: str) -> None:
    heard = await caller.get(path)
    assert (heard.status, heard.headers["location"]) == (307, target)


async def test_no_redirect_leads_where_the_caller_says(caller: Caller) -> None:
    for path in ("/", "/console", "/metrics/", "/console/console.js/"):
        heard = await caller.get(path, host="elsewhere.example")
        assert "elsewhere" not in heard.headers.get("location", "")


@pytest.mark.parametrize(
    "path", ["/console/../application.py", "/console/%2e%2e/calls.py", "/etc/passwd"]
)
async def test_nothing_else_is_shown(caller: Caller, path: str) -> None:
    assert (await caller.get(path)).status == 404


async def test_metrics_are_shown(caller: Caller, telemetry: Telemetry) -> None:
    telemetry.expect_call("a.B", "C")
    shown = (await caller.get("/metrics")).body.decode()
    assert 'grpc_server_started_total{grpc_method="C"' in shown


@pytest.mark.parametrize(
    ("header", "status"), [("", 401), ("Bearer wrong", 401), (f"Bearer {TOKEN}", 200)]
)
async def test_metrics_ask_for_their_token(
    opening: Opening, tmp_path: Path, header: str, status: int
) -> None:
    (tmp_path / "tokens").write_text(TOKEN)
    tokens = TokenFile(tmp_path / "tokens", setting="--metrics-token-file")
    async with opening(Repository([]), metrics_tokens=tokens) as caller:
        assert (await caller.get("/metrics", authorization=header)).status == status


async def test_a_new_certificate_is_taken_up(opening: Opening, tmp_path: Path) -> None:
    old, new = Authority(), Authority()
    files = old.write_server(tmp_path)
    async with opening(Repository([]), tls=files) as plain:
        before = Caller(port=plain.port, context=old.client_context())
        after = Caller(port=plain.port, context=new.client_context())
        assert (await before.get("/console/")).status == 200
        new.write_server(tmp_path)
        assert (await after.get("/console/")).status == 200
        with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
            await before.get("/console/")


async def test_large_headers_are_refused(caller: Caller) -> None:
    assert (await caller.get("/console/", x_large="x" * 20_000)).status == 431


async def test_a_taken_port_is_named_with_the_remedy(opening: Opening) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=f"127.0.0.1:{port} .*--metrics-port"):
            async with opening(Repository([]), port=port):
                pass


def test_without_the_extra_only_the_console_is_missed(tiny_directory: Path) -> None:
    code = f"""
import sys
sys.modules["starlette"] = sys.modules["uvicorn"] = None
from diffmask_service.cli import main
sys.exit(main(["serve", "--bundle", {str(tiny_directory)!r}, "--console",
               "--grpc-port", "0", "--metrics-port", "0"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "install diffmask-service[console]" in done.stderr


def test_a_browser_that_stays_does_not_hold_up_the_stop(tiny_directory: Path) -> None:
    with running_server(tiny_directory, console=True) as server:
        connection = http.client.HTTPConnection(
            server.console_url.removeprefix("http://").partition("/")[0]
        )
        connection.request("GET", "/console/")
        assert connection.getresponse().read()
        status, log = server.terminate()
        connection.close()
    assert status == 0
    assert "Traceback" not in log
