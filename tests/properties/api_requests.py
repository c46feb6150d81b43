"""Requests to any operation, drawn from the installed service model: right, at the edge, and wrong.

Each member gets a value from what the model says of its shape; then it is put where the
model says: path, query, header or body. Values are in the types of JSON; text for
every other place is made of them.
"""

from __future__ import annotations

import base64
import functools
import io
import json
import re
import sys
import zipfile
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, urlencode

from hypothesis import strategies as st

from lambent.api.constraints import compile_pattern
from lambent.api.operations import OPERATIONS
from lambent.api.service_model import load_service_model

MODEL = load_service_model()
SHAPES = MODEL["shapes"]

KEPT = "kept"
"""A function that exists throughout: nothing that is drawn deletes it on purpose."""

RUNTIME = f"python3.{sys.version_info.minor}"
ACCOUNT = "000000000000"
_ARN = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function"
PASSING = ("made-a", "made-b")
"""Functions that are deleted and made again."""

_NAMES = (
    KEPT,
    *PASSING,
    f"{KEPT}:$LATEST",
    f"{_ARN}:{KEPT}",
    f"{ACCOUNT}:function:{KEPT}",
    f"{KEPT}:7",
    f"{_ARN.replace('us-east-1', 'eu-west-1')}:{KEPT}",
    f"{_ARN.replace(ACCOUNT, '111122223333')}:{KEPT}",
    "absent",
    "a" * 65,
    "function",
)


class Drawn(NamedTuple):
    """One HTTP request, without what the connection adds."""

    operation: str
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


def _zipped(source: str) -> str:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(zipfile.ZipInfo("index.py"), source)
    return base64.b64encode(packed.getvalue()).decode()


_PACKAGES = tuple(
    _zipped(source) for source in ("def handler(event, context): return event", "1/0", "def", "import os")
)

# What is right for a shape and would hardly be drawn by chance.
_RIGHT: dict[str, tuple[Any, ...]] = {
    "NamespacedFunctionName": _NAMES,
    "UnqualifiedFunctionName": (KEPT, *PASSING),
    "Alias": ("live", "other"),
    "VersionWithLatestPublished": ("$LATEST", "1", "7"),
    "AdditionalVersion": ("1", "7"),
    "NumericLatestPublishedOrAliasQualifier": ("1", "$LATEST", "7", "live", "$LATEST.PUBLISHED", "$latest"),
    "Qualifier": ("1", "live", "$LATEST", "7"),
    # Each is a process.
    "PositiveInteger": (1, 2, 9999),
    "DestinationArn": (
        *(f"{_ARN}:{name}" for name in (KEPT, PASSING[0], "absent", f"{PASSING[1]}:live")),
        *(f"arn:aws:{kind}:us-east-1:{ACCOUNT}:q" for kind in ("sqs", "sns", "kinesis")),
        "arn:aws:s3:::bucket",
        "kafka://topic",
        "",
    ),
    "TaggableResource": (*(f"{_ARN}:{name}" for name in (KEPT, *PASSING, "absent")), f"{_ARN}:{KEPT}:1"),
    "RoleArn": (f"arn:aws:iam::{ACCOUNT}:role/r",),
    "StatementId": ("s", "t", "u"),
    "NamespacedStatementId": ("s", "t", "u"),
    "Principal": ("*", "s3.amazonaws.com", ACCOUNT, f"arn:aws:iam::{ACCOUNT}:role/r", "nobody"),
    "FunctionCode": tuple({"ZipFile": package} for package in _PACKAGES),
    "Handler": ("index.handler", "index.nothing", "nodot"),
    "Runtime": (*[RUNTIME] * 9, "python3.8", "nodejs22.x", "python9.9"),
    # The model allows more than AWS does.
    "Timeout": (1, 3, 900),
    "MemorySize": (128, 256, 10_240),
    "EphemeralStorageSize": (512, 10_240),
    "LogGroup": ("/aws/lambda/kept", "mine", "..", "a/../../b"),
    "EnvironmentVariableName": ("MINE", "PYTHONHASHSEED", "LD_PRELOAD", "PYTHONPATH", "AWS_REGION"),
    "EnvironmentVariableValue": ("", "0", "yes", "/nothing.so", "ü", "x\ny", "x\0y"),
}
_PAYLOADS = (b"", b"{}", b'{"a": [1, "\xc3\xa9"]}', b"null", b"{", b"\xff", b"NaN", b'"\\ud800"', b"[" * 3000)

_WRONG_JSON: st.SearchStrategy[Any] = st.sampled_from(
    [
        None, True, 0, -1, 1.5, 2**31, 2**63, -(2**63) - 1, 10**400, 1e308,
        "", "x", "9" * 400, "x" * 5000, "é", "\ud800", "\0", "a\nb", " ", "%", "%25", "a/b", "../..", "\U0001f600",
        "-1", "true", [], [None], ["x", "x"], [[[]]], {}, {"": None}, {"a": 1}, {"Variables": 3},
    ]
)  # fmt: skip


@functools.cache
def _right(name: str) -> st.SearchStrategy[Any]:
    """Draw values of a shape that keep its constraints, nearly always."""
    if name == "FunctionName":
        return st.sampled_from(_NAMES) | st.from_regex(r"new-[a-z]{1,4}", fullmatch=True)
    if name in _RIGHT:
        return st.sampled_from(_RIGHT[name])
    shape = SHAPES[name]
    low, high = shape.get("min"), shape.get("max")
    match shape["type"]:
        case "string":
            return _right_text(shape, int(low or 0), int(high or 64))
        case "integer" | "long":
            return st.integers(0 if low is None else low, 10_000 if high is None else high)
        case "double" | "float":
            return st.floats(low, high, allow_nan=False, allow_infinity=False)
        case "boolean":
            return st.booleans()
        case "blob":
            return st.sampled_from(_PACKAGES)
        case "timestamp":
            return st.integers(0, 2**32)
        case "list":
            items = _right(shape["member"]["shape"])
            return st.lists(items, min_size=int(low or 0), max_size=min(int(high or 2), 2))
        case "map":
            keys, items = _right(shape["key"]["shape"]), _right(shape["value"]["shape"])
            return st.dictionaries(keys, items, min_size=int(low or 0), max_size=min(int(high or 2), 2))
    return st.deferred(lambda: _structure(name, _right))


def _right_text(shape: Mapping[str, Any], low: int, high: int) -> st.SearchStrategy[str]:
    if shape.get("enum"):
        return st.sampled_from(shape["enum"])
    pattern = shape.get("pattern")
    if pattern is None or pattern in {".*", r"[\s\S]*"}:
        return st.text(st.characters(codec="utf-8"), min_size=low, max_size=min(high, low + 20))
    # Cut, not filtered: what a cut makes wrong is a case as well.
    return st.from_regex(compile_pattern(pattern), fullmatch=True).map(lambda text: text[:high])


@functools.cache
def _edges(name: str) -> st.SearchStrategy[Any]:
    """Draw values just inside and just outside of what a shape allows."""
    shape = SHAPES[name]
    low, high = shape.get("min"), shape.get("max")
    match shape["type"]:
        case "string":
            sizes = {0, 1, *(int(end) + by for end in (low, high) if end is not None for by in (-1, 0, 1))}
            lengths = sorted(size for size in sizes if 0 <= size <= 20_001)
            return st.builds(
                lambda size, letter: letter * size, st.sampled_from(lengths), st.sampled_from("a1é$")
            )
        case "integer" | "long" | "double" | "float":
            return st.sampled_from([end + by for end in (low or 0, high or 10_000) for by in (-1, 0, 1, 0.5)])
        case "blob":
            package = _PACKAGES[0]
            return st.sampled_from(["", "AAAA", package[:-1], package[:-8], package[8:], package * 2])
        case "list":
            sizes = {0, *(int(end) + by for end in (low, high) if end is not None for by in (-1, 0, 1))}
            lengths = sorted(size for size in sizes if 0 <= size <= 200)
            return st.builds(
                lambda size, item: [item] * size, st.sampled_from(lengths), _right(shape["member"]["shape"])
            )
        case "map":
            items = _right(shape["value"]["shape"])
            return st.builds(
                lambda size, item: {f"key{number}": item for number in range(size)}, st.integers(0, 60), items
            )
    return _right(name)


@functools.cache
def _any(name: str) -> st.SearchStrategy[Any]:
    """Draw values of a shape, right ones first; hypothesis simplifies towards these."""
    structured = [st.deferred(lambda: _structure(name, _any))] if SHAPES[name]["type"] == "structure" else []
    return st.one_of(_right(name), _edges(name), _WRONG_JSON, *structured)


def _structure(
    name: str, value_of: Callable[[str], st.SearchStrategy[Any]]
) -> st.SearchStrategy[dict[str, Any]]:
    """Draw structures by their names in JSON, with values from ``value_of``."""
    shape = SHAPES[name]
    required: dict[str, st.SearchStrategy[Any]] = {}
    optional: dict[str, st.SearchStrategy[Any]] = {}
    for member, described in shape.get("members", {}).items():
        key = described.get("locationName", member)
        (required if member in shape.get("required", ()) else optional)[key] = value_of(described["shape"])
    if value_of is _right:
        return st.fixed_dictionaries(required, optional=optional)
    return st.fixed_dictionaries({}, optional=required | optional | {"Unknown": _WRONG_JSON})


_NEEDED = frozenset(("Runtime", "Handler", "ZipFile"))
_OFTEN = st.sampled_from([True] * 19 + [False])
_SOMETIMES = st.sampled_from([False, False, True])
_SELDOM: st.SearchStrategy[bool] = st.sampled_from([False] * 30 + [True])
SERVED = {
    "Invoke": frozenset({"Qualifier", "InvocationType", "LogType", "ClientContext"}),
    "InvokeAsync": frozenset({"InvokeArgs"}),
    **{
        name: frozenset(member.partition(".")[0] for member in row.members)
        for name, row in OPERATIONS.items()
    },
}
"""Members that the server acts on, by operation: given more often, so that some requests succeed."""


def operations() -> list[str]:
    """Return the names of all operations of the model."""
    return sorted(MODEL["operations"])


@st.composite
def requests(draw: st.DrawFn, operation: str) -> Drawn:
    """Draw a request to an operation: all members right, one or another wrong, or any of them anything."""
    described = MODEL["operations"][operation]
    path, _, fixed_query = described["http"]["requestUri"].partition("?")
    name = described.get("input", {}).get("shape")
    shape = SHAPES[name] if name else {}
    required, payload = shape.get("required", ()), shape.get("payload")
    ways = draw(st.sampled_from([(_right,), (*[_right] * 6, _any), (_any,)]))
    served = SERVED.get(operation, frozenset())
    query = parse_qsl(fixed_query, keep_blank_values=True)
    headers = draw(_HEADERS)
    members: dict[str, Any] = {}
    body = b""
    for member, facts in shape.get("members", {}).items():
        place, key = facts.get("location"), facts.get("locationName", member)
        is_given = (
            _OFTEN if member in required or member in _NEEDED else _SOMETIMES if member in served else _SELDOM
        )
        if place != "uri" and member != payload and not draw(is_given):
            continue
        if member == payload and SHAPES[facts["shape"]]["type"] == "blob":
            body = draw(st.sampled_from(_PAYLOADS) | st.binary(max_size=40))
            continue
        value = draw(draw(st.sampled_from(ways))(facts["shape"]))
        match place:
            case "uri":
                label = quote(_text(value), safe="", errors="surrogatepass")
                path = path.replace(f"{{{key}}}", label).replace(f"{{{key}+}}", label)
            case "querystring":
                values = value if isinstance(value, list) else [value]
                query += [(key, _text(item)) for item in values]
            case "header":
                headers[key] = _header_text(_text(value))
            case _:
                members[key] = value
    if not body and members:
        body = draw(_bodies(members.get(payload or "", members)))
    target = f"{path}?{urlencode(query, errors='surrogatepass')}" if query else path
    if operation == "DeleteFunction" and KEPT in target:
        target = target.replace(KEPT, PASSING[0])
    return Drawn(operation, described["http"]["method"], target, headers, body)


def _bodies(value: Any) -> st.SearchStrategy[bytes]:
    """Draw the bytes of a JSON body: nearly always the value's own."""
    text = json.dumps(value).encode()
    wrong = [
        text[:-1],
        text + b"x",
        b"\xef\xbb\xbf" + text,
        b"[" + text + b"]",
        b"",
        b"null",
        b"\xff",
        b"[" * 2000,
    ]
    return st.sampled_from([text] * 24 + wrong)


def _text(value: Any) -> str:
    """Return a value as a path, query or header shows it."""
    return value if isinstance(value, str) else json.dumps(value)


def _header_text(text: str) -> str:
    """Return a text that HTTP allows in a header's line; the wire's own tests send the others."""
    return re.sub(r"[\0\r\n]", "", text).encode("latin-1", "replace").decode("latin-1")


_CALLERS = ("111122223333", "any@eu-west-1", "any@..", "any@é", "any@a b", "a/b", "")
_HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "Content-Type": st.sampled_from(["application/json", "text/html", ""]),
        "X-Amzn-Trace-Id": st.sampled_from(["Root=1-5-6;Parent=7;Sampled=1", "Root=", ";;=", "é"]),
        "X-Amz-Client-Context": st.sampled_from(["e30=", "eyJjdXN0b20iOnsiYSI6MX19", "W10=", ""]),
        "x-amzn-RequestId": st.sampled_from(["3f2b1c9e-5a0e-4c55-9b1e-0d6a0c3e7f11", "7"]),
        "Authorization": st.sampled_from(["any", ACCOUNT, *_CALLERS]).map(
            lambda caller: (
                f"AWS4-HMAC-SHA256 Credential={caller.partition('@')[0]}/20261120/"
                f"{caller.partition('@')[2] or 'us-east-1'}/lambda/aws4_request, Signature=x"
            )
        ),
    },
)
