"""Invoke row by row: every table of docs/aws-behaviour.md about it, through boto3 and as plain HTTP.

Expected values stand beside the chapter that they come from. What a function of a real
project would do is in test_invoke.py, bytes of the connection in test_wire.py.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import io
import itertools
import json
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import pytest

from tests.integration.conftest import ROLE, RUNTIME, Functions, RunningServer

Deploy = Callable[..., str]

ACCOUNT = "000000000000"
REGION = "us-east-1"
ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function"
SYNC_BYTES = 6_291_456  # docs/aws-behaviour.md, invoke 1.1, "Limits"
TAIL_BYTES = 4_096  # docs/aws-behaviour.md, invoke 1.2

_HEADERS = {
    "InvocationType": "X-Amz-Invocation-Type",
    "LogType": "X-Amz-Log-Type",
    "ClientContext": "X-Amz-Client-Context",
    "DurableExecutionName": "X-Amz-Durable-Execution-Name",
    "TenantId": "X-Amz-Tenant-Id",
}


class Reply(NamedTuple):
    """What came back, however it was asked for; names of headers in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def request_id(self) -> str:
        return self.headers["x-amzn-requestid"]

    @property
    def error(self) -> tuple[int, str, Any]:
        """Status, code and body of a refusal."""
        return self.status, self.headers["x-amzn-errortype"], json.loads(self.body)

    @property
    def log(self) -> bytes:
        return base64.b64decode(self.headers["x-amz-log-result"])


Send = Callable[..., Reply]


def _through_http(server: RunningServer, headers: Mapping[str, str] | None = None, **members: Any) -> Reply:
    """Invoke without any client that checks or adds something; names and qualifiers may be encoded already."""
    label = quote(members["FunctionName"], safe="") if "FunctionName" in members else members["label"]
    query = (
        urlencode({"Qualifier": members["Qualifier"]}) if "Qualifier" in members else members.get("query", "")
    )
    target = f"/2015-03-31/functions/{label}/invocations?{query}".removesuffix("?")
    sent = {name: members[member] for member, name in _HEADERS.items() if member in members}
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    # A body that is too long is refused while it is still being sent.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.request("POST", target, members.get("Payload", b""), {**sent, **(headers or {})})
    with connection.getresponse() as response:
        named = [(name.lower(), value) for name, value in response.getheaders()]
        assert len(dict(named)) == len(named), named
        reply = Reply(response.status, dict(named), response.read())
    connection.close()
    return reply


def _through_boto3(server: RunningServer, headers: Mapping[str, str] | None = None, **members: Any) -> Reply:
    """Invoke as boto3 does once it is told not to check parameters itself."""
    client = server.client(parameter_validation=False)
    seen: dict[str, Any] = {}
    client.meta.events.register(
        "before-call.lambda", lambda params, **_: params["headers"].update(headers or {})
    )
    client.meta.events.register("before-parse.lambda", lambda response_dict, **_: seen.update(response_dict))
    try:
        body = client.invoke(**members)["Payload"].read()
    except client.exceptions.ClientError:
        body = seen["body"]
    return Reply(seen["status_code"], {name.lower(): value for name, value in seen["headers"].items()}, body)


@pytest.fixture(params=[_through_http, _through_boto3], ids=["http", "boto3"])
def send(request: pytest.FixtureRequest, server: RunningServer) -> Send:
    """Invoke on the shared server, in each of the two ways."""
    return partial(request.param, server)


@pytest.fixture
def http_send(server: RunningServer) -> Send:
    """Invoke on the shared server as no client would."""
    return partial(_through_http, server)


@pytest.fixture(scope="module")
def names(server: RunningServer) -> Iterator[dict[str, str]]:
    """Functions by what they do, made once for all rows."""
    client = server.client()
    functions = Functions(client)
    sources = {
        "echo": "import os\n"
        "def handler(event, context):\n"
        "    return {'event': event, 'arn': context.invoked_function_arn, 'id': context.aws_request_id,\n"
        "            'trace': os.environ['_X_AMZN_TRACE_ID'], 'version': context.function_version}",
        "value": "def handler(event, context): return eval(event)",
        "length": "def handler(event, context): return len(event)",
        "run": "import ctypes, os, sys, time\ndef handler(event, context): exec(event)",
    }
    made = {kind: functions(source, Timeout=2) for kind, source in sources.items()}
    made["failed"] = f"{made['echo']}-failed"
    _create_damaged(client, made["failed"])
    yield made
    for name in made.values():
        client.delete_function(FunctionName=name)


def _create_damaged(client: Any, name: str) -> None:
    """Create a function whose package cannot be unpacked, which only shows while it is."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("index.py", "handler = print  # as it was packed")
    damaged = packed.getvalue().replace(b"as it was packed", b"as it is by now.")
    client.create_function(
        FunctionName=name, Runtime=RUNTIME, Role=ROLE, Handler="index.handler", Code={"ZipFile": damaged}
    )
    while client.get_function(FunctionName=name)["Configuration"]["State"] == "Pending":
        continue


# ---------------------------------------------------------------------------- invoke 1.1: names

# docs/aws-behaviour.md, invoke 1.1, "Name forms": as AWS prints them.
NAME_RULE = (
    r"Member must satisfy regular expression pattern: (arn:(aws[a-zA-Z-]*)?:lambda:)?"
    r"((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?"
    r"([a-zA-Z0-9-_\.]+)(:(\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9-_]+))?"
)
QUALIFIER_RULE = r"Member must satisfy regular expression pattern: \$(LATEST(\.PUBLISHED)?)|[a-zA-Z0-9-_$]+"


def _told(*problems: tuple[str, str, str]) -> tuple[int, str, dict[str, str]]:
    """Return the refusal of (value, member, rule), by docs/aws-behaviour.md, invoke 1.1 and functions 7.18 a."""
    sentences = [
        f"Value '{value}' at '{member}' failed to satisfy constraint: {rule}"
        for value, member, rule in problems
    ]
    plural = "s" if len(problems) > 1 else ""
    text = f"{len(problems)} validation error{plural} detected: {'; '.join(sentences)}"
    return 400, "ValidationException", {"message": text}


def _absent(arn: str) -> tuple[int, str, dict[str, str]]:
    # docs/aws-behaviour.md, invoke 1.4, "Catalogue".
    return 404, "ResourceNotFoundException", {"Type": "User", "Message": f"Function not found: {arn}"}


@pytest.mark.parametrize(
    "name",
    [
        "my-function!",
        "*",
        "arn:aws:lambda:::function:f",
        f"arn:aws:lambda::{ACCOUNT}:function:f",
        f"arn:aws:lambda:{REGION}::function:f",
        f"arn:aws:iam:{REGION}:{ACCOUNT}:function:f",
        f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:f:1",
        f"{ARN}:f:1:2",
        f"{ARN}:f:$LATES",
        "function:f:$LATEST:extra",
        f"arn:aws:lambda:nowhere:{ACCOUNT}:function:f",
        "invalid-account:function:f",
        f"arn:aws:lambda:{REGION}:invalid-account:function:f",
        "a b",
        "a/b",
        "é",
        "f\n",
    ],
)
def test_a_malformed_name_is_told_with_the_pattern(send: Send, name: str) -> None:
    assert send(FunctionName=name).error == _told((name, "functionName", NAME_RULE))


def test_an_empty_name_breaks_two_rules(http_send: Send) -> None:
    length = "Member must have length greater than or equal to 1"
    assert http_send(FunctionName="").error == _told(
        ("", "functionName", length), ("", "functionName", NAME_RULE)
    )


def test_a_name_of_256_characters_is_looked_for_and_a_longer_one_is_refused(send: Send) -> None:
    # docs/aws-behaviour.md, invoke 1.1: 1 to 256 for the whole parameter; 64 is CreateFunction's.
    for length in (65, 140, 141, 256):
        assert send(FunctionName="a" * length).error == _absent(f"{ARN}:{'a' * length}:$LATEST")
    rule = "Member must have length less than or equal to 256"
    assert send(FunctionName="a" * 257).error == _told(("a" * 257, "functionName", rule))


@pytest.mark.parametrize(
    ("qualifier", "rule"),
    [
        ("invalid!", QUALIFIER_RULE),
        ("a.b", QUALIFIER_RULE),
        ("a" * 129, "Member must have length less than or equal to 128"),
    ],
)
def test_a_malformed_qualifier_is_told_with_its_rule(send: Send, qualifier: str, rule: str) -> None:
    assert send(FunctionName="f", Qualifier=qualifier).error == _told((qualifier, "qualifier", rule))


def test_of_two_malformed_members_the_qualifier_is_told_first(send: Send) -> None:
    assert send(FunctionName="f!", Qualifier="q!").error == _told(
        ("q!", "qualifier", QUALIFIER_RULE), ("f!", "functionName", NAME_RULE)
    )


@pytest.mark.parametrize(
    ("member", "value", "rule"),
    [
        ("InvocationType", "Sync", "Member must satisfy enum value set: ["),
        ("InvocationType", "dryrun", "Member must satisfy enum value set: ["),
        ("LogType", "Head", "Member must satisfy enum value set: ["),
        ("TenantId", "a!", r"Member must satisfy regular expression pattern: [a-zA-Z0-9\._:\/=+\-@ ]+"),
        ("TenantId", "a" * 257, "Member must have length less than or equal to 256"),
        ("DurableExecutionName", "a!", "Member must satisfy regular expression pattern: [a-zA-Z0-9-_]+"),
        ("DurableExecutionName", "a" * 65, "Member must have length less than or equal to 64"),
    ],
)
def test_a_malformed_header_is_told_in_the_same_grammar(
    send: Send, member: str, value: str, rule: str
) -> None:
    status, code, body = send(FunctionName="f", **{member: value}).error
    assert (status, code) == (400, "ValidationException")
    printed = member[0].lower() + member[1:]
    assert body["message"].startswith(
        f"1 validation error detected: Value '{value}' at '{printed}' failed to satisfy constraint: {rule}"
    )


def test_all_problems_of_one_request_are_told_at_once(send: Send) -> None:
    _, _, body = send(FunctionName="f!", Qualifier="q!", InvocationType="i", LogType="l").error
    assert body["message"].startswith("4 validation errors detected: ")
    assert re.findall(r"Value '(.+?)' at '(\w+)'", body["message"]) == [
        ("q!", "qualifier"),
        ("f!", "functionName"),
        ("i", "invocationType"),
        ("l", "logType"),
    ]


@pytest.mark.parametrize(
    ("form", "invoked"),
    [
        ("{name}", "{arn}:{name}"),
        ("function:{name}", "{arn}:{name}"),
        (f"{ACCOUNT}:{{name}}", "{arn}:{name}"),
        (f"{ACCOUNT}:function:{{name}}", "{arn}:{name}"),
        (f"{REGION}:{ACCOUNT}:function:{{name}}", "{arn}:{name}"),
        ("{arn}:{name}", "{arn}:{name}"),
        ("{name}:$LATEST", "{arn}:{name}:$LATEST"),
        ("function:{name}:$LATEST", "{arn}:{name}:$LATEST"),
        ("{arn}:{name}:$LATEST", "{arn}:{name}:$LATEST"),
    ],
)
def test_a_function_sees_the_arn_that_it_was_called_by(
    send: Send, names: dict[str, str], form: str, invoked: str
) -> None:
    # docs/aws-behaviour.md, invoke 1.1, "Name forms", and 1.2: with :$LATEST only when it was asked for.
    parts = {"name": names["echo"], "arn": ARN}
    given, invoked = form.format(**parts), invoked.format(**parts)
    result = json.loads(send(FunctionName=given).body)
    assert (result["arn"], result["version"]) == (invoked, "$LATEST")
    asked = json.loads(send(FunctionName=given, Qualifier="$LATEST").body)
    assert asked["arn"] == f"{ARN}:{names['echo']}:$LATEST"


@pytest.mark.parametrize(
    ("label", "query"),
    [
        ("{arn}:{name}:$LATEST", ""),
        ("{arn}:{name}", "Qualifier=$LATEST"),
        ("{name}", "Qualifier=%24LATEST"),
        ("{name}%3a%24LATEST", "Qualifier=%24LATEST&other=1"),
        ("arn%3Aaws%3Alambda:us-east-1:000000000000%3Afunction%3A{name}", "Qualifier=$LATEST&Qualifier=7"),
    ],
)
def test_names_and_qualifiers_are_the_same_encoded_and_raw(
    http_send: Send, names: dict[str, str], label: str, query: str
) -> None:
    # docs/aws-behaviour.md, invoke 1.1 and clients 1.
    reply = http_send(label=label.format(arn=ARN, name=names["echo"]), query=query)
    assert json.loads(reply.body)["arn"] == f"{ARN}:{names['echo']}:$LATEST"


@pytest.mark.parametrize(("label", "name"), [("f%253A1", "f%3A1"), ("f%2F1", "f/1"), ("%FF", "\ufffd")])
def test_names_are_decoded_once(http_send: Send, label: str, name: str) -> None:
    assert http_send(label=label).error == _told((name, "functionName", NAME_RULE))


@pytest.mark.parametrize(
    ("members", "arn"),
    [
        ({"FunctionName": "absent"}, f"{ARN}:absent:$LATEST"),
        ({"FunctionName": "absent:$LATEST"}, f"{ARN}:absent:$LATEST"),
        ({"FunctionName": "absent:7"}, f"{ARN}:absent:7"),
        ({"FunctionName": "absent", "Qualifier": "live"}, f"{ARN}:absent:live"),
        ({"FunctionName": "absent:live", "Qualifier": "live"}, f"{ARN}:absent:live"),
        ({"FunctionName": "my.function"}, f"{ARN}:my.function:$LATEST"),
        # docs/aws-behaviour.md, invoke 1.1: nothing follows, so the name is "function".
        ({"FunctionName": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function"}, f"{ARN}:function:$LATEST"),
        # docs/aws-behaviour.md, invoke 1.1: in lower case it is the name of an alias.
        ({"FunctionName": "my-function", "Qualifier": "$latest"}, f"{ARN}:my-function:$latest"),
        ({"FunctionName": "f", "Qualifier": "a" * 128}, f"{ARN}:f:{'a' * 128}"),
    ],
)
def test_what_is_not_there_is_told_by_its_arn(send: Send, members: dict[str, str], arn: str) -> None:
    assert send(**members).error == _absent(arn)
    assert send(**members, InvocationType="DryRun").error == _absent(arn)


@pytest.mark.parametrize("qualifier", ["7", "live", "$latest", "$LATEST.PUBLISHED"])
def test_a_version_or_alias_that_an_existing_function_lacks_is_not_found(
    send: Send, names: dict[str, str], qualifier: str
) -> None:
    name = names["echo"]
    assert send(FunctionName=name, Qualifier=qualifier).error == _absent(f"{ARN}:{name}:{qualifier}")


# ---------------------------------------------------------------------------- invoke 1.1: payload


@pytest.mark.parametrize(
    "payload", [b"3", b'"x"', b"null", b"[]", b' {"a" : 1e5}\n', b'"\xc3\xa9\\ud83d\\ude00"']
)
def test_any_json_value_is_an_event(send: Send, names: dict[str, str], payload: bytes) -> None:
    assert json.loads(send(FunctionName=names["echo"], Payload=payload).body)["event"] == json.loads(payload)


def test_no_payload_is_an_empty_object(send: Send, names: dict[str, str]) -> None:
    assert json.loads(send(FunctionName=names["echo"]).body)["event"] == {}
    assert json.loads(send(FunctionName=names["echo"], Payload=b"").body)["event"] == {}


def test_an_event_of_just_six_mebibytes_passes_and_one_byte_more_is_refused(
    send: Send, names: dict[str, str]
) -> None:
    fitting = b'"' + b"x" * (SYNC_BYTES - 2) + b'"'
    assert send(FunctionName=names["length"], Payload=fitting).body == b"%d" % (SYNC_BYTES - 2)
    _check_wrong(send(FunctionName=names["echo"], Payload=fitting + b" "), "too large")


# ---------------------------------------------------------------------------- invoke 1.2

# docs/aws-behaviour.md, invoke 1.2: the header set of a real 200.
ALWAYS = {
    "date": r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT",
    "content-type": r"application/json",
    "content-length": r"\d+",
    "connection": r"keep-alive",
    "x-amzn-requestid": r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}",
    "x-amzn-remapped-content-length": r"0",
    "x-amz-executed-version": r"\$LATEST",
    "x-amzn-trace-id": r"(?i)root=1-[0-9a-f]{8}-[0-9a-f]{24};sampled=0;lineage=1:[0-9a-f]{8}:0",
}
FAILED = {"x-amz-function-error": "Unhandled"}
TAIL = {"x-amz-log-result": r"[A-Za-z0-9+/]+=*"}


@pytest.mark.parametrize(
    ("event", "members", "more"),
    [
        ("pass", {}, {}),
        ("pass", {"LogType": "None", "InvocationType": "RequestResponse"}, {}),
        ("pass", {"LogType": "Tail"}, TAIL),
        ("1/0", {}, FAILED),
        ("os._exit(1)", {"LogType": "Tail"}, FAILED | TAIL),
    ],
)
def test_an_answer_has_exactly_these_headers(
    send: Send, names: dict[str, str], event: str, members: dict[str, str], more: dict[str, str]
) -> None:
    reply = send(FunctionName=names["run"], Payload=json.dumps(event).encode(), **members)
    expected = ALWAYS | more
    assert reply.status == 200
    assert set(reply.headers) == set(expected)
    for name, pattern in expected.items():
        assert re.fullmatch(pattern, reply.headers[name]), (name, reply.headers[name])
    assert int(reply.headers["content-length"]) == len(reply.body)


@pytest.mark.parametrize("members", [{}, {"LogType": "Tail"}, {"Payload": b"[1]"}])
def test_a_dry_run_answers_with_nothing_of_a_run(
    send: Send, names: dict[str, str], members: dict[str, Any]
) -> None:
    reply = send(FunctionName=names["run"], InvocationType="DryRun", **members)
    assert (reply.status, reply.body) == (204, b"")
    assert set(reply.headers) == {"date", "connection", "x-amzn-requestid"}


@pytest.mark.parametrize(
    ("source", "body", "content_type"),
    [
        ("None", b"null", "application/json"),
        ("{'a': [1, 2.0, 'b']}", b'{"a": [1, 2.0, "b"]}', "application/json"),
        ("'text'", b'"text"', "application/json"),
        ("b'\\x00\\xff text'", b"\x00\xff text", "application/unknown"),
        ("b''", b"", "application/unknown"),
    ],
)
def test_the_functions_bytes_come_untouched_with_the_type_that_the_runtime_gave(
    send: Send, names: dict[str, str], source: str, body: bytes, content_type: str
) -> None:
    reply = send(FunctionName=names["value"], Payload=json.dumps(source).encode())
    assert (reply.body, reply.headers["content-type"]) == (body, content_type)
    assert "x-amz-function-error" not in reply.headers


@pytest.mark.parametrize(
    ("received", "kept"),
    [
        (None, r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};Sampled=0"),
        ("Root=1-5759e988-bd862e3fe1be46a994272793", "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0"),
        ("root=1-5759e988-bd862e3fe1be46a994272793;parent=53995c3f42cd8ad8;sampled=1",
         "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"),
        # What a function's own SDK forwards, lineage included.
        ("Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0;Lineage=1:aaaaaaaa:0",
         r"Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0;Lineage=1:aaaaaaaa:0\|"),
        ("nonsense", r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};Sampled=0"),
    ],
)  # fmt: skip
def test_the_trace_header_goes_on_to_the_function_and_back(
    send: Send, names: dict[str, str], received: str | None, kept: str
) -> None:
    # docs/aws-behaviour.md, invoke 1.2 and execution 4.10.
    reply = send({"X-Amzn-Trace-Id": received} if received else {}, FunctionName=names["echo"])
    own = ("" if kept.endswith("|") else ";Lineage=") + r"1:[0-9a-f]{8}:0"
    assert re.fullmatch(kept + own, reply.headers["x-amzn-trace-id"])
    assert json.loads(reply.body)["trace"] == reply.headers["x-amzn-trace-id"]


def test_the_request_id_is_ours_whatever_the_caller_sends(send: Send, names: dict[str, str]) -> None:
    # docs/aws-behaviour.md, invoke 1.10.
    sent = "3F2B1C9E-5a0e-4c55-9b1e-0d6a0c3e7f11"
    reply = send({"x-amzn-RequestId": sent}, FunctionName=names["echo"], LogType="Tail")
    assert reply.request_id != sent.lower()
    assert json.loads(reply.body)["id"] == reply.request_id
    assert reply.log.startswith(f"START RequestId: {reply.request_id} Version: $LATEST\n".encode())


# ---------------------------------------------------------------------------- invoke 1.2: log tail

REPORT = re.compile(
    rb"END RequestId: (?P<id>[0-9a-f-]{36})\nREPORT RequestId: (?P=id)\tDuration: [^\n]+\t[^\n]*\n$"
)


def _whole_log(reply: Reply, output: bytes) -> bytes:
    """Return START line, output, and the end as the tail has it."""
    end = REPORT.search(reply.log)
    assert end is not None
    return f"START RequestId: {reply.request_id} Version: $LATEST\n".encode() + output + end[0]


@pytest.mark.parametrize(
    ("end", "shift"),
    # Shifted by a byte each, so that the cut falls on every byte of a character.
    [
        *itertools.product(["pass", "os._exit(1)", "os.kill(os.getpid(), 9)"], range(3)),
        ("time.sleep(60)", 1),
    ],
)
def test_the_tail_is_the_last_4096_bytes_also_within_a_character(
    http_send: Send, names: dict[str, str], end: str, shift: int
) -> None:
    source = f"print('€' * 3000 + 'x' * {shift}); sys.stdout.flush(); {end}"
    reply = http_send(FunctionName=names["run"], LogType="Tail", Payload=json.dumps(source).encode())
    assert reply.log == _whole_log(reply, ("€" * 3000 + "x" * shift + "\n").encode())[-TAIL_BYTES:]


@pytest.mark.parametrize("size", [0, 1, TAIL_BYTES, 300_000, 5_000_000])
def test_the_tail_is_the_whole_log_or_its_last_4096_bytes(
    http_send: Send, names: dict[str, str], size: int
) -> None:
    source = f"for _ in range({size // 100}): print('y' * 99)\nprint('x' * {size % 100})"
    reply = http_send(FunctionName=names["run"], LogType="Tail", Payload=json.dumps(source).encode())
    output = (b"y" * 99 + b"\n") * (size // 100) + b"x" * (size % 100) + b"\n"
    assert reply.log == _whole_log(reply, output)[-TAIL_BYTES:]


@pytest.mark.parametrize("end", ["return 1", "1/0", "import os; os._exit(1)", "import time; time.sleep(60)"])
def test_the_tail_of_a_cold_start_begins_with_start(http_send: Send, deploy: Deploy, end: str) -> None:
    name = deploy(
        f"print('module')\ndef handler(event, context):\n    print('handler', flush=True); {end}", Timeout=1
    )
    log = http_send(FunctionName=name, LogType="Tail").log
    assert re.match(rb"START RequestId: \S+ Version: \$LATEST\nhandler\n", log)
    assert b"INIT_START" not in log
    assert b"module" not in log
    assert REPORT.search(log)


# ---------------------------------------------------------------------------- invoke 1.3

CRASHES = [
    ("os._exit(0)", "Runtime exited without providing a reason"),
    ("sys.exit()", "Runtime exited without providing a reason"),
    ("os._exit(127)", "Runtime exited with error: exit status 127"),
    ("sys.exit(3)", "Runtime exited with error: exit status 3"),
    ("os.kill(os.getpid(), 9)", "Runtime exited with error: signal: killed"),
    ("os.kill(os.getpid(), 6)", "Runtime exited with error: signal: aborted"),
    ("os.kill(os.getpid(), 15)", "Runtime exited with error: signal: terminated"),
    ("ctypes.string_at(0)", "Runtime exited with error: signal: segmentation fault"),
]


@pytest.mark.parametrize(("event", "reason"), CRASHES)
def test_a_process_that_ends_is_told_in_these_bytes(
    send: Send, names: dict[str, str], event: str, reason: str
) -> None:
    reply = send(FunctionName=names["run"], Payload=json.dumps(event).encode())
    assert reply.status == 200
    assert reply.body.decode() == (
        f'{{"errorType":"Runtime.ExitError","errorMessage":"RequestId: {reply.request_id} Error: {reason}"}}'
    )


@pytest.mark.parametrize(("timeout_s", "printed"), [(1, "1.00"), (2, "2.00")])
def test_a_timeout_is_told_in_these_bytes(
    http_send: Send, deploy: Deploy, timeout_s: int, printed: str
) -> None:
    name = deploy("import time\ndef handler(event, context): time.sleep(60)", Timeout=timeout_s)
    reply = http_send(FunctionName=name)
    assert (reply.status, reply.headers["x-amz-function-error"]) == (200, "Unhandled")
    assert reply.body.decode() == (
        '{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: '
        f'{reply.request_id} Error: Task timed out after {printed} seconds"}}'
    )


OWN_PROCESS = b"\"__import__('os').getpid()\""


@pytest.mark.parametrize("source", ["'x' * 6291555", "b'x' * 6291557"])
def test_a_result_that_is_too_large_is_told_in_these_bytes_and_the_environment_stays(
    http_send: Send, names: dict[str, str], source: str
) -> None:
    process = http_send(FunctionName=names["value"], Payload=OWN_PROCESS).body
    reply = http_send(FunctionName=names["value"], Payload=json.dumps(source).encode())
    assert http_send(FunctionName=names["value"], Payload=OWN_PROCESS).body == process
    assert (reply.status, reply.headers["x-amz-function-error"]) == (200, "Unhandled")
    assert reply.body == (
        b'{"errorMessage":"Response payload size exceeded maximum allowed payload size (6291556 bytes).",'
        b'"errorType":"Function.ResponseSizeTooLarge"}'
    )


@pytest.mark.parametrize("source", ["'x' * 6291554", "b'x' * 6291556"])
def test_a_result_of_just_six_mebibytes_and_a_hundred_bytes_passes(
    http_send: Send, names: dict[str, str], source: str
) -> None:
    reply = http_send(FunctionName=names["value"], Payload=json.dumps(source).encode())
    assert (reply.status, len(reply.body)) == (200, 6_291_556)
    assert "x-amz-function-error" not in reply.headers


# Source of the module, handler, body; <id> is the request's. docs/aws-behaviour.md, invoke 1.3.
FAULTS = {
    "exception": (
        "def handler(event, context):\n    raise ValueError('no \"luck\"')\n",
        "index.handler",
        (
            r'{"errorMessage": "no \"luck\"", "errorType": "ValueError", "requestId": "<id>", "stackTrace": '
            r'["  File \"/var/task/index.py\", line 2, in handler\n    raise ValueError('
            r"""'no \"luck\"')\n"]}"""
        ),
    ),
    "exception without a text": (
        "class Mine(Exception): pass\ndef handler(event, context): raise Mine\n",
        "index.handler",
        (
            r'{"errorMessage": "", "errorType": "Mine", "requestId": "<id>", "stackTrace": '
            r'["  File \"/var/task/index.py\", line 2, in handler\n    def handler(event, context): raise Mine\n"]}'
        ),
    ),
    "frames of the function alone": (
        "def inner():\n    raise KeyError(1)\ndef handler(event, context):\n    inner()\n",
        "index.handler",
        (
            r'{"errorMessage": "1", "errorType": "KeyError", "requestId": "<id>", "stackTrace": '
            r'["  File \"/var/task/index.py\", line 4, in handler\n    inner()\n", '
            r'"  File \"/var/task/index.py\", line 2, in inner\n    raise KeyError(1)\n"]}'
        ),
    ),
    "module that is not there": (
        "import nothere",
        "index.handler",
        (
            "{\"errorMessage\": \"Unable to import module 'index': No module named 'nothere'\", "
            '"errorType": "Runtime.ImportModuleError", "requestId": "", "stackTrace": []}'
        ),
    ),
    "file that is not there": (
        "",
        "other.handler",
        (
            "{\"errorMessage\": \"Unable to import module 'other': No module named 'other'\", "
            '"errorType": "Runtime.ImportModuleError", "requestId": "", "stackTrace": []}'
        ),
    ),
    "handler that is not there": (
        "",
        "index.handler",
        (
            "{\"errorMessage\": \"Handler 'handler' missing on module 'index'\", "
            '"errorType": "Runtime.HandlerNotFound", "requestId": "", "stackTrace": []}'
        ),
    ),
    "handler without a dot": (
        "",
        "nodot",
        (
            '{"errorMessage": "Bad handler \'nodot\': not enough values to unpack (expected 2, got 1)", '
            '"errorType": "Runtime.MalformedHandlerName", "requestId": "", "stackTrace": []}'
        ),
    ),
    "syntax error": (
        "x = 1\nreturn 2\n",
        "index.handler",
        (
            "{\"errorMessage\": \"Syntax error in module 'index': 'return' outside function (index.py, line 2)\", "
            '"errorType": "Runtime.UserCodeSyntaxError", "requestId": "", '
            r'"stackTrace": ["  File \"/var/task/index.py\" Line 2\n    return 2\n"]}'
        ),
    ),
    "name of a built-in module": (
        "",
        "sys.handler",
        (
            '{"errorMessage": "Cannot use built-in module sys as a handler module", '
            '"errorType": "Runtime.BuiltInModuleConflict", "requestId": "", "stackTrace": []}'
        ),
    ),
    "result that is no JSON": (
        "def handler(event, context): return {1, 2}",
        "index.handler",
        (
            '{"errorMessage": "Unable to marshal response: Object of type set is not JSON serializable", '
            '"errorType": "Runtime.MarshalError", "requestId": "<id>", "stackTrace": []}'
        ),
    ),
}


@pytest.mark.parametrize(("source", "handler", "body"), FAULTS.values(), ids=FAULTS)
def test_a_fault_of_the_code_is_told_in_these_bytes_each_time(
    server: RunningServer, deploy: Deploy, source: str, handler: str, body: str
) -> None:
    name = deploy(source, handler=handler)
    for send in (_through_http, _through_boto3):
        reply = send(server, FunctionName=name)
        assert (reply.status, reply.headers["x-amz-function-error"]) == (200, "Unhandled")
        assert reply.headers["content-type"] == "application/json"
        assert reply.body.decode() == body.replace("<id>", reply.request_id)


def test_an_exception_while_importing_has_no_request_id_and_keeps_importlibs_frames(
    http_send: Send, deploy: Deploy
) -> None:
    body = http_send(FunctionName=deploy("def f():\n    1/0\nf()\n")).body.decode()
    assert body.startswith(
        '{"errorMessage": "division by zero", "errorType": "ZeroDivisionError", "requestId": "", "stackTrace": ["'
    )
    trace = json.loads(body)["stackTrace"]
    assert "importlib" in trace[0]
    assert trace[-2].startswith('  File "/var/task/index.py", line 3, in <module>\n    f()\n')
    assert trace[-1].startswith('  File "/var/task/index.py", line 2, in f\n    1/0\n')


def test_an_event_that_the_runtime_cannot_read_is_the_functions_error(
    http_send: Send, names: dict[str, str]
) -> None:
    # JSON has no bound for numbers, Python's reader has one.
    reply = http_send(FunctionName=names["echo"], Payload=b"9" * 5000)
    error = json.loads(reply.body)
    assert (reply.status, error["errorType"]) == (200, "Runtime.UnmarshalError")
    assert error["errorMessage"].startswith("Unable to unmarshal input: ")
    assert (error["requestId"], error["stackTrace"]) == (reply.request_id, [])


# ---------------------------------------------------------------------------- invoke 1.4

JSON_PREFIX = "Could not parse request body into json: Could not parse payload into json: "
MISMATCH = "The derived qualifier from the function name does not match the specified qualifier."
CONTEXT = "Client context must be a valid Base64-encoded JSON object."


@pytest.mark.parametrize("invocation_type", ["RequestResponse", "DryRun"])
@pytest.mark.parametrize(
    ("payload", "line", "column"),
    [
        (b"{", 1, 2),
        (b'{"a":1} x', 1, 9),
        (b"key=value", 1, 1),
        (b"\x99\xeb\xde", 1, 1),  # what AWS CLI v2 makes of --payload '{"key": …}'
        (b'{"\x87', 1, 3),
        (b'{"a":\n NaN}', 2, 2),
        (b"\xef\xbb\xbf{}", 1, 1),
        (b'"\\ud800"', 1, None),
    ],
)
def test_a_payload_that_is_no_json_is_told_with_its_place(
    send: Send, names: dict[str, str], payload: bytes, line: int, column: int | None, invocation_type: str
) -> None:
    reply = send(FunctionName=names["echo"], Payload=payload, InvocationType=invocation_type)
    status, code, body = reply.error
    assert (status, code, body["Type"]) == (400, "InvalidRequestContentException", "User")
    assert set(body) == {"Type", "message"}
    assert body["message"].startswith(JSON_PREFIX)
    first, _, place = body["message"].partition("\n")
    assert len(first) > len(JSON_PREFIX)
    assert re.fullmatch(
        r" at \[Source: REDACTED \(`StreamReadFeature\.INCLUDE_SOURCE_IN_LOCATION` disabled\); "
        rf"line: {line}, column: {column or '[0-9]+'}\]",
        place,
    )


def _refused(status: int, code: str, message: str) -> tuple[int, str, dict[str, str]]:
    return status, code, {"Type": "User", "message": message}


@pytest.mark.parametrize(
    "context",
    [
        "!",
        "{}",
        "e30*",
        "e30===",
        "W10=",
        "bnVsbA==",
        "Mw==",
        "eyJhIjpOYU59",
        "/w==",
        "",
        "eyJhIjoiXHVkODAwIn0=",
    ],
    ids=[
        "no base64",
        "plain JSON",
        "foreign letter",
        "padding",
        "[]",
        "null",
        "3",
        "NaN",
        "no UTF-8",
        "empty",
        "surrogate",
    ],
)
def test_a_client_context_that_is_no_base64_of_an_object_is_refused(
    send: Send, names: dict[str, str], context: str
) -> None:
    expected = _refused(400, "InvalidRequestContentException", CONTEXT)
    assert send(FunctionName=names["echo"], ClientContext=context).error == expected
    assert send(FunctionName=names["echo"], ClientContext=context, InvocationType="DryRun").error == expected


def test_a_client_context_over_3583_bytes_is_refused_by_its_length(send: Send, names: dict[str, str]) -> None:
    # docs/aws-behaviour.md, invoke 1.10.
    assert send(FunctionName=names["echo"], ClientContext="e30" + "=" * 3580).error[2]["message"] == CONTEXT
    assert send(FunctionName=names["echo"], ClientContext="e30" + "=" * 3581).error == _refused(
        400,
        "InvalidRequestContentException",
        "Client context must be at most 3583 bytes of Base64-encoded data.",
    )


# Wrong in one way each, in the order in which they are checked: docs/aws-behaviour.md, invoke 1.4.
WRONG: dict[str, tuple[int, str, str | dict[str, Any] | None]] = {
    "too large": (413, "RequestEntityTooLargeException",
                  {"message": "Request must be smaller than 6291456 bytes for the InvokeFunction operation"}),
    "log type": (400, "ValidationException", None),
    "mismatch": (400, "InvalidParameterValueException", {"Type": "User", "message": MISMATCH}),
    "region": (404, "ResourceNotFoundException",
               {"Type": "User",
                "Message": f"Functions from 'eu-west-1' are not reachable in this region ('{REGION}')"}),
    "not served": (400, "InvalidParameterValueException",
                   {"Type": "User", "message": "TenantId is not served by this version of Lambent."}),
    "account": (403, "AccessDeniedException", None),
    "absent": (404, "ResourceNotFoundException", None),
    "failed": (409, "ResourceConflictException",
               {"Type": "User", "message": "The operation cannot be performed at this time. "
                "The function is currently in the following state: Failed"}),
    "request id": (400, "InvalidRequestContentException",
                   {"Type": "User", "message": "Request id must be a valid UUID."}),
    "client context": (400, "InvalidRequestContentException", {"Type": "User", "message": CONTEXT}),
    "payload": (400, "InvalidRequestContentException", None),
}  # fmt: skip


def _wrong_in(wrong: set[str], names: dict[str, str]) -> tuple[dict[str, str], dict[str, Any]]:
    """Return headers and members of a request that is wrong in these ways."""
    region = "eu-west-1" if "region" in wrong else REGION
    account = "111122223333" if "account" in wrong else ACCOUNT
    name = "absent" if "absent" in wrong else names["failed" if "failed" in wrong else "echo"]
    members: dict[str, Any] = {"FunctionName": f"arn:aws:lambda:{region}:{account}:function:{name}"}
    if "mismatch" in wrong:
        members |= {"FunctionName": members["FunctionName"] + ":$LATEST", "Qualifier": "1"}
    if "log type" in wrong:
        members["LogType"] = "Head"
    if "not served" in wrong:
        members["TenantId"] = "tenant"
    if "client context" in wrong:
        members["ClientContext"] = "no!"
    members["Payload"] = b"{" if "payload" in wrong else b"{}"
    if "too large" in wrong:
        members["Payload"] = members["Payload"].ljust(SYNC_BYTES + 1)
    return {"x-amzn-RequestId": "7"} if "request id" in wrong else {}, members


def _check_wrong(reply: Reply, way: str) -> None:
    status, code, body = WRONG[way]
    assert reply.error[:2] == (status, code)
    if body is not None:
        assert reply.error[2] == body


@pytest.mark.parametrize("way", WRONG)
def test_a_request_that_is_wrong_in_one_way_is_refused(send: Send, names: dict[str, str], way: str) -> None:
    headers, members = _wrong_in({way}, names)
    _check_wrong(send(headers, **members), way)


@pytest.mark.parametrize(
    ("first", "second"),
    [pair for pair in itertools.combinations(WRONG, 2) if pair != ("absent", "failed")],
    ids=lambda way: way.replace(" ", "-"),
)
def test_of_two_ways_to_be_wrong_the_earlier_one_is_told(
    http_send: Send, names: dict[str, str], first: str, second: str
) -> None:
    headers, members = _wrong_in({first, second}, names)
    _check_wrong(http_send(headers, **members), first)
    if first != "too large":
        _check_wrong(http_send(headers, **members, InvocationType="DryRun"), first)


def test_a_function_of_another_account_is_denied_with_the_text_of_policies(send: Send) -> None:
    # docs/aws-behaviour.md, versions-permissions 5.6.
    arn = f"arn:aws:lambda:{REGION}:111122223333:function:f"
    assert send(FunctionName=arn).error == (
        403,
        "AccessDeniedException",
        {
            "Message": f"User: arn:aws:iam::{ACCOUNT}:root is not authorized to perform: lambda:InvokeFunction on "
            f"resource: {arn} because no resource-based policy allows the lambda:InvokeFunction action"
        },
    )


# ---------------------------------------------------------------------------- invoke 1.7


@pytest.mark.parametrize(
    "end",
    ["1/0", "os._exit(1)", "os.kill(os.getpid(), 9)", "return {1}", "time.sleep(60)", "raise SystemExit(1)"],
)
def test_no_client_repeats_what_a_function_did_wrong(
    server: RunningServer, deploy: Deploy, tmp_path: Path, end: str
) -> None:
    runs = tmp_path / "runs"
    name = deploy(
        f"import os, time\ndef handler(event, context):\n    open({str(runs)!r}, 'a').write('x'); {end}",
        Timeout=1,
    )
    client = server.client(retries={"mode": "standard"})
    assert client.invoke(FunctionName=name)["FunctionError"] == "Unhandled"
    assert runs.read_text() == "x"


def test_a_refusal_because_of_the_state_is_not_repeated(server: RunningServer, names: dict[str, str]) -> None:
    client = server.client(retries={"mode": "standard"})
    with pytest.raises(client.exceptions.ResourceConflictException) as caught:
        client.invoke(FunctionName=names["failed"])
    assert caught.value.response["ResponseMetadata"]["RetryAttempts"] == 0


def test_a_slash_at_the_end_of_the_path_is_ignored(server: RunningServer, deploy: Deploy) -> None:
    # docs/aws-behaviour.md, functions 7.1
    name = deploy("def handler(event, context):\n    return event\n")
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("POST", f"/2015-03-31/functions/{name}/invocations/", b"[1]")
    with connection.getresponse() as response:
        assert (response.status, response.read()) == (200, b"[1]")
    connection.close()
