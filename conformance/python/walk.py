"""The conformance script with boto3.

The endpoint comes from ``AWS_ENDPOINT_URL_LAMBDA``, region and credentials from their usual variables:
nothing here knows that the server is not AWS. ``CONFORMANCE_PACKAGE`` names the function's zip,
``CONFORMANCE_RUNTIME`` its runtime, ``CONFORMANCE_FAULTS`` the errors to meet, separated by commas.
"""

import base64
import json
import os
from pathlib import Path

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

NAME = "conformance"
ARN = f"arn:aws:lambda:us-east-1:000000000000:function:{NAME}"
LARGEST_EVENT_BYTES = 6_291_456

client = boto3.client("lambda")
# One attempt, so that an error is seen as it comes; one second until a read is given up.
impatient = boto3.client("lambda", config=Config(retries={"total_max_attempts": 1}, read_timeout=1))
once = boto3.client("lambda", config=Config(retries={"total_max_attempts": 1}))
twice = boto3.client("lambda", config=Config(retries={"total_max_attempts": 2}))


def main():
    walk("create", create)
    walk("active", wait_until_active)
    walk("publish", publish)
    walk("alias", make_alias)
    walk("invoke", lambda: invoked({"a": 1}))
    walk("empty", lambda: invoked())
    walk("event", lambda: accepted("Event"))
    walk("dry-run", lambda: accepted("DryRun"))
    walk("log-tail", log_tail)
    walk("client-context", client_context)
    walk("version", lambda: version_of(FunctionName=NAME, Qualifier="1"))
    walk("alias-qualifier", lambda: version_of(FunctionName=NAME, Qualifier="live"))
    walk("alias-in-name", lambda: version_of(FunctionName=f"{NAME}:live"))
    walk("full-arn", lambda: version_of(FunctionName=f"{ARN}:live"))
    walk("partial-arn", lambda: version_of(FunctionName=f"000000000000:function:{NAME}:live"))
    walk("function-error", function_error)
    walk("request-id", request_id)
    walk("hook", hook)
    walk("large", large)
    walk("not-found", lambda: refused("ResourceNotFoundException", client, FunctionName="nobody"))
    walk(
        "bad-parameter",
        lambda: refused(
            "InvalidParameterValueException", client, FunctionName=f"{NAME}:live", Qualifier="$LATEST"
        ),
    )
    walk(
        "bad-content",
        lambda: refused("InvalidRequestContentException", client, FunctionName=NAME, Payload=b"{"),
    )
    walk("conflict", lambda: refused("ResourceConflictException", client, FunctionName="broken"))
    walk("too-large", too_large)
    walk("throttled", lambda: refused("TooManyRequestsException", client, FunctionName="throttled"))
    walk("retries", lambda: refused("TooManyRequestsException", twice, FunctionName="throttled-twice"))
    walk("timeout", lambda: timed_out(NAME, b'{"sleep": 3}'))
    walk("unsigned", unsigned)
    walk("stream", stream)
    walk("stream-error", stream_error)
    for fault in filter(None, os.environ.get("CONFORMANCE_FAULTS", "").split(",")):
        walk(f"fault:{fault}", lambda fault=fault: fault_met(fault))
    walk("delete", delete)


# ------------------------------------------------------------ a function


def create():
    answer = client.create_function(
        FunctionName=NAME,
        Runtime=os.environ["CONFORMANCE_RUNTIME"],
        Handler="index.handler",
        Role="arn:aws:iam::000000000000:role/conformance",
        Timeout=30,
        Code={"ZipFile": Path(os.environ["CONFORMANCE_PACKAGE"]).read_bytes()},
    )
    return True, answer["State"]


def wait_until_active():
    client.get_waiter("function_active_v2").wait(FunctionName=NAME, WaiterConfig={"Delay": 0.1})
    return True, client.get_function_configuration(FunctionName=NAME)["State"]


def publish():
    version = client.publish_version(FunctionName=NAME)["Version"]
    client.get_waiter("function_active_v2").wait(
        FunctionName=NAME, Qualifier=version, WaiterConfig={"Delay": 0.1}
    )
    return True, version


def make_alias():
    answer = client.create_alias(FunctionName=NAME, Name="live", FunctionVersion="1")
    return answer["AliasArn"] == f"{ARN}:live", f"{answer['Name']} {answer['FunctionVersion']}"


def delete():
    answer = client.delete_function(FunctionName=NAME)
    return True, str(answer["ResponseMetadata"]["HTTPStatusCode"])


# ------------------------------------------------------------ answers


def invoked(event=None):
    payload = {} if event is None else {"Payload": json.dumps(event)}
    answer = client.invoke(FunctionName=NAME, **payload)
    result = json.load(answer["Payload"])
    good = result["event"] == (event or {}) and "FunctionError" not in answer
    return good, f"{answer['StatusCode']} {answer['ExecutedVersion']}"


def accepted(invocation_type):
    answer = client.invoke(FunctionName=NAME, InvocationType=invocation_type, Payload=b"{}")
    return answer["Payload"].read() == b"", str(answer["StatusCode"])


def log_tail():
    answer = client.invoke(FunctionName=NAME, LogType="Tail")
    text = base64.b64decode(answer["LogResult"]).decode()
    return "conformance was here" in text and "REPORT RequestId" in text, str(answer["StatusCode"])


def client_context():
    context = base64.b64encode(json.dumps({"custom": {"who": "boto3"}}).encode()).decode()
    answer = client.invoke(FunctionName=NAME, ClientContext=context)
    return json.load(answer["Payload"])["custom"] == {"who": "boto3"}, str(answer["StatusCode"])


def version_of(**target):
    answer = client.invoke(**target)
    ran = json.load(answer["Payload"])["version"]
    return answer["ExecutedVersion"] == ran, f"{answer['StatusCode']} {ran}"


def function_error():
    answer = client.invoke(FunctionName=NAME, Payload=b'{"fail": "boom"}')
    error = json.load(answer["Payload"])
    detail = f"{answer['StatusCode']} {answer['FunctionError']} {error['errorType']}"
    return error["errorMessage"] == "boom", detail


def request_id():
    answer = client.invoke(FunctionName=NAME)
    told = answer["ResponseMetadata"]["RequestId"]
    return json.load(answer["Payload"])["request_id"] == told, str(answer["StatusCode"])


def hook():
    """Handlers of events see each request before it is signed and sent."""
    hooked = boto3.client("lambda")
    trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"

    def add_trace(request, **_):
        request.headers["X-Amzn-Trace-Id"] = trace

    hooked.meta.events.register("before-sign.lambda.Invoke", add_trace)
    answer = hooked.invoke(FunctionName=NAME)
    seen = json.load(answer["Payload"])["trace"]
    return "1-5759e988-bd862e3fe1be46a994272793" in seen, str(answer["StatusCode"])


def large_event(size):
    """Return an event of ``size`` bytes; its answer is shorter by the frame around the text."""
    frame = b'{"echo":""}'
    return frame[:-2] + b"x" * (size - len(frame)) + frame[-2:]


def large():
    event = large_event(LARGEST_EVENT_BYTES)
    answer = client.invoke(FunctionName=NAME, Payload=event)
    text = json.load(answer["Payload"])
    return text == json.loads(event)["echo"], f"{answer['StatusCode']} {len(event)}"


# ------------------------------------------------------------ refusals


def refused(name, caller, **request):
    """Whether the call raises the SDK's exception of that name, with a message."""
    try:
        caller.invoke(**request)
    except getattr(client.exceptions, name) as error:
        return bool(error.response["Error"]["Message"]), _told(error)
    return False, "not refused"


def too_large():
    """AWS's error for this is in no model, so it is the base class that is caught."""
    try:
        client.invoke(FunctionName=NAME, Payload=large_event(LARGEST_EVENT_BYTES + 1))
    except ClientError as error:
        return bool(error.response["Error"]["Message"]), _told(error)
    return False, "not refused"


def timed_out(function, payload=b"{}"):
    try:
        impatient.invoke(FunctionName=function, Payload=payload)
    except ReadTimeoutError:
        return True, "timeout"
    return False, "answered"


def unsigned():
    anonymous = boto3.client("lambda", config=Config(signature_version=UNSIGNED))
    try:
        answer = anonymous.invoke(FunctionName=NAME)
    except ClientError as error:
        return bool(error.response["Error"]["Message"]), _told(error)
    return True, str(answer["StatusCode"])


def fault_met(fault):
    function = f"fault-{fault.replace('.', '-')}"
    if fault == "connection.stalled":
        return timed_out(function)
    if fault == "connection.cut":
        try:
            once.invoke(FunctionName=function)
        except ConnectionClosedError:
            return True, "connection"
        return False, "answered"
    return refused(fault, once, FunctionName=function)


def _told(error):
    return f"{error.response['Error']['Code']} {error.response['ResponseMetadata']['HTTPStatusCode']}"


# ------------------------------------------------------------ streams


def streamed(payload):
    answer = client.invoke_with_response_stream(FunctionName=NAME, Payload=payload)
    chunks, complete = [], None
    for event in answer["EventStream"]:
        if "PayloadChunk" in event:
            chunks.append(event["PayloadChunk"]["Payload"])
        elif "InvokeComplete" in event:
            complete = event["InvokeComplete"]
    return answer["StatusCode"], b"".join(chunks), complete


def stream():
    status, payload, complete = streamed(b'{"a": 1}')
    good = json.loads(payload)["event"] == {"a": 1} and "ErrorCode" not in complete
    return good, f"{status} {'InvokeComplete' if complete is not None else 'no end'}"


def stream_error():
    status, _, complete = streamed(b'{"fail": "boom"}')
    return bool(complete["ErrorDetails"]), f"{status} {complete['ErrorCode']}"


# ------------------------------------------------------------ the report


def walk(step, check):
    try:
        ok, detail = check()
    except Exception as error:
        ok, detail = False, f"{type(error).__name__}: {error}"
    print(json.dumps({"client": "boto3", "step": step, "ok": ok, "detail": detail}), flush=True)


if __name__ == "__main__":
    main()
