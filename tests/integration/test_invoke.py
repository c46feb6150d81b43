"""Invoke through boto3: what a caller of a real function sees."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import botocore.exceptions
import pytest

Deploy = Callable[..., str]

ECHO = """
def handler(event, context):
    return {"event": event, "id": context.aws_request_id, "arn": context.invoked_function_arn,
            "version": context.function_version}
"""


def _invoke(client: Any, name: str, payload: object = None, **options: Any) -> tuple[dict[str, Any], Any]:
    if payload is not None:
        options["Payload"] = json.dumps(payload)
    answer = client.invoke(FunctionName=name, **options)
    body = answer["Payload"].read()
    return answer, json.loads(body) if body else None


def _log(answer: dict[str, Any]) -> str:
    return base64.b64decode(answer["LogResult"]).decode()


def _refusal(client: Any, **options: Any) -> tuple[int, str, str]:
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        client.invoke(**options)
    response = caught.value.response
    return (
        response["ResponseMetadata"]["HTTPStatusCode"],
        response["Error"]["Code"],
        response["Error"]["Message"],
    )


def test_a_function_gets_the_event_and_its_answer_comes_back(client: Any, deploy: Deploy) -> None:
    name = deploy(ECHO)
    answer, result = _invoke(client, name, {"key": ["value", 1, None, "é"]})
    assert answer["StatusCode"] == 200
    assert answer["ExecutedVersion"] == "$LATEST"
    assert "FunctionError" not in answer
    assert "LogResult" not in answer
    assert result["event"] == {"key": ["value", 1, None, "é"]}


def test_one_request_id_goes_from_the_header_to_context_and_log(client: Any, deploy: Deploy) -> None:
    answer, result = _invoke(client, deploy(ECHO), {}, LogType="Tail")
    request_id = answer["ResponseMetadata"]["RequestId"]
    assert result["id"] == request_id
    log = _log(answer).split("\n")
    assert log[0] == f"START RequestId: {request_id} Version: $LATEST"
    assert log[1] == f"END RequestId: {request_id}"
    assert log[2].startswith(f"REPORT RequestId: {request_id}\tDuration: ")


def test_the_report_tells_the_cold_start_once(client: Any, deploy: Deploy) -> None:
    name = deploy("print('module')\ndef handler(event, context): print('one'); print('two')", MemorySize=256)
    cold, warm = (_log(_invoke(client, name, {}, LogType="Tail")[0]) for _ in range(2))
    assert "\tInit Duration: " in cold
    assert "\tInit Duration: " not in warm
    assert "module" not in cold
    for log in (cold, warm):
        lines = log.split("\n")
        assert lines[1:3] == ["one", "two"]
        assert "\tMemory Size: 256 MB\tMax Memory Used: " in lines[4]
        assert log.endswith("\t\n")


def test_an_environment_is_reused_and_keeps_its_globals(client: Any, deploy: Deploy) -> None:
    name = deploy(
        "count = 0\ndef handler(event, context):\n    global count\n    count += 1\n    return count"
    )
    assert [_invoke(client, name)[1] for _ in range(3)] == [1, 2, 3]


@pytest.mark.parametrize("payload", [b"", b"3", b'"x"', b"null", b"[]", b' {"a" : 1e5}'])
def test_any_json_value_and_no_payload_at_all_are_events(client: Any, deploy: Deploy, payload: bytes) -> None:
    name = deploy("def handler(event, context): return event")
    body = client.invoke(FunctionName=name, Payload=payload)["Payload"].read()
    assert json.loads(body) == (json.loads(payload) if payload else {})


def test_a_function_that_returns_nothing_answers_null(client: Any, deploy: Deploy) -> None:
    name = deploy("def handler(event, context): pass")
    assert client.invoke(FunctionName=name)["Payload"].read() == b"null"


def test_the_client_context_reaches_the_function(client: Any, deploy: Deploy) -> None:
    name = deploy(
        "def handler(event, context):\n"
        "    c = context.client_context\n"
        "    return [c.custom, c.env, c.client.app_title]"
    )
    context = {"custom": {"a": "ü"}, "env": {"b": "c"}, "client": {"app_title": "t"}}
    encoded = base64.b64encode(json.dumps(context).encode()).decode()
    assert _invoke(client, name, ClientContext=encoded)[1] == [{"a": "ü"}, {"b": "c"}, "t"]


def test_every_form_of_the_name_finds_the_function(client: Any, deploy: Deploy) -> None:
    name = deploy(ECHO)
    arn = f"arn:aws:lambda:us-east-1:000000000000:function:{name}"
    for form in (name, arn, f"000000000000:function:{name}", f"function:{name}", f"000000000000:{name}"):
        assert _invoke(client, form)[1]["arn"] == arn
    for form, options in ((f"{name}:$LATEST", {}), (name, {"Qualifier": "$LATEST"}), (f"{arn}:$LATEST", {})):
        assert _invoke(client, form, **options)[1]["arn"] == f"{arn}:$LATEST"


def test_dry_run_checks_and_runs_nothing(client: Any, deploy: Deploy) -> None:
    name = deploy("raise Exception('ran')")
    answer = client.invoke(FunctionName=name, InvocationType="DryRun", Payload=b"{}")
    assert answer["StatusCode"] == 204
    assert answer["Payload"].read() == b""
    assert "ExecutedVersion" not in answer
    assert _refusal(client, FunctionName=name, InvocationType="DryRun", Payload=b"{")[0] == 400
    assert _refusal(client, FunctionName="absent", InvocationType="DryRun")[0] == 404


def test_an_exception_is_a_200_with_the_error_object(client: Any, deploy: Deploy) -> None:
    name = deploy("def handler(event, context):\n    raise ValueError('böse')\n")
    answer, result = _invoke(client, name, {}, LogType="Tail")
    assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
    assert answer["ExecutedVersion"] == "$LATEST"
    assert result == {
        "errorMessage": "böse",
        "errorType": "ValueError",
        "requestId": answer["ResponseMetadata"]["RequestId"],
        "stackTrace": ["  File \"/var/task/index.py\", line 2, in handler\n    raise ValueError('böse')\n"],
    }
    assert "[ERROR] ValueError: böse\nTraceback (most recent call last):\n" in _log(answer)


@pytest.mark.parametrize(
    ("source", "handler", "error_type", "message"),
    [
        ("import nothere", "index.handler", "Runtime.ImportModuleError",
         "Unable to import module 'index': No module named 'nothere'"),
        ("", "index.handler", "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'index'"),
        ("def", "index.handler", "Runtime.UserCodeSyntaxError", None),
        ("1/0", "index.handler", "ZeroDivisionError", "division by zero"),
        ("def handler(event, context): return {1, 2}", "index.handler", "Runtime.MarshalError",
         "Unable to marshal response: Object of type set is not JSON serializable"),
        ("", "nodot", "Runtime.MalformedHandlerName",
         "Bad handler 'nodot': not enough values to unpack (expected 2, got 1)"),
    ],
)  # fmt: skip
def test_faults_of_the_code_have_aws_error_types(
    client: Any, deploy: Deploy, source: str, handler: str, error_type: str, message: str | None
) -> None:
    name = deploy(source, handler=handler)
    for _ in range(2):
        answer, result = _invoke(client, name)
        assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
        assert result["errorType"] == error_type
        if message is not None:
            assert result["errorMessage"] == message


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import os\ndef handler(event, context): os._exit(0)", "Runtime exited without providing a reason"),
        ("import os\ndef handler(event, context): os._exit(127)", "Runtime exited with error: exit status 127"),
        ("import os\ndef handler(event, context): os.kill(os.getpid(), 9)",
         "Runtime exited with error: signal: killed"),
        ("import ctypes\ndef handler(event, context): ctypes.string_at(0)",
         "Runtime exited with error: signal: segmentation fault"),
        ("import os\nos._exit(3)", "Runtime exited with error: exit status 3"),
    ],
)  # fmt: skip
def test_a_process_that_ends_is_an_exit_error_and_the_next_call_starts_a_new_one(
    client: Any, deploy: Deploy, source: str, reason: str
) -> None:
    name = deploy(source)
    for _ in range(2):
        answer, result = _invoke(client, name, {}, LogType="Tail")
        assert answer["FunctionError"] == "Unhandled"
        request_id = answer["ResponseMetadata"]["RequestId"]
        assert result == {
            "errorType": "Runtime.ExitError",
            "errorMessage": f"RequestId: {request_id} Error: {reason}",
        }
        assert "\tStatus: error\tError Type: Runtime.ExitError\n" in _log(answer)


def test_a_timeout_resets_the_environment_and_keeps_its_temporary_folder(client: Any, deploy: Deploy) -> None:
    name = deploy(
        "import os, tempfile, time\n"
        "calls = 0\n"
        "path = os.path.join(tempfile.gettempdir(), 'kept')\n"
        "def handler(event, context):\n"
        "    global calls\n"
        "    calls += 1\n"
        "    if event.get('sleep'):\n"
        "        open(path, 'w').close()\n"
        "        print('before')\n"
        "        time.sleep(60)\n"
        "    return [calls, os.path.exists(path)]",
        Timeout=1,
    )
    assert _invoke(client, name, {})[1] == [1, False]
    answer, result = _invoke(client, name, {"sleep": True}, LogType="Tail")
    request_id = answer["ResponseMetadata"]["RequestId"]
    assert answer["FunctionError"] == "Unhandled"
    assert answer["Payload"] is not None
    assert result == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": f"RequestId: {request_id} Error: Task timed out after 1.00 seconds",
    }
    assert "\nbefore\nEND RequestId: " in _log(answer)
    assert _log(answer).endswith("\tStatus: timeout\n")
    assert _invoke(client, name, {})[1] == [1, True]


def test_the_time_that_is_left_counts_down_from_the_timeout(client: Any, deploy: Deploy) -> None:
    name = deploy("def handler(event, context): return context.get_remaining_time_in_millis()", Timeout=7)
    assert 5000 < _invoke(client, name)[1] <= 7000


def test_a_response_over_six_megabytes_is_an_error_and_the_environment_stays(
    client: Any, deploy: Deploy
) -> None:
    name = deploy(
        "n = 0\ndef handler(event, context):\n    global n\n    n += 1\n    return [n] if event < 0 else 'x' * event"
    )
    largest = 6_291_556 - 2
    assert len(_invoke(client, name, largest)[1]) == largest
    answer, result = _invoke(client, name, largest + 1)
    assert answer["FunctionError"] == "Unhandled"
    assert result == {
        "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
        "errorType": "Function.ResponseSizeTooLarge",
    }
    assert _invoke(client, name, -1)[1] == [3]


def test_a_request_of_exactly_six_megabytes_passes_and_one_byte_more_is_413(
    client: Any, deploy: Deploy
) -> None:
    name = deploy("def handler(event, context): return len(event)")
    fitting = b'"' + b"x" * (6_291_456 - 2) + b'"'
    assert json.loads(client.invoke(FunctionName=name, Payload=fitting)["Payload"].read()) == 6_291_454
    assert _refusal(client, FunctionName=name, Payload=fitting + b" ") == (
        413,
        "RequestEntityTooLargeException",
        "Request must be smaller than 6291456 bytes for the InvokeFunction operation",
    )


def test_the_log_tail_is_the_last_4096_bytes(client: Any, deploy: Deploy) -> None:
    name = deploy("def handler(event, context):\n    for i in range(2000): print('line', i)")
    log = base64.b64decode(_invoke(client, name, {}, LogType="Tail")[0]["LogResult"])
    assert len(log) == 4096
    assert b"line 1999\nEND RequestId: " in log


def test_output_of_children_and_raw_descriptors_is_in_order(client: Any, deploy: Deploy) -> None:
    name = deploy(
        "import os, subprocess, sys\n"
        "def handler(event, context):\n"
        "    print('one')\n"
        "    os.write(1, b'two\\n')\n"
        "    subprocess.run(['echo', 'three'])\n"
        "    print('four', file=sys.stderr)\n"
        "    sys.stdout.write('five')\n"
    )
    log = _log(_invoke(client, name, {}, LogType="Tail")[0])
    assert log.split("\n")[1:6] == ["one", "two", "three", "four", "five"]


def test_calls_at_the_same_time_run_in_environments_of_their_own(client: Any, deploy: Deploy) -> None:
    name = deploy(
        "import time\ndef handler(event, context):\n    time.sleep(0.3)\n    return context.log_stream_name"
    )
    with ThreadPoolExecutor(8) as threads:
        streams = list(threads.map(lambda _: _invoke(client, name)[1], range(8)))
    assert len(set(streams)) == 8


@pytest.mark.parametrize(
    ("options", "status", "code", "message"),
    [
        ({"FunctionName": "absent"}, 404, "ResourceNotFoundException",
         "Function not found: arn:aws:lambda:us-east-1:000000000000:function:absent:$LATEST"),
        ({"FunctionName": "absent", "Qualifier": "7"}, 404, "ResourceNotFoundException",
         "Function not found: arn:aws:lambda:us-east-1:000000000000:function:absent:7"),
        ({"FunctionName": "arn:aws:lambda:eu-west-1:000000000000:function:f"}, 404, "ResourceNotFoundException",
         "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')"),
        ({"FunctionName": "f:$LATEST", "Qualifier": "1"}, 400, "InvalidParameterValueException",
         "The derived qualifier from the function name does not match the specified qualifier."),
        ({"FunctionName": "f", "ClientContext": "!"}, 404, "ResourceNotFoundException", None),
        ({"FunctionName": "f!"}, 400, "ValidationException", None),
        ({"FunctionName": "f", "InvocationType": "Wrong"}, 400, "ValidationException", None),
        ({"FunctionName": "arn:aws:lambda:us-east-1:111111111111:function:f"}, 403, "AccessDeniedException", None),
    ],
)  # fmt: skip
def test_refusals_have_aws_status_code_and_text(
    client: Any, options: dict[str, str], status: int, code: str, message: str | None
) -> None:
    refused = _refusal(client, **options)
    assert refused[:2] == (status, code)
    if message is not None:
        assert refused[2] == message


def test_event_invocations_say_that_they_are_not_served_yet(client: Any, deploy: Deploy) -> None:
    status, code, message = _refusal(client, FunctionName=deploy(ECHO), InvocationType="Event")
    assert (status, code) == (400, "InvalidParameterValueException")
    assert message == "InvocationType Event is not served by this version of Lambent."


def test_accounts_and_regions_do_not_see_each_others_functions(server: Any, deploy: Deploy) -> None:
    name = deploy(ECHO)
    for client in (server.client(account="111122223333"), server.client(region="eu-west-1")):
        status, code, _ = _refusal(client, FunctionName=name)
        assert (status, code) == (404, "ResourceNotFoundException")
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            client.get_function(FunctionName=name)
        assert caught.value.response["ResponseMetadata"]["HTTPHeaders"]["x-lambent-hint"] == (
            f"A function named {name} exists in account 000000000000 in us-east-1."
        )


def test_the_functions_environment_is_as_on_aws_and_holds_nothing_of_the_servers(
    client: Any, deploy: Deploy
) -> None:
    name = deploy(
        "import os\ndef handler(event, context): return dict(os.environ)",
        Environment={"Variables": {"MINE": "yes"}},
        MemorySize=512,
    )
    variables = _invoke(client, name)[1]
    assert variables["MINE"] == "yes"
    assert variables["AWS_LAMBDA_FUNCTION_NAME"] == name
    assert variables["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "512"
    assert variables["AWS_REGION"] == variables["AWS_DEFAULT_REGION"] == "us-east-1"
    assert variables["_HANDLER"] == "index.handler"
    assert variables["TZ"] == ":UTC"
    assert variables["_X_AMZN_TRACE_ID"].startswith("Root=1-")
    assert not {name for name in variables if name.startswith("LAMBENT_")}
    assert not {"HOME", "USER", "VIRTUAL_ENV", "PYENV_ROOT"} & set(variables)


def test_boto3_is_importable_and_nothing_else_of_the_servers_packages(client: Any, deploy: Deploy) -> None:
    name = deploy(
        "import boto3\n"
        "def handler(event, context):\n"
        "    missing = []\n"
        "    for name in ('click', 'httptools', 'uvloop', 'msgspec', 'rich', 'lambent', 'pytest'):\n"
        "        try:\n"
        "            __import__(name)\n"
        "        except ImportError:\n"
        "            missing.append(name)\n"
        "    return [boto3.__version__ != '', missing]",
        Timeout=30,
    )
    assert _invoke(client, name)[1] == [
        True,
        ["click", "httptools", "uvloop", "msgspec", "rich", "lambent", "pytest"],
    ]


def test_a_functions_own_boto3_wins(client: Any, deploy: Deploy) -> None:
    from tests.integration.conftest import pack

    name = deploy(
        "",
        Code={"ZipFile": pack(index="import boto3\ndef handler(e, c): return boto3.mine", boto3="mine = 1")},
    )
    assert _invoke(client, name)[1] == 1


def test_a_function_calls_another_one_of_this_server_with_no_configuration(
    client: Any, deploy: Deploy
) -> None:
    inner = deploy(ECHO)
    outer = deploy(
        "import boto3, json\n"
        "def handler(event, context):\n"
        f"    answer = boto3.client('lambda').invoke(FunctionName='{inner}', Payload=b'[1]')\n"
        "    return json.load(answer['Payload'])['event']",
        Timeout=30,
    )
    assert _invoke(client, outer)[1] == [1]


def test_an_update_serves_the_new_code_and_the_old_environment_ends(client: Any, deploy: Deploy) -> None:
    from tests.integration.conftest import pack, wait_until_active

    name = deploy("def handler(event, context): return 'old'")
    assert _invoke(client, name)[1] == "old"
    updated = client.update_function_code(
        FunctionName=name, ZipFile=pack(index="def handler(event, context): return 'new'")
    )
    assert updated["LastUpdateStatus"] == "InProgress"
    wait_until_active(client, name, "function_updated_v2")
    assert _invoke(client, name)[1] == "new"


def test_memory_beyond_the_limit_is_an_ordinary_function_error(client: Any, deploy: Deploy) -> None:
    name = deploy("def handler(event, context): return len(bytearray(700 * 1024 * 1024))", Timeout=20)
    answer, result = _invoke(client, name)
    assert answer["FunctionError"] == "Unhandled"
    assert result["errorType"] == "MemoryError"


def test_variables_that_are_read_as_a_program_starts_reach_the_interpreter(
    client: Any, deploy: Deploy
) -> None:
    name = deploy(
        "import sys\ndef handler(event, context): return [sys.flags.hash_randomization, hash('a')]",
        Environment={"Variables": {"PYTHONHASHSEED": "0"}},
    )
    other = deploy(
        "def handler(event, context): return hash('a')", Environment={"Variables": {"PYTHONHASHSEED": "0"}}
    )
    assert _invoke(client, name)[1][0] == 0
    assert _invoke(client, name)[1][1] == _invoke(client, other)[1]
