"""Bytes that are HTTP/1.1, nearly HTTP/1.1, and anything else."""

from __future__ import annotations

import itertools

from hypothesis import strategies as st

_BODIES = st.sampled_from(
    [b"", b"{}", b'{"a":1}', b"x" * 1500, b"\r\n\r\n", b"0\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"]
)
_TARGETS = st.sampled_from(
    [
        b"/2015-03-31/functions/fuzzed/invocations",
        b"/2015-03-31/functions/fuzzed/invocations?Qualifier=%24LATEST",
        b"/2015-03-31/functions/fuzzed%3Aprod/invocations",
        b"/2015-03-31/functions/a/b/invocations",
        b"/2015-03-31/functions//invocations",
        b"/2015-03-31/functions",
        b"/2015-03-31/functions/fuzzed",
        b"/_lambent/health",
        b"http://127.0.0.1/2015-03-31/functions?x=/y",
        b"http://127.0.0.1",
        b"*",
        b"/",
        b"//%2F/%00/%",
        b"/?" + b"a=b&" * 50,
    ]
)
_LINES = st.lists(
    st.sampled_from(
        [
            b"Host: 127.0.0.1",
            b"hOST:localhost ",
            b"Host: other.example",
            b"Content-Type: text/plain",
            b"X-Amz-Invocation-Type: DryRun",
            b"X-Amz-Invocation-Type: Event",
            b"X-Amz-Log-Type: Tail",
            b"X-Amz-Client-Context: e30=",
            b"Expect: 100-continue",
            b"Connection: close",
            b"Connection: keep-alive",
            b"Connection: Upgrade",
            b"Upgrade: h2c",
            b"Upgrade: websocket",
            b"Origin: null",
            b"Sec-Fetch-Site: cross-site",
            b"Authorization: AWS4-HMAC-SHA256 Credential=1/2//lambda/aws4_request, SignedHeaders=, Signature=",
            b"Authorization: \xff",
            b"X-Empty:",
            b"X-Long: " + b"x" * 3000,
        ]
    ),
    max_size=5,
)


@st.composite
def _request(draw: st.DrawFn) -> bytes:
    """Draw one request, with a body that is framed in one way or another."""
    body = draw(_BODIES)
    method = draw(st.sampled_from([b"POST"] * 6 + [b"GET"] * 4 + [b"HEAD", b"OPTIONS", b"PUT", b"CONNECT"]))
    version = draw(st.sampled_from([b"1.1"] * 15 + [b"1.0", b"2.0", b"0.9"]))
    lines = [b"%b %b HTTP/%b" % (method, draw(_TARGETS), version), *draw(_LINES)]
    framing = draw(st.sampled_from(["length"] * 5 + ["chunks"] * 5 + ["none"] * 3 + ["contradiction"]))
    if framing == "length":
        lines.append(b"Content-Length: %d" % len(body))
    elif framing == "chunks":
        lines.append(b"Transfer-Encoding: chunked")
        size = draw(st.integers(1, 2000))
        parts = [body[start : start + size] for start in range(0, len(body), size)]
        body = b"".join(b"%X\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    elif framing == "none":
        body = b""
    else:
        lines.append(
            draw(
                st.sampled_from(
                    [
                        b"Content-Length: 0",
                        b"Content-Length: 5",
                        b"Content-Length: 7000000",
                        b"Content-Length: 1\r\nContent-Length: 2",
                        b"Transfer-Encoding: chunked",
                        b"Transfer-Encoding: gzip, chunked",
                        b"Transfer-Encoding: chunked\r\nContent-Length: 5",
                    ]
                )
            )
        )
    return b"\r\n".join([*lines, b"", body])


@st.composite
def _mutated(draw: st.DrawFn) -> bytes:
    """Draw a request and change, drop, repeat or cut some of it."""
    data = draw(_request())
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, max(len(data) - 1, 0)))
        change = draw(st.sampled_from(["byte", "insert", "delete", "cut", "line", "repeat"]))
        if change == "byte":
            data = data[:place] + draw(st.binary(min_size=1, max_size=1)) + data[place + 1 :]
        elif change == "insert":
            some = st.sampled_from([b"\r", b"\n", b"\0", b" ", b":", b"\r\n", b"\r\n\r\n", b"\xff", b"\t"])
            data = data[:place] + draw(some) + data[place:]
        elif change == "delete":
            data = data[:place] + data[place + draw(st.integers(1, 20)) :]
        elif change == "cut":
            data = data[:place]
        else:
            lines = data.split(b"\r\n")
            index = draw(st.integers(0, len(lines) - 1))
            lines[index : index + 1] = [lines[index]] * (2 if change == "repeat" else 0)
            data = b"\r\n".join(lines)
    return data


def streams() -> st.SearchStrategy[bytes]:
    """Draw what one peer sends: some requests, sound, broken or none at all, one after another."""
    one = st.one_of(_request(), _request(), _mutated(), st.binary(max_size=60))
    return st.lists(one, min_size=1, max_size=4).map(b"".join)


def sizes() -> st.SearchStrategy[list[int]]:
    """Draw how many bytes come at once, in turns."""
    return st.lists(st.integers(1, 200), min_size=1, max_size=6)


def pieces(data: bytes, sizes: list[int]) -> list[bytes]:
    """Cut bytes as they may arrive."""
    turns = itertools.cycle(sizes)
    parts = []
    while data:
        size = next(turns)
        parts.append(data[:size])
        data = data[size:]
    return parts
