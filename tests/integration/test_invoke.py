"""Invoke through boto3: what a caller of a real function sees. AWS's tables are in test_invoke_rows.py."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
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


def test_the_client_context_reaches_the_function(client: Any, deploy: Deploy) -> None:
    name = deploy(
        "def handler(event, context):\n"
        "    c = context.client_context\n"
        "    return [c.custom, c.env, c.client.app_title]"
    )
    context = {"custom": {"a": "ü"}, "env": {"b": "c"}, "client": {"app_title": "t"}}
    encoded = base64.b64encode(json.dumps(context).encode()).decode()
    assert _invoke(client, name, ClientContext=encoded)[1] == [{"a": "ü"}, {"b": "c"}, "t"]


def test_dry_run_checks_and_runs_nothing(client: Any, deploy: Deploy, tmp_path: Path) -> None:
    made = tmp_path / "made"
    name = deploy(f"open({str(made)!r}, 'w')\ndef handler(event, context): pass")
    answer = client.invoke(FunctionName=name, InvocationType="DryRun", Payload=b"{}")
    assert answer["StatusCode"] == 204
    assert answer["Payload"].read() == b""
    assert "ExecutedVersion" not in answer
    assert not made.exists()
    client.invoke(FunctionName=name)
    assert made.exists()


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
    "source", ["import os\ndef handler(event, context): os._exit(3)", "import os\nos._exit(3)"]
)
def test_a_process_that_ends_is_an_exit_error_and_the_next_call_starts_a_new_one(
    client: Any, deploy: Deploy, source: str
) -> None:
    name = deploy(source)
    for _ in range(2):
        answer, result = _invoke(client, name, {}, LogType="Tail")
        assert answer["FunctionError"] == "Unhandled"
        request_id = answer["ResponseMetadata"]["RequestId"]
        assert result == {
            "errorType": "Runtime.ExitError",
            "errorMessage": f"RequestId: {request_id} Error: Runtime exited with error: exit status 3",
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


def test_a_caller_who_has_the_function_is_not_told_where_it_is(client: Any, deploy: Deploy) -> None:
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        client.get_function(FunctionName=deploy(ECHO), Qualifier="7")
    assert "x-lambent-hint" not in caught.value.response["ResponseMetadata"]["HTTPHeaders"]


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
