"""What pages in a browser can send to a server on this machine, in the shapes that browsers send.

A page may send all of this without leave: simple CORS requests, forms, images, links,
sockets; only reading the answer needs one. So nothing may run before the refusal.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.conftest import RunningServer
from tests.integration.wire import INVOKE, Peer

EVIL = "https://evil.example"
USER_AGENT = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36"
)


def _sent(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if method in {"POST", "PUT"}:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def _fetched(site: str, mode: str, destination: str = "empty") -> dict[str, str]:
    return {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": destination}


SHAPES = {
    "fetch with text/plain": (
        "POST",
        {"Content-Type": "text/plain;charset=UTF-8", "Origin": EVIL, **_fetched("cross-site", "cors")},
    ),
    "fetch with mode no-cors": (
        "POST",
        {"Content-Type": "text/plain;charset=UTF-8", "Origin": EVIL, **_fetched("cross-site", "no-cors")},
    ),
    "navigator.sendBeacon": (
        "POST",
        {"Origin": EVIL, **_fetched("cross-site", "no-cors"), "Sec-Fetch-Storage-Access": "active"},
    ),
    "a form": (
        "POST",
        {
            "Content-Type": "application/x-www-form-urlencoded",
            "Origin": EVIL,
            "Upgrade-Insecure-Requests": "1",
            **_fetched("cross-site", "navigate", "document"),
            "Sec-Fetch-User": "?1",
        },
    ),
    "a form of a browser without fetch metadata": (
        "POST",
        {"Content-Type": "text/plain", "Origin": EVIL, "Referer": f"{EVIL}/"},
    ),
    "a form in a file, a sandbox or after a redirect": (
        "POST",
        {"Content-Type": "text/plain", "Origin": "null", **_fetched("cross-site", "navigate", "document")},
    ),
    "a sandbox of a browser without fetch metadata": ("POST", {"Origin": "null"}),
    "a page on another port of this machine": (
        "POST",
        {"Content-Type": "text/plain", "Origin": "http://127.0.0.1:8000", **_fetched("same-site", "cors")},
    ),
    "a page on another name of this machine": (
        "POST",
        {"Content-Type": "text/plain", "Origin": "http://localhost:{port}", **_fetched("cross-site", "cors")},
    ),
    "an image": ("GET", _fetched("cross-site", "no-cors", "image")),
    "an image on a page on another port": ("GET", _fetched("same-site", "no-cors", "image")),
    "a link": (
        "GET",
        {**_fetched("cross-site", "navigate", "document"), "Sec-Fetch-User": "?1", "Referer": f"{EVIL}/"},
    ),
    "a frame": ("GET", _fetched("cross-site", "navigate", "iframe")),
    "a preflight": (
        "OPTIONS",
        {
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "x-amz-invocation-type",
            "Access-Control-Request-Private-Network": "true",
            "Origin": EVIL,
            **_fetched("cross-site", "cors"),
        },
    ),
    "a web socket": (
        "GET",
        {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Origin": EVIL,
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        },
    ),
    "a name of the page's own that resolves to this machine": (
        "POST",
        {
            "Host": "evil.example:{port}",
            "Content-Type": "application/json",
            "Origin": "http://evil.example:{port}",
            **_fetched("same-origin", "cors"),
        },
    ),
    "reading by such a name": ("GET", {"Host": "evil.example:{port}", **_fetched("same-origin", "cors")}),
    "such a name in a browser without fetch metadata": ("GET", {"Host": "evil.example"}),
}


@pytest.fixture(scope="module")
def address(server: RunningServer) -> dict[str, str]:
    """What every browser sends to the server's address."""
    return {
        "Host": f"127.0.0.1:{server.port}",
        "User-Agent": USER_AGENT,
        "Accept": "*/*",
        "Accept-Encoding": "gzip, deflate, br, zstd",
    }


@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_runs_for_a_page_of_another_origin(
    server: RunningServer,
    peer: Peer,
    address: dict[str, str],
    deploy: Callable[..., str],
    tmp_path: Path,
    shape: str,
) -> None:
    method, own = SHAPES[shape]
    ran = tmp_path / "ran"
    function = deploy(f"import pathlib\ndef handler(event, context): pathlib.Path('{ran}').touch()")
    headers = address | {name: value.format(port=server.port) for name, value in own.items()}
    for path in (INVOKE.format(function), f"/2015-03-31/functions/{function}", "/_lambent/health", "/"):
        peer.send(_sent(method, path, headers, b"{}" if method == "POST" else b""))
        answer = peer.receive()
        assert (answer.status, answer.header("x-amzn-errortype")) == (403, "ForbiddenException")
        assert not [name for name in answer.names if name.startswith("access-control-")]
        assert not ran.exists()


@pytest.mark.parametrize(
    "own",
    [
        {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
        {"Origin": "http://127.0.0.1:{port}", "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"},
        {},
        {"Host": "localhost:{port}"},
        {"Host": "[::1]:{port}"},
    ],
    ids=["an address that was typed", "its own page", "no page", "a local name", "another address"],
)
def test_who_is_no_foreign_page_is_served(
    server: RunningServer, peer: Peer, address: dict[str, str], own: dict[str, str]
) -> None:
    headers = address | {name: value.format(port=server.port) for name, value in own.items()}
    peer.send(_sent("GET", "/_lambent/health", headers))
    assert peer.receive().status == 200
