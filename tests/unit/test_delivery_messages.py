"""What destinations get, byte for byte.

Expected values: docs/aws-behaviour.md, async 2.3, 2.4 and 2.7.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.contract.event_queue import event, letter
from tests.contract.rig import ACCOUNT, REGION

from lambent.invocation.delivery.messages import body_of, object_key, to_event_bus, to_sns, to_sqs
from lambent.invocation.delivery.process import LENGTH, decode, encode
from lambent.invocation.outcomes import end_of
from lambent.model.events import Condition, DeadLetter, EventInvokeConfig, Form
from lambent.model.invocations import InvocationResult

QUEUE = "arn:aws:sqs:us-east-1:000000000000:q"
BUS = "arn:aws:events:us-east-1:000000000000:event-bus/b"
ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f:$LATEST"
TRACE = "Root=1-00000000-000000000000000000000000;Sampled=0;Lineage=1:00000000:0"


def record(
    payload: bytes, result: InvocationResult | None, condition: Condition = Condition.SUCCESS
) -> DeadLetter:
    given_event = event("id", attempts=0 if result is None else 1, payload=payload, trace_id=TRACE)
    config = EventInvokeConfig(target=given_event.target, on_success=QUEUE, on_failure=QUEUE, modified_at=0.0)
    version = None if result is None else "$LATEST"
    (made,) = end_of(
        given_event, condition, config, now=1573755365.5689, executed_version=version, result=result
    )
    return made


def test_a_record_is_as_on_aws() -> None:
    made = record(b'{"ORDER_IDS":["9e07af03"]}', InvocationResult(b'{"errorMessage":"oops"}', "Unhandled"))
    assert body_of(made).decode() == (
        '{"version":"1.0","timestamp":"2019-11-14T18:16:05.568Z",'
        f'"requestContext":{{"requestId":"id","functionArn":"{ARN}",'
        '"condition":"Success","approximateInvokeCount":1},'
        '"requestPayload":{"ORDER_IDS":["9e07af03"]},'
        '"responseContext":{"statusCode":200,"executedVersion":"$LATEST","functionError":"Unhandled"},'
        '"responsePayload":{"errorMessage":"oops"}}'
    )


def test_a_record_of_what_never_ran_has_no_response() -> None:
    made = record(b"1", None, Condition.ZERO_RESERVED_CONCURRENCY)
    assert body_of(made).endswith(b'"approximateInvokeCount":0},"requestPayload":1}')


@given(st.recursive(st.none() | st.booleans() | st.text() | st.integers(), st.lists))
def test_any_result_is_in_the_record_as_it_was(value: Any) -> None:
    made = record(b"[]", InvocationResult(json.dumps(value).encode()))
    assert json.loads(body_of(made))["responsePayload"] == value


@pytest.mark.parametrize("text", [r'"\ud800"', r'{"a\udfff":["\ud83d"]}'])
def test_halves_of_surrogate_pairs_go_through(text: str) -> None:
    made = record(text.encode(), InvocationResult(text.encode()))
    told = body_of(made)
    assert told.decode()
    assert json.loads(told)["responsePayload"] == json.loads(told)["requestPayload"] == json.loads(text)


@pytest.mark.parametrize(
    ("result", "shown"),
    [
        (b"\xff<html>", "\ufffd<html>"),
        (b"[NaN]", "[NaN]"),
        (b'["\\ud800", -Infinity]', '["\\ud800", -Infinity]'),
    ],
)
def test_what_is_no_json_is_told_as_text(result: bytes, shown: str) -> None:
    made = record(b"[]", InvocationResult(result))
    assert json.loads(body_of(made))["responsePayload"] == shown


@pytest.mark.parametrize("levels", [198, 200, 202, 600, 900, 100_000])
@pytest.mark.parametrize(("before", "behind"), [("[", "]"), ('{"a":[', "]}")])
def test_what_nests_too_deep_is_told_as_text_and_can_be_sent(before: str, behind: str, levels: int) -> None:
    pairs = levels // len(behind)
    text = before * pairs + behind * pairs
    made = record(b"[]", InvocationResult(text.encode()))
    shown = json.loads(body_of(made))["responsePayload"]
    assert shown == (json.loads(text) if levels <= 200 else text)
    assert decode(encode(made)[LENGTH.size :]) == made


def test_what_is_wide_is_told_as_it_is() -> None:
    value = [{"a": [number]} for number in range(1000)]
    made = record(b"[]", InvocationResult(json.dumps(value).encode()))
    assert json.loads(body_of(made))["responsePayload"] == value


def test_a_letter_of_an_older_server_has_the_response_in_its_record() -> None:
    assert body_of(letter("id")).endswith(b',"requestPayload":[1],"responsePayload":null}')


def test_a_queue_gets_the_trace_with_a_record_and_no_attributes() -> None:
    made = record(b"[]", InvocationResult(b"1"))
    assert to_sqs(made) == {
        "MessageBody": body_of(made).decode(),
        "MessageSystemAttributes": {"AWSTraceHeader": {"DataType": "String", "StringValue": TRACE}},
    }
    assert to_sns(made) == {"Message": body_of(made).decode()}


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        ("boom", "boom"),
        ("x" * 2000, "x" * 1024),
        ("é" * 600, "é" * 512),
        ("x" + "é" * 600, "x" + "é" * 511),
        ("\ud800", "?"),
        ("", None),
    ],
)
def test_a_dead_letter_queue_gets_the_event_and_why_it_failed(error: str, shown: str | None) -> None:
    made = letter(
        "id", form=Form.EVENT, error=error, error_code=429, payload=b' {"a": 1} ', destination=QUEUE
    )
    attributes = {
        "RequestID": {"DataType": "String", "StringValue": "id"},
        "ErrorCode": {"DataType": "Number", "StringValue": "429"},
    }
    if shown is not None:
        attributes["ErrorMessage"] = {"DataType": "String", "StringValue": shown}
    assert to_sqs(made) == {"MessageBody": ' {"a": 1} ', "MessageAttributes": attributes}
    assert to_sns(made) == {"Message": ' {"a": 1} ', "MessageAttributes": attributes}


@pytest.mark.parametrize(
    ("condition", "word"), [(Condition.SUCCESS, "Success"), (Condition.RETRIES_EXHAUSTED, "Failure")]
)
def test_a_bus_gets_lambdas_envelope(condition: Condition, word: str) -> None:
    made = record(b"[]", InvocationResult(b"1"), condition)
    assert to_event_bus(made, BUS) == {
        "EventBusName": BUS,
        "Time": 1573755365.5689,
        "Source": "lambda",
        "DetailType": f"Lambda Function Invocation Result - {word}",
        "Resources": [BUS, ARN],
        "Detail": body_of(made).decode(),
    }


def test_an_object_has_the_same_name_each_time() -> None:
    made = record(b"[]", InvocationResult(b"1"))
    assert object_key(made) == "aws/lambda/async/f/2019/11/14/2019-11-14T18.16.05-id"


@pytest.mark.parametrize(
    ("condition", "code"),
    [
        (Condition.EVENT_AGE_EXCEEDED, 429),
        (Condition.ZERO_RESERVED_CONCURRENCY, 429),
        (Condition.RECURSIVE_INVOCATION, 400),
        (Condition.RESOURCE_NOT_FOUND, 404),
        (Condition.INTERRUPTED, 500),
    ],
)
def test_the_last_cause_gives_the_code(condition: Condition, code: int) -> None:
    made = end_of(event("id"), condition, None, QUEUE, now=0.0, error="why")
    assert [(one.error_code, one.form, one.state, one.error) for one in made] == [
        (code, Form.EVENT, "undelivered", "why")
    ]
