"""Destinations and dead-letter queues: real queues, topics, buses, buckets and functions get exactly AWS's words.

Expected values: docs/aws-behaviour.md, async 2.3, 2.4 and 2.7.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest

from tests.integration.conftest import Functions, RunningServer, running_server, wait_until_active
from tests.integration.events_harness import Told, accept, control, letters
from tests.waiting import wait_for

ACCOUNT = "123456789012"
REGION = "us-east-1"
# Doubles what it is given; fails if that is no number.
DOUBLE = """
def handler(event, context):
    return {"doubled": event["n"] * 2, "text": "grün"} if event["n"] != "x" else 1 / 0
"""
STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


@pytest.fixture(scope="module")
def delivering(aws_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that delivers to these services and retries at once."""
    folder = tmp_path_factory.mktemp("server")
    settings = {"LAMBENT_AWS_ENDPOINT_URL": aws_url, "LAMBENT_ASYNC_RETRY_DELAYS": "0,0"}
    with running_server(folder, LAMBENT_SERVER_ACCOUNT=ACCOUNT, **settings) as running:
        yield running


@pytest.fixture(scope="module")
def client(delivering: RunningServer) -> Any:
    return delivering.client()


@pytest.fixture(scope="module")
def functions(client: Any) -> Functions:
    return Functions(client)


@pytest.fixture(scope="session")
def aws(aws_url: str) -> Callable[[str], Any]:
    """Make clients of the other services."""

    def connect(service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=aws_url,
            region_name=REGION,
            aws_access_key_id=ACCOUNT,
            aws_secret_access_key="test",
        )

    return connect


class Queue:
    """A queue, what came into it, and its ARN."""

    def __init__(self, sqs: Any) -> None:
        self._sqs = sqs
        self.name = f"queue-{os.urandom(4).hex()}"
        self.url = sqs.create_queue(QueueName=self.name)["QueueUrl"]
        self.arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{self.name}"
        self.messages: list[dict[str, Any]] = []

    def take(self, count: int) -> list[Any]:
        """Return all messages, when there are so many."""

        def are_there() -> bool:
            answer = self._sqs.receive_message(
                QueueUrl=self.url,
                MaxNumberOfMessages=10,
                MessageAttributeNames=["All"],
            )
            self.messages += answer.get("Messages", [])
            return len(self.messages) >= count

        wait_for(are_there)
        return self.messages


@pytest.fixture
def queue(aws: Callable[[str], Any]) -> Queue:
    return Queue(aws("sqs"))


def destinations(client: Any, name: str, **sides: str) -> None:
    """Give a function destinations, and no second attempt."""
    client.put_function_event_invoke_config(
        FunctionName=name,
        MaximumRetryAttempts=0,
        DestinationConfig={
            side: {"Destination": arn}
            for side, arn in (("OnSuccess", sides.get("success")), ("OnFailure", sides.get("failure")))
            if arn
        },
    )


def arn_of(name: str, qualifier: str = "$LATEST") -> str:
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}:{qualifier}"


def success(name: str, request_id: str, stamp: str) -> dict[str, Any]:
    return {
        "version": "1.0",
        "timestamp": stamp,
        "requestContext": {
            "requestId": request_id,
            "functionArn": arn_of(name),
            "condition": "Success",
            "approximateInvokeCount": 1,
        },
        "requestPayload": {"n": 21},
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST"},
        "responsePayload": {"doubled": 42, "text": "grün"},
    }


def check_failure(record: dict[str, Any], name: str, request_id: str) -> None:
    response = record.pop("responsePayload")
    assert (response["errorType"], response["errorMessage"]) == ("ZeroDivisionError", "division by zero")
    assert re.fullmatch(STAMP, record.pop("timestamp"))
    assert record == {
        "version": "1.0",
        "requestContext": {
            "requestId": request_id,
            "functionArn": arn_of(name),
            "condition": "RetriesExhausted",
            "approximateInvokeCount": 1,
        },
        "requestPayload": {"n": "x"},
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
    }


def nothing_is_left(server: RunningServer, name: str) -> None:
    wait_for(lambda: not letters(server, name))


def test_a_queue_gets_the_record_of_a_success(
    delivering: RunningServer, client: Any, functions: Functions, queue: Queue
) -> None:
    name = functions(DOUBLE)
    destinations(client, name, success=queue.arn)
    request_id = accept(client, name, b'{"n":21}')
    (message,) = queue.take(1)
    record = json.loads(message["Body"])
    assert re.fullmatch(STAMP, record["timestamp"])
    assert record == success(name, request_id, record["timestamp"])
    assert list(record) == list(success(name, "", ""))
    assert "grün" in message["Body"]
    assert "MessageAttributes" not in message
    nothing_is_left(delivering, name)


def test_the_events_bytes_stand_in_the_record_untouched(
    client: Any, functions: Functions, queue: Queue
) -> None:
    name = functions("def handler(event, context): return float('1e400') > 1")
    destinations(client, name, success=queue.arn)
    accept(client, name, b' {"n" :  1.0, "n": 1e2} ')
    (message,) = queue.take(1)
    assert '"requestPayload": {"n" :  1.0, "n": 1e2} ,"responseContext":' in message["Body"]
    assert message["Body"].endswith('"responsePayload":true}')


def test_a_queue_gets_the_record_of_a_failure(
    delivering: RunningServer, client: Any, functions: Functions, queue: Queue
) -> None:
    name = functions(DOUBLE)
    destinations(client, name, failure=queue.arn)
    request_id = accept(client, name, b'{"n":"x"}')
    (message,) = queue.take(1)
    check_failure(json.loads(message["Body"]), name, request_id)
    nothing_is_left(delivering, name)


def test_what_was_never_run_has_no_response(client: Any, functions: Functions, queue: Queue) -> None:
    name = functions(DOUBLE)
    destinations(client, name, failure=queue.arn)
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    accept(client, name, b'{"n":1}')
    record = json.loads(queue.take(1)[0]["Body"])
    assert list(record) == ["version", "timestamp", "requestContext", "requestPayload"]
    assert record["requestContext"]["condition"] == "ZeroReservedConcurrency"
    assert record["requestContext"]["approximateInvokeCount"] == 0


def test_a_version_has_destinations_of_its_own(client: Any, functions: Functions, queue: Queue) -> None:
    name = functions(DOUBLE)
    client.publish_version(FunctionName=name)
    wait_until_active(client, f"{name}:1")
    destinations(client, f"{name}:1", success=queue.arn)
    accept(client, name, b'{"n":1}')
    accept(client, f"{name}:1", b'{"n":2}')
    (message,) = queue.take(1)
    record = json.loads(message["Body"])
    assert record["requestContext"]["functionArn"] == arn_of(name, "1")
    assert record["responseContext"]["executedVersion"] == "1"


def test_a_topic_gets_records(
    client: Any, functions: Functions, queue: Queue, aws: Callable[[str], Any]
) -> None:
    sns = aws("sns")
    topic = sns.create_topic(Name=queue.name)["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue.arn)
    name = functions(DOUBLE)
    destinations(client, name, success=topic, failure=topic)
    first = accept(client, name, b'{"n":21}')
    record = json.loads(json.loads(queue.take(1)[0]["Body"])["Message"])
    assert record == success(name, first, record["timestamp"])
    second = accept(client, name, b'{"n":"x"}')
    check_failure(json.loads(json.loads(queue.take(2)[1]["Body"])["Message"]), name, second)


@pytest.mark.parametrize(("payload", "word"), [(b'{"n":21}', "Success"), (b'{"n":"x"}', "Failure")])
def test_a_bus_gets_an_event_of_lambda(
    client: Any, functions: Functions, aws: Callable[[str], Any], payload: bytes, word: str
) -> None:
    events, logs = aws("events"), aws("logs")
    unique = os.urandom(4).hex()
    bus = events.create_event_bus(Name=f"bus-{unique}")["EventBusArn"]
    group = f"/aws/events/{unique}"
    logs.create_log_group(logGroupName=group)
    events.put_rule(Name="all", EventBusName=bus, EventPattern='{"source": ["lambda"]}')
    target = {"Id": "1", "Arn": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}"}
    events.put_targets(Rule="all", EventBusName=bus, Targets=[target])
    name = functions(DOUBLE)
    destinations(client, name, success=bus, failure=bus)
    request_id = accept(client, name, payload)
    wait_for(lambda: bool(logs.filter_log_events(logGroupName=group)["events"]))
    event = json.loads(logs.filter_log_events(logGroupName=group)["events"][0]["message"])
    assert event["source"] == "lambda"
    assert event["detail-type"] == f"Lambda Function Invocation Result - {word}"
    assert event["resources"] == [bus, arn_of(name)]
    if word == "Success":
        assert event["detail"] == success(name, request_id, event["detail"]["timestamp"])
    else:
        check_failure(event["detail"], name, request_id)


def test_a_bucket_gets_an_object_for_each_failure(
    client: Any, functions: Functions, aws: Callable[[str], Any]
) -> None:
    s3 = aws("s3")
    bucket = f"bucket-{os.urandom(4).hex()}"
    s3.create_bucket(Bucket=bucket)
    name = functions(DOUBLE)
    destinations(client, name, failure=f"arn:aws:s3:::{bucket}")
    request_id = accept(client, name, b'{"n":"x"}')
    wait_for(lambda: s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 1)
    (found,) = s3.list_objects_v2(Bucket=bucket)["Contents"]
    record = json.loads(s3.get_object(Bucket=bucket, Key=found["Key"])["Body"].read())
    instant = record["timestamp"][:19].replace(":", ".")
    day = instant[:10].replace("-", "/")
    assert found["Key"] == f"aws/lambda/async/{name}/{day}/{instant}-{request_id}"
    check_failure(record, name, request_id)


@pytest.mark.parametrize("qualifier", ["", ":live"])
def test_a_function_gets_records_as_events(
    delivering: RunningServer, client: Any, functions: Functions, tmp_path: Any, qualifier: str
) -> None:
    told = Told(tmp_path)
    path = json.loads(told.event())["out"]
    keeping = f"""
import json
def handler(event, context):
    with open({path!r}, "a") as out:
        out.write(json.dumps([event, context.invoked_function_arn, context.aws_request_id]) + "\\n")
"""
    target = functions(keeping)
    client.create_alias(FunctionName=target, Name="live", FunctionVersion="$LATEST")
    name = functions(DOUBLE)
    arn = arn_of(target, "").rstrip(":") + qualifier
    destinations(client, name, success=arn, failure=arn)
    request_id = accept(client, name, b'{"n":21}')
    runs: list[Any] = told.wait(1)
    ((record, invoked, own_id),) = runs
    assert record == success(name, request_id, record["timestamp"])
    assert (invoked, own_id != request_id) == (arn, True)
    nothing_is_left(delivering, name)


def test_a_chain_of_destinations_that_comes_back_is_stopped(
    delivering: RunningServer, client: Any, functions: Functions, tmp_path: Any
) -> None:
    told = Told(tmp_path)
    path = json.loads(told.event())["out"]
    source = f"""
def handler(event, context):
    with open({path!r}, "a") as out:
        out.write('"' + context.function_name + '"\\n')
"""
    first, second = functions(source), functions(source)
    destinations(client, first, success=arn_of(second, "").rstrip(":"))
    destinations(client, second, success=arn_of(first, "").rstrip(":"))
    accept(client, first, b"{}")
    wait_for(lambda: [one["condition"] for one in letters(delivering, first)] == ["RecursiveInvocation"])
    runs: list[Any] = told.runs
    assert runs == [first, second] * 16


def test_a_dead_letter_queue_gets_the_event_as_it_was(
    delivering: RunningServer, client: Any, functions: Functions, queue: Queue
) -> None:
    name = functions(
        "def handler(event, context): raise ValueError('é' * 600)",
        DeadLetterConfig={"TargetArn": queue.arn},
    )
    request_id = accept(client, name, b' {"n" : "\xc3\xa9"}')
    (message,) = queue.take(1)
    assert message["Body"] == ' {"n" : "é"}'
    assert {
        name: (one["DataType"], one["StringValue"]) for name, one in message["MessageAttributes"].items()
    } == {
        "RequestID": ("String", request_id),
        "ErrorCode": ("Number", "200"),
        "ErrorMessage": ("String", "é" * 512),
    }
    nothing_is_left(delivering, name)


def test_a_dead_letter_topic_gets_the_event_as_it_was(
    client: Any, functions: Functions, queue: Queue, aws: Callable[[str], Any]
) -> None:
    sns = aws("sns")
    topic = sns.create_topic(Name=queue.name)["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=queue.arn)
    name = functions(DOUBLE, DeadLetterConfig={"TargetArn": topic})
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    request_id = accept(client, name, b'{"n":1}')
    told = json.loads(queue.take(1)[0]["Body"])
    assert told["Message"] == '{"n":1}'
    attributes = {name: (one["Type"], one["Value"]) for name, one in told["MessageAttributes"].items()}
    assert attributes.pop("ErrorMessage")[1]
    assert attributes == {"RequestID": ("String", request_id), "ErrorCode": ("Number", "429")}


def test_queue_and_destination_both_get_an_event_that_failed(
    delivering: RunningServer, client: Any, functions: Functions, aws: Callable[[str], Any]
) -> None:
    dead, failed = Queue(aws("sqs")), Queue(aws("sqs"))
    name = functions(DOUBLE, DeadLetterConfig={"TargetArn": dead.arn})
    destinations(client, name, failure=failed.arn)
    request_id = accept(client, name, b'{"n":"x"}')
    assert dead.take(1)[0]["Body"] == '{"n":"x"}'
    check_failure(json.loads(failed.take(1)[0]["Body"]), name, request_id)
    nothing_is_left(delivering, name)


def test_versions_have_the_dead_letter_queue_of_the_function(
    client: Any, functions: Functions, queue: Queue
) -> None:
    name = functions(DOUBLE)
    client.publish_version(FunctionName=name)
    wait_until_active(client, f"{name}:1")
    client.update_function_configuration(FunctionName=name, DeadLetterConfig={"TargetArn": queue.arn})
    wait_until_active(client, name, "function_updated_v2")
    accept(client, f"{name}:1", b'{"n":"x"}')
    assert queue.take(1)[0]["Body"] == '{"n":"x"}'


def test_a_queue_that_is_not_there_is_told_and_gets_its_records_when_it_is(
    delivering: RunningServer, client: Any, functions: Functions, aws: Callable[[str], Any]
) -> None:
    name = functions(DOUBLE)
    missing = f"queue-{os.urandom(4).hex()}"
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{missing}"
    destinations(client, name, success=arn)
    request_id = accept(client, name, b'{"n":21}')
    (letter,) = letters(delivering, name, 1)
    wait_for(lambda: bool(letters(delivering, name, 1)[0]["deliveryError"]))
    (letter,) = letters(delivering, name, 1)
    assert "NonExistentQueue" in letter["deliveryError"] or "QueueDoesNotExist" in letter["deliveryError"]
    assert (letter["state"], letter["destination"], letter["requestId"]) == ("undelivered", arn, request_id)
    aws("sqs").create_queue(QueueName=missing)
    nothing_is_left(delivering, name)


def test_a_record_that_no_queue_takes_is_dead_and_the_others_are_delivered(
    delivering: RunningServer, client: Any, functions: Functions, queue: Queue
) -> None:
    name = functions("def handler(event, context): return 'x' * event['n']")
    destinations(client, name, success=queue.arn)
    small = [accept(client, name, b'{"n":1}') for _ in range(3)]
    large = accept(client, name, b'{"n":2000000}')
    small += [accept(client, name, b'{"n":1}') for _ in range(3)]
    messages = queue.take(6)
    assert {json.loads(one["Body"])["requestContext"]["requestId"] for one in messages} == set(small)
    wait_for(lambda: [one["state"] for one in letters(delivering, name)] == ["dead"])
    (letter,) = letters(delivering, name)
    assert (letter["requestId"], letter["destination"]) == (large, queue.arn)
    assert letter["deliveryError"]


def test_without_an_endpoint_nothing_leaves_the_machine_and_the_letter_says_so(
    server: RunningServer,
) -> None:
    client = server.client()
    name = Functions(client)(DOUBLE)
    answer = client.put_function_event_invoke_config(
        FunctionName=name,
        DestinationConfig={"OnSuccess": {"Destination": f"arn:aws:sqs:{REGION}:000000000000:q"}},
    )
    assert answer["DestinationConfig"]["OnSuccess"]["Destination"].endswith(":q")
    accept(client, name, b'{"n":21}')
    (letter,) = letters(server, name, 1)
    assert letter["state"] == "undelivered"
    assert letter["deliveryError"] == "nothing leaves this machine unless aws.endpoint_url says where to"
    control(server, "POST", "/purge", json.dumps({"function": name}).encode())
    client.delete_function(FunctionName=name)
